//! Reading the traffic matrix.

use aya::maps::{MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues};
use nsbpf_common::pair::{OUTSIDE, Pair};
use nsbpf_common::stats::Cell;

use super::DatapathError;
use super::load::{PAIR_CELLS, PAIR_TABLE, PAIRS_MISSED};
use super::ports::{map_error, open};
use crate::state::Datapath;
use crate::store::Store;

/// Ports for which every pair has a cell of its own: that is 1 MiB a processor.
/// In larger labs most pairs never meet.
const MAX_TABLE_PORTS: u16 = 256;
/// Pairs of a larger lab that the matrix has room for.
const PAIR_CAPACITY: u32 = 1 << 16;

/// Ports that `PAIR_TABLE` has rows for; 0 where `PAIR_CELLS` is the matrix.
pub(super) fn table_ports(datapath: &Datapath) -> u16 {
    match u16::try_from(datapath.port_capacity) {
        Ok(ports) if ports <= MAX_TABLE_PORTS => ports,
        _ => 0,
    }
}

/// Cells of `PAIR_TABLE`: 1, which no packet is counted in, where it is not used.
pub(super) fn table_entries(datapath: &Datapath) -> u32 {
    Pair::table_length(table_ports(datapath)).max(1)
}

/// Cells of `PAIR_CELLS`; likewise.
pub(super) fn cell_entries(datapath: &Datapath) -> u32 {
    if table_ports(datapath) == 0 { PAIR_CAPACITY } else { 1 }
}

/// Reads the traffic matrix of a lab.
pub struct PairsReader {
    table: PerCpuArray<MapData, Cell>,
    table_ports: u16,
    cells: PerCpuHashMap<MapData, Pair, Cell>,
    missed: PerCpuArray<MapData, Cell>,
}

impl PairsReader {
    /// Opens the matrix of a lab that is up.
    pub fn open(store: &Store, datapath: &Datapath) -> Result<Self, DatapathError> {
        Ok(Self {
            table: open(store, PAIR_TABLE)?,
            table_ports: table_ports(datapath),
            cells: open(store, PAIR_CELLS)?,
            missed: open(store, PAIRS_MISSED)?,
        })
    }

    /// What went from any of these ports, or from outside, to any of them; pairs
    /// that nothing went between are left out.
    pub fn read(&self, ports: &[u16]) -> Result<Vec<(Pair, Cell)>, DatapathError> {
        let mut pairs = Vec::new();
        if self.table_ports == 0 {
            for entry in &self.cells {
                let (pair, values) = entry.map_err(map_error("read", PAIR_CELLS))?;
                pairs.push((pair, sum(&values)));
            }
            return Ok(pairs);
        }
        for from in ports.iter().copied().chain([OUTSIDE]) {
            for to in ports.iter().copied() {
                let pair = Pair { from, to };
                let index = pair.index(self.table_ports);
                let values = match self.table.get(&index, 0) {
                    Err(MapError::OutOfBounds { .. }) => continue,
                    values => values.map_err(map_error("read", PAIR_TABLE))?,
                };
                pairs.push((pair, sum(&values)));
            }
        }
        pairs.retain(|(_, cell)| cell.packets > 0);
        Ok(pairs)
    }

    /// What found no room in the matrix; nothing for a lab of up to 256 ports,
    /// where each pair has a place.
    pub fn missed(&self) -> Result<Cell, DatapathError> {
        self.missed.get(&0, 0).map(|values| sum(&values)).map_err(map_error("read", PAIRS_MISSED))
    }
}

fn sum(values: &PerCpuValues<Cell>) -> Cell {
    let mut sum = Cell::default();
    for value in values.iter() {
        sum += *value;
    }
    sum
}
