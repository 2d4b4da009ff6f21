//! A policy as the datapath has it.

use nsbpf_common::policy::{
    Condition, Found, MAX_TREES, NONE, Node, Rare, Subject, Tables, classify, field,
};

use super::tree::{self, TooComplex, Wide};

/// Nodes for each condition that one tree for all may have, rather than several.
const FEW_NODES: usize = 24;
/// Nodes for each condition that a tree may have at all.
const MOST_NODES: usize = 64;
/// Nodes that any tree may have.
const SOME_NODES: usize = 1 << 10;
/// How many of all addresses a condition leaves open, as a share of two to the power of
/// this, for the dimension to count as open.
const OPEN_BITS: u32 = 4;

/// Conditions in the order of their ranks, and trees over them.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// By rank.
    pub conditions: Vec<Condition>,
    /// What few of them ask besides.
    pub rares: Vec<Rare>,
    /// All trees.
    pub nodes: Vec<Node>,
    /// Roots of the trees for IPv4, for IPv6 and for all else.
    pub roots: [[u32; MAX_TREES]; 3],
}

/// What kind of packet a tree is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Anything else.
    Other,
}

impl Kind {
    /// All of them, in the order of their roots.
    pub const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Other];

    /// Bits of the first half of an address.
    const fn address_bits(self) -> u32 {
        match self {
            Self::V4 => 32,
            Self::V6 => 64,
            Self::Other => 0,
        }
    }
}

/// A condition, and the kind of packet that it is about.
#[derive(Clone, Copy, Debug)]
pub struct Ranked {
    /// The kind.
    pub kind: Kind,
    /// The condition; its `rare` is not looked at.
    pub condition: Condition,
    /// What it asks besides.
    pub rare: Option<Rare>,
}

impl Compiled {
    /// Compiles conditions, the one that comes first being the first.
    ///
    /// # Errors
    /// There would be more nodes than are any use.
    pub fn new(ranked: &[Ranked]) -> Result<Self, TooComplex> {
        let mut compiled = Self { roots: [[NONE; MAX_TREES]; 3], ..Self::default() };
        for Ranked { condition, rare, .. } in ranked {
            let number = u32::try_from(compiled.rares.len()).map_err(|_| TooComplex)?;
            compiled.rares.extend(*rare);
            let rare = if rare.is_some() { number } else { NONE };
            let mut condition = *condition;
            condition.rare = rare;
            compiled.conditions.push(condition);
        }
        let wides: Vec<Wide> =
            ranked.iter().map(|one| Wide::new(&one.condition, one.rare.as_ref())).collect();
        for kind in Kind::ALL {
            let of_kind = (0..).zip(ranked).filter(|(_, one)| one.kind == kind);
            let all: Vec<u32> = of_kind.map(|(number, _)| number).collect();
            compiled.plant(kind, &wides, all)?;
        }
        Ok(compiled)
    }

    /// One tree if that does, else one for each way to leave ends open: a condition that is
    /// open in a dimension would be in most parts of it.
    fn plant(&mut self, kind: Kind, wides: &[Wide], all: Vec<u32>) -> Result<(), TooComplex> {
        if all.is_empty() {
            return Ok(());
        }
        let few = all.len() * FEW_NODES + SOME_NODES;
        let one = tree::build(wides, all.clone(), &mut self.nodes, few);
        if let Ok(root) = one {
            self.roots[kind as usize][0] = root;
            return Ok(());
        }
        let mut groups = [const { Vec::<u32>::new() }; MAX_TREES];
        for number in all {
            groups[openness(kind, &wides[number as usize])].push(number);
        }
        for (place, group) in groups.into_iter().filter(|group| !group.is_empty()).enumerate() {
            let most = group.len() * MOST_NODES + SOME_NODES;
            let root = tree::build(wides, group, &mut self.nodes, most);
            self.roots[kind as usize][place] = root?;
        }
        Ok(())
    }

    /// The first condition that a packet of a kind is in.
    #[must_use]
    pub fn find(&self, kind: Kind, subject: &Subject) -> Found {
        classify(self, &self.roots[kind as usize], subject)
    }
}

/// Which of its ends a condition tells, and by what, as a number below [`MAX_TREES`]: those
/// that tell the source by its address and those that tell it by its port would meet in
/// every part of each other.
fn openness(kind: Kind, wide: &Wide) -> usize {
    let all = 2_u128.pow(kind.address_bits()) - 1;
    let is_open = |field: u32| {
        let (low, high) = (wide.lows[field as usize], wide.highs[field as usize]);
        u128::from(high) - u128::from(low) >= all >> OPEN_BITS
    };
    let port = field::PORT as usize;
    let source = match (is_open(field::SOURCE), wide.highs[port] - wide.lows[port]) {
        (false, _) => 0,
        (true, 0..=0xfffe) => 1,
        (true, _) => 2,
    };
    source * 2 + usize::from(is_open(field::DESTINATION))
}

impl Tables for Compiled {
    fn node(&self, index: u32) -> Option<Node> {
        self.nodes.get(index as usize).copied()
    }

    fn condition(&self, index: u32) -> Option<&Condition> {
        self.conditions.get(index as usize)
    }

    fn rare(&self, index: u32) -> Option<&Rare> {
        self.rares.get(index as usize)
    }
}

#[cfg(test)]
mod services;
#[cfg(test)]
mod tests;
