//! Putting a policy in force, and letting go of one.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use nsbpf_common::policy::{RuleSetting, RuleStats};

use super::{Executor, failed, impossible};
use crate::apply::{ApplyError, Cause};
use crate::datapath::{self, Draft, InForce, Placing};
use crate::net::in_flight;
use crate::plan::Step;
use crate::policy::{Shadowed, Source};
use crate::state::{Datapath, Key, Object, Policy};
use crate::store::{Carried, PolicyRecord, RuleRecord, SettingRecord, Store};

/// What became of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySwap {
    /// Its generation.
    pub generation: u64,
    /// Rules that were not there before, by their names.
    pub added: usize,
    /// Rules that are there no more.
    pub gone: usize,
    /// Rules that were there before, and whose counters go on.
    pub stayed: usize,
    /// What its rules will not do, a sentence for each.
    pub warnings: Vec<String>,
    /// Time to make its tables.
    pub compiled_in: Duration,
    /// Time from there until every packet was judged by it.
    pub swapped_in: Duration,
}

impl fmt::Display for PolicySwap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, added, gone, stayed, warnings: _, compiled_in, swapped_in } = self;
        write!(
            formatter,
            "policy {generation} is in force: {added} rules added, {gone} gone, {stayed} stayed \
             (compiled in {} ms, swapped in {} ms)",
            compiled_in.as_millis(),
            swapped_in.as_millis()
        )
    }
}

impl Executor<'_> {
    /// Puts a policy in force: compiled, or one that was a moment ago.
    pub(super) fn put_policy(&mut self, step: &Step, to: &Policy) -> Result<(), ApplyError> {
        let Some(datapath) = self.datapath.clone() else {
            return Err(impossible(step, "no programs are loaded"));
        };
        let start = Instant::now();
        // Somebody who was killed may have put one in force a moment ago.
        in_flight::wait();
        let put = match &to.source {
            Some(source) => self.place(&datapath, source),
            None => self.place_again(&datapath, to.digest),
        };
        let swap = put.map_err(|cause| failed(step, cause))?;
        in_flight::wait();
        let compiled_in = to.source.as_ref().map_or(Duration::ZERO, |source| source.took());
        let swapped_in = start.elapsed();
        self.swap = Some(PolicySwap { compiled_in, swapped_in, ..swap });
        Ok(())
    }

    fn place(&self, datapath: &Datapath, source: &Source) -> Result<PolicySwap, Cause> {
        let store = self.store;
        let before = self.datapath_before();
        let previous = before.map_or(Ok(None), |before| record_before(store, before))?;
        let on_its_way = record_in_force(store, datapath)?;
        let had_rules = previous.as_ref().map_or(&[][..], |previous| &previous.rules);
        let mut had: HashMap<&str, u32> =
            had_rules.iter().map(|rule| (rule.name.as_str(), rule.slot)).collect();
        let names: Vec<&str> = source.policy.rules.iter().map(|rule| rule.name.as_str()).collect();
        let stayed = names.iter().filter(|name| had.contains_key(*name)).count();
        let (added, gone) = (names.len() - stayed, had.len() - stayed);
        let keeps_counters = before.is_some_and(|before| !moves_counters(before, datapath));
        if !keeps_counters {
            had.clear();
        }
        let records = previous.iter().filter(|_| keeps_counters).chain(&on_its_way);
        let taken: HashSet<u32> =
            records.flat_map(|record| &record.rules).map(|rule| rule.slot).collect();
        let last = store.last_policy_generation()?;
        let after = previous.as_ref().map_or(last, |previous| last.max(previous.generation));
        let draft = Draft::new(store, datapath, &names, &had, &taken, after)?;
        let settings = source.settings();
        let carried = previous.as_ref().filter(|_| keeps_counters);
        store.write_policy_record(&record(source, &draft, &settings, carried))?;
        let ruleset = source.compiled().map_err(std::io::Error::other)?;
        draft.write(&Placing {
            compiled: &ruleset.compiled,
            default: source.policy.default.action(),
            established: source.policy.established,
            about_arp: ruleset.about_arp,
            about_discovery: ruleset.about_discovery,
            settings: &settings,
            digest: source.digest(),
        })?;
        draft.flip()?;
        draft.settle(&settings)?;
        let warnings = warnings(source, &ruleset.shadowed);
        let swap = PolicySwap {
            generation: draft.generation(),
            added,
            gone,
            stayed,
            warnings,
            ..PolicySwap::default()
        };
        Ok(swap)
    }

    /// One that another took the place of: its tables are in the other half.
    fn place_again(&self, datapath: &Datapath, digest: [u8; 16]) -> Result<PolicySwap, Cause> {
        let store = self.store;
        let last = store.last_policy_generation()?;
        for generation in store.policy_generations()? {
            let record = store.policy_record(generation)?.filter(|record| record.digest == digest);
            let Some(record) = record else { continue };
            let slots = std::iter::once(0).chain(record.rules.iter().map(|rule| rule.slot));
            let was = (generation, digest);
            let Some(draft) = Draft::again(store, datapath, was, slots.collect(), last)? else {
                continue;
            };
            let generation = draft.generation();
            let settings: Vec<RuleSetting> =
                record.rules.iter().map(|rule| setting_of(&rule.setting)).collect();
            let stayed = settings.len();
            store.write_policy_record(&PolicyRecord { generation, ..record })?;
            draft.flip()?;
            draft.settle(&settings)?;
            return Ok(PolicySwap { generation, stayed, ..PolicySwap::default() });
        }
        Err(std::io::Error::other("the policy that was in force is not in the kernel any more")
            .into())
    }

    pub(super) fn suspend_policy(&mut self, step: &Step) -> Result<(), ApplyError> {
        match self.datapath_before() {
            Some(datapath) => {
                datapath::suspend(self.store, datapath).map_err(|error| failed(step, error))
            }
            None => Ok(()),
        }
    }

    /// The datapath whose counters go on.
    fn datapath_before(&self) -> Option<&Datapath> {
        match self.state.objects.get(&Key::Datapath) {
            Some(Object::Datapath(datapath)) if !self.fresh_maps => Some(datapath),
            _ => None,
        }
    }

    /// Where rules have other counters now: what they counted until now is written down.
    /// Programs that count in the old ones are at no hook any more.
    pub(super) fn carry_counters(&self) -> Result<(), ApplyError> {
        let (Some(before), Some(datapath)) = (self.datapath_before(), &self.datapath) else {
            return Ok(());
        };
        if before.policy.is_none() || !moves_counters(before, datapath) {
            return Ok(());
        }
        in_flight::wait();
        carry(self.store, before, datapath).map_err(|cause| ApplyError::Step {
            verb: "change",
            key: Key::Policy,
            source: Box::new(cause),
        })
    }
}

/// A sentence for each rule that no packet reaches.
fn warnings(source: &Source, shadowed: &[Shadowed]) -> Vec<String> {
    /// Rules that are named each for itself, and that one is told to be behind, at most.
    const SHOWN: usize = 10;
    let name = |rule: &usize| {
        let rules = source.policy.rules.get(*rule);
        rules.map_or_else(String::new, |rule| format!("`{}`", rule.name))
    };
    let mut warnings: Vec<String> = shadowed
        .iter()
        .take(SHOWN)
        .map(|Shadowed { rule, by }| {
            let others: Vec<String> = by.iter().take(SHOWN).map(name).collect();
            match others.as_slice() {
                [] => format!("no packet can be what the rule {} asks", name(rule)),
                others => format!(
                    "the rule {} is never reached: {} decided before it",
                    name(rule),
                    others.join(", ")
                ),
            }
        })
        .collect();
    let more = shadowed.len().saturating_sub(SHOWN);
    if more > 0 {
        warnings.push(format!("and {more} more rules are never reached"));
    }
    warnings
}

fn moves_counters(before: &Datapath, datapath: &Datapath) -> bool {
    let slots = |datapath: &Datapath| datapath.policy.map(|room| room.slots);
    slots(before) != slots(datapath)
}

fn carry(store: &Store, before: &Datapath, datapath: &Datapath) -> Result<(), Cause> {
    let Some(mut record) = record_in_force(store, datapath)? else { return Ok(()) };
    let Some(previous) = record_before(store, before)? else { return Ok(()) };
    let slots = std::iter::once(0).chain(previous.rules.iter().map(|rule| rule.slot));
    let mut counts = datapath::rule_counts(store, before, slots)?.rules.into_iter();
    record.default_carried = sum(previous.default_carried, counts.next().unwrap_or_default());
    let rules = previous.rules.iter().zip(counts);
    let totals: HashMap<&str, Carried> =
        rules.map(|(rule, counted)| (rule.name.as_str(), sum(rule.carried, counted))).collect();
    for rule in &mut record.rules {
        rule.carried = totals.get(rule.name.as_str()).copied().unwrap_or_default();
    }
    Ok(store.write_policy_record(&record)?)
}

fn sum(carried: Carried, counted: RuleStats) -> Carried {
    let RuleStats { packets, bytes, tick: _, last_seen_ns } = counted;
    Carried {
        packets: carried.packets.wrapping_add(packets),
        bytes: carried.bytes.wrapping_add(bytes),
        last_seen_ns: carried.last_seen_ns.max(last_seen_ns),
    }
}

/// What is written down of what is in force; `None` if nothing is, or nothing is known.
fn record_in_force(store: &Store, datapath: &Datapath) -> Result<Option<PolicyRecord>, Cause> {
    let Some(InForce { generation, digest }) = datapath::in_force(store, datapath)? else {
        return Ok(None);
    };
    let record = store.policy_record(generation)?;
    Ok(record.filter(|record| record.digest == digest))
}

/// The same of a datapath whose maps somebody may have taken away.
fn record_before(store: &Store, before: &Datapath) -> Result<Option<PolicyRecord>, Cause> {
    match record_in_force(store, before) {
        Err(_) if !before.settled => Ok(None),
        record => record,
    }
}

fn record(
    source: &Source,
    draft: &Draft<'_>,
    settings: &[RuleSetting],
    previous: Option<&PolicyRecord>,
) -> PolicyRecord {
    let had: HashMap<&str, Carried> = previous
        .into_iter()
        .flat_map(|record| &record.rules)
        .map(|rule| (rule.name.as_str(), rule.carried))
        .collect();
    let rules = source.policy.rules.iter().zip(draft.slots().iter().skip(1).zip(settings));
    let rules = rules.map(|(rule, (slot, setting))| RuleRecord {
        name: rule.name.to_string(),
        matches: rule.matches.to_string(),
        action: rule.action.to_string(),
        log: rule.log,
        slot: *slot,
        setting: recorded(setting),
        carried: had.get(rule.name.as_str()).copied().unwrap_or_default(),
    });
    PolicyRecord {
        generation: draft.generation(),
        digest: source.digest(),
        default: source.policy.default.action().name().to_owned(),
        established: source.policy.established,
        default_carried: previous.map(|record| record.default_carried).unwrap_or_default(),
        rules_file: source.rules_file.clone(),
        rules: rules.collect(),
    }
}

fn recorded(setting: &RuleSetting) -> SettingRecord {
    let RuleSetting { due_ns: _, interval, burst_ns, counts_bits, log_one_of } = *setting;
    SettingRecord { interval, burst_ns, counts_bits, log_one_of }
}

fn setting_of(record: &SettingRecord) -> RuleSetting {
    let SettingRecord { interval, burst_ns, counts_bits, log_one_of } = *record;
    RuleSetting { due_ns: 0, interval, burst_ns, counts_bits, log_one_of }
}
