//! What each program costs: the kernel, to load it, and a packet, to pass it.

use std::time::{Duration, Instant};

use aya::programs::{Program, ProgramError, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use nsbpf_common::pair::Pair;

use super::load::{PAIR_TABLE, TC_EGRESS, TC_INGRESS, XDP_INGRESS, program_error};
use super::sink::XDP_SINK;
use super::{DatapathError, OBJECT};

/// Programs that packets pass. The last does nothing: what it takes is what a test
/// run takes.
const PROGRAMS: [&str; 4] = [TC_INGRESS, TC_EGRESS, XDP_INGRESS, XDP_SINK];
/// In a test run a packet comes from the loopback interface, which is made port 0
/// so that it is counted.
const LOOPBACK: u32 = 1;
/// Ports that the matrix has rows for: it is a table, as in most labs.
const PORTS: u16 = 2;

/// All programs, each loaded.
pub struct Costs {
    ebpf: Ebpf,
    /// Time for all: reading the object, making the maps, loading the programs.
    pub took: Duration,
    /// Each for itself.
    pub programs: Vec<LoadCost>,
}

/// What loading a program took.
#[derive(Clone, Copy, Debug)]
pub struct LoadCost {
    /// Its name.
    pub program: &'static str,
    /// Time in the kernel, verifying and compiling it.
    pub took: Duration,
    /// Instructions that the verifier went through; `None` before Linux 5.16.
    pub instructions: Option<u32>,
}

impl Costs {
    /// Loads them all.
    ///
    /// # Errors
    /// The kernel does not take one of them.
    pub fn load() -> Result<Self, DatapathError> {
        let start = Instant::now();
        let mut ebpf = EbpfLoader::new()
            .override_global("PORT_BASE", &LOOPBACK, true)
            .override_global("PAIR_TABLE_PORTS", &PORTS, true)
            .map_max_entries(PAIR_TABLE, Pair::table_length(PORTS))
            .override_global(aya_log::LEVEL, &0_u8, true)
            .load(OBJECT)
            .map_err(Box::new)?;
        let mut programs = Vec::with_capacity(PROGRAMS.len());
        for program in PROGRAMS {
            programs.push(load(&mut ebpf, program)?);
        }
        Ok(Self { ebpf, took: start.elapsed(), programs })
    }

    /// Time that a program takes for a frame: the mean of so many times, in whole
    /// nanoseconds, what the kernel needs to run it at all included.
    ///
    /// # Errors
    /// There is no such program, or the frame is none.
    pub fn run(
        &self,
        program: &'static str,
        frame: &[u8],
        times: u32,
    ) -> Result<Duration, DatapathError> {
        let options =
            TestRunOptions { data_in: Some(frame), repeat: times, ..TestRunOptions::new() };
        let result = match self.ebpf.program(program) {
            Some(Program::SchedClassifier(program)) => program.test_run(options),
            Some(Program::Xdp(program)) => program.test_run(options),
            _ => return Err(DatapathError::Missing(program)),
        };
        result.map(|result| result.duration).map_err(program_error("test", program))
    }
}

fn load(ebpf: &mut Ebpf, name: &'static str) -> Result<LoadCost, DatapathError> {
    let program = ebpf.program_mut(name).ok_or(DatapathError::Missing(name))?;
    let start = Instant::now();
    let loaded: Result<(), ProgramError> = match program {
        Program::SchedClassifier(program) => program.load(),
        Program::Xdp(program) => program.load(),
        _ => return Err(DatapathError::Missing(name)),
    };
    let took = start.elapsed();
    loaded.map_err(program_error("load", name))?;
    let info = program.info().map_err(program_error("look at", name))?;
    Ok(LoadCost { program: name, took, instructions: info.verified_instruction_count() })
}
