//! Whatever the trees look like, they find what looking at one condition after the other
//! finds.

use nsbpf_common::policy::{FIELDS, LEAF, RARE_FIELDS};
use proptest::prelude::*;

use super::*;

/// A range within so many bits: often a prefix, often everything, sometimes one value.
fn range(bits: u32) -> impl Strategy<Value = (u64, u64)> {
    let all = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    prop_oneof![
        3 => Just((0, u64::MAX)),
        // Few, so that they meet.
        3 => (0..=bits, 0..8_u64).prop_map(move |(length, number)| {
            let value = number.wrapping_mul(0x2545_f491_4f6c_dd1d) >> (64 - bits);
            let rest = if length == 0 { all } else { all >> length };
            (value & !rest, value | rest)
        }),
        1 => (0..=all, 0..=all).prop_map(|(one, other)| (one.min(other), one.max(other))),
        1 => (0..4_u64).prop_map(|value| (value, value)),
    ]
}

const BITS: [u32; FIELDS] = [32, 1, 32, 1, 8, 8, 16, 16];
const RARE_BITS: [u32; RARE_FIELDS] = [12, 16, 48, 48, 6, 16, 2];

fn condition() -> impl Strategy<Value = Ranked> {
    let ranges: Vec<_> = BITS.into_iter().map(range).collect();
    let rares: Vec<_> = RARE_BITS.into_iter().map(range).collect();
    let flags = (0..4_u8, 0..4_u8).prop_map(|(mask, flags)| (mask, flags & mask));
    (ranges, prop::option::weighted(0.2, (rares, flags)), any::<bool>()).prop_map(
        |(ranges, rare, is_v6)| {
            let mut condition = Condition::ANY;
            for (field, (low, high)) in ranges.into_iter().enumerate() {
                (condition.lows[field], condition.highs[field]) = (low, high);
            }
            let rare = rare.map(|(ranges, (flags_mask, flags))| {
                let mut rare = Rare::ANY;
                (rare.flags_mask, rare.flags) = (flags_mask, flags);
                for (field, (low, high)) in ranges.into_iter().enumerate() {
                    (rare.lows[field], rare.highs[field]) = (low, high);
                }
                rare
            });
            let kind = if is_v6 { Kind::V6 } else { Kind::V4 };
            Ranked { kind, condition, rare }
        },
    )
}

/// A packet at, or right beside, an edge of a condition in each field.
fn subject(conditions: &[Ranked], picks: &[(usize, u8)]) -> Subject {
    let mut subject = Subject::default();
    for (field, (pick, side)) in picks.iter().enumerate() {
        let Ranked { condition, rare, .. } = &conditions[pick % conditions.len()];
        let rare = rare.unwrap_or(Rare::ANY);
        let (low, high) = match field.checked_sub(FIELDS) {
            None => (condition.lows[field], condition.highs[field]),
            Some(place) => (rare.lows[place], rare.highs[place]),
        };
        let value = match side % 4 {
            0 => low,
            1 => high,
            2 => low.wrapping_sub(1),
            _ => high.wrapping_add(1),
        };
        match field.checked_sub(FIELDS) {
            None => subject.fields[field] = value,
            Some(place) => subject.rare[place] = value,
        }
        subject.tcp_flags = side >> 4 & 3;
    }
    subject
}

/// One after the other.
fn linear(conditions: &[Ranked], kind: Kind, subject: &Subject) -> u32 {
    let holds = |one: &Ranked| {
        one.kind == kind
            && one.condition.holds(subject)
            && one.rare.is_none_or(|rare| rare.holds(subject))
    };
    conditions.iter().position(holds).map_or(NONE, |place| u32::try_from(place).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn trees_find_what_a_walk_finds(
        conditions in prop::collection::vec(condition(), 1..120),
        picks in prop::collection::vec(
            prop::collection::vec((any::<usize>(), any::<u8>()), FIELDS + RARE_FIELDS), 64),
    ) {
        let compiled = Compiled::new(&conditions).unwrap();
        for picks in &picks {
            let subject = subject(&conditions, picks);
            for kind in [Kind::V4, Kind::V6] {
                let found = compiled.find(kind, &subject).condition;
                prop_assert_eq!(found, linear(&conditions, kind, &subject));
            }
        }
    }

    /// What is said not to depend on the packet is the same for all packets of its flow.
    #[test]
    fn what_is_kept_for_a_flow_is_right_for_all_of_it(
        conditions in prop::collection::vec(condition(), 1..60),
        picks in prop::collection::vec(
            prop::collection::vec((any::<usize>(), any::<u8>()), FIELDS + RARE_FIELDS), 16),
    ) {
        let compiled = Compiled::new(&conditions).unwrap();
        let mut first: Option<(Subject, Found)> = None;
        for picks in &picks {
            let mut subject = subject(&conditions, picks);
            if let Some((other, _)) = first {
                subject.fields = other.fields;
                subject.rare[0] = other.rare[0];
            }
            let found = compiled.find(Kind::V4, &subject);
            let (_, known) = *first.get_or_insert((subject, found));
            prop_assert!(known.depends_on_packet || found.condition == known.condition);
        }
    }
}

/// Inner nodes from a node to the deepest leaf below it.
fn height(compiled: &Compiled, at: u32) -> usize {
    let node = compiled.nodes[at as usize];
    if node.field == LEAF {
        return 0;
    }
    1 + height(compiled, node.next).max(height(compiled, node.next + 1))
}

#[test]
fn tables_are_small_and_trees_are_low() {
    for count in [10, 1_000, 10_000] {
        let ranked = |condition| Ranked { kind: Kind::V4, condition, rare: None };
        let ranked: Vec<Ranked> = services::conditions(count).map(ranked).collect();
        let compiled = Compiled::new(&ranked).unwrap();
        let bytes = compiled.nodes.len() * size_of::<Node>()
            + compiled.conditions.len() * size_of::<Condition>();
        assert!(bytes < 1600 * count as usize + 32_768, "{count}: {bytes} bytes");
        let roots = compiled.roots[Kind::V4 as usize].into_iter().filter(|root| *root != NONE);
        let highest = roots.map(|root| height(&compiled, root)).max().unwrap();
        assert!(highest <= 32, "{count}: {highest}");
    }
}
