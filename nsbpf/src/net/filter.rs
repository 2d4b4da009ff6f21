//! clsact filters: the tc hooks of an interface.

use std::os::fd::{AsRawFd, BorrowedFd};

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage,
    TcOption,
};
use rustix::io::Errno;

use super::socket::{Netlink, NetlinkError, Request};

/// Priority of our filters: high, so that everybody else's run first.
pub const PRIORITY: u16 = 0xc350;
/// Handle of our filters under that priority.
pub const HANDLE: u32 = 1;

/// `ETH_P_ALL`, in network order, as the kernel wants it in `tcm_info`.
const ALL_PROTOCOLS: u16 = 0x0003_u16.to_be();

/// Which hook of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TcHook {
    /// Packets that come in by the interface.
    Ingress,
    /// Packets that go out by it.
    Egress,
}

impl TcHook {
    fn parent(self) -> TcHandle {
        TcHandle {
            major: TcHandle::CLSACT.major,
            minor: match self {
                Self::Ingress => TcHandle::MIN_INGRESS,
                Self::Egress => TcHandle::MIN_EGRESS,
            },
        }
    }
}

/// Gives the interface a clsact queueing discipline, which holds the filters of
/// both hooks; one that is there already stays.
#[must_use]
pub fn add_clsact(ifindex: u32) -> Request {
    let mut message = message(ifindex, TcHandle::CLSACT);
    message.header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
    message.attributes.push(TcAttribute::Kind("clsact".to_owned()));
    Request::replace(RouteNetlinkMessage::NewQueueDiscipline(message))
}

/// Attaches a program to a hook, or puts it in the place of the one that we
/// attached before, with no packet in between that sees neither.
///
/// `program` must stay open until the request was sent.
#[must_use]
pub fn attach(ifindex: u32, hook: TcHook, program: BorrowedFd<'_>, name: &str) -> Request {
    let mut message = message(ifindex, hook.parent());
    message.header.handle = TcHandle::from(HANDLE);
    message.header.info = info(PRIORITY);
    #[expect(clippy::cast_sign_loss, reason = "a file descriptor is not negative")]
    let program = program.as_raw_fd() as u32;
    message.attributes.push(TcAttribute::Kind(TcFilterBpf::KIND.to_owned()));
    message.attributes.push(TcAttribute::Options(vec![
        TcOption::Bpf(TcFilterBpfOption::ProgFd(program)),
        TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned())),
        TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
    ]));
    Request::replace(RouteNetlinkMessage::NewTrafficFilter(message))
}

/// Detaches what [`attach`] attached.
#[must_use]
pub fn detach(ifindex: u32, hook: TcHook) -> Request {
    let mut message = message(ifindex, hook.parent());
    message.header.handle = TcHandle::from(HANDLE);
    message.header.info = info(PRIORITY);
    message.attributes.push(TcAttribute::Kind(TcFilterBpf::KIND.to_owned()));
    Request::change(RouteNetlinkMessage::DelTrafficFilter(message))
}

/// Id of the program that we attached to a hook under that name; `None` where
/// there is none.
pub fn attached(
    netlink: &mut Netlink,
    ifindex: u32,
    hook: TcHook,
    name: &str,
) -> Result<Option<u32>, NetlinkError> {
    let query = RouteNetlinkMessage::GetTrafficFilter(message(ifindex, hook.parent()));
    let filters = match netlink.dump(&query) {
        Ok(filters) => filters,
        // No clsact, so no filter (`tc_dump_tfilter`, Linux 6.18).
        Err(error)
            if matches!(error.errno(), Some(Errno::INVAL | Errno::NOENT | Errno::OPNOTSUPP)) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    Ok(filters.into_iter().find_map(|filter| program_of_ours(filter, name)))
}

fn program_of_ours(message: RouteNetlinkMessage, name: &str) -> Option<u32> {
    let RouteNetlinkMessage::NewTrafficFilter(message) = message else {
        return None;
    };
    if message.header.info != info(PRIORITY) || u32::from(message.header.handle) != HANDLE {
        return None;
    }
    let options = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    })?;
    let ours = TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned()));
    options.iter().find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgId(id)) if options.contains(&ours) => Some(*id),
        _ => None,
    })
}

fn info(priority: u16) -> u32 {
    (u32::from(priority) << 16) | u32::from(ALL_PROTOCOLS)
}

fn message(ifindex: u32, parent: TcHandle) -> TcMessage {
    // Indices fit: the kernel's are `int`.
    let header = TcHeader { index: ifindex.cast_signed(), parent, ..TcHeader::default() };
    TcMessage::from_parts(header, Vec::new())
}
