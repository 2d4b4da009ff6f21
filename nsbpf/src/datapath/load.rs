//! Loading the object, pinning what it holds, and finding it again.
//!
//! Programs that take the place of others are pinned beside them first (*staged*),
//! and take over their pins when they are at every hook. Until then the lab's
//! programs are the ones before: a failure goes back to them, and who comes after a
//! kill begins the replacement anew. Maps stay pinned under their names throughout,
//! and every object that is loaded goes on with them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use aya::programs::{Program, ProgramError, ProgramFd, ProgramInfo, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use aya_obj::programs::XdpAttachType;
use nsbpf_common::ABI_VERSION;

use super::btf::Btf;
use super::{DatapathError, OBJECT, flows, link, pairs, paths, policy, recent, tick};
use crate::state::{Datapath, HookPoint, IngressHook, Switches};
use crate::store::Store;

/// Name of the program at tc ingress.
pub(super) const TC_INGRESS: &str = "tc_ingress";
/// Name of the program at tc egress.
pub(super) const TC_EGRESS: &str = "tc_egress";
/// Names of the programs inside routers.
const ROUTE_INGRESS: &str = "route_ingress";
const ROUTE_EGRESS: &str = "route_egress";
pub(super) const XDP_INGRESS: &str = "xdp_ingress";
/// Counters, by port.
pub(super) const PORT_STATS: &str = "PORT_STATS";
/// What the programs know of ports.
pub(super) const PORT_CONFIGS: &str = "PORT_CONFIGS";
/// Addresses that guarded ports may claim.
pub(super) const OWN_ADDRESSES: &str = "OWN_ADDRESSES";
/// The traffic matrix of a small lab, and that of a large one.
pub(super) const PAIR_TABLE: &str = "PAIR_TABLE";
pub(super) const PAIR_CELLS: &str = "PAIR_CELLS";
/// What found no room in it.
pub(super) const PAIRS_MISSED: &str = "PAIRS_MISSED";

/// Flows, those that are not answered yet, and what became of them.
pub(super) const FLOWS: &str = "FLOWS";
pub(super) const NEW_FLOWS: &str = "NEW_FLOWS";
pub(super) const RECENT_FLOWS: &str = "RECENT_FLOWS";
pub(super) const RECENT_RESTS: &str = "RECENT_RESTS";
pub(super) const FLOW_EVENTS: &str = "FLOW_EVENTS";
/// Where bridges send frames, and at which ports stations are.
pub(super) const LEARNED_PATHS: &str = "LEARNED_PATHS";
pub(super) const KNOWN_PATHS: &str = "KNOWN_PATHS";
pub(super) const STATIONS: &str = "STATIONS";
/// What the stacks of routers, and the host's, do to flows.
pub(super) const ROUTES: &str = "ROUTES";
/// Devices that take frames from XDP, by port.
pub(super) const DEVICES: &str = "DEVICES";

/// How many entries a map is to have; `None` for what the object says.
type Entries = fn(&Datapath) -> Option<u32>;

/// Maps that outlive the programs. What is not among these is made anew with every
/// load.
const MAPS: &[(&str, Entries)] = &[
    (PORT_STATS, |datapath| Some(datapath.port_capacity)),
    (PORT_CONFIGS, |datapath| Some(datapath.port_capacity)),
    (OWN_ADDRESSES, |_| None),
    (PAIR_TABLE, |datapath| Some(pairs::table_entries(datapath))),
    (PAIR_CELLS, |datapath| Some(pairs::cell_entries(datapath))),
    (PAIRS_MISSED, |_| None),
    (FLOWS, |datapath| Some(flows::entries(datapath))),
    (NEW_FLOWS, |datapath| Some(flows::new_entries(datapath))),
    (RECENT_FLOWS, |datapath| Some(recent::entries(datapath))),
    (RECENT_RESTS, |datapath| Some(recent::entries(datapath))),
    (FLOW_EVENTS, |_| None),
    (LEARNED_PATHS, |datapath| Some(paths::entries(datapath))),
    (KNOWN_PATHS, |_| None),
    (STATIONS, |datapath| Some(paths::entries(datapath))),
    (DEVICES, |datapath| Some(datapath.port_capacity)),
    (ROUTES, |datapath| Some(paths::route_entries(datapath))),
];

/// Begins the pins of programs that are not at every hook yet.
const STAGED: &str = "next_";

/// The programs of a lab, loaded.
pub struct Programs {
    pub(super) tc: BTreeMap<&'static str, SchedClassifier>,
    pub(super) xdp_ingress: Option<Xdp>,
    pub(super) pins: PathBuf,
    /// What is to be noted when these are the lab's.
    staged: Option<Datapath>,
}

/// Ids of the programs of a lab, as the kernel knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramIds(BTreeMap<&'static str, u32>);

impl ProgramIds {
    /// The program for a hook.
    #[must_use]
    pub fn at(&self, point: HookPoint) -> Option<u32> {
        self.0.get(program_name(point)).copied()
    }
}

pub(super) fn program_error(
    operation: &'static str,
    program: &'static str,
) -> impl FnOnce(ProgramError) -> DatapathError {
    move |source| DatapathError::Program { operation, program, source: Box::new(source) }
}

pub(super) fn io_error(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> DatapathError {
    let path = path.to_owned();
    move |source| DatapathError::Io { operation, path, source }
}

/// A number that nobody guesses, and that is not 0.
fn secret() -> io::Result<u64> {
    let mut bytes = [0; size_of::<u64>()];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes).max(1))
}

/// The programs that a datapath has, and those that it could have.
fn programs(datapath: &Datapath) -> [(&'static str, bool); 5] {
    let tc = datapath.ingress.contains(&IngressHook::Tc);
    let xdp = datapath.ingress.iter().any(|hook| HookPoint::ingress(*hook).is_xdp());
    let routes = datapath.switches.routes;
    [
        (TC_INGRESS, tc),
        (XDP_INGRESS, xdp),
        (TC_EGRESS, true),
        (ROUTE_INGRESS, routes),
        (ROUTE_EGRESS, routes),
    ]
}

fn used(datapath: &Datapath) -> impl Iterator<Item = &'static str> {
    programs(datapath).into_iter().filter_map(|(name, used)| used.then_some(name))
}

fn unused(datapath: &Datapath) -> impl Iterator<Item = &'static str> {
    programs(datapath).into_iter().filter_map(|(name, used)| (!used).then_some(name))
}

impl Programs {
    /// Loads the object for a lab, with the maps that are pinned in the lab's folder
    /// or that it pins there, and stages its programs.
    pub fn load(store: &Store, datapath: &Datapath) -> Result<Self, DatapathError> {
        let pins = store.pins();
        // 0 takes every log statement out of the programs.
        let log_level = if datapath.log { aya_log::Level::Debug as u8 } else { 0 };
        let Switches { guard, direct_links, fast_paths, routes: _, host_routes } =
            datapath.switches;
        let [guard, direct_links, fast_paths, host_routes, track_flows] =
            [guard, direct_links, fast_paths, host_routes, datapath.flows > 0].map(u8::from);
        let [path_ticks, station_ticks, tell_ticks] =
            [paths::PATH_AGE, paths::STATION_AGE, recent::TELL_AGE].map(tick::in_time);
        let (recent_places, tick_ns) = (recent::places(datapath), tick::nanoseconds());
        let table_ports = pairs::table_ports(datapath);
        let has_policy = u8::from(datapath.policy.is_some());
        let answer_secret =
            secret().map_err(io_error("read", Path::new("the kernel's random numbers")))?;
        // 0 for what this kernel does not have, or does not tell.
        let kernel = if datapath.switches.fast_paths { Btf::of_kernel() } else { None };
        let [nfct, dev, qdisc, enqueue, net, nf, hooks_v4, hooks_v6, first_hook, priority] = [
            ("sk_buff", "_nfct"),
            ("sk_buff", "dev"),
            ("net_device", "qdisc"),
            ("Qdisc", "enqueue"),
            ("net_device", "nd_net"),
            ("net", "nf"),
            ("netns_nf", "hooks_ipv4"),
            ("netns_nf", "hooks_ipv6"),
            ("nf_hook_entries", "hooks"),
            ("nf_hook_ops", "priority"),
        ]
        .map(|(structure, field)| {
            kernel.as_ref().and_then(|btf| btf.offset(structure, field)).unwrap_or(0)
        });
        let [hooks_v4, hooks_v6] = [nf + hooks_v4, nf + hooks_v6];
        let mut loader = EbpfLoader::new();
        loader
            .override_global("PORT_BASE", &datapath.port_base, true)
            .override_global("GUARD", &guard, true)
            .override_global("DIRECT_LINKS", &direct_links, true)
            .override_global("TRACK_FLOWS", &track_flows, true)
            .override_global("POLICY", &has_policy, true)
            .override_global("ANSWER_SECRET", &answer_secret, true)
            .override_global("FAST_PATHS", &fast_paths, true)
            .override_global("HOST_ROUTES", &host_routes, true)
            .override_global("RECENT_PLACES", &recent_places, true)
            .override_global("TELL_TICKS", &tell_ticks, true)
            .override_global("TICK_NS", &tick_ns, true)
            .override_global("PATH_TICKS", &path_ticks, true)
            .override_global("STATION_TICKS", &station_ticks, true)
            .override_global("NFCT_OFFSET", &nfct, true)
            .override_global("DEV_OFFSET", &dev, true)
            .override_global("QDISC_OFFSET", &qdisc, true)
            .override_global("ENQUEUE_OFFSET", &enqueue, true)
            .override_global("NET_OFFSET", &net, true)
            .override_global("HOOKS_V4_OFFSET", &hooks_v4, true)
            .override_global("HOOKS_V6_OFFSET", &hooks_v6, true)
            .override_global("FIRST_HOOK_OFFSET", &first_hook, true)
            .override_global("PRIORITY_OFFSET", &priority, true)
            .override_global("PAIR_TABLE_PORTS", &table_ports, true)
            .override_global(aya_log::LEVEL, &log_level, true);
        for (map, entries) in MAPS {
            loader.map_pin_path(map, pins.join(map));
            if let Some(entries) = entries(datapath) {
                loader.map_max_entries(map, entries);
            }
        }
        for map in policy::maps(datapath) {
            loader.map_max_entries(map.name, map.entries);
            if let Some(pin) = map.pin {
                loader.map_pin_path(map.name, pins.join(pin));
            }
        }
        let mut ebpf = loader.load(OBJECT).map_err(Box::new)?;
        forget_staged(store)?;
        for name in used(datapath) {
            load_pinned(&mut ebpf, name, &pins.join(format!("{STAGED}{name}")))?;
        }
        let opened = Self::open_as(STAGED, store, datapath)?;
        Ok(Self { staged: Some(datapath.clone()), ..opened })
    }

    /// The programs that were loaded before.
    pub fn open(store: &Store, datapath: &Datapath) -> Result<Self, DatapathError> {
        Self::open_as("", store, datapath)
    }

    fn open_as(prefix: &str, store: &Store, datapath: &Datapath) -> Result<Self, DatapathError> {
        let pins = store.pins();
        let pin = |name: &str| pins.join(format!("{prefix}{name}"));
        let open_tc = |name: &'static str| {
            SchedClassifier::from_pin(pin(name)).map_err(program_error("open", name))
        };
        let (mut tc, mut xdp_ingress) = (BTreeMap::new(), None);
        for name in used(datapath) {
            if name == XDP_INGRESS {
                let program = Xdp::from_pin(pin(XDP_INGRESS), XdpAttachType::Interface)
                    .map_err(program_error("open", XDP_INGRESS))?;
                xdp_ingress = Some(program);
            } else {
                tc.insert(name, open_tc(name)?);
            }
        }
        Ok(Self { tc, xdp_ingress, pins, staged: None })
    }

    /// Makes staged programs the lab's: they take the pins of the others, and what
    /// was loaded is noted. A record is what makes pins count, so it comes last but
    /// for the pin of a program that nobody needs any more.
    pub fn commit(&mut self, store: &Store) -> Result<(), DatapathError> {
        let Some(datapath) = &self.staged else {
            return Ok(());
        };
        for name in used(datapath) {
            let (from, to) = (self.pins.join(format!("{STAGED}{name}")), self.pins.join(name));
            fs::rename(&from, &to).map_err(io_error("rename", &from))?;
        }
        let text = serde_json::to_string(datapath).map_err(io::Error::other);
        let record = store.datapath_record();
        let new = record.with_extension("new");
        text.and_then(|text| fs::write(&new, text)).map_err(io_error("write", &new))?;
        fs::rename(&new, &record).map_err(io_error("rename", &new))?;
        for name in unused(datapath) {
            remove_if_there(&self.pins.join(name))?;
        }
        policy::prune(store, datapath)?;
        self.staged = None;
        Ok(())
    }

    /// The program for a tc hook, and its name.
    pub fn at(&self, point: HookPoint) -> Result<(BorrowedFd<'_>, &'static str), DatapathError> {
        let name = program_name(point);
        let program = self.tc.get(name).ok_or(DatapathError::Missing(name))?;
        Ok((fd(program, name)?.as_fd(), name))
    }
}

/// The name of the program for a hook: in the kernel half, of its pin, and of its filter.
#[must_use]
pub fn program_name(point: HookPoint) -> &'static str {
    match point {
        HookPoint::TcIngress => TC_INGRESS,
        HookPoint::TcEgress => TC_EGRESS,
        HookPoint::Xdp | HookPoint::XdpGeneric => XDP_INGRESS,
        HookPoint::RouteIngress => ROUTE_INGRESS,
        HookPoint::RouteEgress => ROUTE_EGRESS,
    }
}

/// Lets go of programs that did not come to take the place of others, and of maps that
/// only those had. At hooks they stay.
pub fn discard_staged(store: &Store) -> Result<(), DatapathError> {
    forget_staged(store)?;
    read_record(store).map_or(Ok(()), |datapath| policy::prune(store, &datapath))
}

fn forget_staged(store: &Store) -> Result<(), DatapathError> {
    for path in pins(store)?.filter(|path| is_staged(path)) {
        remove_if_there(&path)?;
    }
    Ok(())
}

/// Removes the pins of a lab's programs and maps. At hooks the programs go on: there
/// filters and links hold them, until others take their places.
pub fn unload(store: &Store) -> Result<(), DatapathError> {
    remove_if_there(&store.datapath_record())?;
    for path in pins(store)?.filter(|path| !link::is_pin(path)) {
        remove_if_there(&path)?;
    }
    Ok(())
}

/// What is loaded for a lab, and under which ids; `None` when nothing is, or
/// not all of it.
#[must_use]
pub fn observe(store: &Store) -> Option<(Datapath, ProgramIds)> {
    let mut datapath = read_record(store)?;
    let pinned = store.pins();
    let id = |name: &'static str| {
        ProgramInfo::from_pin(pinned.join(name)).ok().map(|info| (name, info.id()))
    };
    let ids =
        ProgramIds(programs(&datapath).into_iter().filter_map(|(name, _)| id(name)).collect());
    let there = |name: &'static str| pinned.join(name).exists();
    // Maps of another layout are not for this build to look for.
    let mut of_policy = policy::maps(&datapath).filter_map(|map| map.pin);
    let maps_there =
        MAPS.iter().all(|(map, _)| there(map)) && of_policy.all(|pin| pinned.join(pin).exists());
    let whole = datapath.abi != ABI_VERSION || maps_there;
    let stale = policy::stale(store, &datapath).is_ok_and(|pins| !pins.is_empty());
    let staged = pins(store).is_ok_and(|mut pins| pins.any(|path| is_staged(&path)));
    let settled = whole && !staged && !stale && !unused(&datapath).any(there);
    datapath.settled = settled;
    let all = used(&datapath).all(there);
    all.then_some((datapath, ids))
}

fn read_record(store: &Store) -> Option<Datapath> {
    let text = fs::read_to_string(store.datapath_record()).ok()?;
    serde_json::from_str(&text).ok()
}

fn is_staged(pin: &Path) -> bool {
    pin.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(STAGED.as_bytes()))
}

pub(super) fn pins(store: &Store) -> Result<impl Iterator<Item = PathBuf>, DatapathError> {
    let folder = store.pins();
    let entries = fs::read_dir(&folder).map_err(io_error("list", &folder))?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    Ok(paths.map_err(io_error("list", &folder))?.into_iter())
}

pub(super) fn remove_if_there(path: &Path) -> Result<(), DatapathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Loads one program of the object and pins it.
fn load_pinned(ebpf: &mut Ebpf, name: &'static str, pin: &Path) -> Result<(), DatapathError> {
    let program = ebpf.program_mut(name).ok_or(DatapathError::Missing(name))?;
    match program {
        Program::SchedClassifier(program) => program.load(),
        Program::Xdp(program) => program.load(),
        _ => return Err(DatapathError::Missing(name)),
    }
    .map_err(program_error("load", name))?;
    program
        .pin(pin)
        .map_err(|source| DatapathError::Pin { path: pin.to_owned(), source: Box::new(source) })
}

fn fd<'a>(
    program: &'a SchedClassifier,
    name: &'static str,
) -> Result<&'a ProgramFd, DatapathError> {
    program.fd().map_err(program_error("use", name))
}
