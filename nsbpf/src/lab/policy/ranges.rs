//! Sets of numbers, as ranges.

use std::ops::RangeInclusive;

/// A number that has a next one.
pub trait Number: Copy + Ord {
    /// The least one.
    const LEAST: Self;
    /// The greatest one.
    const GREATEST: Self;
    /// The next one, or the greatest.
    #[must_use]
    fn after(self) -> Self;
    /// The one before, or the least.
    #[must_use]
    fn before(self) -> Self;
}

macro_rules! number {
    ($($type:ty),*) => {
        $(impl Number for $type {
            const LEAST: Self = Self::MIN;
            const GREATEST: Self = Self::MAX;

            fn after(self) -> Self {
                self.saturating_add(1)
            }

            fn before(self) -> Self {
                self.saturating_sub(1)
            }
        })*
    };
}

number!(u64, u128);

/// Numbers: ranges in their order, with gaps between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges<N>(Vec<(N, N)>);

impl<N> Default for Ranges<N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<N: Number> Ranges<N> {
    /// All of some ranges, of which those that are empty add nothing.
    pub fn new(ranges: impl IntoIterator<Item = RangeInclusive<N>>) -> Self {
        let ranges = ranges.into_iter().map(RangeInclusive::into_inner);
        let mut sorted: Vec<(N, N)> = ranges.filter(|(low, high)| low <= high).collect();
        sorted.sort_unstable();
        let mut joined: Vec<(N, N)> = Vec::with_capacity(sorted.len());
        for (low, high) in sorted {
            match joined.last_mut() {
                Some((_, end)) if low <= end.after() => *end = high.max(*end),
                _ => joined.push((low, high)),
            }
        }
        joined.shrink_to_fit();
        Self(joined)
    }

    /// All numbers.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![(N::LEAST, N::GREATEST)])
    }

    /// What is in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self::new(self.iter().chain(other.iter()))
    }

    /// What of a range is not among them.
    #[must_use]
    pub fn missing_from(&self, whole: RangeInclusive<N>) -> Self {
        let (mut next, last) = whole.into_inner();
        let mut gaps = Vec::new();
        for (low, high) in &self.0 {
            if *low > next && next <= last {
                gaps.push((next, last.min(low.before())));
            }
            if *high >= last {
                return Self(gaps);
            }
            next = next.max(high.after());
        }
        if next <= last {
            gaps.push((next, last));
        }
        Self(gaps)
    }

    /// Those that are not in another.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let left = self.iter().flat_map(|range| other.missing_from(range).0);
        Self(left.collect())
    }

    /// Whether a number is among them.
    pub fn contains(&self, number: N) -> bool {
        let behind = self.0.partition_point(|(low, _)| *low <= number);
        behind.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, high)| number <= *high)
    }

    /// Whether any of a range is among them.
    pub fn meets(&self, range: RangeInclusive<N>) -> bool {
        let (from, to) = range.into_inner();
        let behind = self.0.partition_point(|(low, _)| *low <= to);
        behind.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, high)| from <= *high)
    }

    /// The ranges, in their order.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<N>> + '_ {
        self.0.iter().map(|(low, high)| *low..=*high)
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some() -> impl Strategy<Value = Vec<(u64, u64)>> {
        // At both ends of all numbers, so that they meet and reach them.
        let number = prop_oneof![0..24_u64, (u64::MAX - 24)..=u64::MAX];
        prop::collection::vec((number.clone(), number), 0..6)
    }

    fn ranges(pairs: &[(u64, u64)]) -> Ranges<u64> {
        Ranges::new(pairs.iter().map(|(low, high)| *low..=*high))
    }

    proptest! {
        #[test]
        fn a_number_is_where_it_should_be(one in some(), other in some(), whole in some()) {
            let has = |pairs: &[(u64, u64)], at| pairs.iter().any(|(low, high)| (*low..=*high).contains(&at));
            let (first, second) = (ranges(&one), ranges(&other));
            let (low, high) = whole.first().copied().unwrap_or((3, 9));
            let joined = first.or(&second);
            let rest = first.without(&second);
            let gaps = first.missing_from(low..=high);
            for at in (0..26).chain(u64::MAX - 26..=u64::MAX) {
                prop_assert_eq!(first.contains(at), has(&one, at));
                prop_assert_eq!(joined.contains(at), has(&one, at) || has(&other, at));
                prop_assert_eq!(rest.contains(at), has(&one, at) && !has(&other, at));
                let is_gap = (low..=high).contains(&at) && !has(&one, at);
                prop_assert_eq!(gaps.contains(at), is_gap);
            }
            for set in [joined, rest, gaps] {
                prop_assert_eq!(&Ranges::new(set.iter()), &set);
            }
            let meets = low <= high && first.iter().any(|range| *range.start() <= high && *range.end() >= low);
            prop_assert_eq!(low <= high && first.meets(low..=high), meets);
        }
    }
}
