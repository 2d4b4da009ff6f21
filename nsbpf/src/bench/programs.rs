//! What the programs cost by themselves: a packet that passes one, and the kernel
//! that loads it. Differences between paths of less than 5 % are told from these, as
//! single rounds swing by more.

use std::net::Ipv4Addr;

use super::frame::{self, Address};
use super::{BenchError, Options};
use crate::datapath::{Costs, LoadCost};

/// How often a program runs for one sample: some 5 ms.
const TIMES: u32 = 100_000;

/// Samples of all programs.
pub(super) struct Programs {
    /// Loading all of them, in seconds.
    pub(super) load: Vec<f64>,
    pub(super) each: Vec<Program>,
}

/// Samples of one.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) instructions: Option<u32>,
    /// Seconds.
    pub(super) load: Vec<f64>,
    /// Nanoseconds a frame.
    pub(super) run_ns: Vec<f64>,
}

pub(super) fn measure(options: &Options) -> Result<Programs, BenchError> {
    let from = Address { mac: [2, 0, 0, 0, 0, 1], ip: Ipv4Addr::new(10, 9, 0, 1) };
    let to = Address { mac: [2, 0, 0, 0, 0, 2], ip: Ipv4Addr::new(10, 9, 0, 2) };
    let frame = frame::udp(from, to);
    let mut programs = Programs { load: Vec::new(), each: Vec::new() };
    for number in 0..=options.rounds {
        let costs = Costs::load()?;
        for (place, cost) in costs.programs.iter().enumerate() {
            let LoadCost { program, took, instructions } = *cost;
            let run = costs.run(program, &frame, TIMES)?;
            if number == 0 {
                let (load, run_ns) = (Vec::new(), Vec::new());
                programs.each.push(Program { name: program, instructions, load, run_ns });
                continue;
            }
            let program = &mut programs.each[place];
            program.load.push(took.as_secs_f64());
            program.run_ns.push(run.as_secs_f64() * 1e9);
        }
        if number > 0 {
            programs.load.push(costs.took.as_secs_f64());
        }
    }
    Ok(programs)
}
