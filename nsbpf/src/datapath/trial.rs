//! Loading and attaching the programs without leaving anything: whether this
//! kernel takes them.

use std::os::fd::{AsFd, BorrowedFd};

use aya::programs::{SchedClassifier, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};

use super::load::{TC_EGRESS, TC_INGRESS, XDP_INGRESS, program_error};
use super::{DatapathError, OBJECT, link};

/// The programs, for as long as this is held.
pub struct Trial {
    ebpf: Ebpf,
}

impl Trial {
    /// Makes the maps.
    pub fn new() -> Result<Self, DatapathError> {
        let ebpf = EbpfLoader::new().load(OBJECT).map_err(Box::new)?;
        Ok(Self { ebpf })
    }

    /// Loads the programs for tc. `Ok` says whether the kernel compiled them for
    /// this processor; it interprets them otherwise.
    pub fn load_tc(&mut self) -> Result<bool, DatapathError> {
        let mut jitted = true;
        for name in [TC_INGRESS, TC_EGRESS] {
            let program = self.tc_mut(name)?;
            program.load().map_err(program_error("load", name))?;
            let info = program.info().map_err(program_error("look at", name))?;
            jitted &= info.size_jitted() > 0;
        }
        Ok(jitted)
    }

    /// The program for tc ingress, which must be loaded.
    pub fn tc(&self) -> Result<BorrowedFd<'_>, DatapathError> {
        let program = self.ebpf.program(TC_INGRESS).and_then(|program| program.try_into().ok());
        let program: &SchedClassifier = program.ok_or(DatapathError::Missing(TC_INGRESS))?;
        Ok(program.fd().map_err(program_error("use", TC_INGRESS))?.as_fd())
    }

    /// Loads the program for XDP.
    pub fn load_xdp(&mut self) -> Result<(), DatapathError> {
        self.xdp_mut()?.load().map_err(program_error("load", XDP_INGRESS))
    }

    /// Attaches it to an interface of the calling thread's namespace, in the
    /// driver and by a link of its own, as labs do, and detaches it again.
    pub fn attach_xdp(&mut self, ifindex: u32) -> Result<(), DatapathError> {
        link::attach_xdp(self.xdp_mut()?, ifindex, XdpMode::Driver).map(drop)
    }

    fn tc_mut(&mut self, name: &'static str) -> Result<&mut SchedClassifier, DatapathError> {
        let program = self.ebpf.program_mut(name).and_then(|program| program.try_into().ok());
        program.ok_or(DatapathError::Missing(name))
    }

    fn xdp_mut(&mut self) -> Result<&mut Xdp, DatapathError> {
        let program = self.ebpf.program_mut(XDP_INGRESS);
        let program = program.and_then(|program| program.try_into().ok());
        program.ok_or(DatapathError::Missing(XDP_INGRESS))
    }
}
