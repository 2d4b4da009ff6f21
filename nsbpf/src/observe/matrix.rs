//! Everybody to everybody: who answers whose pings.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::reach::{Probe, Reach, ReachError, Seen};
use crate::lab::{Bridge, Lab, Namespace, Trial, Way};

/// How long an answer may take. Shorter than for what a lab expects: with many
/// pairs that do not reach each other, this is what is waited for. Long enough
/// for two more questions who has an address (`retrans_time_ms`, a second each).
const PATIENCE: Duration = Duration::from_millis(2500);
/// Namespaces whose pairs are tried together: 16 by 16 are 256 pairs and only 32
/// namespaces, whose neighbour tables are looked at between.
const BLOCK: usize = 16;

/// Pairs that are pinged without a sample being wished for at most. In a lab of
/// 1,000 namespaces 5,000 took 37 s; all of them would take two hours.
pub const MAX_PAIRS: usize = 10_000;

/// Who answers whose pings.
#[derive(Clone, Debug, Serialize)]
pub struct MatrixReport {
    /// Namespaces that have an address, in the order of the lab.
    pub namespaces: Vec<String>,
    /// Pairs that have addresses of a common family, each in both directions.
    pub pairs: usize,
    /// Pairs that were tried; fewer than there are only when a sample was wished.
    pub tried: usize,
    /// Pairs where every address answers.
    pub ok: usize,
    /// Pairs where some addresses answer.
    pub partial: usize,
    /// Pairs where no address answers.
    pub no: usize,
    /// A row for each that asks, a cell in it for each that is to answer; `None`
    /// for what was not tried.
    pub cells: Vec<Vec<Option<Cell>>>,
    /// Pairs that are not all well.
    pub failures: Vec<PairReport>,
}

/// What came of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    /// Every address answers.
    Ok,
    /// Some do.
    Partial,
    /// None does.
    No,
}

/// A pair that is not all well.
#[derive(Clone, Debug, Serialize)]
pub struct PairReport {
    /// Who asked.
    pub from: String,
    /// Who was to answer.
    pub to: String,
    /// The addresses that did not.
    pub silent: Vec<SilentReport>,
}

/// An address that did not answer.
#[derive(Clone, Debug, Serialize)]
pub struct SilentReport {
    /// Which.
    pub address: IpAddr,
    /// What was seen.
    pub seen: String,
}

/// How many pairs there are to ping.
#[must_use]
pub fn count(lab: &Lab) -> usize {
    pairs(&members(lab), &lab.bridges).len()
}

/// Namespaces that have an address.
fn members(lab: &Lab) -> Vec<&Namespace> {
    lab.namespaces.iter().filter(|namespace| namespace.ips(&lab.bridges).next().is_some()).collect()
}

/// Pings all pairs, or `sample` of them, evenly chosen. `progress` is told how
/// many addresses are done, and of how many.
pub async fn ping_all(
    reach: &Reach,
    lab: &Lab,
    sample: Option<usize>,
    mut progress: impl FnMut(usize, usize),
) -> Result<MatrixReport, ReachError> {
    let members = members(lab);
    let every = pairs(&members, &lab.bridges);
    let count = every.len();
    let tried = evenly(every, sample.unwrap_or(usize::MAX));
    let mut probes = Vec::new();
    let mut sizes = Vec::new();
    for (from, to) in &tried {
        let targets = targets(members[*from], members[*to], &lab.bridges);
        sizes.push(targets.len());
        probes.extend(targets.into_iter().map(|address| Probe {
            trial: Trial {
                from: members[*from].name.clone(),
                to: Some(members[*to].name.clone()),
                address,
            },
            way: Way::Ping,
            patience: PATIENCE,
        }));
    }
    let all = probes.len();
    let seen = reach.probe(&probes, |done| progress(done, all)).await?;
    let mut results = probes.iter().zip(seen);
    let mut report = MatrixReport {
        namespaces: members.iter().map(|namespace| namespace.name.to_string()).collect(),
        pairs: count,
        tried: tried.len(),
        ok: 0,
        partial: 0,
        no: 0,
        cells: vec![vec![None; members.len()]; members.len()],
        failures: Vec::new(),
    };
    for ((from, to), size) in tried.into_iter().zip(sizes) {
        let silent: Vec<SilentReport> = results
            .by_ref()
            .take(size)
            .filter(|(_, seen)| *seen != Seen::Answer)
            .map(|(probe, seen)| SilentReport {
                address: probe.trial.address,
                seen: seen.to_string(),
            })
            .collect();
        let (cell, count) = match silent.len() {
            0 => (Cell::Ok, &mut report.ok),
            some if some < size => (Cell::Partial, &mut report.partial),
            _ => (Cell::No, &mut report.no),
        };
        *count += 1;
        report.cells[from][to] = Some(cell);
        if cell != Cell::Ok {
            let (from, to) = (members[from].name.to_string(), members[to].name.to_string());
            report.failures.push(PairReport { from, to, silent });
        }
    }
    Ok(report)
}

/// Addresses of the one that the other can speak to.
fn targets(from: &Namespace, to: &Namespace, bridges: &[Bridge]) -> Vec<IpAddr> {
    let (ipv4, ipv6) = from.families(bridges);
    to.ips(bridges).filter(|ip| if ip.is_ipv4() { ipv4 } else { ipv6 }).collect()
}

/// All pairs that have something to say to each other, block after block.
fn pairs(members: &[&Namespace], bridges: &[Bridge]) -> Vec<(usize, usize)> {
    let families: Vec<(bool, bool)> =
        members.iter().map(|member| member.families(bridges)).collect();
    let speak = |one: usize, other: usize| {
        (families[one].0 && families[other].0) || (families[one].1 && families[other].1)
    };
    let blocks = || (0..members.len()).step_by(BLOCK);
    let block = |start: usize| start..members.len().min(start + BLOCK);
    let mut pairs = Vec::new();
    for (rows, columns) in blocks().flat_map(|row| blocks().map(move |column| (row, column))) {
        for (from, to) in block(rows).flat_map(|from| block(columns).map(move |to| (from, to))) {
            if from != to && speak(from, to) {
                pairs.push((from, to));
            }
        }
    }
    pairs
}

/// So many of them at most, at equal distances.
fn evenly<T>(all: Vec<T>, wanted: usize) -> Vec<T> {
    let count = all.len();
    if count <= wanted {
        return all;
    }
    // An odd number is taken whenever the running sum passes a whole.
    let mut sum = 0;
    all.into_iter()
        .filter(|_| {
            sum += wanted;
            let taken = sum >= count;
            sum -= if taken { count } else { 0 };
            taken
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_evenly() {
        assert_eq!(evenly((1..=9).collect(), 3), [3, 6, 9]);
        assert_eq!(evenly((1..=9).collect(), 100).len(), 9);
        for wanted in 0..=100 {
            assert_eq!(evenly((0..100).collect(), wanted).len(), wanted);
        }
    }

    #[test]
    fn every_pair_is_there_once() {
        use std::fmt::Write as _;
        let mut source = "name: a\nbridges: { br0: {} }\nnamespaces:\n".to_owned();
        for number in 1..=40 {
            writeln!(source, "  n{number}: {{ interfaces: {{ e: {{ bridge: br0, addresses: [10.0.0.{number}/24] }} }} }}").unwrap();
        }
        // Speaks to nobody.
        source
            .push_str("  six: { interfaces: { e: { bridge: br0, addresses: ['fd00::1/64'] } } }\n");
        let lab = Lab::parse(&source, "lab.yaml").unwrap();
        let members: Vec<&Namespace> = lab.namespaces.iter().collect();
        let mut found = pairs(&members, &lab.bridges);
        assert_eq!(found.len(), 40 * 39);
        // A chunk of probes is between few namespaces.
        let mut first: Vec<usize> = found[..200].iter().map(|(_, to)| *to).collect();
        first.sort_unstable();
        assert!(first.iter().all(|to| *to < BLOCK));
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 40 * 39);
    }
}
