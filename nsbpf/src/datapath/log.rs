//! What the kernel half logs, forwarded to a log of this process.

use std::io;

use aya_log::EbpfLogger;
use tokio::io::unix::AsyncFd;

use super::{DatapathError, observe};
use crate::state::HookPoint;
use crate::store::Store;

/// The log of a lab's programs. They log only if the datapath was loaded to.
pub struct KernelLog {
    ring: AsyncFd<EbpfLogger<&'static dyn log::Log>>,
}

impl KernelLog {
    /// Opens the log of a lab that is up; what it says goes to `log`. Needs a tokio
    /// runtime.
    pub fn open(store: &Store, log: &'static dyn log::Log) -> Result<Self, DatapathError> {
        let failed = |error: &dyn std::fmt::Display| DatapathError::Log(error.to_string());
        let program = observe(store).and_then(|(_, ids)| ids.at(HookPoint::TcEgress));
        let program = program.ok_or_else(|| failed(&"no programs are loaded"))?;
        let logger =
            EbpfLogger::init_from_id_with_logger(program, log).map_err(|error| failed(&error))?;
        // SAFETY: the logger owns its map's descriptor, one and the same until it
        // is dropped.
        let ring = unsafe { AsyncFd::register(logger) }.map_err(|error| failed(&error))?;
        Ok(Self { ring })
    }

    /// Forwards what is logged until the future is dropped, beginning with what waits
    /// there already.
    pub async fn forward(mut self) -> io::Result<()> {
        self.ring.get_mut().flush();
        loop {
            let mut ready = self.ring.readable_mut().await?;
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}
