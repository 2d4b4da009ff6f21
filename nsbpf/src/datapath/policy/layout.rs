//! Tables, as they are in one half of the maps: all that is an index there counts from
//! the maps' beginning.

use nsbpf_common::policy::{Condition, Decision, LEAF, MAX_TREES, NONE, Node, half};

use crate::policy::Compiled;
use crate::state::PolicyRoom;

/// Where a half of the maps begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Base {
    pub(super) node: u32,
    pub(super) condition: u32,
    pub(super) rare: u32,
}

impl Base {
    /// Of the half that holds in a generation.
    pub(super) fn of(generation: u64, room: PolicyRoom) -> Self {
        match half(generation) {
            0 => Self::default(),
            _ => Self { node: room.nodes, condition: room.conditions, rare: room.rares },
        }
    }
}

/// A half's nodes and conditions; what is rare has no index in it.
pub(super) struct Layout {
    pub(super) nodes: Vec<Node>,
    pub(super) conditions: Vec<Condition>,
    pub(super) roots: [[u32; MAX_TREES]; 3],
}

impl Layout {
    /// `slots` has the slot of the default's counters, and then those of the rules.
    pub(super) fn new(compiled: &Compiled, base: Base, slots: &[u32]) -> Self {
        let mut nodes = compiled.nodes.clone();
        for root in compiled.roots.iter().flatten() {
            if *root != NONE {
                shift(&mut nodes, *root, base);
            }
        }
        let in_place = |condition: &Condition| {
            let mut condition = *condition;
            condition.rare = moved(condition.rare, base.rare);
            condition.decision = with_slot(condition.decision, slots);
            condition
        };
        let conditions = compiled.conditions.iter().map(in_place).collect();
        let roots = compiled.roots.map(|roots| roots.map(|root| moved(root, base.node)));
        Self { nodes, conditions, roots }
    }
}

fn moved(index: u32, base: u32) -> u32 {
    if index == NONE { NONE } else { index + base }
}

fn with_slot(decision: Decision, slots: &[u32]) -> Decision {
    let slot = slots.get(decision.slot() as usize).copied().unwrap_or(0);
    Decision::new(decision.action(), decision.is_logged(), slot)
}

/// Moves all that a root leads to. A node does not say what it is: what a leaf leads to
/// are parts of its list.
fn shift(nodes: &mut [Node], root: u32, base: Base) {
    let mut ahead = vec![root];
    while let Some(index) = ahead.pop() {
        let Some(node) = nodes.get_mut(index as usize) else { continue };
        let Node { threshold, field, next } = *node;
        node.next = next + base.node;
        if field != LEAF {
            ahead.extend([next, next + 1]);
            continue;
        }
        let first = next as usize;
        let parts = usize::try_from(threshold).unwrap_or(usize::MAX).div_ceil(Node::PART);
        let list = nodes.get_mut(first..first.saturating_add(parts)).unwrap_or_default();
        for part in list {
            *part = Node::part(part.conditions().map(|index| moved(index, base.condition)));
        }
    }
}

#[cfg(test)]
mod tests {
    use nsbpf_common::policy::{Action, Rare, Subject, Tables, field};

    use super::*;
    use crate::policy::{Kind, Ranked};

    /// Rules by ports, some of them by their TCP flags, too.
    fn rules(count: u64) -> Vec<Ranked> {
        let rule = |number: u64| {
            let mut condition = Condition::ANY;
            let low = number * 37 % 50_000;
            let place = field::DESTINATION_PORT as usize;
            (condition.lows[place], condition.highs[place]) = (low, low + number % 40);
            let slot = u32::try_from(number).unwrap() + 1;
            condition.decision = Decision::new(Action::Deny, number.is_multiple_of(2), slot);
            let mut syn = Rare::ANY;
            (syn.flags_mask, syn.flags) = (2, 2);
            let rare = number.is_multiple_of(5).then_some(syn);
            Ranked { kind: Kind::V4, condition, rare }
        };
        (0..count).map(rule).collect()
    }

    #[test]
    fn either_half_finds_what_was_compiled() {
        let compiled = Compiled::new(&rules(2000)).unwrap();
        let room = PolicyRoom { nodes: 1 << 16, conditions: 4096, rares: 512, slots: 4096 };
        let slots: Vec<u32> =
            (0..=2000).map(|rule| if rule == 0 { 0 } else { 4095 - rule }).collect();
        for generation in [6, 7] {
            let base = Base::of(generation, room);
            let Layout { nodes, conditions, roots } = Layout::new(&compiled, base, &slots);
            let put = |base: u32| base as usize;
            // Both halves, as the kernel half reads them.
            let mut halves = Compiled {
                nodes: vec![Node::default(); put(base.node)],
                conditions: vec![Condition::ANY; put(base.condition)],
                rares: vec![Rare::ANY; put(base.rare)],
                roots,
            };
            halves.nodes.extend(nodes);
            halves.conditions.extend(conditions);
            halves.rares.extend(&compiled.rares);
            for port in 0..=u64::from(u16::MAX) {
                let mut subject = Subject::default();
                subject.tcp_flags = if port % 3 == 0 { 2 } else { 0 };
                subject.fields[field::DESTINATION_PORT as usize] = port;
                let expected = compiled.find(Kind::V4, &subject);
                let found = halves.find(Kind::V4, &subject);
                assert_eq!(found.condition, moved(expected.condition, base.condition), "{port}");
                assert_eq!(found.depends_on_packet, expected.depends_on_packet);
                if let Some(condition) = halves.condition(found.condition) {
                    let of = compiled.conditions[expected.condition as usize].decision;
                    let expected = Decision::new(of.action(), of.is_logged(), 4095 - of.slot());
                    assert_eq!(condition.decision, expected);
                }
            }
        }
    }

    #[test]
    fn nothing_leads_nowhere() {
        let base = Base { node: 100, condition: 100, rare: 100 };
        let Layout { nodes, conditions, roots } = Layout::new(&Compiled::default(), base, &[0]);
        assert!(nodes.is_empty() && conditions.is_empty());
        // What was never compiled has no roots but the first node, which is none.
        assert_eq!(roots, [[100; MAX_TREES]; 3]);
    }
}
