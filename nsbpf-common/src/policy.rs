//! The compiled form of a policy, and what finds the rule for a packet in it.
//!
//! Rules are boxes in a space with a dimension for each [`field`]. A few binary trees
//! cut that space: each inner [`Node`] compares one field with a threshold, each leaf
//! lists the few [`Condition`]s that its part of the space touches, the first rule's
//! first. So a packet is told by a few tens of comparisons however many rules there are
//! (HyperSplit: Qi et al., *Packet Classification Algorithms: From Theory to Practice*,
//! INFOCOM 2009). Rules that leave a dimension open would be in most parts of the space;
//! they are in trees of their own (EffiCuts: Vamanan et al., SIGCOMM 2010).
//!
//! The kernel half, tools and tests run this same code; only where tables lie differs
//! ([`Tables`]).

mod fragment;
mod head;
mod judgement;
mod limit;
mod log;
mod subject;
pub mod value;

use crate::abi::abi;
pub use fragment::{FragmentHead, FragmentKey};
pub use head::{PolicyEvents, PolicyHead, RuleStats, half};
pub use judgement::{Action, Decision, Judgement, MAX_SLOTS};
pub use limit::{RuleSetting, conforms};
pub use log::LogRecord;
pub use subject::{ROUTED, Subject, field, icmp};

/// Fields that every condition has.
pub const FIELDS: usize = 8;
/// Fields that few conditions have.
pub const RARE_FIELDS: usize = 7;
/// Inner nodes from a root to a leaf at most.
pub const MAX_DEPTH: usize = 48;
/// Conditions of a leaf at most.
pub const MAX_LEAF: usize = 64;
/// Trees for each kind of packet at most.
pub const MAX_TREES: usize = 6;
/// What [`Node::field`] is in a leaf.
pub const LEAF: u32 = u32::MAX;
/// No condition.
pub const NONE: u32 = u32::MAX;

/// A node of a tree, or a part of a leaf's list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Node {
    /// Of an inner node: what is greater goes right.
    pub threshold: u64,
    /// The field that is compared, or [`LEAF`].
    pub field: u32,
    /// Index of the left node, which the right one follows; of a leaf, of its list's
    /// first part.
    pub next: u32,
}

abi!(Node, size = 16, align = 8);

impl Node {
    /// Conditions in one part of a list.
    pub const PART: usize = 4;

    /// A leaf of so many conditions.
    #[must_use]
    pub const fn leaf(count: u32, list: u32) -> Self {
        Self { threshold: count as u64, field: LEAF, next: list }
    }

    /// A part of a list, from indices of conditions.
    #[must_use]
    pub const fn part([one, two, three, four]: [u32; Self::PART]) -> Self {
        Self { threshold: one as u64 | (two as u64) << 32, field: three, next: four }
    }

    /// A part's conditions.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "half a word")]
    pub const fn conditions(self) -> [u32; Self::PART] {
        [self.threshold as u32, (self.threshold >> 32) as u32, self.field, self.next]
    }

    /// One of them.
    #[inline(always)]
    const fn condition(self, place: usize) -> u32 {
        let [one, two, three, four] = self.conditions();
        match place & 3 {
            0 => one,
            1 => two,
            2 => three,
            _ => four,
        }
    }
}

/// A box that a packet has to be in, and what is decided then. Its index is its rank:
/// lower ones come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Condition {
    /// The least value of each field.
    pub lows: [u64; FIELDS],
    /// The greatest value of each field.
    pub highs: [u64; FIELDS],
    /// Index of what else is asked, or [`NONE`].
    pub rare: u32,
    /// What is done, and by which rule.
    pub decision: Decision,
    reserved: [u32; 2],
}

abi!(Condition, size = 144, align = 8);

/// What few conditions ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Rare {
    /// The least value of each field, from [`field::FIRST_RARE`] on.
    pub lows: [u64; RARE_FIELDS],
    /// The greatest value of each.
    pub highs: [u64; RARE_FIELDS],
    /// TCP flags that are looked at.
    pub flags_mask: u8,
    /// What those have to be.
    pub flags: u8,
    reserved: [u8; 6],
}

abi!(Rare, size = 120, align = 8);

/// Where the tables are.
pub trait Tables {
    /// A node.
    fn node(&self, index: u32) -> Option<Node>;
    /// A condition.
    fn condition(&self, index: u32) -> Option<&Condition>;
    /// The rest of one.
    fn rare(&self, index: u32) -> Option<&Rare>;
}

/// What was found for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Index of the condition, or [`NONE`].
    pub condition: u32,
    /// Whether anything mattered that other packets of the same flow may differ in.
    pub depends_on_packet: bool,
}

impl Condition {
    /// That everything is in.
    pub const ANY: Self = Self {
        lows: [0; FIELDS],
        highs: [u64::MAX; FIELDS],
        rare: NONE,
        decision: Decision::ALLOW,
        reserved: [0; 2],
    };

    /// Whether a packet is in the box, but for what is rare.
    #[inline(always)]
    #[must_use]
    pub fn holds(&self, subject: &Subject) -> bool {
        let mut fields = self.lows.iter().zip(&self.highs).zip(&subject.fields);
        fields.all(|((low, high), value)| value >= low && value <= high)
    }
}

impl Rare {
    /// That everything is in.
    pub const ANY: Self = Self {
        lows: [0; RARE_FIELDS],
        highs: [u64::MAX; RARE_FIELDS],
        flags_mask: 0,
        flags: 0,
        reserved: [0; 6],
    };

    /// Whether a packet is in it.
    #[inline(always)]
    #[must_use]
    pub fn holds(&self, subject: &Subject) -> bool {
        let mut fields = self.lows.iter().zip(&self.highs).zip(&subject.rare);
        subject.tcp_flags & self.flags_mask == self.flags
            && fields.all(|((low, high), value)| value >= low && value <= high)
    }
}

/// Finds the first condition that a packet is in.
#[inline(always)]
pub fn classify(tables: &impl Tables, roots: &[u32; MAX_TREES], subject: &Subject) -> Found {
    let mut found = Found { condition: NONE, depends_on_packet: false };
    for root in roots {
        if *root != NONE {
            found = find_in_tree(tables, *root, subject, found);
        }
    }
    found
}

/// Finds the first condition of a tree, if it comes before what was found already.
#[inline(always)]
pub fn find_in_tree(tables: &impl Tables, root: u32, subject: &Subject, mut found: Found) -> Found {
    if let Some((leaf, depends_on_packet)) = descend(tables, root, subject) {
        found.depends_on_packet |= depends_on_packet;
        look_through(tables, leaf, subject, &mut found);
    }
    found
}

/// The leaf of a tree that a packet is in, and whether other packets of its flow may be in
/// others.
#[inline(always)]
pub fn descend(tables: &impl Tables, root: u32, subject: &Subject) -> Option<(Node, bool)> {
    let (mut at, mut depends_on_packet) = (root, false);
    for _ in 0..=MAX_DEPTH {
        let node = tables.node(at)?;
        if node.field == LEAF {
            return Some((node, depends_on_packet));
        }
        depends_on_packet |= node.field >= field::FIRST_OF_PACKET;
        at = node.next + u32::from(subject.field(node.field) > node.threshold);
    }
    None
}

#[inline(always)]
fn look_through(tables: &impl Tables, leaf: Node, subject: &Subject, found: &mut Found) {
    let Node { threshold: count, next: list, .. } = leaf;
    for number in 0..MAX_LEAF {
        if number as u64 >= count {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "less than 64")]
        let part = tables.node(list + (number / Node::PART) as u32);
        let Some(index) = part.map(|part| part.condition(number % Node::PART)) else { return };
        // What comes later has been decided before.
        if index >= found.condition {
            return;
        }
        let Some(condition) = tables.condition(index) else { return };
        if !condition.holds(subject) {
            continue;
        }
        if condition.rare != NONE {
            let Some(rare) = tables.rare(condition.rare) else { return };
            found.depends_on_packet = true;
            if !rare.holds(subject) {
                continue;
            }
        }
        found.condition = index;
        return;
    }
}
