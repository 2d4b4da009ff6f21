//! A route netlink socket: batches of requests, and dumps.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkDeserializable, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use rustix::io::Errno;

/// Requests in one datagram at most: their acknowledgements must fit the
/// socket's receive buffer (212,992 bytes by default, about 1 KiB accounted for
/// an acknowledgement).
const MAX_BATCH: usize = 64;
/// Bytes in one datagram at most, well below the default send buffer.
const MAX_DATAGRAM_BYTES: usize = 64 * 1024;
/// The kernel fills at most 32 KiB of a dump into one datagram
/// (`netlink_dump`, Linux 6.18).
const RECEIVE_BYTES: usize = 64 * 1024;
/// How often a dump that changed under the reader is tried again.
const DUMP_TRIES: usize = 8;
/// What is waited before the second try; before each later one twice as long.
const FIRST_PAUSE: Duration = Duration::from_micros(500);
/// Bytes of a netlink message's header (`struct nlmsghdr`).
const HEADER_BYTES: usize = 16;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket itself does not work.
    #[error("netlink socket: {operation}: {source}")]
    Socket {
        /// What was done with it.
        operation: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The kernel refused the request.
    #[error("{}{}", io::Error::from(*errno), message.as_ref().map_or_else(String::new, |text| format!(": {text}")))]
    Refused {
        /// The kernel's error number.
        errno: Errno,
        /// The kernel's own explanation (extended acknowledgement), if any.
        message: Option<String>,
    },
    /// The kernel answered with something else than it was asked for.
    #[error("the kernel's answer was no {0}")]
    Unexpected(&'static str),
}

impl NetlinkError {
    /// The kernel's error number, where it refused.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Whether the kernel refused because what the request is about is not there: a
    /// link, a filter, a route or an address.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let gone = [Errno::NODEV, Errno::NOENT, Errno::SRCH, Errno::ADDRNOTAVAIL];
        self.errno().is_some_and(|errno| gone.contains(&errno))
    }
}

/// A failed request of a batch.
#[derive(Debug)]
pub struct BatchError {
    /// Its place in the batch.
    pub index: usize,
    /// Why it failed.
    pub error: NetlinkError,
}

/// A request that changes something.
#[derive(Debug)]
pub struct Request {
    message: RouteNetlinkMessage,
    flags: u16,
}

impl Request {
    /// Creates an object; one that exists is an error.
    #[must_use]
    pub fn create(message: RouteNetlinkMessage) -> Self {
        Self { message, flags: NLM_F_CREATE | NLM_F_EXCL }
    }

    /// Creates an object or takes the place of one.
    #[must_use]
    pub fn replace(message: RouteNetlinkMessage) -> Self {
        Self { message, flags: NLM_F_CREATE | NLM_F_REPLACE }
    }

    /// Changes or deletes an object that exists.
    #[must_use]
    pub fn change(message: RouteNetlinkMessage) -> Self {
        Self { message, flags: 0 }
    }
}

/// A route netlink socket. It works on the network namespace of the thread that
/// opened it, whichever thread uses it later.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    received: BytesMut,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        let failed = |operation| move |source| NetlinkError::Socket { operation, source };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed("open"))?;
        socket.bind_auto().map_err(failed("bind"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        // Acknowledgements without a copy of the request, and with a reason.
        socket.set_cap_ack(true).map_err(failed("set NETLINK_CAP_ACK"))?;
        socket.set_ext_ack(true).map_err(failed("set NETLINK_EXT_ACK"))?;
        // Dumps honour what the request asks for; since Linux 4.20.
        socket.set_netlink_get_strict_chk(true).map_err(failed("set NETLINK_GET_STRICT_CHK"))?;
        Ok(Self { socket, sequence: 0, received: BytesMut::with_capacity(RECEIVE_BYTES) })
    }

    /// Joins a multicast group, whose messages [`Netlink::receive`] returns.
    pub(super) fn join(&mut self, group: u32) -> Result<(), NetlinkError> {
        self.socket
            .add_membership(group)
            .map_err(|source| NetlinkError::Socket { operation: "join a multicast group", source })
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends requests in their order, many in a system call, and waits for all
    /// answers. The kernel goes on after a request that it refused; the first
    /// such is reported.
    pub fn batch(&mut self, requests: Vec<Request>) -> Result<(), BatchError> {
        let mut failure = None;
        let mut done = 0;
        let mut datagram = Vec::new();
        let mut pending = 0;
        let mut requests = requests.into_iter().peekable();
        let mut first_sequence = self.sequence.wrapping_add(1);
        while let Some(Request { message, flags }) = requests.next() {
            self.append(&mut datagram, message, flags | NLM_F_ACK);
            pending += 1;
            if requests.peek().is_none()
                || pending == MAX_BATCH
                || datagram.len() >= MAX_DATAGRAM_BYTES
            {
                let refused = self
                    .exchange(&datagram, first_sequence, pending)
                    .map_err(|error| BatchError { index: done, error })?;
                if let (None, Some((place, error))) = (&failure, refused) {
                    failure = Some(BatchError { index: done + place, error });
                }
                done += pending;
                pending = 0;
                first_sequence = self.sequence.wrapping_add(1);
                datagram.clear();
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Sends one request that changes something.
    pub fn request(&mut self, request: Request) -> Result<(), NetlinkError> {
        self.batch(vec![request]).map_err(|failure| failure.error)
    }

    /// Asks for one object.
    pub(super) fn get(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, NetlinkError> {
        let mut datagram = Vec::new();
        self.append(&mut datagram, message, 0);
        self.send(&datagram)?;
        let mut answer = None;
        while answer.is_none() {
            for message in self.receive()? {
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => answer = Some(inner),
                    NetlinkPayload::Error(error) => return Err(refusal(&error)),
                    _ => {}
                }
            }
        }
        answer.ok_or(NetlinkError::Unexpected("object"))
    }

    /// Asks for all objects that the message describes.
    pub fn dump(
        &mut self,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..DUMP_TRIES {
            let (objects, interrupted) = self.try_dump(message.clone())?;
            if !interrupted {
                return Ok(objects);
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        // Somebody changes things all the time. What is ours is in the list all
        // the same unless it changed right then; who acts on the list looks
        // again afterwards.
        self.try_dump(message.clone()).map(|(objects, _)| objects)
    }

    /// The objects, and whether they changed while they were read.
    fn try_dump(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> Result<(Vec<RouteNetlinkMessage>, bool), NetlinkError> {
        let mut datagram = Vec::new();
        self.append(&mut datagram, message, NLM_F_DUMP);
        let sequence = self.sequence;
        self.send(&datagram)?;
        let mut objects = Vec::new();
        let mut interrupted = false;
        loop {
            for message in self.receive()? {
                if message.header.sequence_number != sequence {
                    continue;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => objects.push(inner),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        let errno = Errno::from_raw_os_error(-done.code);
                        return Err(NetlinkError::Refused { errno, message: None });
                    }
                    NetlinkPayload::Done(_) => return Ok((objects, interrupted)),
                    NetlinkPayload::Error(error) => return Err(refusal(&error)),
                    _ => {}
                }
            }
        }
    }

    /// The messages of the next datagram; waits for it.
    pub(super) fn receive(
        &mut self,
    ) -> Result<Vec<NetlinkMessage<RouteNetlinkMessage>>, NetlinkError> {
        self.received.clear();
        self.received.reserve(RECEIVE_BYTES);
        loop {
            match self.socket.recv(&mut self.received, 0) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(NetlinkError::Socket { operation: "receive", source });
                }
            }
        }
        Ok(split(&self.received))
    }

    fn append(&mut self, datagram: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let start = datagram.len();
        datagram.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut datagram[start..]);
    }

    fn send(&mut self, datagram: &[u8]) -> Result<(), NetlinkError> {
        self.socket
            .send(datagram, 0)
            .map(drop)
            .map_err(|source| NetlinkError::Socket { operation: "send", source })
    }

    /// Sends a datagram of requests and waits for that many answers; returns the
    /// first refusal and its place.
    fn exchange(
        &mut self,
        datagram: &[u8],
        first: u32,
        requests: usize,
    ) -> Result<Option<(usize, NetlinkError)>, NetlinkError> {
        self.send(datagram)?;
        let mut answered = 0;
        let mut refused = None;
        while answered < requests {
            for message in self.receive()? {
                let NetlinkPayload::Error(error) = &message.payload else {
                    continue;
                };
                let place = message.header.sequence_number.wrapping_sub(first) as usize;
                if place >= requests {
                    continue;
                }
                answered += 1;
                if error.code.is_some() && refused.is_none() {
                    refused = Some((place, refusal(error)));
                }
            }
        }
        Ok(refused)
    }
}

/// The messages of a datagram. One that the library cannot parse is left out:
/// anybody may give an interface a name that is not UTF-8, and that must not keep
/// us from seeing the others.
pub(super) fn split<M: NetlinkDeserializable>(mut datagram: &[u8]) -> Vec<NetlinkMessage<M>> {
    let mut messages = Vec::new();
    while let Some(length) = datagram.first_chunk().map(|length| u32::from_ne_bytes(*length)) {
        let length = length as usize;
        let Some(bytes) = datagram.get(..length).filter(|bytes| bytes.len() >= HEADER_BYTES) else {
            log::warn!("netlink: a message of {length} bytes in a datagram of {}", datagram.len());
            break;
        };
        match NetlinkMessage::deserialize(bytes) {
            Ok(message) => messages.push(message),
            Err(error) => log::debug!("netlink: left out: {error}"),
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

/// Reads the kernel's error and, behind the header of the request that it
/// repeats, its explanation (`netlink_ack`, Linux 6.18).
pub(super) fn refusal(error: &rtnetlink::packet_core::ErrorMessage) -> NetlinkError {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let attributes = error.header.get(HEADER_BYTES..).unwrap_or_default();
    let message = NlasIterator::new(attributes)
        .flatten()
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
        .map(|attribute| {
            String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned()
        });
    let errno = Errno::from_raw_os_error(error.raw_code().saturating_neg());
    NetlinkError::Refused { errno, message }
}
