//! The programs of a lab that is up: where they are, what of others is around them,
//! what they cost, and their maps.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::datapath::{self, DatapathError, LoadedMap, LoadedProgram};
use crate::lab::{InterfaceId, Name};
use crate::net::filter::{self, Filter, TcHook};
use crate::net::{NetNs, Netlink, NetlinkError, link};
use crate::state::{Attach, Datapath, Far, Hook, HookPoint, Key, Object, Place, State, Veth};
use crate::store::Store;

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

/// A hook that a program of the lab is at.
#[derive(Debug, Serialize)]
pub struct HookReport {
    /// The interface that it counts for, as `namespace/interface`.
    pub interface: String,
    /// The name of the device that has the hook.
    pub device: String,
    /// The namespace that the device is in; `None` for the host's.
    pub namespace: Option<String>,
    /// Which hook: `tc ingress`, `tc egress` or `XDP`.
    pub point: &'static str,
    /// How it is attached: `clsact`, `tcx` or `xdp native`.
    pub way: &'static str,
    /// Id of the program.
    pub program: Option<u32>,
    /// Programs and filters of others that see a packet first, in that order.
    pub before: Vec<OtherReport>,
    /// Those that see it afterwards, if the program lets it go on to them.
    pub after: Vec<OtherReport>,
}

/// A program or a filter that is not the lab's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherReport {
    /// How it is attached: `xdp`, `tcx` or `clsact`.
    pub way: &'static str,
    /// What kind of filter it is; `bpf` for a program.
    pub kind: String,
    /// Its name; empty when it has none.
    pub name: String,
    /// Id of the program; `None` for a filter that is none.
    pub program: Option<u32>,
    /// The priority of a filter: lower ones run first.
    pub priority: Option<u16>,
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
    let ingress = match state.objects.get(&Key::Datapath) {
        Some(Object::Datapath(datapath)) => HookPoint::ingress(datapath.ingress),
        _ => return Ok(Vec::new()),
    };
    [ingress, HookPoint::TcEgress]
        .into_iter()
        .map(|point| datapath::loaded_program(store, point))
        .collect()
}

impl HookReport {
    /// Looks at a hook of a device in the calling thread's network namespace.
    fn new(store: &Store, state: &State, hook: &Hook) -> Result<Self, ObserveError> {
        let Hook { id, device, point, attach, current: _ } = hook;
        let ifindex = state.slot().map_or(0, |slot| slot.ifindex(device.number));
        let mut netlink = Netlink::open()?;
        let links = link::list(&mut netlink)?;
        let xdp = links.iter().find(|link| link.ifindex == ifindex).map(|link| link.xdp_program);
        let linked = datapath::linked_program(store, *point, device.number);
        let mut chain = Chain::default();
        let tc = match point {
            HookPoint::TcIngress => Some((TcHook::Ingress, datapath::TC_INGRESS)),
            HookPoint::TcEgress => Some((TcHook::Egress, datapath::TC_EGRESS)),
            HookPoint::Xdp => None,
        };
        if *point == HookPoint::TcIngress
            && let Some(program) = xdp.filter(|program| *program != 0)
        {
            chain.push(false, program_of_others("xdp", program, datapath::program_name(program)));
        }
        // A kernel without TCX has none there.
        for at in datapath::tcx_programs(ifindex, *point).unwrap_or_default() {
            let ours = *attach == Some(Attach::Tcx) && linked == Some(at.id);
            chain.push(ours, program_of_others("tcx", at.id, at.name));
        }
        let mut program = linked;
        if let Some((tc, name)) = tc {
            for filter in filter::list(&mut netlink, ifindex, tc)? {
                let ours = filter.is_ours(name);
                if ours {
                    program = filter.program;
                }
                chain.push(ours, OtherReport::from(filter));
            }
        }
        let Chain { before, after, .. } = chain;
        Ok(Self {
            interface: id.to_string(),
            device: device_name(state, id),
            namespace: match &device.place {
                Place::Host => None,
                Place::Netns(name) => Some(name.to_string()),
            },
            point: match point {
                HookPoint::TcIngress => "tc ingress",
                HookPoint::TcEgress => "tc egress",
                HookPoint::Xdp => "XDP",
            },
            way: match attach {
                Some(Attach::Clsact) => "clsact",
                Some(Attach::Tcx) => "tcx",
                None => "xdp native",
            },
            program,
            before,
            after,
        })
    }
}

/// What is at a hook, before and after the lab's program.
#[derive(Default)]
struct Chain {
    met_ours: bool,
    before: Vec<OtherReport>,
    after: Vec<OtherReport>,
}

impl Chain {
    fn push(&mut self, ours: bool, one: OtherReport) {
        if ours {
            self.met_ours = true;
        } else if self.met_ours {
            self.after.push(one);
        } else {
            self.before.push(one);
        }
    }
}

fn program_of_others(way: &'static str, id: u32, name: String) -> OtherReport {
    OtherReport { way, kind: "bpf".to_owned(), name, program: Some(id), priority: None }
}

impl From<Filter> for OtherReport {
    fn from(filter: Filter) -> Self {
        let Filter { priority, handle: _, kind, program, name } = filter;
        Self { way: "clsact", kind, name, program, priority: Some(priority) }
    }
}

/// The name of the device where an interface's packets come in.
fn device_name(state: &State, id: &InterfaceId) -> String {
    let name = |object: &Object| match object {
        Object::Veth(Veth { id: near, far, .. }) if near == id => Some(match far {
            Far::Port(port) => port.end.name.clone(),
            Far::Peer(peer) => peer.end.name.clone(),
        }),
        Object::Veth(Veth { near, far: Far::Peer(peer), .. }) if peer.id == *id => {
            near.as_ref().map(|near| near.name.clone())
        }
        _ => None,
    };
    state.objects.values().find_map(name).unwrap_or_default()
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
    fn others_are_told_by_which_side_they_are_on() {
        let other = |name: &str| program_of_others("tcx", 1, name.to_owned());
        let mut chain = Chain::default();
        for (ours, name) in [(false, "first"), (true, "ours"), (false, "last")] {
            chain.push(ours, other(name));
        }
        assert_eq!(chain.before, [other("first")]);
        assert_eq!(chain.after, [other("last")]);
    }

    #[test]
    fn a_mean_of_nothing_is_none() {
        assert_eq!(mean_ns(Duration::from_nanos(7), 0), None);
        assert_eq!(mean_ns(Duration::from_nanos(100), 3), Some(33.3));
    }
}
