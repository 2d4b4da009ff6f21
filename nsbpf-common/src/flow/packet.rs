//! Which flow a packet is of.

use super::{FlowKey, tcp_flag};
use crate::abi::abi;
use crate::packet::{Family, Fragment, Headers, Packet, TCP_FLAGS, ethertype, protocol};

/// A packet as its flow sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowPacket {
    /// The flow; of a packet that is of none, what was here before.
    pub key: FlowKey,
    has_flow: u8,
    /// The sender among the ends of the key.
    pub direction: u8,
    /// TCP flags; 0 of what is no TCP.
    pub tcp_flags: u8,
    is_fragment: u8,
    reserved: [u8; 4],
}

abi!(FlowPacket, size = 56, align = 8);

/// Where ports, or what stands for them, are in an IPv4 packet without options or VLAN
/// tags, and in an IPv6 packet without extension headers.
pub(crate) const TRANSPORT_V4: u16 = 14 + 20;
pub(crate) const TRANSPORT_V6: u16 = 14 + 40;
/// In the third word of a packet: more fragments follow, or others come before.
const FRAGMENTED: u64 = 0x3fff << 16;

impl FlowPacket {
    /// Of a packet that was not looked at.
    pub(crate) const EMPTY: Self = Self {
        key: FlowKey::EMPTY,
        has_flow: 0,
        direction: 0,
        tcp_flags: 0,
        is_fragment: 0,
        reserved: [0; 4],
    };

    /// Whether the packet is of a flow: it is IP, and whole enough to say so.
    #[inline(always)]
    #[must_use]
    pub const fn has_flow(&self) -> bool {
        self.has_flow != 0
    }

    /// Whether it goes to who sent another one.
    #[inline(always)]
    #[must_use]
    pub fn is_for_sender_of(&self, other: &Self) -> bool {
        let ([[one, two], _], [_, [first, second]]) = (
            self.key.addresses_from(self.direction ^ 1),
            other.key.addresses_from(other.direction ^ 1),
        );
        (one ^ first) | (two ^ second) == 0
    }

    /// Whether it begins and ends nothing.
    #[inline(always)]
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.tcp_flags & (tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST) == 0
    }

    /// Whether it is a part of a packet only.
    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.is_fragment != 0
    }

    /// Whether it is plain, and all of a packet: others follow what became of a fragment.
    #[inline(always)]
    #[must_use]
    pub const fn is_plain_and_whole(&self) -> bool {
        self.is_plain() && self.is_fragment == 0
    }

    /// Looks at a packet that is what most are; `false` for one that must be parsed.
    #[inline(always)]
    pub fn look_first<P: Packet + ?Sized>(&mut self, packet: &P) -> bool {
        const IPV4: u64 = ethertype::IPV4 as u64;
        const IPV6: u64 = ethertype::IPV6 as u64;
        let Some([_, middle, end]) = packet.head() else { return false };
        let [middle, end] = [middle.to_be(), end.to_be()];
        let version = (middle >> 8) & 0xff;
        self.forget();
        match (middle >> 16) & 0xffff {
            // No options, and no fragment: neither is there a place in the datagram, nor
            // are more to come.
            IPV4 if version == 0x45 && end & FRAGMENTED == 0 => {
                let [.., kind] = end.to_be_bytes();
                self.set_v4(packet, 26, kind);
                self.set_transport(packet, kind, TRANSPORT_V4);
                self.has_flow != 0
            }
            IPV6 if version & 0xf0 == 0x60 => {
                let [.., kind, _, _, _] = end.to_be_bytes();
                if !matches!(kind, protocol::TCP | protocol::UDP | protocol::ICMPV6) {
                    return false;
                }
                self.set_v6(packet, 22, kind);
                self.set_transport(packet, kind, TRANSPORT_V6);
                self.has_flow != 0
            }
            _ => false,
        }
    }

    /// Looks at a packet whose headers were parsed up to the transport header. All fragments
    /// of a datagram are of one flow, which has no ports; if told so, the first one is of
    /// the flow that it names.
    #[inline(always)]
    pub fn look<P: Packet + ?Sized>(&mut self, packet: &P, headers: &Headers, by_head: bool) {
        let kind = headers.protocol;
        self.forget();
        self.is_fragment = u8::from(!matches!(headers.fragment(), Fragment::Whole));
        match headers.family() {
            Family::Ipv4 => self.set_v4(packet, headers.network_offset + 12, kind),
            Family::Ipv6 => self.set_v6(packet, headers.network_offset + 8, kind),
            Family::Arp | Family::Other => return,
        }
        match headers.fragment() {
            Fragment::First if !by_head => {}
            Fragment::Later => {}
            _ => self.set_transport(packet, kind, headers.transport_offset),
        }
    }

    /// Looks at what an ICMP error is about, which begins at an offset: a packet without
    /// options or extension headers, or as much of it as there is. Its sender is whom the
    /// error is for.
    #[inline(always)]
    pub fn look_inside<P: Packet + ?Sized>(&mut self, packet: &P, offset: u16) {
        /// Flags and offset of a fragment: only the first one has ports.
        const LATER: u8 = 0x1f;
        self.forget();
        match packet.load(offset) {
            Some([0x45, _, _, _, _, _, place, low, _, kind]) if place & LATER | low == 0 => {
                self.set_v4(packet, offset + 12, kind);
                self.set_transport(packet, kind, offset + 20);
            }
            Some([first, _, _, _, _, _, kind, _, _, _]) if first >> 4 == 6 => {
                self.set_v6(packet, offset + 8, kind);
                self.set_transport(packet, kind, offset + 40);
            }
            _ => {}
        }
    }

    /// That the packet is of no flow.
    #[inline(always)]
    pub fn forget(&mut self) {
        (self.has_flow, self.tcp_flags, self.is_fragment) = (0, 0, 0);
        self.key.set_ports([0; 2]);
    }

    /// Source and destination are one behind the other.
    #[inline(always)]
    fn set_v4<P: Packet + ?Sized>(&mut self, packet: &P, offset: u16, kind: u8) {
        let Some(both) = packet.load(offset).map(u64::from_le_bytes) else { return };
        self.key.addresses = [both & 0xffff_ffff, both >> 32].map(|address| [address.to_le(), 0]);
        self.key.set_kind(Family::Ipv4, kind);
        self.has_flow = 1;
    }

    #[inline(always)]
    fn set_v6<P: Packet + ?Sized>(&mut self, packet: &P, offset: u16, kind: u8) {
        let Some(source) = packet.load::<16>(offset) else { return };
        let Some(destination) = packet.load::<16>(offset + 16) else { return };
        self.key.addresses = [words(source), words(destination)];
        self.key.set_kind(Family::Ipv6, kind);
        self.has_flow = 1;
    }

    #[inline(always)]
    fn set_transport<P: Packet + ?Sized>(&mut self, packet: &P, kind: u8, offset: u16) {
        match kind {
            protocol::TCP | protocol::UDP | protocol::SCTP => {
                let Some([high, low, to_high, to_low]) = packet.load(offset) else { return };
                let ports = [[high, low], [to_high, to_low]];
                self.key.set_ports(ports.map(u16::from_ne_bytes));
                if kind == protocol::TCP
                    && let Some([flags]) = packet.load(offset + TCP_FLAGS)
                {
                    self.tcp_flags = flags;
                }
            }
            protocol::ICMP | protocol::ICMPV6 => {
                let Some([of_type, code, _, _, id @ ..]) = packet.load::<6>(offset) else { return };
                let is_echo = match kind {
                    protocol::ICMP => matches!(of_type, 0 | 8),
                    _ => matches!(of_type, 128 | 129),
                };
                let id = u16::from_ne_bytes(id);
                let other = u16::from_ne_bytes([of_type, code]);
                self.key.set_ports(if is_echo { [id, id] } else { [0, other] });
            }
            _ => {}
        }
    }

    /// Says where the ends are, and leaves them in the packet's order.
    #[inline(always)]
    pub(crate) fn place_in(&mut self, domain: u16, vlan: u16) {
        self.key.place_in(domain, vlan);
    }

    /// Puts the ends into their order, once both are known.
    #[inline(always)]
    pub fn settle(&mut self, domain: u16, vlan: u16) {
        self.direction = self.key.order(domain, vlan);
    }
}

/// The halves of an address, each as it is in the packet.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "halves are meant")]
pub(super) fn words(bytes: [u8; 16]) -> [u64; 2] {
    let whole = u128::from_le_bytes(bytes);
    [whole as u64, (whole >> 64) as u64].map(u64::to_le)
}
