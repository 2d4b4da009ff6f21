//! Rules that no packet reaches, because those before them take them all.
//!
//! What is found is certain; some are not found: those that only several rules together
//! cover. A condition that covers another is in the leaf in which that one's corner is, so
//! nothing but that leaf is looked through.

use nsbpf_common::policy::{Condition, NONE, Node, Rare, Subject, descend};

use super::tree::Wide;
use super::{Compiled, Kind};

/// A rule that no packet reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// Its place, from 0.
    pub rule: usize,
    /// The places of the rules before it that take its packets; none if no packet can be
    /// what it asks.
    pub by: Vec<usize>,
}

/// Finds such rules, of so many; the kinds are those of the conditions.
pub(super) fn find(compiled: &Compiled, kinds: &[Kind], rules: usize) -> Vec<Shadowed> {
    // By rule, the ones that cover its conditions; `None` once one is reached.
    let mut covered: Vec<Option<Vec<usize>>> = vec![Some(Vec::new()); rules];
    for ((index, condition), kind) in (0..).zip(&compiled.conditions).zip(kinds) {
        let Some(by_rule) = rule_of(condition).and_then(|rule| covered.get_mut(rule)) else {
            continue;
        };
        let Some(by) = by_rule else { continue };
        match cover(compiled, *kind, index, condition) {
            Some(other) if other.decision == condition.decision => {}
            Some(other) => {
                if let Some(rule) = rule_of(other)
                    && !by.contains(&rule)
                {
                    by.push(rule);
                }
            }
            None => *by_rule = None,
        }
    }
    let shadowed = covered.into_iter().enumerate();
    shadowed.filter_map(|(rule, by)| Some(Shadowed { rule, by: by? })).collect()
}

fn rule_of(condition: &Condition) -> Option<usize> {
    (condition.decision.slot() as usize).checked_sub(1)
}

/// A condition before one that all of its packets are in.
fn cover<'a>(
    compiled: &'a Compiled,
    kind: Kind,
    index: u32,
    condition: &Condition,
) -> Option<&'a Condition> {
    let (rare, part) = (rare_of(compiled, condition), wide(compiled, condition));
    let mut corner = Subject::default();
    (corner.fields, corner.rare, corner.tcp_flags) = (condition.lows, rare.lows, rare.flags);
    let roots = compiled.roots.get(kind as usize)?;
    roots.iter().filter(|root| **root != NONE).find_map(|root| {
        let (leaf, _) = descend(compiled, *root, &corner)?;
        let before = list(compiled, leaf).take_while(|other| *other < index);
        let mut others = before.filter_map(|other| compiled.conditions.get(other as usize));
        others.find(|other| wide(compiled, other).covers(&part))
    })
}

fn wide(compiled: &Compiled, condition: &Condition) -> Wide {
    Wide::new(condition, compiled.rares.get(condition.rare as usize))
}

fn rare_of(compiled: &Compiled, condition: &Condition) -> Rare {
    compiled.rares.get(condition.rare as usize).copied().unwrap_or(Rare::ANY)
}

/// The conditions of a leaf: see [`Node::part`].
fn list(compiled: &Compiled, leaf: Node) -> impl Iterator<Item = u32> + '_ {
    let count = usize::try_from(leaf.threshold).unwrap_or(0);
    let parts = compiled.nodes.get(leaf.next as usize..).unwrap_or_default();
    parts.iter().flat_map(|part| part.conditions()).take(count)
}
