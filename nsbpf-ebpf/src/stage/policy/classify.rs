//! Classify: the first rule that a packet fits.

use nsbpf_common::policy::{
    Condition, Decision, Found, MAX_TREES, NONE, Node, Rare, Subject, Tables, find_in_tree,
};

use super::head;
use crate::maps::{POLICY_CONDS, POLICY_NODES, POLICY_RARES, SUBJECTS};

struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn node(&self, index: u32) -> Option<Node> {
        POLICY_NODES.get(index).copied()
    }

    #[inline(always)]
    fn condition(&self, index: u32) -> Option<&Condition> {
        POLICY_CONDS.get(index)
    }

    #[inline(always)]
    fn rare(&self, index: u32) -> Option<&Rare> {
        POLICY_RARES.get(index)
    }
}

const DEPENDS: u64 = 1 << 32;

/// The decision on what is in `SUBJECTS`, and whether it is one for each packet only. `kind`
/// is the place of the roots.
#[inline(always)]
pub fn classify(generation: u64, kind: u32) -> (Decision, bool) {
    let found = find_rule(generation, kind);
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the index")]
    let (index, depends) = (found as u32, found & DEPENDS != 0);
    let decision = match POLICY_CONDS.get(index) {
        Some(condition) => condition.decision,
        None => head(generation).map_or(Decision::ALLOW, |head| head.default),
    };
    (decision, depends)
}

/// A function of its own in the program, which the verifier looks at once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_rule(generation: u64, kind: u32) -> u64 {
    let mut found = NONE.into();
    let Some(head) = head(generation) else { return found };
    for place in 0..MAX_TREES {
        let root = head.roots.get(kind as usize).and_then(|roots| roots.get(place));
        // They are in the first places.
        let Some(root) = root.copied().filter(|root| *root != NONE) else { return found };
        found = find_in(root, found);
    }
    found
}

/// Likewise. What was found before, and after: an index, and above it whether it depends on
/// the packet.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_in(root: u32, before: u64) -> u64 {
    let Some(subject) = SUBJECTS.get_ptr(0) else { return before };
    // SAFETY: this CPU's own, and the packet's own.
    let subject: &Subject = unsafe { &*subject };
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the index")]
    let before = Found { condition: before as u32, depends_on_packet: before & DEPENDS != 0 };
    let Found { condition, depends_on_packet } = find_in_tree(&Maps, root, subject, before);
    u64::from(condition) | if depends_on_packet { DEPENDS } else { 0 }
}
