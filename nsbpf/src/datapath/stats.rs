//! Reading counters.

use aya::maps::{Map, MapData, PerCpuArray};
use nsbpf_common::stats::PortStats;

use super::DatapathError;
use super::load::PORT_STATS;
use crate::store::Store;

/// Reads the counters of a lab's ports.
pub struct StatsReader {
    map: PerCpuArray<MapData, PortStats>,
}

impl StatsReader {
    /// Opens the counters of a lab that is up.
    pub fn open(store: &Store) -> Result<Self, DatapathError> {
        let open = |source| DatapathError::Map {
            operation: "open",
            map: PORT_STATS,
            source: Box::new(source),
        };
        let data = MapData::from_pin(store.pins().join(PORT_STATS)).map_err(open)?;
        let map = Map::from_map_data(data).and_then(PerCpuArray::try_from).map_err(open)?;
        Ok(Self { map })
    }

    /// The counters of a port, summed over all CPUs.
    pub fn read(&self, port: u16) -> Result<PortStats, DatapathError> {
        let values = self.map.get(&u32::from(port), 0).map_err(|source| DatapathError::Map {
            operation: "read",
            map: PORT_STATS,
            source: Box::new(source),
        })?;
        let mut sum = PortStats::default();
        for value in values.iter() {
            sum += *value;
        }
        Ok(sum)
    }
}
