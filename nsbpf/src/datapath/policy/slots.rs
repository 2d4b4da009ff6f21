//! Which rule has which counters: a rule that stays keeps them, by its name.

use std::collections::{HashMap, HashSet};

/// Gives each rule a slot: those that it has already, or one that nobody has. `None` when
/// there are not enough.
///
/// `taken` are slots that packets may still be counted in.
pub(super) fn assign(
    rules: &[&str],
    had: &HashMap<&str, u32>,
    taken: &HashSet<u32>,
    slots: u32,
) -> Option<Vec<u32>> {
    let kept: HashSet<u32> = had.values().copied().collect();
    // The first one is the default's.
    let mut free = (1..slots).filter(|slot| !taken.contains(slot) && !kept.contains(slot));
    rules.iter().map(|rule| had.get(rule).copied().or_else(|| free.next())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_stay_keep_theirs_and_others_get_free_ones() {
        let had = HashMap::from([("web", 2), ("old", 1)]);
        let taken = HashSet::from([1, 2, 4]);
        let given = |rules: &[&str], slots| assign(rules, &had, &taken, slots);
        assert_eq!(given(&["new", "web", "newer"], 8), Some(vec![3, 2, 5]));
        assert_eq!(given(&["new", "web", "newer"], 5), None);
        assert_eq!(given(&[], 1), Some(vec![]));
    }
}
