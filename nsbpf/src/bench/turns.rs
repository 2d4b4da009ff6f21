//! Rounds of all paths in turns: whatever else the machine does hits all alike, and a
//! ratio is one of two rounds that followed each other. There are as many as it takes to
//! be sure, up to a limit.

use super::cpu::CpuTime;
use super::experiment::Experiment;
use super::losses::{self, Losses};
use super::mode::{BRIDGE, Mode, WIRE};
use super::processor::Processors;
use super::progress::{Progress, Tell};
use super::statistics::Summary;
use super::testbed::Testbed;
use super::traffic::{Round, Traffic};
use super::{BenchError, Options};

/// Rounds at least: with fewer nothing is sure.
pub(super) const LEAST: u8 = 6;

/// All rounds of a path.
pub(super) struct Path {
    pub(super) mode: &'static Mode,
    /// Empty where there is no such path.
    pub(super) rounds: Vec<Round>,
    /// What was lost in all rounds that count or not, and where.
    pub(super) losses: Losses,
    /// What the processors did in all rounds that count, where that is known.
    pub(super) cpu: Option<CpuTime>,
}

/// What an experiment found.
pub(super) struct Measured {
    pub(super) experiment: Experiment,
    pub(super) paths: Vec<Path>,
    /// Whether all ratios are sure enough.
    pub(super) sure: bool,
}

/// Measures an experiment on testbeds that are up. The first round warms caches up and
/// does not count.
pub(super) fn take(
    experiment: Experiment,
    testbeds: &mut [Testbed],
    on: Processors,
    options: &Options,
    tell: Tell<'_>,
) -> Result<Measured, BenchError> {
    let mut turns: Vec<(usize, Box<dyn Traffic>, Path)> = Vec::new();
    for (turn, testbed) in testbeds.iter_mut().enumerate() {
        let mode = testbed.mode;
        if experiment.modes.iter().any(|wanted| wanted.name == mode.name) {
            let path = Path { mode, rounds: Vec::new(), losses: Losses::new(), cpu: None };
            turns.push((turn, experiment.begin(testbed, on)?, path));
        }
    }
    let title = experiment.title();
    let mut sure = false;
    for number in 0..=experiment.rounds {
        if sure {
            break;
        }
        tell(Progress { what: &title, round: number, rounds: experiment.rounds });
        for (turn, traffic, path) in &mut turns {
            let testbed = &mut testbeds[*turn];
            if !testbed.prepare()? {
                continue;
            }
            let before = losses::look(testbed)?;
            let round = traffic.round(testbed, options.round)?;
            let lost = losses::since(losses::look(testbed)?, &before);
            log::info!("{title}, {}: {round:?}, {lost:?}", path.mode.name);
            if number > 0 {
                path.add(round, lost);
            }
        }
        let paths: Vec<&Path> = turns.iter().map(|(_, _, path)| path).collect();
        sure = number >= LEAST && is_sure(&paths, options.within);
    }
    let end = |(turn, traffic, path): (usize, Box<dyn Traffic>, Path)| {
        traffic.end(&testbeds[turn]).map(|()| path)
    };
    let paths = turns.into_iter().map(end).collect::<Result<_, _>>()?;
    Ok(Measured { experiment, paths, sure })
}

impl Path {
    fn add(&mut self, round: Round, lost: Losses) {
        if let Some(cpu) = round.cpu.filter(|_| round.counts()) {
            *self.cpu.get_or_insert_default() += cpu;
        }
        for (place, count) in lost {
            *self.losses.entry(place).or_default() += count;
        }
        self.rounds.push(round);
    }

    /// A metric as a ratio to what it is on another path, round by round. Rounds that do
    /// not count, on either side, are left out.
    pub(super) fn ratio(&self, other: &Self, metric: usize) -> Option<Summary> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        let ratio =
            |(round, other): (&Round, &Round)| Some(round.value(metric)? / other.value(metric)?);
        Summary::of(pairs.filter_map(ratio).collect())
    }
}

/// A path by its mode.
pub(super) fn path_of<'a>(paths: &[&'a Path], mode: &str) -> Option<&'a Path> {
    paths.iter().find(|path| path.mode.name == mode).copied()
}

/// Whether the ratio of each path to the bridge, or else to the wire, is known to a share
/// of it, so far as rounds can tell.
fn is_sure(paths: &[&Path], within: f64) -> bool {
    let reference = path_of(paths, BRIDGE).or_else(|| path_of(paths, WIRE));
    paths.iter().all(|path| {
        let summary = match reference {
            Some(reference) if reference.mode.name != path.mode.name => path.ratio(reference, 0),
            Some(_) if paths.len() > 1 => return true,
            _ => Summary::of(path.rounds.iter().filter_map(|round| round.value(0)).collect()),
        };
        match summary.as_ref().map(Summary::uncertainty) {
            Some(uncertainty) => uncertainty.is_some_and(|uncertainty| uncertainty <= within),
            // There is no such path, or all it does is lose packets.
            None => path.rounds.len() != 1,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::mode::MODES;

    fn path(name: &str, rates: &[f64]) -> Path {
        let mode = MODES.iter().find(|mode| mode.name == name).unwrap();
        let round = |rate: &f64| {
            let delivered = if *rate == 0.0 { 0 } else { 1000 };
            Round { sent: 1000, delivered, values: vec![*rate], cpu: None }
        };
        let rounds = rates.iter().map(round).collect();
        Path { mode, rounds, losses: Losses::new(), cpu: None }
    }

    #[test]
    fn a_ratio_is_of_two_rounds_that_both_count() {
        let ratio = path("peer", &[999.0, 0.0, 1000.0]);
        let ratio = ratio.ratio(&path("bridge", &[999.0, 1000.0, 500.0]), 0).unwrap();
        assert_eq!(ratio.samples, [1.0, 2.0]);
        assert_eq!(path("peer", &[0.0]).ratio(&path("bridge", &[5.0]), 0), None);
    }

    #[test]
    fn it_is_over_when_all_ratios_are_sure() {
        let bridge = path("bridge", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let steady = path("peer", &[2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
        let shaky = path("xdp", &[2.0, 5.0, 6.0, 9.0, 9.0, 16.0]);
        assert!(is_sure(&[&bridge, &steady], 0.01), "the machine may drift, ratios do not");
        assert!(!is_sure(&[&bridge, &steady, &shaky], 0.01));
        assert!(is_sure(&[&bridge, &shaky], 0.5));
        assert!(!is_sure(&[&bridge], 0.01), "a path alone is told by its rate");
        let few = [path("bridge", &[1.0; 5]), path("peer", &[1.0; 5])];
        assert!(!is_sure(&[&few[0], &few[1]], 0.01));
        let dead = path("redirect", &[0.0; 6]);
        assert!(is_sure(&[&bridge, &steady, &dead], 0.01), "more rounds would not help");
    }
}
