//! Waiting for namespaces to be gone.
//!
//! A namespace dies on a kernel worker some time after its last reference is
//! dropped. The kernel tells whoever knows the namespace by a number (`nsid`)
//! when it has (`RTM_DELNSID`, `cleanup_net`, Linux 6.18).

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::nsid::{NsidAttribute, NsidMessage};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::netns::NetNs;
use super::socket::{Netlink, NetlinkError, Request};

const RTNLGRP_NSID: u32 = 28;
/// Without an event for so long, the list of namespaces is read again.
const RESYNC: Duration = Duration::from_millis(100);
/// "No number": the kernel picks one, or has none.
const NONE: i32 = -1;

/// Namespaces whose end is awaited, each with what the caller calls it.
pub struct DeathWatch<T> {
    events: Netlink,
    alive: HashMap<i32, T>,
}

impl<T> DeathWatch<T> {
    /// Starts to watch. Call it before the last reference goes; it holds none.
    pub fn new<'a>(
        namespaces: impl IntoIterator<Item = (T, &'a NetNs)>,
    ) -> Result<Self, NetlinkError> {
        let mut events = Netlink::open()?;
        events.join(RTNLGRP_NSID)?;
        let mut netlink = Netlink::open()?;
        let mut alive = HashMap::new();
        for (name, namespace) in namespaces {
            if let Some(nsid) = nsid_of(&mut netlink, namespace)? {
                alive.insert(nsid, name);
            }
        }
        Ok(Self { events, alive })
    }

    /// Waits until all are gone, or the time is over. Returns those that are
    /// left.
    pub fn wait(mut self, patience: Duration) -> Result<Vec<T>, NetlinkError> {
        let deadline = Instant::now() + patience;
        while !self.alive.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let told = self.readable(left.min(RESYNC))? && self.note_events()?;
            if !told {
                // Nobody died for a while, or events were lost: look who is left. The
                // kernel counts places, and passes one over for each that goes while
                // it is asked for the next part (`rtnl_net_dumpid`, Linux 6.18): so
                // two lists have to agree.
                let [known, again] = [self.known()?, self.known()?];
                if known == again {
                    self.alive.retain(|nsid, _| known.contains(nsid));
                }
            }
        }
        Ok(self.alive.into_values().collect())
    }

    /// Those awaited that the kernel lists.
    fn known(&self) -> Result<HashSet<i32>, NetlinkError> {
        let mut known = list()?;
        known.retain(|nsid| self.alive.contains_key(nsid));
        Ok(known)
    }

    /// Takes the deaths that were told; `false` when there were more than the
    /// socket holds. Until it is read empty the kernel then drops further ones
    /// without a word (`netlink_overrun`, Linux 6.18).
    fn note_events(&mut self) -> Result<bool, NetlinkError> {
        let messages = match self.events.receive() {
            Err(NetlinkError::Socket { source, .. })
                if source.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) =>
            {
                return Ok(false);
            }
            messages => messages?,
        };
        for message in messages {
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNsId(gone)) =
                message.payload
                && let Some(nsid) = number(&gone)
            {
                self.alive.remove(&nsid);
            }
        }
        Ok(true)
    }

    fn readable(&self, patience: Duration) -> Result<bool, NetlinkError> {
        // SAFETY: the socket outlives the borrow.
        let socket = unsafe { BorrowedFd::borrow_raw(self.events.socket().as_raw_fd()) };
        let timeout = rustix::event::Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(true),
            Err(errno) => Err(NetlinkError::Socket { operation: "wait", source: errno.into() }),
        }
    }
}

/// The number by which the current namespace knows another; it is given one if
/// it has none yet.
fn nsid_of(netlink: &mut Netlink, namespace: &NetNs) -> Result<Option<i32>, NetlinkError> {
    #[expect(clippy::cast_sign_loss, reason = "a file descriptor is not negative")]
    let fd = NsidAttribute::Fd(namespace.as_fd().as_raw_fd() as u32);
    let mut assign = NsidMessage::default();
    assign.attributes = vec![fd.clone(), NsidAttribute::Id(NONE)];
    match netlink.request(Request::change(RouteNetlinkMessage::NewNsId(assign))) {
        // It has one: a veth pair between the two makes the kernel give it.
        Ok(()) | Err(NetlinkError::Refused { errno: Errno::EXIST, .. }) => {}
        Err(error) => return Err(error),
    }
    let mut query = NsidMessage::default();
    query.attributes = vec![fd];
    let RouteNetlinkMessage::NewNsId(answer) = netlink.get(RouteNetlinkMessage::GetNsId(query))?
    else {
        return Ok(None);
    };
    Ok(number(&answer))
}

/// All numbers that the current namespace knows others by.
fn list() -> Result<HashSet<i32>, NetlinkError> {
    let query = RouteNetlinkMessage::GetNsId(NsidMessage::default());
    let known = Netlink::open()?.dump(&query)?;
    let known = known.iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewNsId(message) => number(message),
        _ => None,
    });
    Ok(known.collect())
}

fn number(message: &NsidMessage) -> Option<i32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(nsid) if *nsid != NONE => Some(*nsid),
        _ => None,
    })
}
