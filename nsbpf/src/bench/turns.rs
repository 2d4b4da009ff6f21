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
    /// Why there are no more rounds of it.
    pub(super) failed: Option<String>,
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
/// does not count. A path that fails has no more rounds, and the others go on.
pub(super) fn take(
    experiment: Experiment,
    testbeds: &mut [Testbed],
    on: Processors,
    options: &Options,
    tell: Tell<'_>,
) -> Measured {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for testbed in testbeds {
        if experiment.modes.iter().any(|wanted| wanted.name == testbed.mode.name) {
            let mut path = Path::new(testbed.mode);
            let traffic = path.note(experiment.begin(testbed, on));
            turns.push(Turn { testbed, traffic, path });
        }
    }
    let title = experiment.title(on);
    let mut sure = false;
    for number in 0..=experiment.rounds {
        tell(Progress { what: &title, round: number, rounds: experiment.rounds });
        let turn = |turn: &mut Turn<'_>| turn.take(number, options, &title);
        // Who goes first, and behind whom, is not to matter.
        if number % 2 == 0 {
            turns.iter_mut().for_each(turn);
        } else {
            turns.iter_mut().rev().for_each(turn);
        }
        let paths: Vec<&Path> = turns.iter().map(|turn| &turn.path).collect();
        sure = number >= LEAST && is_sure(&paths, options.within);
        if sure {
            break;
        }
    }
    let paths = turns.into_iter().map(Turn::end).collect();
    Measured { experiment, paths, sure }
}

/// A path, and what is sent over it.
struct Turn<'a> {
    testbed: &'a mut Testbed,
    /// `None` once it has failed.
    traffic: Option<Box<dyn Traffic>>,
    path: Path,
}

impl Turn<'_> {
    /// Round 0 does not count.
    fn take(&mut self, number: u8, options: &Options, title: &str) {
        let Some(traffic) = &mut self.traffic else { return };
        let testbed = &mut *self.testbed;
        let mut round = || {
            if !testbed.prepare()? {
                return Ok(None);
            }
            let before = losses::look(testbed)?;
            let round = traffic.round(testbed, options.round)?;
            let lost = losses::since(losses::look(testbed)?, &before);
            log::info!("{title}, {}: {round:?}, {lost:?}", testbed.mode.name);
            Ok(Some((round, lost)))
        };
        let found = round();
        let found = testbed.rest().and(found);
        match self.path.note(found) {
            Some(Some((round, lost))) if number > 0 => self.path.add(round, lost),
            Some(_) => {}
            None => self.traffic = None,
        }
    }

    fn end(self) -> Path {
        let Self { testbed, traffic, mut path } = self;
        if let Some(traffic) = traffic {
            path.note(traffic.end(testbed));
        }
        path
    }
}

impl Path {
    pub(super) fn new(mode: &'static Mode) -> Self {
        Self { mode, rounds: Vec::new(), failed: None, losses: Losses::new(), cpu: None }
    }

    /// What was found, or else why not.
    fn note<T>(&mut self, found: Result<T, BenchError>) -> Option<T> {
        match found {
            Ok(found) => Some(found),
            Err(error) => {
                self.failed.get_or_insert_with(|| error.to_string());
                None
            }
        }
    }

    /// Whether it is there, and no round of it counts.
    pub(super) fn is_broken(&self) -> bool {
        self.failed.is_some() || !self.rounds.is_empty() && !self.rounds.iter().any(Round::counts)
    }

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

/// Whether the ratio of each path to the bridge, to the wire, and to what else there are
/// targets of, is known to a share of
/// it, so far as rounds can tell. A path alone is told by itself.
fn is_sure(paths: &[&Path], within: f64) -> bool {
    let is_there = |path: &&&Path| path.failed.is_none() && !path.rounds.is_empty();
    let there: Vec<&Path> = paths.iter().filter(is_there).copied().collect();
    let references: Vec<&Path> =
        [BRIDGE, WIRE].into_iter().filter_map(|mode| path_of(&there, mode)).collect();
    let is_known = |summary: Option<Summary>| {
        summary.and_then(|it| it.uncertainty()).is_some_and(|uncertainty| uncertainty <= within)
    };
    let is_path_known = |path: &&Path| {
        let aims = path.mode.targets.iter().filter_map(|target| path_of(&there, target.of));
        let others = references.iter().copied().chain(aims);
        let others = others.filter(|other| other.mode.name != path.mode.name);
        let mut ratios = others.map(|other| path.ratio(other, 0)).peekable();
        if ratios.peek().is_none() {
            let values = path.rounds.iter().filter_map(|round| round.value(0));
            return there.len() > 1 || is_known(Summary::of(values.collect()));
        }
        ratios.all(is_known)
    };
    there.iter().all(is_path_known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::mode::MODES;

    fn path(name: &str, rates: &[f64]) -> Path {
        let mode = MODES.iter().find(|mode| mode.name == name).unwrap();
        Path { rounds: rates.iter().copied().map(Round::of_rate).collect(), ..Path::new(mode) }
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
        let wire = path("wire", &[9.0, 1.0, 7.0, 3.0, 5.0, 2.0]);
        assert!(!is_sure(&[&wire, &bridge, &steady], 0.01), "nothing is known of the wire");
        let dead = path("redirect", &[0.0; 6]);
        assert!(!is_sure(&[&bridge, &steady, &dead], 0.01), "nothing is known of it");
        assert!(dead.is_broken() && !steady.is_broken());
        let failed = Path { failed: Some("no way".to_owned()), ..path("redirect", &[]) };
        assert!(failed.is_broken() && is_sure(&[&bridge, &steady, &failed], 0.01));
    }
}
