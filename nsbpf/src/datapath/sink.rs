//! The benchmark's sink: an interface where every frame ends.

use aya::programs::links::FdLink;
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};

use super::load::program_error;
use super::{DatapathError, OBJECT};

pub(super) const XDP_SINK: &str = "xdp_sink";

/// The program, loaded.
pub struct Sink {
    ebpf: Ebpf,
}

/// The program at an interface, until this is dropped.
pub struct AttachedSink {
    _link: FdLink,
}

impl Sink {
    /// Loads it.
    ///
    /// # Errors
    /// The kernel does not take the program.
    pub fn load() -> Result<Self, DatapathError> {
        let mut sink = Self { ebpf: EbpfLoader::new().load(OBJECT).map_err(Box::new)? };
        sink.program()?.load().map_err(program_error("load", XDP_SINK))?;
        Ok(sink)
    }

    /// Attaches it to an interface of the calling thread's network namespace, in
    /// the driver.
    ///
    /// # Errors
    /// The interface has an XDP program already, or takes none.
    pub fn attach(&mut self, ifindex: u32) -> Result<AttachedSink, DatapathError> {
        let program = self.program()?;
        let attached = program
            .attach_to_if_index(ifindex, XdpMode::Driver)
            .and_then(|id| program.take_link(id))
            .map_err(program_error("attach", XDP_SINK))?;
        let link = FdLink::try_from(attached).map_err(|_| DatapathError::NoXdpLinks)?;
        Ok(AttachedSink { _link: link })
    }

    fn program(&mut self) -> Result<&mut Xdp, DatapathError> {
        let program = self.ebpf.program_mut(XDP_SINK).and_then(|program| program.try_into().ok());
        program.ok_or(DatapathError::Missing(XDP_SINK))
    }
}
