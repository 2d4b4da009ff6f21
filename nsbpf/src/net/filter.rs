//! clsact filters: the tc hooks of an interface.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

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
    attach_number(ifindex, hook, program.as_raw_fd(), name)
}

/// Attaches a program that is none, which no kernel does: what it says tells what it
/// has.
pub(super) fn attach_nothing(ifindex: u32) -> Request {
    attach_number(ifindex, TcHook::Ingress, -1, "probe")
}

fn attach_number(ifindex: u32, hook: TcHook, program: RawFd, name: &str) -> Request {
    let mut message = message(ifindex, hook.parent());
    message.header.handle = TcHandle::from(HANDLE);
    message.header.info = info(PRIORITY);
    let program = program.cast_unsigned();
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

/// A filter of a hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Lower ones run first.
    pub priority: u16,
    /// Tells it from others of that priority.
    pub handle: u32,
    /// What kind it is, such as `bpf` or `flower`.
    pub kind: String,
    /// Id of its program, if it is one.
    pub program: Option<u32>,
    /// The name that its program was attached under.
    pub name: String,
}

impl Filter {
    /// Whether we attached it, under that name.
    #[must_use]
    pub fn is_ours(&self, name: &str) -> bool {
        self.priority == PRIORITY && self.handle == HANDLE && self.name == name
    }
}

/// Id of the program that we attached to a hook under that name; `None` where
/// there is none.
pub fn attached(
    netlink: &mut Netlink,
    ifindex: u32,
    hook: TcHook,
    name: &str,
) -> Result<Option<u32>, NetlinkError> {
    let filters = list(netlink, ifindex, hook)?;
    let ours = filters.into_iter().find(|filter| filter.is_ours(name));
    Ok(ours.and_then(|filter| filter.program))
}

/// The filters of a hook, in the order in which they run.
pub fn list(
    netlink: &mut Netlink,
    ifindex: u32,
    hook: TcHook,
) -> Result<Vec<Filter>, NetlinkError> {
    let query = RouteNetlinkMessage::GetTrafficFilter(message(ifindex, hook.parent()));
    let filters = match netlink.dump(&query) {
        Ok(filters) => filters,
        // No clsact, so no filter (`tc_dump_tfilter`, Linux 6.18).
        Err(error)
            if matches!(error.errno(), Some(Errno::INVAL | Errno::NOENT | Errno::OPNOTSUPP)) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    Ok(filters.into_iter().filter_map(parse).collect())
}

fn parse(message: RouteNetlinkMessage) -> Option<Filter> {
    let RouteNetlinkMessage::NewTrafficFilter(message) = message else {
        return None;
    };
    let mut filter = Filter {
        priority: (message.header.info >> 16) as u16,
        handle: message.header.handle.into(),
        ..Filter::default()
    };
    for attribute in message.attributes {
        match attribute {
            TcAttribute::Kind(kind) => filter.kind = kind,
            TcAttribute::Options(options) => {
                for option in options {
                    match option {
                        TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => filter.program = Some(id),
                        TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => filter.name = name,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    // Each priority begins with an entry of its own (`tcf_chain_dump`, Linux 6.18).
    (filter.handle != 0).then_some(filter)
}

fn info(priority: u16) -> u32 {
    (u32::from(priority) << 16) | u32::from(ALL_PROTOCOLS)
}

fn message(ifindex: u32, parent: TcHandle) -> TcMessage {
    // Indices fit: the kernel's are `int`.
    let header = TcHeader { index: ifindex.cast_signed(), parent, ..TcHeader::default() };
    TcMessage::from_parts(header, Vec::new())
}
