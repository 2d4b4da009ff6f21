//! A netlink socket for messages of one kind, of protocols other than routing's:
//! numbered datagrams out, parsed ones in.

use std::io;
use std::marker::PhantomData;

use bytes::BytesMut;
use rtnetlink::packet_core::{
    NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use rtnetlink::sys::{Socket, SocketAddr};

use super::socket::{NetlinkError, split};

/// The kernel fills at most 32 KiB of a dump into one datagram
/// (`netlink_dump`, Linux 6.18).
const RECEIVE_BYTES: usize = 64 * 1024;

/// A socket in the network namespace of the thread that opened it.
pub(super) struct Channel<M> {
    socket: Socket,
    sequence: u32,
    kind: PhantomData<M>,
}

impl<M: NetlinkSerializable + NetlinkDeserializable> Channel<M> {
    pub(super) fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let failed = |operation| move |source| NetlinkError::Socket { operation, source };
        let mut socket = Socket::new(protocol).map_err(failed("open"))?;
        socket.bind_auto().map_err(failed("bind"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        socket.set_cap_ack(true).map_err(failed("set NETLINK_CAP_ACK"))?;
        socket.set_ext_ack(true).map_err(failed("set NETLINK_EXT_ACK"))?;
        Ok(Self { socket, sequence: 0, kind: PhantomData })
    }

    /// The number of the message that was appended last.
    pub(super) fn sequence(&self) -> u32 {
        self.sequence
    }

    pub(super) fn append(&mut self, datagram: &mut Vec<u8>, message: M, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let payload = NetlinkPayload::InnerMessage(message);
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), payload);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let start = datagram.len();
        // Attributes end at a multiple of four.
        datagram.resize(start + message.buffer_len(), 0);
        message.serialize(&mut datagram[start..]);
    }

    pub(super) fn send(&self, datagram: &[u8]) -> Result<(), NetlinkError> {
        self.socket
            .send(datagram, 0)
            .map(drop)
            .map_err(|source| NetlinkError::Socket { operation: "send", source })
    }

    /// The messages of the next datagram.
    pub(super) fn receive(&self, flags: i32) -> Result<Vec<NetlinkMessage<M>>, NetlinkError> {
        let mut received = BytesMut::with_capacity(RECEIVE_BYTES);
        loop {
            match self.socket.recv(&mut received, flags) {
                Ok(_) => return Ok(split(&received)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(NetlinkError::Socket { operation: "receive", source });
                }
            }
        }
    }
}
