//! The benchmark's generator: frames out of a namespace's interface as fast as what
//! is behind it takes them.
//!
//! The kernel runs the program on a batch of frames, puts them into the ring of the
//! other end and enables softirqs, which empty all rings on the way before the next
//! batch begins. So on one CPU nothing overflows and nobody waits, as long as a
//! batch fits the ring (256 frames, `VETH_RING_SIZE`, Linux 6.18).

use std::time::Duration;

use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use nsbpf_common::generator::{ENDLESS, ENDLESS_ENDS, MAX_FLOWS};

use super::load::program_error;
use super::{DatapathError, OBJECT};

const XDP_GENERATOR: &str = "xdp_generator";

/// A generator for one interface.
pub struct Generator {
    ebpf: Ebpf,
}

impl Generator {
    /// Frames in a batch: the kernel's own choice, said so that it stays.
    pub const BATCH: u32 = 64;

    /// Loads it for an interface, and for frames of that many flows, at most
    /// [`MAX_FLOWS`], which differ in their UDP ports: 1 leaves frames as they are.
    /// `udp` is where the UDP header begins, with a word behind it that makes up for
    /// what the ports add to its checksum ([`nsbpf_common::generator`]).
    ///
    /// # Errors
    /// The kernel does not take the program.
    pub fn load(ifindex: u32, flows: u32, udp: u32) -> Result<Self, DatapathError> {
        Self::of(ifindex, flows.min(MAX_FLOWS), udp)
    }

    /// Loads it for an interface, and for frames each of which begins a flow: IPv4 without
    /// options, and UDP without a checksum. Their destinations may differ too.
    ///
    /// # Errors
    /// As of [`load`](Self::load).
    pub fn load_endless(ifindex: u32, udp: u32, is_elsewhere: bool) -> Result<Self, DatapathError> {
        Self::of(ifindex, if is_elsewhere { ENDLESS_ENDS } else { ENDLESS }, udp)
    }

    fn of(ifindex: u32, flows: u32, udp: u32) -> Result<Self, DatapathError> {
        let mut ebpf = EbpfLoader::new()
            .override_global("GENERATOR_IFINDEX", &ifindex, true)
            .override_global("GENERATOR_FLOWS", &flows, true)
            .override_global("GENERATOR_UDP", &udp, true)
            .load(OBJECT)
            .map_err(Box::new)?;
        let program = ebpf.program_mut(XDP_GENERATOR).and_then(|program| program.try_into().ok());
        let program: &mut Xdp = program.ok_or(DatapathError::Missing(XDP_GENERATOR))?;
        program.load().map_err(program_error("load", XDP_GENERATOR))?;
        Ok(Self { ebpf })
    }

    /// Sends a frame that many times, at least once. The calling thread has to be in
    /// the interface's network namespace, and the other end has to receive by NAPI:
    /// the kernel does not tell of frames that it does not take.
    ///
    /// Returns the time from the first batch until the last one was received, if all
    /// is on one CPU, in whole nanoseconds a frame. Before and after that the kernel
    /// makes and frees memory, for some 20 ms.
    ///
    /// # Errors
    /// The kernel has no live frames (they came with Linux 5.18), or the frame is
    /// none.
    pub fn send(&self, frame: &[u8], count: u32) -> Result<Duration, DatapathError> {
        let program = self.ebpf.program(XDP_GENERATOR).and_then(|program| program.try_into().ok());
        let program: &Xdp = program.ok_or(DatapathError::Missing(XDP_GENERATOR))?;
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(Self::BATCH),
            ..TestRunOptions::new()
        };
        let operation = "run on live frames (Linux 5.18 or later)";
        let result = program.test_run(options).map_err(program_error(operation, XDP_GENERATOR))?;
        Ok(result.duration * count)
    }
}
