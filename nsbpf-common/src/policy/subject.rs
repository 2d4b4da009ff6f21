//! What a packet is judged by.

use super::{FIELDS, RARE_FIELDS};
use crate::abi::abi;
use crate::crossing::vlan;
use crate::flow::{FlowKey, tcp_flag};
use crate::packet::{Family, Packet, protocol};
use crate::route::class_of;
use crate::sight::Seen;
use crate::verifier::reread;

/// Numbers of the fields that conditions are about.
pub mod field {
    /// The first half of the source address, as a number; of IPv4 all of it.
    pub const SOURCE: u32 = 0;
    /// The second half; 0 of IPv4.
    pub const SOURCE_REST: u32 = 1;
    /// The first half of the destination address.
    pub const DESTINATION: u32 = 2;
    /// The second half.
    pub const DESTINATION_REST: u32 = 3;
    /// Number of the port that it came in by; of what a router or the host may have
    /// forwarded, [`ROUTED`](super::ROUTED).
    pub const PORT: u32 = 4;
    /// IP protocol number.
    pub const PROTOCOL: u32 = 5;
    /// Source port of TCP, UDP and SCTP.
    pub const SOURCE_PORT: u32 = 6;
    /// Their destination port.
    pub const DESTINATION_PORT: u32 = 7;
    /// The first of those that few conditions have.
    pub const FIRST_RARE: u32 = 8;
    /// VLAN, 0 for none.
    pub const VLAN: u32 = 8;
    /// The first of those that packets of one flow may differ in.
    pub const FIRST_OF_PACKET: u32 = 9;
    /// Ethernet protocol number.
    pub const ETHERTYPE: u32 = 9;
    /// Source MAC address, as a number.
    pub const SOURCE_MAC: u32 = 10;
    /// Destination MAC address.
    pub const DESTINATION_MAC: u32 = 11;
    /// Differentiated services code point.
    pub const DSCP: u32 = 12;
    /// ICMP type, and code in the lowest byte; plus 1, so that 0 is no ICMP.
    pub const ICMP: u32 = 13;
    /// 0 for a whole packet, 1 for the first fragment of one, 2 for a later one.
    pub const FRAGMENT: u32 = 14;
}

/// In the place of a port's number: the packet came in by the port of a router, or by none,
/// and its source address tells where it is from. It is the number of no interface.
pub const ROUTED: u64 = 0xfffe;

/// A packet's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Subject {
    /// Those that every condition has.
    pub fields: [u64; FIELDS],
    /// The others.
    pub rare: [u64; RARE_FIELDS],
    /// TCP flags; 0 of others.
    pub tcp_flags: u8,
    reserved: [u8; 7],
}

abi!(Subject, size = 128, align = 8);

/// ICMP types (RFC 792, RFC 4443) of echoes.
const ECHO_REPLY: u64 = 0;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u64 = 129;

/// The value of [`field::ICMP`] for a type and a code.
#[inline(always)]
#[must_use]
pub const fn icmp(of_type: u8, code: u8) -> u64 {
    (((of_type as u64) << 8) | code as u64) + 1
}

impl Subject {
    /// A packet that came in by a port, as [`field::PORT`] has it, after
    /// [`Seen::look_at_flow`].
    #[inline(always)]
    pub fn fill<P: Packet + ?Sized>(&mut self, packet: &P, seen: &Seen, from: u64) {
        *self = Self::default();
        self.set(field::PORT, from);
        if let Some([first, second, _]) = packet.head().map(|words| words.map(u64::to_be)) {
            self.set(field::DESTINATION_MAC, first >> 16);
            self.set(field::SOURCE_MAC, ((first & 0xffff) << 32) | (second >> 32));
        } else if let Some([high, middle, low]) = short_head(packet) {
            self.set(field::DESTINATION_MAC, high << 16 | middle >> 16);
            self.set(field::SOURCE_MAC, (middle & 0xffff) << 32 | low);
        }
        self.set(field::VLAN, vlan(seen.tag).unwrap_or(0).into());
        reread(self);
        if !seen.flow.has_flow() {
            self.set(field::ETHERTYPE, seen.headers.ethertype.into());
            return;
        }
        self.set(field::ETHERTYPE, seen.ethertype().into());
        let [network, transport] = seen.offsets();
        self.set_key(&seen.flow.key, seen.flow.direction);
        self.tcp_flags = seen.flow.tcp_flags;
        self.set(field::FRAGMENT, seen.fragment() as u64);
        if let Some(start) = packet.load(network) {
            self.set(field::DSCP, (class_of(start) >> 2).into());
        }
        reread(self);
        if seen.flow.key.is_icmp()
            && !matches!(seen.fragment(), crate::packet::Fragment::Later)
            && let Some([of_type, code]) = packet.load(transport)
        {
            self.set(field::ICMP, icmp(of_type, code));
        }
        reread(self);
    }

    /// Of a flow, as far as its key tells: a packet that the end of that number sends.
    #[inline(always)]
    pub fn set_key(&mut self, key: &FlowKey, sender: u8) {
        let [from, to] = key.addresses_from(sender);
        let [mut from_port, mut to_port] = key.ports();
        if sender != 0 {
            (from_port, to_port) = (to_port, from_port);
        }
        let shift = if matches!(key.family(), Family::Ipv4) { 32 } else { 0 };
        self.set(field::SOURCE, u64::from_be(from[0]) >> shift);
        self.set(field::SOURCE_REST, u64::from_be(from[1]));
        self.set(field::DESTINATION, u64::from_be(to[0]) >> shift);
        self.set(field::DESTINATION_REST, u64::from_be(to[1]));
        self.set(field::PROTOCOL, key.protocol().into());
        if !key.is_icmp() {
            self.set(field::SOURCE_PORT, from_port.into());
            self.set(field::DESTINATION_PORT, to_port.into());
        }
    }

    /// Turns a reply into what it replies to: a packet of the same flow that the other end
    /// sends, from that port, and that is no more than that.
    #[inline(always)]
    pub fn turn(&mut self, from: u64) {
        for [one, other] in [
            [field::SOURCE, field::DESTINATION],
            [field::SOURCE_REST, field::DESTINATION_REST],
            [field::SOURCE_PORT, field::DESTINATION_PORT],
            [field::SOURCE_MAC, field::DESTINATION_MAC],
        ] {
            let [was, then] = [self.field(one), self.field(other)];
            self.set(one, then);
            self.set(other, was);
        }
        self.set(field::PORT, from);
        if self.tcp_flags != 0 {
            self.tcp_flags = tcp_flag::ACK;
        }
        let asked = match (self.field(field::ICMP).wrapping_sub(1)) >> 8 {
            ECHO_REPLY => icmp(ECHO_REQUEST, 0),
            ECHO_REPLY_V6 => icmp(ECHO_REQUEST_V6, 0),
            _ => self.field(field::ICMP),
        };
        self.set(field::ICMP, asked);
    }

    /// Whether an ICMP packet answers an echo.
    #[inline(always)]
    #[must_use]
    pub fn is_echo_reply(&self) -> bool {
        let of_type = self.field(field::ICMP).wrapping_sub(1) >> 8;
        let is_v4 = self.field(field::PROTOCOL) == u64::from(protocol::ICMP);
        of_type == if is_v4 { ECHO_REPLY } else { ECHO_REPLY_V6 }
    }

    /// Whether it is an ICMP message about another packet: of IPv4 that it cannot be
    /// delivered, took too long, or is wrong (RFC 792), of IPv6 also that it is too long
    /// (RFC 4443).
    #[inline(always)]
    #[must_use]
    pub fn is_icmp_error(&self) -> bool {
        let of_type = self.field(field::ICMP).wrapping_sub(1) >> 8;
        let protocol = self.field(field::PROTOCOL);
        protocol == u64::from(protocol::ICMP) && matches!(of_type, 3 | 11 | 12)
            || protocol == u64::from(protocol::ICMPV6) && matches!(of_type, 1..=4)
    }

    /// A field, by its number; 0 if there is none of that number.
    #[inline(always)]
    #[must_use]
    pub fn field(&self, number: u32) -> u64 {
        let number = number as usize;
        match number.checked_sub(FIELDS) {
            None => self.fields.get(number).copied().unwrap_or(0),
            Some(rare) => self.rare.get(rare).copied().unwrap_or(0),
        }
    }

    /// Sets a field, by its number.
    #[inline(always)]
    pub fn set(&mut self, number: u32, value: u64) {
        let number = number as usize;
        let field = match number.checked_sub(FIELDS) {
            None => self.fields.get_mut(number),
            Some(rare) => self.rare.get_mut(rare),
        };
        if let Some(field) = field {
            *field = value;
        }
    }
}

/// Both MAC addresses of a frame that is too short for [`Packet::head`].
#[inline(always)]
fn short_head<P: Packet + ?Sized>(packet: &P) -> Option<[u64; 3]> {
    let half = |offset| packet.load(offset).map(|bytes| u64::from(u32::from_be_bytes(bytes)));
    Some([half(0)?, half(4)?, half(8)?])
}
