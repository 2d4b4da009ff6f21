//! Generic netlink: one socket for families of requests that have numbers only on
//! this machine.

use std::io;

use rtnetlink::packet_core::{
    NLM_F_ACK, NetlinkDeserializable, NetlinkHeader, NetlinkPayload, NetlinkSerializable,
};
use rtnetlink::sys::protocols::NETLINK_GENERIC;
use rustix::io::Errno;

use super::attribute::{Attributes, native_u16};
use super::channel::Channel;
use super::socket::{NetlinkError, refusal};

/// The family that tells of the others (`include/uapi/linux/genetlink.h`).
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// Bytes of `struct genlmsghdr`.
const HEADER_BYTES: usize = 4;

/// A message: `struct genlmsghdr` and attributes.
#[derive(Debug)]
pub(super) struct Message {
    family: u16,
    command: u8,
    attributes: Vec<u8>,
}

impl Message {
    pub(super) fn new(family: u16, command: u8, attributes: &Attributes) -> Self {
        Self { family, command, attributes: attributes.as_bytes().to_vec() }
    }

    pub(super) fn attributes(&self) -> &[u8] {
        &self.attributes
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.family
    }

    fn buffer_len(&self) -> usize {
        HEADER_BYTES + self.attributes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let (header, attributes) = buffer.split_at_mut(HEADER_BYTES);
        // Families that are asked for anything here have version 1.
        header.copy_from_slice(&[self.command, 1, 0, 0]);
        attributes.copy_from_slice(&self.attributes);
    }
}

impl NetlinkDeserializable for Message {
    type Error = io::Error;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> io::Result<Self> {
        let Some(([command, ..], attributes)) = payload.split_first_chunk::<HEADER_BYTES>() else {
            return Err(io::Error::other("no room for a struct genlmsghdr"));
        };
        let (command, attributes) = (*command, attributes.to_vec());
        Ok(Self { family: header.message_type, command, attributes })
    }
}

/// A generic netlink socket in the network namespace of the thread that opened it.
pub(super) struct Generic(Channel<Message>);

impl Generic {
    pub(super) fn open() -> Result<Self, NetlinkError> {
        Channel::open(NETLINK_GENERIC).map(Self)
    }

    /// The number of a family; `None` when this kernel has none of that name.
    pub(super) fn family(&mut self, name: &str) -> Result<Option<u16>, NetlinkError> {
        let attributes = Attributes::new().text(FAMILY_NAME, name);
        match self.request(Message::new(CONTROLLER, GET_FAMILY, &attributes)) {
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(None),
            answer => answer?
                .and_then(|family| native_u16(family.attributes(), FAMILY_ID))
                .map_or(Err(NetlinkError::Unexpected("family of generic netlink")), |id| {
                    Ok(Some(id))
                }),
        }
    }

    /// Sends a request and waits until it is done. Returns the answer of one that has
    /// an answer.
    pub(super) fn request(&mut self, message: Message) -> Result<Option<Message>, NetlinkError> {
        let mut datagram = Vec::new();
        self.0.append(&mut datagram, message, NLM_F_ACK);
        self.0.send(&datagram)?;
        let mut answer = None;
        loop {
            for message in self.0.receive(0)? {
                if message.header.sequence_number != self.0.sequence() {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => answer = Some(inner),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(refusal(&error));
                    }
                    NetlinkPayload::Error(_) => return Ok(answer),
                    _ => {}
                }
            }
        }
    }
}
