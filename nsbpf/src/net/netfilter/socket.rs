//! A netfilter netlink socket, and messages for nf_tables.

use std::io;

use bytes::BytesMut;
use rtnetlink::packet_core::{
    DefaultNla, Emitable, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};
use rustix::io::Errno;

use crate::net::NetlinkError;

/// `NFNL_SUBSYS_NFTABLES`, the upper byte of the type of a message for nf_tables.
const NFTABLES: u16 = 10 << 8;
/// Bytes of `struct nfgenmsg`: family, version, and a number for batches.
const GENERIC_BYTES: usize = 4;
/// A dump fills at most 32 KiB into one datagram (`netlink_dump`, Linux 6.18).
const RECEIVE_BYTES: usize = 64 * 1024;
/// How often a dump that changed under the reader is tried again.
const DUMP_TRIES: usize = 8;

/// A message of the netfilter subsystem.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// `nlmsg_type`.
    kind: u16,
    /// Behind the header: `struct nfgenmsg`, and attributes.
    body: Vec<u8>,
}

impl Message {
    /// For nf_tables: what to do (`NFT_MSG_…`), in which family, with what.
    pub(super) fn nftables(what: u8, family: u8, attributes: &[DefaultNla]) -> Self {
        Self { kind: NFTABLES | u16::from(what), body: body(family, 0, attributes) }
    }

    /// The begin or the end of a batch (`NFNL_MSG_BATCH_…`) for nf_tables.
    pub(super) fn batch(kind: u16) -> Self {
        Self { kind, body: body(0, NFTABLES >> 8, &[]) }
    }

    pub(super) fn is_nftables(&self, what: u8) -> bool {
        self.kind == NFTABLES | u16::from(what)
    }

    /// The family that it is about: `NFPROTO_…`.
    pub(super) fn family(&self) -> Option<u8> {
        self.body.first().copied()
    }

    pub(super) fn attributes(&self) -> &[u8] {
        self.body.get(GENERIC_BYTES..).unwrap_or_default()
    }
}

fn body(family: u8, resource: u16, attributes: &[DefaultNla]) -> Vec<u8> {
    let [high, low] = resource.to_be_bytes();
    // The version is 0 for all there is.
    [&[family, 0, high, low], nest(attributes).as_slice()].concat()
}

/// Attributes as bytes.
pub(super) fn nest(attributes: &[DefaultNla]) -> Vec<u8> {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    bytes
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.body);
    }
}

impl NetlinkDeserializable for Message {
    type Error = std::convert::Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self { kind: header.message_type, body: payload.to_vec() })
    }
}

/// A socket in the network namespace of the thread that opened it.
pub(super) struct Netfilter {
    socket: Socket,
    sequence: u32,
}

impl Netfilter {
    pub(super) fn open() -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(failed("open"))?;
        socket.bind_auto().map_err(failed("bind"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// All that the kernel has of what the message asks for.
    pub(super) fn dump(&mut self, query: &Message) -> Result<Vec<Message>, NetlinkError> {
        for _ in 1..DUMP_TRIES {
            let (found, interrupted) = self.try_dump(query)?;
            if !interrupted {
                return Ok(found);
            }
        }
        // It changes all the time: this is how it was at one moment.
        self.try_dump(query).map(|(found, _)| found)
    }

    fn try_dump(&mut self, query: &Message) -> Result<(Vec<Message>, bool), NetlinkError> {
        self.send(&[(query.clone(), NLM_F_DUMP)])?;
        let (mut found, mut interrupted) = (Vec::new(), false);
        loop {
            for message in self.receive()? {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(message) => found.push(message),
                    NetlinkPayload::Done(done) if done.code < 0 => return Err(refused(done.code)),
                    NetlinkPayload::Done(_) => return Ok((found, interrupted)),
                    NetlinkPayload::Error(error) => return Err(refused(error.raw_code())),
                    _ => {}
                }
            }
        }
    }

    /// Sends messages in one datagram, each with its flags.
    pub(super) fn send(&mut self, messages: &[(Message, u16)]) -> Result<(), NetlinkError> {
        let mut datagram = Vec::new();
        for (message, flags) in messages {
            self.sequence = self.sequence.wrapping_add(1);
            let mut message = NetlinkMessage::new(
                NetlinkHeader::default(),
                NetlinkPayload::InnerMessage(message.clone()),
            );
            message.header.flags = NLM_F_REQUEST | flags;
            message.header.sequence_number = self.sequence;
            message.finalize();
            let start = datagram.len();
            datagram.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut datagram[start..start + message.buffer_len()]);
        }
        self.socket.send(&datagram, 0).map(drop).map_err(failed("send"))
    }

    /// Waits until so many requests were done, or one was refused.
    pub(super) fn acknowledged(&mut self, mut requests: usize) -> Result<(), NetlinkError> {
        while requests > 0 {
            for message in self.receive()? {
                if let NetlinkPayload::Error(error) = message.payload {
                    if error.code.is_some() {
                        return Err(refused(error.raw_code()));
                    }
                    requests = requests.saturating_sub(1);
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Vec<NetlinkMessage<Message>>, NetlinkError> {
        let mut received = BytesMut::with_capacity(RECEIVE_BYTES);
        loop {
            match self.socket.recv(&mut received, 0) {
                Ok(_) => return Ok(split(&received)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(failed("receive")(source)),
            }
        }
    }
}

fn split(mut datagram: &[u8]) -> Vec<NetlinkMessage<Message>> {
    let mut messages = Vec::new();
    while let Ok(header) = NetlinkBuffer::new_checked(datagram) {
        let length = header.length() as usize;
        if let Ok(message) = NetlinkMessage::deserialize(&datagram[..length]) {
            messages.push(message);
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> NetlinkError {
    move |source| NetlinkError::Socket { operation, source }
}

fn refused(code: i32) -> NetlinkError {
    NetlinkError::Refused { errno: Errno::from_raw_os_error(code.saturating_neg()), message: None }
}
