//! The benchmark's delay: a program that takes a known time for each packet.

use std::os::fd::{AsFd, BorrowedFd};

use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader};

use super::load::program_error;
use super::{DatapathError, OBJECT};

const TC_DELAY: &str = "tc_delay";

/// The program, loaded. A filter that it is attached by keeps it.
pub struct Delay {
    ebpf: Ebpf,
}

impl Delay {
    /// The program's name.
    pub const NAME: &str = TC_DELAY;

    /// Loads it to take so many nanoseconds, and what it takes to look at the clock
    /// twice: at most some 20 µs.
    ///
    /// # Errors
    /// The kernel does not take the program.
    pub fn load(delay_ns: u32) -> Result<Self, DatapathError> {
        let mut ebpf = EbpfLoader::new()
            .override_global("DELAY_NS", &delay_ns, true)
            .load(OBJECT)
            .map_err(Box::new)?;
        let program = ebpf.program_mut(TC_DELAY).and_then(|program| program.try_into().ok());
        let program: &mut SchedClassifier = program.ok_or(DatapathError::Missing(TC_DELAY))?;
        program.load().map_err(program_error("load", TC_DELAY))?;
        Ok(Self { ebpf })
    }

    /// What a filter takes.
    ///
    /// # Errors
    /// There is no such program.
    pub fn program(&self) -> Result<BorrowedFd<'_>, DatapathError> {
        let program = self.ebpf.program(TC_DELAY).and_then(|program| program.try_into().ok());
        let program: &SchedClassifier = program.ok_or(DatapathError::Missing(TC_DELAY))?;
        Ok(program.fd().map_err(program_error("use", TC_DELAY))?.as_fd())
    }
}
