//! What the programs cost by themselves: a packet that passes one, and the kernel
//! that loads it. Differences between paths of less than 5 % are told from these, as
//! single rounds swing by more.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::bench::traffic::{self, Address, Shape};
use crate::bench::{BenchError, Options};
use crate::datapath::{Costs, LoadCost};

/// How often a program runs for one sample: some 5 ms.
const TIMES: u32 = 100_000;

/// Samples of all programs.
pub(in crate::bench) struct Programs {
    /// Loading all of them, in seconds.
    pub(in crate::bench) load: Vec<f64>,
    pub(in crate::bench) each: Vec<Program>,
}

/// Samples of one.
pub(in crate::bench) struct Program {
    pub(in crate::bench) name: &'static str,
    pub(in crate::bench) instructions: Option<u32>,
    /// Seconds.
    pub(in crate::bench) load: Vec<f64>,
    /// Nanoseconds a frame.
    pub(in crate::bench) run_ns: Vec<f64>,
}

pub(in crate::bench) fn measure(options: &Options) -> Result<Programs, BenchError> {
    let address = |number: u8| Address {
        mac: [2, 0, 0, 0, 0, number],
        v4: Ipv4Addr::new(10, 9, 0, number),
        v6: Ipv6Addr::UNSPECIFIED,
    };
    let frame = traffic::udp(Shape::SHORT, address(1), address(2));
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
