//! Flows: what two endpoints say to each other, in both directions.
//!
//! One entry is statistics, connection tracking and cache of decisions at once. New
//! ones are kept apart until they are answered ([`Flow::is_settled`]), so that whoever
//! sends to many evicts nobody's connection.

mod packet;
mod recent;
mod tracking;

use core::net::IpAddr;

use crate::abi::abi;
use crate::packet::{Family, protocol};
use crate::policy::Judgement;
use crate::spread::spread;
use crate::stats::Cell;
use crate::verifier::of_two;
pub use packet::FlowPacket;
pub(crate) use packet::{TRANSPORT_V4, TRANSPORT_V6};
pub use recent::{RecentFlow, RecentRest};
pub use tracking::timeout;

/// Names a flow: both ends, in an order that does not depend on who speaks.
///
/// Whole words throughout: what was just written is hashed and compared as words, and
/// a processor that has to put one together from shorter stores waits for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// Addresses in network order; IPv4 has the first four bytes, the rest is 0.
    pub addresses: [[u64; 2]; 2],
    /// Ports of the first and the second end, domain and VLAN: 16 bits each, the first
    /// lowest.
    ends: u64,
    /// IP protocol number, and above it the family.
    kind: u64,
}

abi!(FlowKey, size = 48, align = 8);

impl FlowKey {
    /// Of both ends, by their addresses, ports in network order, and IP protocol.
    #[must_use]
    pub fn new(ips: [IpAddr; 2], ports_be: [u16; 2], ip_protocol: u8) -> Self {
        let address = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => [u64::from(u32::from_ne_bytes(ip.octets())).to_le(), 0],
            IpAddr::V6(ip) => packet::words(ip.octets()),
        };
        let family = if ips[0].is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        let mut key = Self { addresses: ips.map(address), ..Self::EMPTY };
        key.set_kind(family, ip_protocol);
        key.set_ports(ports_be);
        key
    }

    /// Of nobody.
    pub const EMPTY: Self = Self { addresses: [[0; 2]; 2], ends: 0, kind: 0 };

    /// Ports of TCP, UDP and SCTP, in network order. Of an ICMP echo both are its
    /// identifier, of other ICMP the second is type and code; else 0. Fragments have
    /// none: all of a datagram are of one flow, the one with ports too.
    #[must_use]
    pub const fn ports_be(&self) -> [u16; 2] {
        [lowest(self.ends), lowest(self.ends >> 16)]
    }

    /// Number of the bridge, or the lower one of a pair's ports.
    #[must_use]
    pub const fn domain(&self) -> u16 {
        lowest(self.ends >> 32)
    }

    /// The outermost VLAN tag, as [`tag`](crate::crossing::tag) has it.
    #[must_use]
    pub const fn vlan(&self) -> u16 {
        lowest(self.ends >> 48)
    }

    /// IP protocol number.
    #[inline(always)]
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        let [number, _] = lowest(self.kind).to_le_bytes();
        number
    }

    /// IP protocol number, and above it the family.
    #[inline(always)]
    #[must_use]
    pub const fn kind(&self) -> u16 {
        lowest(self.kind)
    }

    /// Whether it is of ICMP, whose ends have no ports.
    #[inline(always)]
    #[must_use]
    pub const fn is_icmp(&self) -> bool {
        matches!(self.protocol(), protocol::ICMP | protocol::ICMPV6)
    }

    /// The network protocol: [`Family::Ipv4`] or [`Family::Ipv6`].
    #[must_use]
    pub const fn family(&self) -> Family {
        if self.kind >> 8 == Family::Ipv4 as u64 { Family::Ipv4 } else { Family::Ipv6 }
    }

    /// The address of the first end, and that of the second.
    #[must_use]
    pub fn ips(&self) -> [IpAddr; 2] {
        self.addresses.map(|halves| {
            let mut bytes = [0; 16];
            for (place, half) in bytes.chunks_exact_mut(8).zip(halves) {
                place.copy_from_slice(&half.to_ne_bytes());
            }
            let [a, b, c, d, ..] = bytes;
            if self.family() == Family::Ipv4 { [a, b, c, d].into() } else { bytes.into() }
        })
    }

    /// The ports of the first end and of the second, as [`FlowKey::ports_be`] has them.
    #[must_use]
    pub fn ports(&self) -> [u16; 2] {
        self.ports_be().map(u16::from_be)
    }

    /// Both addresses, that of the end of that number first.
    #[inline(always)]
    #[must_use]
    pub const fn addresses_from(&self, end: u8) -> [[u64; 2]; 2] {
        let [one, other] = self.addresses;
        if end == 0 { [one, other] } else { [other, one] }
    }

    #[inline(always)]
    fn set_kind(&mut self, family: Family, ip_protocol: u8) {
        self.kind = ((family as u64) << 8) | u64::from(ip_protocol);
    }

    /// Notes the ports of the sender and of whom it is for.
    #[inline(always)]
    fn set_ports(&mut self, [from, to]: [u16; 2]) {
        self.ends = u64::from(from) | (u64::from(to) << 16);
    }

    #[inline(always)]
    fn place_in(&mut self, domain: u16, vlan: u16) {
        self.ends |= (u64::from(domain) << 32) | (u64::from(vlan) << 48);
    }

    /// Puts the ends into their order, which is the sender's first as yet. Returns the
    /// packet's direction: the number of the sender among the ends.
    #[inline(always)]
    fn order(&mut self, domain: u16, vlan: u16) -> u8 {
        let [from, to] = self.addresses;
        let [of_from, of_to] = [self.ends & 0xffff, (self.ends >> 16) & 0xffff];
        let place = (u64::from(domain) << 32) | (u64::from(vlan) << 48);
        if (from, of_from) > (to, of_to) {
            self.addresses = [to, from];
            self.ends = of_to | (of_from << 16) | place;
            1
        } else {
            self.ends = of_from | (of_to << 16) | place;
            0
        }
    }

    /// Whether it is the same, word by word: what is derived calls a loop over bytes in
    /// the kernel half.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, other: &Self) -> bool {
        let [[one, two], [three, four]] = self.addresses;
        let [[first, second], [third, fourth]] = other.addresses;
        let addresses = (one ^ first) | (two ^ second) | (three ^ third) | (four ^ fourth);
        addresses | (self.ends ^ other.ends) | (self.kind ^ other.kind) == 0
    }

    /// Its place among so many.
    #[inline(always)]
    #[must_use]
    pub const fn place(&self, places: u32) -> u32 {
        let [[one, two], [three, four]] = self.addresses;
        let mixed = one ^ two.rotate_left(13) ^ three.rotate_left(32) ^ four.rotate_left(45);
        spread(mixed ^ self.ends.rotate_left(24) ^ self.kind, places)
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lowest 16 bits are meant")]
const fn lowest(word: u64) -> u16 {
    word as u16
}

/// What one end sent to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowDirection {
    /// Packets; a GSO packet as the segments that it becomes.
    pub packets: u64,
    /// Their bytes on a wire.
    pub bytes: u64,
    /// What was decided about them.
    pub judgement: Judgement,
    /// The port that the last one came in by that went on, or
    /// [`OUTSIDE`](crate::pair::OUTSIDE).
    pub port: u16,
    reserved: [u16; 3],
}

abi!(FlowDirection, size = 32, align = 8);

impl FlowDirection {
    /// How much that is.
    #[inline(always)]
    #[must_use]
    pub const fn sent(&self) -> Cell {
        Cell { packets: self.packets, bytes: self.bytes }
    }
}

/// What is known of a TCP connection, by what passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum TcpState {
    /// No TCP, or nothing that begins a connection was seen.
    #[default]
    None,
    /// One end asked.
    SynSent,
    /// The other agreed.
    SynReceived,
    /// Both did.
    Established,
    /// One end has nothing more to say.
    Closing,
    /// Both have nothing more to say, or one broke it off.
    Closed,
}

impl TcpState {
    /// Every state, in the order of its number.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::Closing,
        Self::Closed,
    ];

    /// One word, as it is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::SynSent => "syn-sent",
            Self::SynReceived => "syn-received",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }
}

/// Flags of a TCP header (RFC 9293, section 3.1).
pub mod tcp_flag {
    /// Nothing more will be sent.
    pub const FIN: u8 = 1;
    /// A connection begins.
    pub const SYN: u8 = 1 << 1;
    /// It is broken off.
    pub const RST: u8 = 1 << 2;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 1 << 4;
}

/// A flow.
///
/// Two processors may handle packets of one flow at a time: packets and bytes are
/// added atomically, and the rest is stored in single words of which the last one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// By the number of the sender among the key's ends.
    pub directions: [FlowDirection; 2],
    /// When the first packet came, in nanoseconds of `CLOCK_MONOTONIC`.
    pub first_seen_ns: u64,
    /// When the last one came, likewise, to the kernel's tick (1 to 10 ms).
    pub last_seen_ns: u64,
    /// From the first packet of a TCP connection to the initiator's second, in
    /// nanoseconds: the round-trip time of its handshake. 0 if not known; 4.29 s at most.
    pub handshake_ns: u32,
    tcp_state: u8,
    /// The direction of the first packet; once any went on, of the first one that did.
    pub initiator: u8,
    /// Directions that a FIN was seen in, a bit each.
    finished: u8,
    /// Directions that packets went on in, a bit each.
    passed: u8,
}

abi!(Flow, size = 88, align = 8);

impl Flow {
    /// Begins with the packet that is then counted.
    #[inline(always)]
    pub fn begin(&mut self, direction: u8, now_ns: u64) {
        *self = Self::default();
        (self.first_seen_ns, self.last_seen_ns) = (now_ns, now_ns);
        self.initiator = direction;
    }

    /// What an end sends, by its number: 0 or 1.
    #[inline(always)]
    #[must_use]
    pub fn direction(&self, number: u8) -> &FlowDirection {
        &self.directions[of_two(number)]
    }

    /// What an end sends, by its number: 0 or 1.
    #[inline(always)]
    pub fn direction_mut(&mut self, number: u8) -> &mut FlowDirection {
        &mut self.directions[of_two(number)]
    }

    /// What is known of its TCP connection.
    #[must_use]
    pub fn tcp_state(&self) -> TcpState {
        TcpState::ALL.get(usize::from(self.tcp_state)).copied().unwrap_or_default()
    }

    /// Notes that a packet came at a time.
    #[inline(always)]
    pub fn see(&mut self, now_ns: u64) {
        if self.last_seen_ns < now_ns {
            self.last_seen_ns = now_ns;
        }
    }
}

/// What became of flows, as many as there ever were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowEvents {
    /// Flows that began.
    pub begun: u64,
    /// Flows that were settled: see [`Flow::is_settled`].
    pub settled: u64,
    /// Packets of flows for which there was no room, or that were forgotten meanwhile.
    pub failed: u64,
}

abi!(FlowEvents, size = 24, align = 8);

#[cfg(test)]
mod tests;
