//! How long, and how much, the programs remember of what bridges decide.

use std::io::ErrorKind::NotFound;
use std::time::Duration;

use aya::Pod;
use aya::maps::{HashMap, MapData, MapError, PerCpuArray};
use nsbpf_common::crossing::{Crossing, Passages, Sighting};
use nsbpf_common::flow::FlowKey;
use nsbpf_common::route::Route;

use super::DatapathError;
use super::load::{KNOWN_PATHS, LEARNED_PATHS, ROUTES};
use super::ports::{map_error, open, zeros};
use crate::state::Datapath;
use crate::store::Store;

/// For how long a path is taken before a packet takes the bridge again. What somebody
/// changes about a bridge holds for all after that time.
pub(super) const PATH_AGE: Duration = Duration::from_secs(5);
/// For how long a station is taken to be where it was seen. Neighbour discovery makes
/// one that is spoken to answer more often, and bridges forget one after 300 s.
pub(super) const STATION_AGE: Duration = Duration::from_secs(60);

/// Paths, and stations, that there is room for at least.
const MIN_ENTRIES: u32 = 1 << 12;
/// The same for each port, and at most.
const ENTRIES_A_PORT: u32 = 64;
const MAX_ENTRIES: u32 = 1 << 16;

/// Entries of the map of paths, and of that of stations.
pub(super) fn entries(datapath: &Datapath) -> u32 {
    let wanted = datapath.port_capacity.saturating_mul(ENTRIES_A_PORT);
    wanted.clamp(MIN_ENTRIES, MAX_ENTRIES)
}

/// Routes that there is room for, at least and at most: an eighth of the flows has one
/// for each direction.
const MIN_ROUTES: u32 = 1 << 12;
const MAX_ROUTES: u32 = 1 << 16;

/// Entries of the map of routes.
pub(super) fn route_entries(datapath: &Datapath) -> u32 {
    (datapath.flows / 4).clamp(MIN_ROUTES, MAX_ROUTES)
}

/// Has a lab's programs forget where bridges and routers sent packets: for who has just
/// changed something, five seconds are long. What is forgotten is asked for again.
pub fn forget_paths(store: &Store) -> Result<(), DatapathError> {
    forget::<Crossing, Sighting>(store, LEARNED_PATHS)?;
    forget::<FlowKey, Route>(store, ROUTES)?;
    // After what it is filled from.
    let mut known: PerCpuArray<_, Passages> = open(store, KNOWN_PATHS)?;
    known.set(0, zeros()?, 0).map_err(map_error("write", KNOWN_PATHS))
}

fn forget<K: Pod, V: Pod>(store: &Store, name: &'static str) -> Result<(), DatapathError> {
    let mut map: HashMap<MapData, K, V> = open(store, name)?;
    let keys: Vec<K> = map.keys().filter_map(Result::ok).collect();
    for key in keys {
        match map.remove(&key) {
            // Others take its place all the time.
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(MapError::SyscallError(error)) if error.io_error.kind() == NotFound => {}
            Err(error) => return Err(map_error("write", name)(error)),
        }
    }
    Ok(())
}
