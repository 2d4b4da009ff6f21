//! Loading the object, pinning what it holds, and finding it again.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use aya::pin::PinError;
use aya::programs::links::FdLink;
use aya::programs::{Program, ProgramError, ProgramFd, ProgramInfo, SchedClassifier, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use aya_obj::programs::XdpAttachType;
use nsbpf_common::pair::Pair;

use super::{DatapathError, OBJECT};
use crate::state::{Datapath, IngressHook};
use crate::store::Store;

/// Name of the program at tc ingress: in the kernel half, of its pin, and of its
/// filter.
pub const TC_INGRESS: &str = "tc_ingress";
/// Name of the program at tc egress.
pub const TC_EGRESS: &str = "tc_egress";
pub(super) const XDP_INGRESS: &str = "xdp_ingress";
/// Maps that outlive this process.
pub(super) const PORT_STATS: &str = "PORT_STATS";
pub(super) const PORT_CONFIGS: &str = "PORT_CONFIGS";
pub(super) const OWN_ADDRESSES: &str = "OWN_ADDRESSES";
pub(super) const PAIR_TABLE: &str = "PAIR_TABLE";
pub(super) const PAIR_CELLS: &str = "PAIR_CELLS";
pub(super) const PAIRS_MISSED: &str = "PAIRS_MISSED";
const PINNED_MAPS: [&str; 6] =
    [PORT_STATS, PORT_CONFIGS, OWN_ADDRESSES, PAIR_TABLE, PAIR_CELLS, PAIRS_MISSED];

/// Ports for which every pair has a cell of its own: that is 1 MiB a processor.
/// In larger labs most pairs never meet.
const MAX_TABLE_PORTS: u32 = 256;
/// Pairs of a larger lab that the matrix has room for.
const PAIR_CAPACITY: u32 = 1 << 16;

/// Ports that `PAIR_TABLE` has rows for; 0 where `PAIR_CELLS` is the matrix.
pub(super) fn pair_table_ports(datapath: &Datapath) -> u16 {
    match u16::try_from(datapath.port_capacity) {
        Ok(ports) if datapath.port_capacity <= MAX_TABLE_PORTS => ports,
        _ => 0,
    }
}

/// The programs of a lab, loaded.
pub struct Programs {
    tc_ingress: Option<SchedClassifier>,
    tc_egress: SchedClassifier,
    xdp_ingress: Option<Xdp>,
    pins: PathBuf,
}

/// Ids of the programs of a lab, as the kernel knows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramIds {
    /// At tc ingress.
    pub tc_ingress: Option<u32>,
    /// At tc egress.
    pub tc_egress: Option<u32>,
    /// At XDP.
    pub xdp: Option<u32>,
}

pub(super) fn program_error(
    operation: &'static str,
    program: &'static str,
) -> impl FnOnce(ProgramError) -> DatapathError {
    move |source| DatapathError::Program { operation, program, source: Box::new(source) }
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DatapathError {
    let path = path.to_owned();
    move |source| DatapathError::Io { operation, path, source }
}

impl Programs {
    /// Loads the object for a lab and pins what it holds in the lab's folder,
    /// then notes what was loaded: a record without which the pins do not count.
    pub fn load(store: &Store, datapath: &Datapath) -> Result<Self, DatapathError> {
        let pins = store.pins();
        // 0 takes every log statement out of the programs.
        let log_level = if datapath.log { aya_log::Level::Debug as u8 } else { 0 };
        let [guard, direct_links] = [datapath.guard, datapath.direct_links].map(u8::from);
        let table_ports = pair_table_ports(datapath);
        let (table, pairs) = match table_ports {
            0 => (1, PAIR_CAPACITY),
            ports => (Pair::table_length(ports), 1),
        };
        let mut ebpf = EbpfLoader::new()
            .override_global("PORT_BASE", &datapath.port_base, true)
            .override_global("GUARD", &guard, true)
            .override_global("DIRECT_LINKS", &direct_links, true)
            .override_global("PAIR_TABLE_PORTS", &table_ports, true)
            .override_global(aya_log::LEVEL, &log_level, true)
            .map_max_entries(PORT_STATS, datapath.port_capacity)
            .map_max_entries(PORT_CONFIGS, datapath.port_capacity)
            .map_max_entries(PAIR_TABLE, table)
            .map_max_entries(PAIR_CELLS, pairs)
            .load(OBJECT)
            .map_err(Box::new)?;
        for name in PINNED_MAPS {
            let map = ebpf.map(name).ok_or(DatapathError::Missing(name))?;
            let path = pins.join(name);
            map.pin(&path).map_err(pin_error(&path))?;
        }
        let ingress = match datapath.ingress {
            IngressHook::Tc => TC_INGRESS,
            IngressHook::Xdp => XDP_INGRESS,
        };
        for name in [ingress, TC_EGRESS] {
            load_pinned(&mut ebpf, name, &pins)?;
        }
        let record = store.datapath_record();
        let text = serde_json::to_string(datapath).map_err(io::Error::other);
        text.and_then(|text| fs::write(&record, text)).map_err(io_error("write", &record))?;
        Self::open(store, datapath)
    }

    /// The programs that were loaded before.
    pub fn open(store: &Store, datapath: &Datapath) -> Result<Self, DatapathError> {
        let pins = store.pins();
        let (mut tc_ingress, mut xdp_ingress) = (None, None);
        match datapath.ingress {
            IngressHook::Tc => tc_ingress = Some(open_tc(TC_INGRESS, &pins)?),
            IngressHook::Xdp => {
                let program = Xdp::from_pin(pins.join(XDP_INGRESS), XdpAttachType::Interface)
                    .map_err(program_error("open", XDP_INGRESS))?;
                xdp_ingress = Some(program);
            }
        }
        let tc_egress = open_tc(TC_EGRESS, &pins)?;
        Ok(Self { tc_ingress, tc_egress, xdp_ingress, pins })
    }

    /// The program for tc ingress, and its name.
    pub fn tc_ingress(&self) -> Result<(BorrowedFd<'_>, &'static str), DatapathError> {
        let program = self.tc_ingress.as_ref().ok_or(DatapathError::Missing(TC_INGRESS))?;
        Ok((fd(program, TC_INGRESS)?.as_fd(), TC_INGRESS))
    }

    /// The program for tc egress, and its name.
    pub fn tc_egress(&self) -> Result<(BorrowedFd<'_>, &'static str), DatapathError> {
        Ok((fd(&self.tc_egress, TC_EGRESS)?.as_fd(), TC_EGRESS))
    }

    /// Attaches the XDP program to an interface of the calling thread's network
    /// namespace, in the driver, and pins the link.
    ///
    /// # Errors
    /// The interface has an XDP program already, or does not take ours.
    pub fn attach_xdp(&mut self, ifindex: u32, number: u16) -> Result<(), DatapathError> {
        let path = xdp_link(&self.pins, number);
        let program = self.xdp_ingress.as_mut().ok_or(DatapathError::Missing(XDP_INGRESS))?;
        let attached = program
            .attach_to_if_index(ifindex, XdpMode::Driver)
            .and_then(|id| program.take_link(id))
            .map_err(program_error("attach", XDP_INGRESS))?;
        let link = FdLink::try_from(attached).map_err(|_| DatapathError::NoXdpLinks)?;
        link.pin(&path).map(drop).map_err(pin_error(&path))
    }
}

/// Whether a port has an XDP link of ours.
#[must_use]
pub fn has_xdp_link(store: &Store, number: u16) -> bool {
    xdp_link(&store.pins(), number).exists()
}

/// Detaches XDP from a port: lets go of the pinned link.
pub fn detach_xdp(store: &Store, number: u16) -> Result<(), DatapathError> {
    let path = xdp_link(&store.pins(), number);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("unpin", &path)(error))
        }
        _ => Ok(()),
    }
}

/// Removes every pin of a lab. Filters go on with the programs that they hold.
pub fn unload(store: &Store) -> Result<(), DatapathError> {
    let record = store.datapath_record();
    match fs::remove_file(&record) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove", &record)(error));
        }
        _ => {}
    }
    let pins = store.pins();
    let entries = fs::read_dir(&pins).map_err(io_error("list", &pins))?;
    for entry in entries {
        let path = entry.map_err(io_error("list", &pins))?.path();
        fs::remove_file(&path).map_err(io_error("unpin", &path))?;
    }
    Ok(())
}

/// What is loaded for a lab, and under which ids; `None` when nothing is, or
/// not all of it.
#[must_use]
pub fn observe(store: &Store) -> Option<(Datapath, ProgramIds)> {
    let text = fs::read_to_string(store.datapath_record()).ok()?;
    let datapath: Datapath = serde_json::from_str(&text).ok()?;
    let pins = store.pins();
    let id = |name: &str| ProgramInfo::from_pin(pins.join(name)).ok().map(|info| info.id());
    let ids =
        ProgramIds { tc_ingress: id(TC_INGRESS), tc_egress: id(TC_EGRESS), xdp: id(XDP_INGRESS) };
    let ingress = match datapath.ingress {
        IngressHook::Tc => ids.tc_ingress,
        IngressHook::Xdp => ids.xdp,
    };
    let whole = ingress.is_some()
        && ids.tc_egress.is_some()
        && PINNED_MAPS.iter().all(|name| pins.join(name).exists());
    whole.then_some((datapath, ids))
}

/// Loads one program of the object and pins it under its name.
fn load_pinned(ebpf: &mut Ebpf, name: &'static str, pins: &Path) -> Result<(), DatapathError> {
    let program = ebpf.program_mut(name).ok_or(DatapathError::Missing(name))?;
    match program {
        Program::SchedClassifier(program) => program.load(),
        Program::Xdp(program) => program.load(),
        _ => return Err(DatapathError::Missing(name)),
    }
    .map_err(program_error("load", name))?;
    let path = pins.join(name);
    program.pin(&path).map_err(pin_error(&path))
}

fn open_tc(name: &'static str, pins: &Path) -> Result<SchedClassifier, DatapathError> {
    SchedClassifier::from_pin(pins.join(name)).map_err(program_error("open", name))
}

fn fd<'a>(
    program: &'a SchedClassifier,
    name: &'static str,
) -> Result<&'a ProgramFd, DatapathError> {
    program.fd().map_err(program_error("use", name))
}

fn pin_error(path: &Path) -> impl FnOnce(PinError) -> DatapathError {
    let path = path.to_owned();
    move |source| DatapathError::Pin { path, source: Box::new(source) }
}

fn xdp_link(pins: &Path, number: u16) -> PathBuf {
    pins.join(format!("xdp_link_{number}"))
}
