//! The programs of a lab that is up: where they are, what of others is around them,
//! what they cost, and their maps.

mod hook;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::datapath::{self, DatapathError, LoadedMap, LoadedProgram};
use crate::lab::Name;
use crate::net::{NetNs, NetlinkError};
use crate::state::{Datapath, HookPoint, Key, Object, Place, State};
use crate::store::Store;
pub use hook::{HookReport, OtherReport};

/// Why the programs of a lab could not be looked at.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is named after what it wraps")]
pub enum ObserveError {
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    #[error("look at the filters: {0}")]
    Netlink(#[from] NetlinkError),
    #[error("enter a namespace of the lab: {0}")]
    Io(#[from] io::Error),
    #[error("no programs are loaded: the lab was brought up with `--hook none`")]
    None,
}

/// The programs of a lab.
#[derive(Debug, Serialize)]
pub struct DatapathReport {
    /// The lab's name.
    pub lab: String,
    /// Whether the programs log, for `nsbpf log`.
    pub logs: bool,
    /// The hooks that they are at.
    pub hooks: Vec<HookReport>,
    /// The programs.
    pub programs: Vec<ProgramReport>,
    /// Their maps.
    pub maps: Vec<MapReport>,
}

/// A program of the lab.
#[derive(Debug, Serialize)]
pub struct ProgramReport {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u32,
    /// Instructions that the verifier looked at.
    pub verified_instructions: Option<u32>,
    /// Packets that it saw while the kernel measured.
    pub measured_packets: u64,
    /// Mean time that one took; `None` when none was measured.
    pub ns_per_packet: Option<f64>,
    /// Bytes of machine code; 0 where the kernel interprets it.
    pub jitted_bytes: u32,
    /// Bytes of memory that it takes besides.
    pub memory_bytes: u32,
}

/// A map of the lab's programs.
#[derive(Debug, Serialize)]
pub struct MapReport {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u32,
    /// What kind it is.
    pub kind: String,
    /// Bytes of a key.
    pub key_bytes: u32,
    /// Bytes of a value, a CPU.
    pub value_bytes: u32,
    /// Entries that it has room for.
    pub max_entries: u32,
    /// Entries that are there; `None` where all of them always are.
    pub entries: Option<u32>,
    /// Bytes of memory that it takes.
    pub memory_bytes: u64,
}

/// What became of the programs' run times so far, to tell later ones from.
pub struct Measurement {
    _measuring: std::os::fd::OwnedFd,
    before: Vec<LoadedProgram>,
}

impl Measurement {
    /// Has the kernel measure programs for as long as this is held.
    pub fn start(store: &Store, state: &State) -> Result<Self, ObserveError> {
        let measuring = datapath::measure()?;
        Ok(Self { before: programs(store, state)?, _measuring: measuring })
    }
}

impl DatapathReport {
    /// Looks at the programs of a lab that was looked at. `netns` gives the lab's
    /// namespaces. Of the time that programs ran, only what was measured since is
    /// told if there is a measurement, otherwise all that ever was.
    pub fn new<'a>(
        store: &Store,
        state: &State,
        netns: impl Fn(&Name) -> Option<&'a NetNs>,
        measured: Option<&Measurement>,
    ) -> Result<Self, ObserveError> {
        let Some(Object::Datapath(Datapath { log, .. })) = state.objects.get(&Key::Datapath) else {
            return Err(ObserveError::None);
        };
        let mut hooks = Vec::new();
        for object in state.objects.values() {
            let Object::Hook(hook) = object else { continue };
            let look = || HookReport::new(store, state, hook);
            hooks.push(match &hook.device.place {
                Place::Host => look()?,
                Place::Netns(name) => match netns(name) {
                    Some(netns) => netns.run(look)??,
                    None => continue,
                },
            });
        }
        let loaded = programs(store, state)?;
        let ids: BTreeSet<u32> = loaded.iter().flat_map(|program| program.maps.clone()).collect();
        let maps = ids.into_iter().map(|id| datapath::loaded_map(id).map(MapReport::from));
        let before = measured.map_or(&[][..], |measured| &measured.before);
        Ok(Self {
            lab: store.lab().to_string(),
            logs: *log,
            hooks,
            programs: loaded.iter().map(|program| ProgramReport::new(program, before)).collect(),
            maps: maps.collect::<Result<_, _>>()?,
        })
    }
}

/// The programs of all hooks that the lab has.
fn programs(store: &Store, state: &State) -> Result<Vec<LoadedProgram>, DatapathError> {
    let Some(Object::Datapath(datapath)) = state.objects.get(&Key::Datapath) else {
        return Ok(Vec::new());
    };
    let mut points: Vec<HookPoint> =
        datapath.ingress.iter().copied().map(HookPoint::ingress).collect();
    // Native and generic XDP have one program.
    points.dedup_by_key(|point| point.is_xdp());
    points.push(HookPoint::TcEgress);
    if datapath.switches.routes {
        points.extend([HookPoint::RouteIngress, HookPoint::RouteEgress]);
    }
    points.into_iter().map(|point| datapath::loaded_program(store, point)).collect()
}

impl ProgramReport {
    fn new(program: &LoadedProgram, before: &[LoadedProgram]) -> Self {
        let LoadedProgram {
            id,
            name,
            verified_instructions,
            jitted_bytes,
            memory_bytes,
            run_time,
            runs,
            maps: _,
        } = program;
        let earlier = before.iter().find(|earlier| earlier.id == *id);
        let (time, packets) = earlier.map_or((*run_time, *runs), |earlier| {
            (run_time.saturating_sub(earlier.run_time), runs.saturating_sub(earlier.runs))
        });
        Self {
            name: name.clone(),
            id: *id,
            verified_instructions: *verified_instructions,
            measured_packets: packets,
            ns_per_packet: mean_ns(time, packets),
            jitted_bytes: *jitted_bytes,
            memory_bytes: *memory_bytes,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "rounded to a tenth of a nanosecond")]
fn mean_ns(time: Duration, packets: u64) -> Option<f64> {
    let mean = time.as_nanos() as f64 / packets as f64;
    (packets > 0).then(|| (mean * 10.0).round() / 10.0)
}

impl From<LoadedMap> for MapReport {
    fn from(map: LoadedMap) -> Self {
        let LoadedMap {
            id,
            name,
            kind,
            key_bytes,
            value_bytes,
            max_entries,
            entries,
            memory_bytes,
        } = map;
        Self { name, id, kind, key_bytes, value_bytes, max_entries, entries, memory_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_of_nothing_is_none() {
        assert_eq!(mean_ns(Duration::from_nanos(7), 0), None);
        assert_eq!(mean_ns(Duration::from_nanos(100), 3), Some(33.3));
    }
}
