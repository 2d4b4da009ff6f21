//! Rounds of all paths, in turns: whatever else the machine does hits all alike, and
//! a ratio is one of two rounds that followed each other.

use super::arrivals::{ENDS, End};
use super::injector::Injector;
use super::mode::{MODES, Mode, Target};
use super::testbed::Testbed;
use super::traffic::{self, Round};
use super::{BenchError, Options};
use crate::datapath::Sink;

/// All rounds of a path.
pub(super) struct Path {
    pub(super) mode: &'static str,
    pub(super) targets: &'static [Target],
    pub(super) end: End,
    /// Empty where this kernel has no such path.
    pub(super) rounds: Vec<Round>,
}

/// Brings all labs up, measures, and takes them down. The first round warms caches
/// up and does not count.
pub(super) fn measure(options: &Options, tell: &dyn Fn(&str)) -> Result<Vec<Path>, BenchError> {
    let is_wanted = |mode: &&Mode| options.modes.iter().any(|name| name == mode.name);
    let modes: Vec<&'static Mode> = MODES.iter().filter(is_wanted).collect();
    let testbed = |(number, mode): (usize, &&'static Mode)| {
        let mut testbed = Testbed::new(mode, number)?;
        let injector = Injector::new(&mut testbed, options.flows)?;
        Ok::<_, BenchError>((testbed, injector))
    };
    let mut testbeds: Vec<(Testbed, Injector)> =
        modes.iter().enumerate().map(testbed).collect::<Result<_, _>>()?;
    let mut sink = Sink::load()?;
    let pairs = ENDS.iter().flat_map(|end| modes.iter().enumerate().map(move |mode| (*end, mode)));
    let mut turns: Vec<(usize, Path)> = pairs
        .filter(|(end, (_, mode))| mode.ends.contains(end))
        .map(|(end, (turn, mode))| {
            let path = Path { mode: mode.name, targets: mode.targets, end, rounds: Vec::new() };
            (turn, path)
        })
        .collect();
    for number in 0..=options.rounds {
        if number == 0 {
            tell("a round to warm up");
        } else {
            tell(&format!("round {number} of {}", options.rounds));
        }
        for (turn, path) in &mut turns {
            let (testbed, injector) = &mut testbeds[*turn];
            let round = traffic::round(testbed, injector, path.end, &mut sink, options.round)?;
            log::info!("{} {:?}: {round:?}", path.mode, path.end);
            path.rounds.extend(round.filter(|_| number > 0));
        }
    }
    testbeds.into_iter().try_for_each(|(testbed, _)| testbed.take_down())?;
    Ok(turns.into_iter().map(|(_, path)| path).collect())
}
