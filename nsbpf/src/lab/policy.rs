//! `policy`: which packets may go from where to where.
//!
//! ```text
//! policy/spec.rs     what is typed
//! policy/check.rs    from there to what it means: sets, rules, and what goes with what
//! policy/places.rs   words for ends of packets
//! policy/fields.rs   words for all else that a rule asks
//! policy/limit.rs    so many packets or bits a second
//! policy/matches.rs  what a rule asks
//! policy/families.rs whether any packet can be all that a rule asks
//! policy/file.rs     a file of rules alone
//! ```

mod check;
mod families;
mod fields;
mod file;
mod limit;
mod matches;
mod names;
mod places;
mod ranges;
mod show;
pub(super) mod spec;
pub mod words;

use nsbpf_common::policy::Action;
use serde::Serialize;

use super::name::RuleName;
pub(super) use check::check;
pub use matches::{Ethertypes, Flags, Icmp, Match, Place, Side, Word};
pub(super) use places::Known;
pub use ranges::{Number, Ranges};
pub use show::{ethertype, flags, mac, protocol, vlan};

/// Rules of a policy at most.
pub const MAX_RULES: usize = 1 << 16;

/// Which packets may go from where to where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// What is done with packets that no rule is about.
    pub default: Fallback,
    /// Whether replies to what was allowed are allowed.
    pub established: bool,
    /// Rules, the first of which that a packet is in decides.
    pub rules: Vec<Rule>,
}

/// What is done with packets that no rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// They go on.
    #[default]
    Allow,
    /// They end.
    Deny,
}

impl Fallback {
    /// As the datapath knows it.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Allow => Action::Allow,
            Self::Deny => Action::Deny,
        }
    }
}

/// A rule: what packets it is about, and what is done with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its name, unique in its policy.
    pub name: RuleName,
    /// What packets it is about.
    #[serde(flatten)]
    pub matches: Match,
    /// What is done with them.
    pub action: RuleAction,
    /// If they are logged: one of so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<u32>,
}

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// It goes on.
    Allow,
    /// It ends.
    Deny,
    /// It ends, and its sender is told.
    Reject,
    /// It goes on if there were not too many, else it ends.
    Limit(Limit),
}

impl RuleAction {
    /// As the datapath knows it.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Allow => Action::Allow,
            Self::Deny => Action::Deny,
            Self::Reject => Action::Reject,
            Self::Limit(_) => Action::Limit,
        }
    }
}

/// So many packets, or bits, a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// How many a second.
    pub rate: u64,
    /// Of what.
    pub unit: Unit,
    /// How many at once.
    pub burst: u64,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Packets; a GSO packet as the segments that it becomes.
    Packets,
    /// Bits on a wire.
    Bits,
}
