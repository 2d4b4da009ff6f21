//! The policy of a lab: as it was put in force, and what its rules counted.

mod log;

use std::time::Duration;

use nsbpf_common::policy::{PolicyEvents, RuleStats};
use serde::Serialize;

use super::stats::Tally;
use crate::datapath::{self, DatapathError, InForce, RuleCounts};
use crate::state::Datapath;
use crate::store::{Carried, PolicyRecord, RuleRecord, Store, StoreError};
pub use log::{Ends, Logged, LoggedEnd, Names};

/// Why a policy cannot be shown.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is named after what it wraps")]
pub enum ShowError {
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A policy and what it counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyReport {
    /// Which policy since there was none.
    pub generation: u64,
    /// Whether replies to what was allowed are allowed.
    pub established: bool,
    /// Packets that no rule was about.
    pub default: DefaultReport,
    /// The rules, in their order.
    pub rules: Vec<RuleReport>,
    /// What packets had more to be done about than to count them.
    pub events: EventsReport,
    /// Bytes that all of it takes in the kernel.
    pub memory_bytes: u64,
}

/// What is done with packets that no rule is about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DefaultReport {
    /// The action.
    pub action: String,
    /// What was counted.
    #[serde(flatten)]
    pub hits: Hits,
}

/// A rule and what it counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleReport {
    /// Its place, from 1.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// What packets it is about.
    pub matches: String,
    /// What is done with them.
    pub action: String,
    /// If they are logged: one of so many.
    pub log: Option<u32>,
    /// What was counted.
    #[serde(flatten)]
    pub hits: Hits,
}

/// Packets that a rule decided on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Hits {
    /// How many.
    #[serde(flatten)]
    pub total: Tally,
    /// How long ago the last one was, to the kernel's tick; `None` if there was none.
    pub last_hit_seconds_ago: Option<f64>,
}

/// See [`PolicyEvents`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventsReport {
    /// Rejected packets whose senders were told.
    pub answered: u64,
    /// Rejected packets that ended unanswered.
    pub unanswered: u64,
    /// Fragments that came before the head of their packet, and passed.
    pub headless: u64,
    /// Packets that were to be logged, and of which there were too many.
    pub unlogged: u64,
    /// Packets that were to be logged, and for which there was no room.
    pub lost: u64,
}

impl From<PolicyEvents> for EventsReport {
    fn from(events: PolicyEvents) -> Self {
        let PolicyEvents { answered, unanswered, headless, unlogged, lost } = events;
        Self { answered, unanswered, headless, unlogged, lost }
    }
}

impl Hits {
    fn new(carried: Carried, counted: RuleStats, now: Duration) -> Self {
        let RuleStats { packets, bytes, tick: _, last_seen_ns } = counted;
        let total = Tally {
            packets: carried.packets.wrapping_add(packets),
            bytes: carried.bytes.wrapping_add(bytes),
        };
        let last = carried.last_seen_ns.max(last_seen_ns);
        let ago = now.saturating_sub(Duration::from_nanos(last)).as_secs_f64();
        Self { total, last_hit_seconds_ago: (last > 0).then_some(ago) }
    }
}

/// The policy that a lab's packets are judged by; `None` if there is none.
///
/// # Errors
/// It cannot be read.
pub fn in_force(store: &Store, datapath: &Datapath) -> Result<Option<PolicyRecord>, ShowError> {
    let Some(InForce { generation, digest }) = datapath::in_force(store, datapath)? else {
        return Ok(None);
    };
    let record = store.policy_record(generation)?;
    Ok(record.filter(|record| record.digest == digest))
}

/// The same, with what it counted.
///
/// # Errors
/// It cannot be read.
pub fn report(store: &Store, datapath: &Datapath) -> Result<Option<PolicyReport>, ShowError> {
    let Some(record) = in_force(store, datapath)? else { return Ok(None) };
    let slots = std::iter::once(0).chain(record.rules.iter().map(|rule| rule.slot));
    let RuleCounts { rules: counts, events } = datapath::rule_counts(store, datapath, slots)?;
    let memory_bytes = datapath::policy_memory(store, datapath)?;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::try_from(now).unwrap_or_default();
    let mut counts = counts.into_iter();
    let hits =
        |carried, counted: Option<RuleStats>| Hits::new(carried, counted.unwrap_or_default(), now);
    let PolicyRecord { generation, default, established, default_carried, rules, .. } = record;
    let default = DefaultReport { action: default, hits: hits(default_carried, counts.next()) };
    let rules = (1..).zip(rules).map(|(number, rule)| {
        let RuleRecord { name, matches, action, log, slot: _, setting: _, carried } = rule;
        RuleReport { number, name, matches, action, log, hits: hits(carried, counts.next()) }
    });
    let rules = rules.collect();
    let events = events.into();
    Ok(Some(PolicyReport { generation, established, default, rules, events, memory_bytes }))
}
