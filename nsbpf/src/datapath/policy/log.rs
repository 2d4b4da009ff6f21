//! Packets that are logged.

use std::fs::{File, OpenOptions};
use std::io;

use aya::maps::{MapData, MapInfo, RingBuf};
use nsbpf_common::policy::LogRecord;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::maps::POLICY_LOG;
use crate::datapath::DatapathError;
use crate::datapath::load::io_error;
use crate::datapath::ports::{map_error, open};
use crate::store::Store;

/// The ring that a lab's programs log packets in.
pub struct PolicyLog {
    ring: AsyncFd<RingBuf<MapData>>,
    /// The kernel's number of it.
    id: u32,
    /// Locked: a ring has one reader, who says how far it has been read.
    _reader: File,
}

impl PolicyLog {
    /// Opens the ring of a lab that has a policy. Needs a tokio runtime.
    ///
    /// # Errors
    /// There is none, or somebody reads it already.
    pub fn open(store: &Store) -> Result<Self, DatapathError> {
        let path = store.policy_reader_lock();
        let reader = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let reader = reader.map_err(io_error("open", &path))?;
        match flock(&reader, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(DatapathError::LogTaken),
            Err(errno) => return Err(io_error("lock", &path)(errno.into())),
        }
        let pin = store.pins().join(POLICY_LOG);
        let id = MapInfo::from_pin(pin).map_err(map_error("look at", POLICY_LOG))?.id();
        let ring: RingBuf<MapData> = open(store, POLICY_LOG)?;
        let failed = |error: io::Error| DatapathError::Log(error.to_string());
        // SAFETY: the ring owns its map's descriptor, one and the same until it is dropped.
        let ring = unsafe { AsyncFd::register(ring) }.map_err(|error| failed(error.into()))?;
        Ok(Self { ring, id, _reader: reader })
    }

    /// Whether the lab's programs still log there.
    #[must_use]
    pub fn is_current(&self, store: &Store) -> bool {
        let pinned = MapInfo::from_pin(store.pins().join(POLICY_LOG));
        pinned.is_ok_and(|info| info.id() == self.id)
    }

    /// The next packets: all that wait there already, or the first that comes.
    ///
    /// # Errors
    /// The ring cannot be waited for.
    pub async fn next(&mut self) -> io::Result<Vec<LogRecord>> {
        loop {
            let waiting = take(self.ring.get_mut());
            if !waiting.is_empty() {
                return Ok(waiting);
            }
            let mut ready = self.ring.readable_mut().await?;
            let waiting = take(ready.get_inner_mut());
            ready.clear_ready();
            if !waiting.is_empty() {
                return Ok(waiting);
            }
        }
    }
}

fn take(ring: &mut RingBuf<MapData>) -> Vec<LogRecord> {
    /// So that who asks is not kept from all else.
    const AT_A_TIME: usize = 1024;
    let mut records = Vec::new();
    while records.len() < AT_A_TIME
        && let Some(item) = ring.next()
    {
        records.extend(read(&item));
    }
    records
}

/// A record; `None` of what is none.
fn read(bytes: &[u8]) -> Option<LogRecord> {
    if bytes.len() < size_of::<LogRecord>() {
        return None;
    }
    // SAFETY: as long as it, and any bytes are one.
    Some(unsafe { bytes.as_ptr().cast::<LogRecord>().read_unaligned() })
}
