//! Whether the benchmark can be believed: of three bridges that are alike one delays each
//! packet by a known time. It has to find that one slower, by that time, and the other
//! two alike.

use std::fmt;

use super::experiment::{Experiment, Kind};
use super::mode::{BRIDGE, Mode, SELF_TEST, Stages};
use super::progress::Tell;
use super::statistics::Summary;
use super::testbed::{Setup, Testbed};
use super::traffic::{End, Shape, receive_by_napi};
use super::turns::{self, Path, path_of};
use super::wiring::Size;
use super::{BenchError, Options, processor, report};
use crate::datapath::Delay;
use crate::net::Netlink;
use crate::net::filter::{self, TcHook};

/// Nanoseconds that each packet is delayed by.
const DELAY_NS: u32 = 500;
/// By how much what is found may be off, as a share: a look at the clock, which ends the
/// delay, takes some tens of nanoseconds.
const OFF: f64 = 0.2;
/// By how much bridges that are alike may differ, as a share.
const ALIKE: f64 = 0.05;

/// What the benchmark found about itself.
#[derive(Debug)]
pub struct SelfTest {
    /// Nanoseconds more that a frame took which was delayed.
    delay_ns: Option<Summary>,
    /// The rate of the bridge that delays, of the other's.
    delayed: Option<Summary>,
    /// The rate of the one that is the same, of the other's.
    twin: Option<Summary>,
}

/// Tests the benchmark, in a world that the caller has made.
///
/// # Errors
/// As of [`datapath`](super::datapath).
pub fn selftest(options: &Options, tell: Tell<'_>) -> Result<SelfTest, BenchError> {
    let on = processor::keep_to_one()?;
    let (size, stages) = (Size::USUAL, Stages::default());
    let setup = Setup { size, stages, flows: 1, policy: None, many: 1 };
    let modes: &'static [Mode] = &SELF_TEST;
    let mut testbeds = Vec::new();
    for (number, mode) in modes.iter().enumerate() {
        let mut testbed = Testbed::new(mode, number, setup)?;
        let delay_ns = if number == modes.len() - 1 { DELAY_NS } else { 0 };
        delay(&testbed, delay_ns)?;
        receive_by_napi(&mut testbed)?;
        testbeds.push(testbed);
    }
    let experiment = Experiment {
        kind: Kind::Frames(End::XdpSink, Shape::SHORT),
        size: Size::USUAL,
        modes: modes.iter().collect(),
        rounds: options.rounds,
    };
    let measured = turns::take(experiment, &mut testbeds, on, options, tell);
    testbeds.into_iter().try_for_each(Testbed::take_down)?;
    Ok(SelfTest::of(&measured.paths))
}

/// Delays what the sender's namespace sends, where the bridge receives it: the other end
/// of the sender's interface has the same index, on the host.
fn delay(testbed: &Testbed, delay_ns: u32) -> Result<(), BenchError> {
    let failed = |source| BenchError::Links { of: "the host".to_owned(), source };
    let program = Delay::load(delay_ns)?;
    let ifindex = testbed.sender.ifindex;
    let mut host = Netlink::open().map_err(failed)?;
    host.request(filter::add_clsact(ifindex)).map_err(failed)?;
    let attach = filter::attach(ifindex, TcHook::Ingress, program.program()?, Delay::NAME);
    host.request(attach).map_err(failed)
}

impl SelfTest {
    fn of(paths: &[Path]) -> Self {
        let all: Vec<&Path> = paths.iter().collect();
        let [bridge, twin, delayed] = SELF_TEST.map(|mode| path_of(&all, mode.name));
        let ratio = |path: Option<&Path>| path?.ratio(bridge?, 0);
        Self {
            delay_ns: delayed.zip(bridge).and_then(|(delayed, bridge)| {
                let rounds = delayed.rounds.iter().zip(&bridge.rounds);
                let more = rounds.filter_map(|(delayed, bridge)| {
                    Some(1e9 / delayed.value(0)? - 1e9 / bridge.value(0)?)
                });
                Summary::of(more.collect())
            }),
            delayed: ratio(delayed),
            twin: ratio(twin),
        }
    }

    /// Whether the delay was found, and found to be what it is.
    #[must_use]
    pub fn found_the_delay(&self) -> bool {
        let delay_ns = f64::from(DELAY_NS);
        let slower = self.delayed.as_ref().and_then(|ratio| ratio.confidence);
        slower.is_some_and(|[_, upper]| upper < 1.0)
            && self
                .delay_ns
                .as_ref()
                .is_some_and(|found| (found.median - delay_ns).abs() <= OFF * delay_ns)
    }

    /// Whether no difference was found where there is none.
    #[must_use]
    pub fn found_nothing_else(&self) -> bool {
        self.twin.as_ref().is_some_and(|ratio| (ratio.median - 1.0).abs() <= ALIKE)
    }
}

impl fmt::Display for SelfTest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delay_ns, delayed, twin } = self;
        let mut table = report::table(&["", "is", "found", "95 %", ""]);
        let verdict = |good: bool| if good { "ok" } else { "WRONG" }.to_owned();
        let shown = |summary: Option<&Summary>, digits: usize| {
            let range = |[lower, upper]: [f64; 2]| format!("{lower:.digits$}–{upper:.digits$}");
            match summary {
                Some(summary) => [
                    format!("{:.digits$}", summary.median),
                    summary.confidence.map(range).unwrap_or_default(),
                ],
                None => ["no round counts".to_owned(), String::new()],
            }
        };
        let delay = verdict(self.found_the_delay());
        let [found, range] = shown(delay_ns.as_ref(), 0);
        table.add_row(["delay, ns".to_owned(), DELAY_NS.to_string(), found, range, delay.clone()]);
        let [found, range] = shown(delayed.as_ref(), 3);
        let what = format!("delayed, of {BRIDGE}");
        table.add_row([what, "less than 1".to_owned(), found, range, delay]);
        let [found, range] = shown(twin.as_ref(), 3);
        let what = format!("the same again, of {BRIDGE}");
        table.add_row([what, "1".to_owned(), found, range, verdict(self.found_nothing_else())]);
        write!(formatter, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::traffic::Round;

    /// Paths whose frames take so many nanoseconds.
    fn test(ns: [f64; 3]) -> SelfTest {
        let paths = [0, 1, 2].map(|number| {
            let rounds = (0..9).map(|_| Round::of_rate(1e9 / ns[number])).collect();
            Path { rounds, ..Path::new(&SELF_TEST[number]) }
        });
        SelfTest::of(&paths)
    }

    #[test]
    fn it_says_what_it_did_not_find() {
        let good = test([800.0, 810.0, 1320.0]);
        assert!(good.found_the_delay() && good.found_nothing_else(), "{good}");
        assert!(!good.to_string().contains("WRONG"), "{good}");
        let blind = test([800.0, 800.0, 800.0]);
        assert!(!blind.found_the_delay() && blind.found_nothing_else(), "{blind}");
        let off = test([800.0, 800.0, 1000.0]);
        assert!(!off.found_the_delay() && off.to_string().contains("WRONG"), "{off}");
        let noisy = test([800.0, 900.0, 1300.0]);
        assert!(noisy.found_the_delay() && !noisy.found_nothing_else(), "{noisy}");
        let nothing = SelfTest::of(&[]);
        assert!(!nothing.found_the_delay() && !nothing.found_nothing_else());
    }
}
