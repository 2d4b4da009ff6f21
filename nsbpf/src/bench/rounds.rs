//! Rounds of all paths, in turns: whatever else the machine does hits all alike, and
//! a ratio is one of two rounds that followed each other.

use super::arrivals::{ENDS, End};
use super::mode::MODES;
use super::testbed::Testbed;
use super::traffic::{self, Round};
use super::{BenchError, Options};
use crate::datapath::Sink;

/// All rounds of a path.
pub(super) struct Path {
    pub(super) mode: &'static str,
    pub(super) counts: bool,
    pub(super) end: End,
    /// Empty where this kernel has no such path.
    pub(super) rounds: Vec<Round>,
}

/// Brings all labs up, measures, and takes them down. The first round warms caches
/// up and does not count.
pub(super) fn measure(options: &Options, tell: &dyn Fn(&str)) -> Result<Vec<Path>, BenchError> {
    let testbed = |(number, mode)| Testbed::new(mode, number, options.flows);
    let mut testbeds: Vec<Testbed> =
        MODES.iter().enumerate().map(testbed).collect::<Result<_, _>>()?;
    let mut sink = Sink::load()?;
    let path = |(end, mode): (End, &super::mode::Mode)| Path {
        mode: mode.name,
        counts: mode.counts(),
        end,
        rounds: Vec::new(),
    };
    let pairs = ENDS.iter().flat_map(|end| MODES.iter().map(move |mode| (*end, mode)));
    let mut paths: Vec<Path> = pairs.map(path).collect();
    for number in 0..=options.rounds {
        if number == 0 {
            tell("a round to warm up");
        } else {
            tell(&format!("round {number} of {}", options.rounds));
        }
        for (turn, path) in paths.iter_mut().enumerate() {
            let testbed = &mut testbeds[turn % MODES.len()];
            let round = traffic::round(testbed, path.end, &mut sink, options.round)?;
            log::info!("{} {:?}: {round:?}", path.mode, path.end);
            path.rounds.extend(round.filter(|_| number > 0));
        }
    }
    testbeds.into_iter().try_for_each(Testbed::take_down)?;
    Ok(paths)
}
