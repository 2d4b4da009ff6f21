//! Maps of a policy: how large, and where they are pinned.

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use aya::maps::MapData;

use crate::datapath::load::{self, remove_if_there};
use crate::datapath::ports::map_error;
use crate::datapath::{DatapathError, inspect};
use crate::state::{Datapath, PolicyRoom};
use crate::store::Store;

pub(super) const POLICY_NOW: &str = "POLICY_NOW";
pub(super) const POLICY_HEADS: &str = "POLICY_HEADS";
pub(super) const POLICY_NODES: &str = "POLICY_NODES";
pub(super) const POLICY_CONDS: &str = "POLICY_CONDS";
pub(super) const POLICY_RARES: &str = "POLICY_RARES";
pub(super) const RULE_SETTINGS: &str = "RULE_SETTINGS";
pub(super) const RULE_STATS: &str = "RULE_STATS";
pub(super) const POLICY_EVENTS: &str = "POLICY_EVENTS";
pub(super) const POLICY_LOG: &str = "POLICY_LOG";
const FRAGMENTS: &str = "FRAGMENTS";

/// Bytes of packets that wait to be read as they were logged.
const LOG_BYTES: u32 = 1 << 18;
/// The smallest ring that there can be; with larger pages the loader takes one of those.
const NO_LOG_BYTES: u32 = 1 << 12;
/// Packets whose later fragments are waited for.
const FRAGMENT_HEADS: u32 = 1 << 12;

/// What decides whether a map is another one in another room.
#[derive(Clone, Copy)]
enum Goes {
    /// All that tables have room for: who reads them has to find all of one policy.
    WithTables,
    /// How many rules have counters.
    WithSlots,
    /// Nothing.
    Never,
}

/// How many entries a map has in a room.
type Entries = fn(PolicyRoom) -> u32;

const MAPS: [(&str, Goes, Entries); 10] = [
    (POLICY_NOW, Goes::WithTables, |_| 1),
    (POLICY_HEADS, Goes::WithTables, |_| 2),
    (POLICY_NODES, Goes::WithTables, |room| room.nodes * 2),
    (POLICY_CONDS, Goes::WithTables, |room| room.conditions * 2),
    (POLICY_RARES, Goes::WithTables, |room| room.rares * 2),
    (RULE_SETTINGS, Goes::WithSlots, |room| room.slots),
    (RULE_STATS, Goes::WithSlots, |room| room.slots),
    (POLICY_EVENTS, Goes::Never, |_| 1),
    (POLICY_LOG, Goes::Never, |_| LOG_BYTES),
    (FRAGMENTS, Goes::Never, |_| FRAGMENT_HEADS),
];

/// A map of a policy, as a datapath has it.
pub(in crate::datapath) struct PolicyMap {
    pub(in crate::datapath) name: &'static str,
    pub(in crate::datapath) entries: u32,
    /// Where it is pinned, if it outlives its programs: not where there is no policy.
    pub(in crate::datapath) pin: Option<String>,
}

/// All maps of a datapath's policy.
pub(in crate::datapath) fn maps(datapath: &Datapath) -> impl Iterator<Item = PolicyMap> + use<> {
    let room = datapath.policy;
    MAPS.into_iter().map(move |(name, goes, entries)| {
        if let Some(room) = room {
            let (entries, pin) = (entries(room), Some(pin(name, goes, room)));
            return PolicyMap { name, entries, pin };
        }
        let entries = match name {
            POLICY_HEADS => 2,
            POLICY_LOG => NO_LOG_BYTES,
            _ => 1,
        };
        PolicyMap { name, entries, pin: None }
    })
}

/// The name of a map's pin. (A bpffs takes no dots.)
fn pin(name: &str, goes: Goes, room: PolicyRoom) -> String {
    let PolicyRoom { nodes, conditions, rares, slots } = room;
    match goes {
        Goes::WithTables => format!("{name}_{nodes}_{conditions}_{rares}_{slots}"),
        Goes::WithSlots => format!("{name}_{slots}"),
        Goes::Never => name.to_owned(),
    }
}

/// The name of the pin of a map in a room.
pub(super) fn pin_in(room: PolicyRoom, map: &str) -> String {
    let goes =
        MAPS.iter().find(|(name, ..)| *name == map).map_or(Goes::Never, |(_, goes, _)| *goes);
    pin(map, goes, room)
}

/// Pins of maps that a datapath's policy does not have.
pub(in crate::datapath) fn stale(
    store: &Store,
    datapath: &Datapath,
) -> Result<Vec<PathBuf>, DatapathError> {
    let used: Vec<String> = maps(datapath).filter_map(|map| map.pin).collect();
    let is_stale = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        MAPS.iter().any(|(map, ..)| name.starts_with(map)) && !used.iter().any(|pin| pin == name)
    };
    Ok(load::pins(store)?.filter(is_stale).collect())
}

/// Lets go of maps that a datapath's policy does not have.
pub(in crate::datapath) fn prune(store: &Store, datapath: &Datapath) -> Result<(), DatapathError> {
    stale(store, datapath)?.iter().try_for_each(|path| remove_if_there(path))
}

/// Bytes that the maps of a lab's policy take in the kernel.
///
/// # Errors
/// A map is not there, or the kernel does not tell.
pub fn policy_memory(store: &Store, datapath: &Datapath) -> Result<u64, DatapathError> {
    let pins = maps(datapath).filter_map(|PolicyMap { name, pin, .. }| Some((name, pin?)));
    let bytes = pins.map(|(name, pin)| {
        let path = store.pins().join(pin);
        let map = MapData::from_pin(&path).map_err(map_error("open", name))?;
        inspect::memory(map.fd().as_fd()).map_err(load::io_error("look at", &path))
    });
    bytes.sum()
}
