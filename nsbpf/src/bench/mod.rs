//! What the datapath costs a packet: the same frames over several paths, in turns.
//!
//! ```text
//! mode.rs         the paths that are compared, each a wiring and its settings
//! wiring.rs       the labs that these are
//! testbed.rs      a path that is up: a sender, a receiver, and what is between them
//! frame.rs        the frame that is sent
//! injector.rs     what puts it into a path
//! traffic.rs      one round: frames are sent for a time, and those that arrive counted
//! arrivals.rs     where and how they are counted
//! rounds.rs       rounds of all paths in turns
//! tcp.rs          labs and connections for TCP
//! latency.rs      TCP, a byte each way
//! bulk.rs         TCP, as much as there is room for
//! statistics.rs   medians, spreads, ratios
//! programs.rs     what the programs cost by themselves
//! ports.rs        what many ports cost: attaching, reading
//! flows.rs        what many flows cost: reading
//! report.rs       what is found, beside what it should be
//! compare.rs      what is found, beside what was found before
//! ```
//!
//! The caller has put the process into a world of its own
//! ([`world::enter`](crate::net::world::enter)): labs are made here, and settings of
//! the network namespace changed.

mod arrivals;
mod bulk;
mod compare;
mod environment;
mod flows;
mod frame;
mod injector;
mod latency;
mod mode;
mod ports;
mod processor;
mod programs;
mod report;
mod rounds;
mod statistics;
mod tcp;
mod testbed;
mod traffic;
mod wiring;

use std::io;
use std::time::Duration;

use crate::apply::{ApplyError, NoWay};
use crate::datapath::DatapathError;
use crate::lab::LabError;
use crate::net::NetlinkError;
use crate::store::StoreError;

pub use compare::{CompareError, Comparison, EarlierReport};
pub use environment::Environment;
pub use processor::Processors;
pub use report::{
    BulkReport, Figure, PathReport, ProgramReport, Report, RoundTripReport, Unit, Verdict,
};
pub use statistics::Summary;

/// Flows at most: the source ports from 1,024 on.
pub const MAX_FLOWS: u16 = 64_512;
/// Ports at most: what a bridge takes.
pub const MAX_PORTS: u16 = 1_000;
/// Flows in a table at most: the addresses that are theirs in `10.0.0.0/8`, and what
/// memory most machines have.
pub const MAX_TABLE: u32 = 4_000_000;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds that count; one more comes before them. At least 1.
    pub rounds: u8,
    /// For how long frames are sent in a round.
    pub round: Duration,
    /// Flows that the frames are of, 1 to [`MAX_FLOWS`].
    pub flows: u16,
    /// Names of the paths that are compared, of [`mode_names`].
    pub modes: Vec<String>,
    /// Ports that are attached and read, 2 to [`MAX_PORTS`].
    pub ports: u16,
    /// Flows that are in a table, and read, 1 to [`MAX_TABLE`].
    pub table: u32,
}

/// The paths that can be compared.
pub fn mode_names() -> impl Iterator<Item = &'static str> {
    mode::MODES.iter().map(|mode| mode.name)
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A lab did not come up, or not down.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Programs cannot be attached.
    #[error(transparent)]
    NoWay(#[from] NoWay),
    /// A lab's folder could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A program could not be loaded, attached or run.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The kernel did not tell of links.
    #[error("look at the links of {of}: {source}")]
    Links {
        /// Whose.
        of: String,
        /// What the kernel said.
        source: NetlinkError,
    },
    /// The benchmark's own lab is wrong.
    #[error("the lab of the benchmark is not valid: {0}")]
    Lab(#[from] Box<LabError>),
    /// Something is missing that the lab has.
    #[error("{0} is not there although its lab is up: somebody else is at it")]
    Vanished(String),
    /// Nothing passes a router.
    #[error("in mode {mode} the receiver does not reach the sender")]
    Unreachable {
        /// The mode.
        mode: &'static str,
    },
    /// Frames passed the datapath by.
    #[error(
        "in mode {mode} {delivered} frames arrived and the datapath counted {counted}: its programs are not where the frames pass, and what was measured is something else"
    )]
    Uncounted {
        /// The mode.
        mode: &'static str,
        /// Frames that arrived.
        delivered: u64,
        /// Frames that were counted at the sender.
        counted: u64,
    },
    /// A system call failed.
    #[error("{operation}: {source}")]
    Io {
        /// What was done, to what.
        operation: String,
        /// What the kernel said.
        source: io::Error,
    },
}

fn io_error(operation: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
    let operation = operation.into();
    move |source| BenchError::Io { operation, source }
}

/// Measures all of it, in a world that the caller has made. `tell` hears what comes
/// next.
///
/// # Errors
/// The first thing that failed. Labs may be left then: the world's end is theirs.
pub fn datapath(options: &Options, tell: &dyn Fn(&str)) -> Result<Report, BenchError> {
    let environment = Environment::now().map_err(io_error("look at this machine"))?;
    let processors = processor::keep_to_one()?;
    tell("programs");
    let programs = programs::measure(options)?;
    // Before much else: a child's memory is at least what its parent had.
    tell(&format!("{} flows", options.table));
    let flows = flows::measure(options)?;
    tell(&format!("{} ports", options.ports));
    let ports = ports::measure(options)?;
    let paths = rounds::measure(options, tell)?;
    let mut testbeds = tcp::testbeds(options)?;
    let round_trips = latency::measure(options, processors, &mut testbeds, tell)?;
    let streams = bulk::measure(options, processors, &mut testbeds, tell)?;
    testbeds.into_iter().try_for_each(testbed::Testbed::take_down)?;
    let measured = Measured { programs, ports, flows, paths, round_trips, streams };
    Ok(Report::new(environment, options, processors, &measured))
}

/// All of it.
struct Measured {
    programs: programs::Programs,
    ports: ports::Ports,
    flows: flows::Flows,
    paths: Vec<rounds::Path>,
    round_trips: Vec<latency::RoundTrips>,
    streams: Vec<bulk::Streams>,
}
