//! What a report's figures depend on, as text.

use std::fmt;

use super::{Interface, Report};
use crate::bench::environment::{Environment, Noise};

/// Those of a report.
pub(super) struct Conditions<'a>(pub(super) &'a Report);

impl fmt::Display for Conditions<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        let Report { environment, noise, round_seconds, within, processors: on, .. } = report;
        let Environment {
            kernel,
            processors: count,
            processor: model,
            load,
            governor,
            clock,
            measures_programs,
            mitigations,
            nsbpf,
            object,
        } = environment;
        let object = object.get(..12).unwrap_or(object);
        let Noise { stolen, spread } = noise;
        write!(
            formatter,
            "nsbpf {nsbpf}, object {object}; Linux {kernel}; {count} × {model}, all on \
             number {}{}; frequency governor: {}; clock: {}; mitigations of: {}{}\n\n\
             Rounds of {round_seconds} s, until each ratio is known to ±{:.1} %, 95 of 100 \
             times, or there were as many as are allowed. Load before: {load}; stolen by the \
             host: {:.1} %; middle half of the bridge's rates: {}",
            on.one,
            on.other
                .map(|other| {
                    let core = if on.siblings { ", of the same core" } else { "" };
                    format!(" (both ends on two: {other} too{core})")
                })
                .unwrap_or_default(),
            governor.as_deref().unwrap_or("none"),
            clock.as_deref().unwrap_or("not known"),
            if mitigations.is_empty() { "nothing".to_owned() } else { mitigations.join(", ") },
            if *measures_programs {
                "; kernel.bpf_stats_enabled is on, which slows programs"
            } else {
                ""
            },
            within * 100.0,
            stolen * 100.0,
            spread.map_or("not known".to_owned(), |spread| format!("{:.1} % wide", spread * 100.0)),
        )?;
        if let Some(rules) = report.policy {
            write!(formatter, "\n\nPaths that track flows have a policy of {rules} rules.")?;
        }
        if report.interfaces.is_empty() {
            return Ok(());
        }
        write!(formatter, "\n\nSenders' interfaces:")?;
        for (number, (Interface { mtu, offloads, .. }, modes)) in
            kinds(&report.interfaces).iter().enumerate()
        {
            let end = if number == 0 { "" } else { ";" };
            let offloads = match offloads.as_slice() {
                [] => "no offloads".to_owned(),
                names => names.join(", "),
            };
            write!(formatter, "{end} MTU {mtu}, {offloads} ({})", modes.join(", "))?;
        }
        Ok(())
    }
}

/// Interfaces that are alike, and the paths that have one of those.
fn kinds(interfaces: &[Interface]) -> Vec<(&Interface, Vec<&str>)> {
    let mut kinds: Vec<(&Interface, Vec<&str>)> = Vec::new();
    for interface in interfaces {
        let Interface { mode, mtu, offloads } = interface;
        let same = |(other, _): &&mut (&Interface, Vec<&str>)| {
            (other.mtu, &other.offloads) == (*mtu, offloads)
        };
        match kinds.iter_mut().find(same) {
            Some((_, names)) if names.contains(mode) => {}
            Some((_, names)) => names.push(mode),
            None => kinds.push((interface, vec![mode])),
        }
    }
    kinds
}
