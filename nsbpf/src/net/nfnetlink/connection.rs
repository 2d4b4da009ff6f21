//! A netfilter netlink socket: dumps, and batches that the kernel takes as a
//! whole or not at all.

use std::io;

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NetlinkDeserializable, NetlinkHeader, NetlinkPayload,
    NetlinkSerializable,
};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;

use crate::net::attribute::{Attributes, number};
use crate::net::channel::Channel;
use crate::net::socket::{NetlinkError, refusal};

/// `NFPROTO_INET`: IPv4 and IPv6 in one table.
pub(in crate::net) const INET: u8 = 1;
/// `NFPROTO_UNSPEC`: all families.
pub(in crate::net) const UNSPECIFIED: u8 = 0;
/// `NFNL_SUBSYS_NFTABLES`
const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const BATCH_GENID: u16 = 1;
const GET_GENERATION: u16 = kind(16);
const GEN_ID: u16 = 1;
/// Bytes of `struct nfgenmsg`.
const HEADER_BYTES: usize = 4;

/// The message's kind by its number in `enum nf_tables_msg_types`.
pub(in crate::net) const fn kind(number: u16) -> u16 {
    SUBSYSTEM << 8 | number
}

/// A message: `struct nfgenmsg` and attributes.
#[derive(Debug)]
pub(in crate::net) struct Message {
    kind: u16,
    family: u8,
    resource: u16,
    attributes: Vec<u8>,
}

impl Message {
    /// About something in a table of family inet.
    pub(in crate::net) fn new(kind: u16, attributes: &Attributes) -> Self {
        Self::of(kind, INET, attributes)
    }

    /// About something in a table of that family (`NFPROTO_…`).
    pub(in crate::net) fn of(kind: u16, family: u8, attributes: &Attributes) -> Self {
        Self { kind, family, resource: 0, attributes: attributes.as_bytes().to_vec() }
    }

    fn batch(kind: u16, attributes: &Attributes) -> Self {
        Self { resource: SUBSYSTEM, ..Self::of(kind, UNSPECIFIED, attributes) }
    }

    /// The family that it is about (`NFPROTO_…`).
    pub(in crate::net) fn family(&self) -> u8 {
        self.family
    }

    pub(in crate::net) fn attributes(&self) -> &[u8] {
        &self.attributes
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        HEADER_BYTES + self.attributes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let [high, low] = self.resource.to_be_bytes();
        let (header, attributes) = buffer.split_at_mut(HEADER_BYTES);
        // The second byte is the version, which is 0 (`NFNETLINK_V0`).
        header.copy_from_slice(&[self.family, 0, high, low]);
        attributes.copy_from_slice(&self.attributes);
    }
}

impl NetlinkDeserializable for Message {
    type Error = io::Error;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> io::Result<Self> {
        let Some(([family, _, high, low], attributes)) = payload.split_first_chunk() else {
            return Err(io::Error::other("no room for a struct nfgenmsg"));
        };
        let resource = u16::from_be_bytes([*high, *low]);
        let attributes = attributes.to_vec();
        Ok(Self { kind: header.message_type, family: *family, resource, attributes })
    }
}

/// A netfilter netlink socket in the network namespace of the thread that opened
/// it.
pub(in crate::net) struct Connection(Channel<Message>);

impl Connection {
    pub(in crate::net) fn open() -> Result<Self, NetlinkError> {
        Channel::open(NETLINK_NETFILTER).map(Self)
    }

    /// The number of the rule set, which every change of anybody's in this
    /// network namespace increases.
    pub(in crate::net) fn generation(&mut self) -> Result<u32, NetlinkError> {
        let query = Message::of(GET_GENERATION, UNSPECIFIED, &Attributes::new());
        let mut datagram = Vec::new();
        self.0.append(&mut datagram, query, 0);
        self.0.send(&datagram)?;
        for message in self.0.receive(0)? {
            match message.payload {
                NetlinkPayload::InnerMessage(message) => {
                    return number(message.attributes(), GEN_ID)
                        .ok_or(NetlinkError::Unexpected("rule set generation"));
                }
                NetlinkPayload::Error(error) => return Err(refusal(&error)),
                _ => {}
            }
        }
        Err(NetlinkError::Unexpected("rule set generation"))
    }

    /// All objects that the message asks for, and whether they changed while
    /// they were read.
    pub(in crate::net) fn dump(
        &mut self,
        query: Message,
    ) -> Result<(Vec<Message>, bool), NetlinkError> {
        let mut datagram = Vec::new();
        self.0.append(&mut datagram, query, NLM_F_DUMP);
        self.0.send(&datagram)?;
        let mut objects = Vec::new();
        let mut interrupted = false;
        loop {
            for message in self.0.receive(0)? {
                if message.header.sequence_number != self.0.sequence() {
                    continue;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(object) => objects.push(object),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        let errno = Errno::from_raw_os_error(done.code.saturating_neg());
                        return Err(NetlinkError::Refused { errno, message: None });
                    }
                    NetlinkPayload::Done(_) => return Ok((objects, interrupted)),
                    NetlinkPayload::Error(error) => return Err(refusal(&error)),
                    _ => {}
                }
            }
        }
    }

    /// Sends changes that happen all at once or not at all. Fails with `ERESTART`
    /// when the rule set is no more of that generation.
    pub(in crate::net) fn batch(
        &mut self,
        generation: u32,
        changes: Vec<(Message, u16)>,
    ) -> Result<(), NetlinkError> {
        let mut datagram = Vec::new();
        let generation = Attributes::new().number(BATCH_GENID, generation);
        self.0.append(&mut datagram, Message::batch(BATCH_BEGIN, &generation), 0);
        let last = changes.len().saturating_sub(1);
        for (place, (message, flags)) in changes.into_iter().enumerate() {
            // A refusal is told without being asked for, so that one
            // acknowledgement is enough: many may not fit the receive buffer.
            let ack = if place == last { NLM_F_ACK } else { 0 };
            self.0.append(&mut datagram, message, flags | ack);
        }
        let acknowledged = self.0.sequence();
        self.0.append(&mut datagram, Message::batch(BATCH_END, &Attributes::new()), 0);
        self.0.send(&datagram)?;
        self.outcome(acknowledged)
    }

    /// What the kernel made of a batch. It works on it within `send`, so that all
    /// answers are there; how many is not known beforehand: of a batch that it
    /// does not take at all (`nfnetlink_rcv_batch`, Linux 6.18) it refuses the
    /// beginning only.
    fn outcome(&self, acknowledged: u32) -> Result<(), NetlinkError> {
        let mut done = false;
        loop {
            let answers = match self.0.receive(libc::MSG_DONTWAIT) {
                Err(NetlinkError::Socket { source, .. })
                    if source.kind() == io::ErrorKind::WouldBlock =>
                {
                    break;
                }
                answers => answers?,
            };
            for answer in answers {
                match answer.payload {
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(refusal(&error));
                    }
                    NetlinkPayload::Error(_) => {
                        done |= answer.header.sequence_number == acknowledged;
                    }
                    _ => {}
                }
            }
        }
        if done { Ok(()) } else { Err(NetlinkError::Unexpected("acknowledgement of a batch")) }
    }
}
