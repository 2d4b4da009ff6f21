//! Reading counters.

use aya::maps::{MapData, PerCpuArray};
use nsbpf_common::stats::PortStats;

use super::DatapathError;
use super::load::PORT_STATS;
use super::ports::{self, map_error};
use crate::store::Store;

/// Reads the counters of a lab's ports.
pub struct StatsReader {
    map: PerCpuArray<MapData, PortStats>,
}

impl StatsReader {
    /// Opens the counters of a lab that is up.
    pub fn open(store: &Store) -> Result<Self, DatapathError> {
        let map = ports::open(store, PORT_STATS)?;
        Ok(Self { map })
    }

    /// The counters of a port, summed over all CPUs.
    pub fn read(&self, port: u16) -> Result<PortStats, DatapathError> {
        let values = self.map.get(&u32::from(port), 0).map_err(map_error("read", PORT_STATS))?;
        let mut sum = PortStats::default();
        for value in values.iter() {
            sum += *value;
        }
        Ok(sum)
    }
}
