//! Links: programs at XDP and TCX hooks, held by pins in the lab's folder.
//!
//! A link's program is replaced in place, so that no packet passes between two. A
//! link whose device is gone lives on in its pin and is attached to nothing: it can
//! be told by that it takes no other program (`ENOLINK`; `tcx_link_update` and
//! `bpf_xdp_link_update`, Linux 6.18).

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, LinkOrder, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions, TcError};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, ProgramInfo, SchedClassifier, TcAttachType, Xdp, XdpMode};

use super::load::{
    Programs, TC_EGRESS, XDP_INGRESS, pins, program_error, program_name, remove_if_there,
};
use super::{DatapathError, syscall};
use crate::state::HookPoint;
use crate::store::Store;

/// What the name of every pinned link has, and of nothing else that is pinned.
const MARK: &str = "_link_";

fn pin(pins: &Path, point: HookPoint, number: u16) -> PathBuf {
    let kind = match point {
        HookPoint::TcIngress => "tcx_ingress",
        HookPoint::TcEgress => "tcx_egress",
        HookPoint::Xdp => "xdp",
        HookPoint::XdpGeneric => "xdp_generic",
        HookPoint::RouteIngress => "route_ingress",
        HookPoint::RouteEgress => "route_egress",
    };
    pins.join(format!("{kind}{MARK}{number}"))
}

/// Whether that is the pin of a link.
pub(super) fn is_pin(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(MARK))
}

/// Whether a port has a link at that hook, attached or not.
#[must_use]
pub fn has_link(store: &Store, point: HookPoint, number: u16) -> bool {
    pin(&store.pins(), point, number).exists()
}

/// Id of the program of a port's link at that hook, attached or not; `None` where
/// there is no link.
#[must_use]
pub fn linked_program(store: &Store, point: HookPoint, number: u16) -> Option<u32> {
    program_of(&pin(&store.pins(), point, number))
}

fn program_of(pin: &Path) -> Option<u32> {
    Some(FdLink::from(PinnedLink::from_pin(pin).ok()?).info().ok()?.program_id())
}

/// Detaches a port's link from that hook. One that is not there is no error.
pub fn detach(store: &Store, point: HookPoint, number: u16) -> Result<(), DatapathError> {
    let path = pin(&store.pins(), point, number);
    if let Ok(link) = syscall::open_pin(&path) {
        // One that is attached to nothing is no error; nor is it that a kernel detaches
        // only by letting go of the pin (XDP before Linux 5.11).
        let _ = syscall::detach_link(link.as_fd());
    }
    remove_if_there(&path)
}

/// A link without a pin: it goes when this is dropped.
pub struct HeldLink {
    _link: FdLink,
}

impl Programs {
    /// Lets go of links that have other programs. Call it when these are at every hook:
    /// what is left then is attached to nothing, and would keep programs that nobody
    /// needs.
    pub fn prune_links(&self, store: &Store) -> Result<(), DatapathError> {
        let ids = self.ids()?;
        for path in pins(store)?.filter(|path| is_pin(path)) {
            if program_of(&path).is_some_and(|program| !ids.contains(&program)) {
                remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    fn ids(&self) -> Result<Vec<u32>, DatapathError> {
        let tc = self.tc.iter().map(|(name, program)| (program.info(), *name));
        let xdp = self.xdp_ingress.iter().map(|program| (program.info(), XDP_INGRESS));
        let id = |(info, name): (Result<ProgramInfo, _>, _)| {
            Ok(info.map_err(program_error("look at", name))?.id())
        };
        tc.chain(xdp).map(id).collect()
    }

    /// Attaches a program by TCX to an interface of the calling thread's network
    /// namespace, for as long as what is returned is held.
    pub fn hold_tcx(&mut self, ifindex: u32) -> Result<HeldLink, DatapathError> {
        let program = self.tc.get_mut(TC_EGRESS).ok_or(DatapathError::Missing(TC_EGRESS))?;
        let link = new_tcx(program, TC_EGRESS, TcAttachType::Egress, ifindex)?;
        Ok(HeldLink { _link: link })
    }

    /// Attaches the program of a hook by a link to an interface of the calling
    /// thread's network namespace, and pins the link; or puts the program in the place
    /// of the one that the port's link has, with no packet in between that sees
    /// neither. XDP is attached in the driver, TCX behind all that is there.
    ///
    /// # Errors
    /// The interface has an XDP program already, or does not take ours.
    pub fn attach_link(
        &mut self,
        point: HookPoint,
        ifindex: u32,
        number: u16,
    ) -> Result<(), DatapathError> {
        let path = pin(&self.pins, point, number);
        let missing = DatapathError::Missing;
        match point {
            HookPoint::Xdp | HookPoint::XdpGeneric => {
                let mode = match point {
                    HookPoint::XdpGeneric => XdpMode::Skb,
                    _ => XdpMode::Driver,
                };
                let program = self.xdp_ingress.as_mut().ok_or(missing(XDP_INGRESS))?;
                if !replace_xdp(program, &path).map_err(program_error("replace", XDP_INGRESS))? {
                    remove_if_there(&path)?;
                    let link = attach_xdp(program, ifindex, mode)?;
                    pin_link(link, &path)?;
                }
            }
            HookPoint::TcIngress | HookPoint::RouteIngress => {
                self.attach_tcx(point, TcAttachType::Ingress, ifindex, &path)?;
            }
            HookPoint::TcEgress | HookPoint::RouteEgress => {
                self.attach_tcx(point, TcAttachType::Egress, ifindex, &path)?;
            }
        }
        Ok(())
    }
}

impl Programs {
    fn attach_tcx(
        &mut self,
        point: HookPoint,
        direction: TcAttachType,
        ifindex: u32,
        path: &Path,
    ) -> Result<(), DatapathError> {
        let name = program_name(point);
        let program = self.tc.get_mut(name).ok_or(DatapathError::Missing(name))?;
        attach_tcx(program, name, direction, ifindex, path)
    }
}

/// Attaches to an interface of the calling thread's network namespace.
pub(super) fn attach_xdp(
    program: &mut Xdp,
    ifindex: u32,
    mode: XdpMode,
) -> Result<FdLink, DatapathError> {
    let attached = program
        .attach_to_if_index(ifindex, mode)
        .and_then(|id| program.take_link(id))
        .map_err(xdp_refusal)?;
    FdLink::try_from(attached).map_err(|_| DatapathError::NoXdpLinks)
}

/// What a refusal means whose reason the kernel tells only to who traces
/// `bpf_xdp_link_attach_failed`.
fn xdp_refusal(error: ProgramError) -> DatapathError {
    match errno(&error) {
        // `veth_xdp_set`, Linux 6.18.
        Some(libc::ERANGE) => DatapathError::XdpMtu,
        // `dev_xdp_attach`, Linux 6.18.
        Some(libc::EBUSY | libc::EEXIST) => DatapathError::XdpTaken,
        _ => program_error("attach", XDP_INGRESS)(error),
    }
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    }
}

/// Returns whether there was a link that is attached.
fn replace_xdp(program: &mut Xdp, path: &Path) -> Result<bool, ProgramError> {
    let Ok(link) = PinnedLink::from_pin(path) else { return Ok(false) };
    let Ok(link) = XdpLink::try_from(FdLink::from(link)) else { return Ok(false) };
    is_attached(program.attach_to_link(link).and_then(|id| program.take_link(id)))
}

fn replace_tcx(program: &mut SchedClassifier, path: &Path) -> Result<bool, ProgramError> {
    let Ok(link) = PinnedLink::from_pin(path) else { return Ok(false) };
    let Ok(link) = SchedClassifierLink::try_from(FdLink::from(link)) else { return Ok(false) };
    is_attached(program.attach_to_link(link).and_then(|id| program.take_link(id)))
}

fn is_attached<L>(replaced: Result<L, ProgramError>) -> Result<bool, ProgramError> {
    match replaced {
        // The pin holds it.
        Ok(_) => Ok(true),
        Err(error) if errno(&error) == Some(libc::ENOLINK) => Ok(false),
        Err(error) => Err(error),
    }
}

fn attach_tcx(
    program: &mut SchedClassifier,
    name: &'static str,
    point: TcAttachType,
    ifindex: u32,
    path: &Path,
) -> Result<(), DatapathError> {
    if replace_tcx(program, path).map_err(program_error("replace", name))? {
        return Ok(());
    }
    remove_if_there(path)?;
    pin_link(new_tcx(program, name, point, ifindex)?, path)
}

/// Attaches behind all that is there.
fn new_tcx(
    program: &mut SchedClassifier,
    name: &'static str,
    point: TcAttachType,
    ifindex: u32,
) -> Result<FdLink, DatapathError> {
    let device = device_name(ifindex).map_err(|error| {
        program_error("attach", name)(ProgramError::from(TcError::IoError(error)))
    })?;
    let last = TcAttachOptions::TcxOrder(LinkOrder::last());
    let attached = program
        .attach_with_options(&device, point, last)
        .and_then(|id| program.take_link(id))
        .map_err(program_error("attach", name))?;
    FdLink::try_from(attached).map_err(|_| DatapathError::NoTcx)
}

fn pin_link(link: FdLink, path: &Path) -> Result<(), DatapathError> {
    link.pin(path)
        .map(drop)
        .map_err(|source| DatapathError::Pin { path: path.to_owned(), source: Box::new(source) })
}

/// aya finds TCX hooks by the name of their interface.
fn device_name(ifindex: u32) -> io::Result<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer is as long as the function asks for.
    let found = unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr()) };
    if found.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the function has just written a string that ends there.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    Ok(name.to_string_lossy().into_owned())
}

/// A program at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramAt {
    /// Its id.
    pub id: u32,
    /// Its name; empty when it has none.
    pub name: String,
}

/// The TCX programs at a tc hook of an interface of the calling thread's network
/// namespace, in the order in which they run.
///
/// # Errors
/// The kernel has no TCX, or the interface is gone.
pub fn tcx_programs(ifindex: u32, point: HookPoint) -> io::Result<Vec<ProgramAt>> {
    let direction = match point {
        HookPoint::TcIngress | HookPoint::RouteIngress => TcAttachType::Ingress,
        HookPoint::TcEgress | HookPoint::RouteEgress => TcAttachType::Egress,
        HookPoint::Xdp | HookPoint::XdpGeneric => return Ok(Vec::new()),
    };
    let (_, programs) =
        SchedClassifier::query_tcx(&device_name(ifindex)?, direction).map_err(io::Error::other)?;
    let named = programs.iter().map(|info| ProgramAt {
        id: info.id(),
        name: info.name_as_str().unwrap_or_default().to_owned(),
    });
    Ok(named.collect())
}
