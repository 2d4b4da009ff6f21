//! What a lab expects of itself, against what is seen.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::reach::{Probe, Reach, ReachError, Seen};
use crate::lab::{Expectation, Lab, Trial, Way};

/// How long an answer that must come may take: bridges learn, neighbours
/// resolve.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it is tried to reach who must not be reached.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// What came of an expectation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExpectationReport {
    /// Who begins, as the lab says it.
    pub from: String,
    /// Who is to answer.
    pub to: String,
    /// By what: `ping`, `tcp 80`, `udp 53`.
    pub way: String,
    /// Whether it must be reached.
    pub reach: bool,
    /// Why so, in the words of the lab's author.
    pub because: Option<String>,
    /// Whether it is so.
    pub met: bool,
    /// How many addresses were tried, each from each namespace.
    pub tried: usize,
    /// Those that are not as expected.
    pub failures: Vec<FailureReport>,
}

/// What is not as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureReport {
    /// From which namespace.
    pub from: String,
    /// To which namespace; `None` for an address outside the lab.
    pub to: Option<String>,
    /// To which address.
    pub address: IpAddr,
    /// What was seen.
    pub seen: String,
    /// Where to look for the cause.
    pub hint: Option<String>,
}

/// Tries all that the lab expects, all of it at the same time. `progress` is told
/// how many trials are done, and of how many.
///
/// # Errors
/// Only when nothing can be tried; that something is not as expected is no error.
pub async fn check(
    reach: &Reach,
    lab: &Lab,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<ExpectationReport>, ReachError> {
    let mut probes = Vec::new();
    let mut counts = Vec::new();
    for expectation in &lab.expect {
        let before = probes.len();
        probes.extend(expectation.trials(lab).map(|trial| Probe {
            trial,
            way: expectation.way,
            patience: if expectation.reach { PATIENCE } else { SHORT_PATIENCE },
        }));
        counts.push(probes.len() - before);
    }
    let all = probes.len();
    let seen = reach.probe(&probes, |done| progress(done, all)).await?;
    let mut results = probes.into_iter().zip(seen);
    let mut reports = Vec::new();
    for (expectation, tried) in lab.expect.iter().zip(counts) {
        let results = results.by_ref().take(tried);
        let failures: Vec<FailureReport> = results
            .filter(|(_, seen)| !seen.is_expected(expectation.reach))
            .map(|(probe, seen)| failure(&probe.trial, expectation, &seen))
            .collect();
        let Expectation { from, to, way, reach, because } = expectation;
        reports.push(ExpectationReport {
            from: from.to_string(),
            to: to.to_string(),
            way: way.to_string(),
            reach: *reach,
            because: because.clone(),
            met: failures.is_empty(),
            tried,
            failures,
        });
    }
    Ok(reports)
}

/// Whether the lab expects that this ping does not get through.
#[must_use]
pub fn expects_silence(lab: &Lab, ping: &Trial) -> bool {
    let silent =
        lab.expect.iter().filter(|expectation| !expectation.reach && expectation.way == Way::Ping);
    silent.flat_map(|expectation| expectation.trials(lab)).any(|trial| trial == *ping)
}

fn failure(trial: &Trial, expectation: &Expectation, seen: &Seen) -> FailureReport {
    let Trial { from, to, address } = trial;
    let hint = match seen {
        _ if !expectation.reach => None,
        Seen::NoRoute => Some(format!("`ip -netns {from} route get {address}`")),
        Seen::Silence(_) => {
            Some("does a firewall drop it, here or on this host? See `nsbpf doctor`".to_owned())
        }
        Seen::NobodyListens => Some("start a server there".to_owned()),
        _ => None,
    };
    FailureReport {
        from: from.to_string(),
        to: to.as_ref().map(ToString::to_string),
        address: *address,
        seen: seen.to_string(),
        hint,
    }
}
