//! What a frame is counted as, at first sight.
//!
//! Most frames are untagged IP without extension headers, and for those a few
//! bytes tell it. A whole parse costs several times that, not in instructions as
//! much as in the cache lines that these are in: a packet's way through the
//! kernel leaves no code of ours in the first-level cache.

use crate::abi::abi;
use crate::crossing::tag;
use crate::flow::{FlowPacket, TRANSPORT_V4, TRANSPORT_V6};
use crate::packet::{
    Cast, DISCOVERY, Family, Fragment, Headers, Packet, Segmentation, TCP_FLAGS, ethertype,
    protocol,
};
use crate::stats::Class;
use crate::verifier::{reread, unknown};
use crate::weight::{Weight, tag_beside};

/// What a frame is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Its class.
    pub class: Class,
    /// Whom it is for.
    pub cast: Cast,
}

impl Sight {
    /// Of a parsed frame.
    #[inline(always)]
    #[must_use]
    pub fn of(headers: &Headers) -> Self {
        Self { class: Class::of(headers), cast: headers.cast() }
    }

    /// Of a frame that is what most are; `None` for one that has to be parsed.
    #[inline(always)]
    #[must_use]
    pub fn first<P: Packet + ?Sized>(packet: &P) -> Option<Self> {
        const IPV4: u64 = ethertype::IPV4 as u64;
        const IPV6: u64 = ethertype::IPV6 as u64;
        let [destination, middle, end] = packet.head()?.map(u64::to_be);
        let version = (middle >> 8) & 0xff;
        let class = match (middle >> 16) & 0xffff {
            IPV4 if version & 0xf0 == 0x40 && version & 0x0f >= 5 => ipv4(end & 0xff),
            IPV6 if version & 0xf0 == 0x60 => ipv6((end >> 24) & 0xff)?,
            _ => return None,
        };
        Some(Self { class, cast: Cast::of((destination >> 16) & 0xffff_ffff_ffff) })
    }
}

/// What a packet was found to be, in memory where the stages meet.
///
/// In the kernel half that is a map's, of which the verifier knows nothing: however
/// many ways there are to find it out, they are one from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Seen {
    /// Its headers, if it had to be parsed.
    pub headers: Headers,
    /// Its flow, if that was asked for.
    pub flow: FlowPacket,
    /// What it weighs.
    pub weight: Weight,
    class: u8,
    cast: u8,
    /// Its outermost VLAN tag: see [`tag`].
    pub tag: u16,
    is_parsed: u8,
    reserved: [u8; 3],
}

abi!(Seen, size = 112, align = 8);

impl Seen {
    /// Of a packet that was not looked at.
    pub const EMPTY: Self = Self {
        headers: Headers::EMPTY,
        flow: FlowPacket::EMPTY,
        weight: Weight::of_frame(0),
        class: Class::Other as u8,
        cast: Cast::Unicast as u8,
        tag: 0,
        is_parsed: 0,
        reserved: [0; 3],
    };

    /// Looks at a packet: at its first bytes, or if those do not tell, at all of its
    /// headers.
    #[inline(always)]
    pub fn look<P: Packet + ?Sized>(&mut self, packet: &P) {
        let sight = match Sight::first(packet) {
            Some(sight) if packet.segmentation().is_none() => {
                self.weight = Weight::of_one(packet);
                (self.is_parsed, self.tag) = (0, tag(packet.vlan_beside_frame()));
                sight
            }
            _ => {
                self.parse(packet);
                self.weight = self.headers.weigh(packet);
                Sight::of(&self.headers)
            }
        };
        (self.class, self.cast) = (sight.class as u8, sight.cast as u8);
        reread(self);
    }

    /// Looks whose conversation the packet is of, in a layer 2 domain, after
    /// [`Seen::look`]; of fragments as [`FlowPacket::look`] has it.
    #[inline(always)]
    pub fn look_at_flow<P: Packet + ?Sized>(&mut self, packet: &P, domain: u16, by_head: bool) {
        if self.is_parsed != 0 || !self.flow.look_first(packet) {
            if self.is_parsed == 0 {
                self.parse(packet);
            }
            self.flow.look(packet, &self.headers, by_head);
        }
        reread(self);
        self.flow.settle(domain, self.tag);
        reread(self);
    }

    /// Looks whose conversation the packet is of, after [`Seen::look`]: `false` unless it is
    /// what most are, whole and without options, and has a flow. The key has the sender's
    /// end first, and what the caller says as its domain and its tag.
    #[inline(always)]
    pub fn look_at_plain<P: Packet + ?Sized>(&mut self, packet: &P, domain: u16, tag: u16) -> bool {
        let plain = self.flow.look_first(packet) && self.flow.has_flow();
        self.flow.place_in(domain, tag);
        reread(self);
        plain
    }

    /// Parses the headers, up to the transport header; that too where the packet will
    /// be cut into segments, each of which gets the headers.
    #[inline(always)]
    pub fn parse<P: Packet + ?Sized>(&mut self, packet: &P) {
        self.headers.parse_network(packet);
        reread(self);
        if packet.segmentation().is_some() {
            self.headers.parse_transport(packet);
            reread(self);
        }
        let tagged = self.headers.vlan_tags > 0;
        self.tag = tag(if tagged { Some(self.headers.vlan_tci) } else { None });
        self.is_parsed = 1;
    }

    /// Whether hosts ask each other with the packet who they are. Only of a packet whose
    /// class is ICMPv6.
    #[inline(always)]
    pub fn is_neighbour_discovery<P: Packet + ?Sized>(&self, packet: &P) -> bool {
        let offset = if self.is_parsed == 0 { TRANSPORT_V6 } else { self.headers.transport_offset };
        packet.load(offset).is_some_and(|[of_type]| DISCOVERY.contains(&of_type))
    }

    /// Bytes of the longest frame that it becomes, with a tag that is kept beside it; more
    /// than any is where that is not told.
    #[inline(always)]
    pub fn longest<P: Packet + ?Sized>(&self, packet: &P) -> u32 {
        match packet.segmentation() {
            None => packet.frame_bytes() + tag_beside(packet),
            Some(Segmentation { payload_bytes: Segmentation::BY_FRAGS, .. }) => u32::MAX,
            Some(Segmentation { payload_bytes, .. }) => {
                u32::from(self.headers.payload_offset) + payload_bytes + tag_beside(packet)
            }
        }
    }

    /// What was seen is an answer to it now, of so many bytes: of TCP the same, of all else
    /// ICMP.
    #[inline(always)]
    pub fn become_answer(&mut self, bytes: u16) {
        const TCP: [u8; 2] = [Class::Ipv4Tcp as u8, Class::Ipv6Tcp as u8];
        self.weight = Weight::of_frame(bytes.into());
        if !TCP.contains(&self.class) {
            let is_v4 = matches!(self.flow.key.family(), Family::Ipv4);
            self.class = if is_v4 { Class::Ipv4Icmp } else { Class::Ipv6Icmp } as u8;
        }
    }

    /// What the frame carries: its ethertype behind all VLAN tags.
    #[inline(always)]
    #[must_use]
    pub fn ethertype(&self) -> u16 {
        if self.is_parsed != 0 {
            self.headers.ethertype
        } else if matches!(self.flow.key.family(), Family::Ipv4) {
            ethertype::IPV4
        } else {
            ethertype::IPV6
        }
    }

    /// Where the network header starts, and where the transport header does, after
    /// [`Seen::look_at_flow`].
    #[inline(always)]
    #[must_use]
    pub fn offsets(&self) -> [u16; 2] {
        if self.is_parsed != 0 {
            [self.headers.network_offset, self.headers.transport_offset]
        } else if matches!(self.flow.key.family(), Family::Ipv4) {
            [14, TRANSPORT_V4]
        } else {
            [14, TRANSPORT_V6]
        }
    }

    /// Which part of an IP packet the frame holds, after [`Seen::look_at_flow`].
    #[inline(always)]
    #[must_use]
    pub fn fragment(&self) -> Fragment {
        if self.is_parsed == 0 { Fragment::Whole } else { self.headers.fragment() }
    }

    /// Whether the packet hides what rules ask for, after [`Seen::look_at_flow`]: its
    /// transport protocol behind more extension headers than are followed, or the flags of
    /// its TCP header in a fragment that is still to come (RFC 1858, section 3).
    #[inline(always)]
    #[must_use]
    pub fn hides<P: Packet + ?Sized>(&self, packet: &P) -> bool {
        if !self.flow.has_flow() || matches!(self.fragment(), Fragment::Later) {
            return false;
        }
        match (self.flow.key.protocol(), self.flow.key.family()) {
            (protocol::TCP, _) => !self.has_tcp_flags(packet),
            (protocol::UNKNOWN, Family::Ipv6) => true,
            _ => false,
        }
    }

    /// Of TCP. Padding behind a fragment is none of it: a receiver takes from the next one
    /// what is missing.
    #[inline(always)]
    fn has_tcp_flags<P: Packet + ?Sized>(&self, packet: &P) -> bool {
        let [_, transport] = self.offsets();
        let flags = transport + TCP_FLAGS;
        let is_padding = matches!(self.fragment(), Fragment::First)
            && self.headers.end(packet).is_none_or(|end| end <= flags.into());
        !is_padding && packet.load::<1>(flags).is_some()
    }

    /// Number of the class that it is counted in.
    #[inline(always)]
    #[must_use]
    pub fn class(&self) -> usize {
        unknown(self.class.into())
    }

    /// Whom it is for.
    #[inline(always)]
    #[must_use]
    pub fn cast(&self) -> Cast {
        Cast::numbered(self.cast)
    }
}

#[inline(always)]
fn ipv4(protocol: u64) -> Class {
    const TCP: u64 = protocol::TCP as u64;
    const UDP: u64 = protocol::UDP as u64;
    const ICMP: u64 = protocol::ICMP as u64;
    match protocol {
        TCP => Class::Ipv4Tcp,
        UDP => Class::Ipv4Udp,
        ICMP => Class::Ipv4Icmp,
        _ => Class::Ipv4Other,
    }
}

/// What is not of the three may be an extension header.
#[inline(always)]
fn ipv6(protocol: u64) -> Option<Class> {
    const TCP: u64 = protocol::TCP as u64;
    const UDP: u64 = protocol::UDP as u64;
    const ICMP: u64 = protocol::ICMPV6 as u64;
    match protocol {
        TCP => Some(Class::Ipv6Tcp),
        UDP => Some(Class::Ipv6Udp),
        ICMP => Some(Class::Ipv6Icmp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// Frames with every ethertype that matters, version and protocol, of every
    /// length: what is told at first sight is what the parser tells.
    #[test]
    fn first_sight_agrees_with_the_parser() {
        let mut told = 0;
        for destination in [[2, 0, 0, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1], [0xff; 6]] {
            for ethertype in [0x0800_u16, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x0026] {
                for version in [0x45, 0x4f, 0x44, 0x60, 0x6f, 0x55] {
                    for protocol in 0..=255 {
                        let mut frame = Vec::from(destination);
                        frame.extend([2, 0, 0, 0, 0, 2]);
                        frame.extend(ethertype.to_be_bytes());
                        frame.resize(100, 0);
                        frame[14] = version;
                        frame[if ethertype == 0x0800 { 23 } else { 20 }] = protocol;
                        for length in [0, 13, 14, 15, 23, 24, 34, 100] {
                            told += usize::from(agrees(&frame[..length]));
                        }
                    }
                }
            }
        }
        assert!(told > 1000, "{told}");
    }

    #[test]
    fn neighbour_discovery_is_told_from_other_icmpv6() {
        for (options, of_type, discovery) in
            [(0, 128, false), (0, 135, true), (0, 136, true), (8, 135, true), (8, 129, false)]
        {
            let mut frame = Vec::from([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd]);
            frame.extend([0x60, 0, 0, 0, 0, 0, if options == 0 { 58 } else { 60 }, 255]);
            frame.extend([0; 32]);
            let header = [58, 0, 0, 0, 0, 0, 0, 0];
            frame.extend(&header[..options]);
            frame.extend([of_type, 0, 0, 0, 0, 0, 0, 0]);
            let mut seen = Seen::EMPTY;
            seen.look(frame.as_slice());
            assert_eq!(seen.class(), Class::Ipv6Icmp as usize);
            assert_eq!(seen.is_neighbour_discovery(frame.as_slice()), discovery, "{of_type}");
        }
    }

    #[test]
    fn an_answer_is_of_tcp_or_icmp() {
        for (version, kind, expected) in [
            (4, protocol::TCP, Class::Ipv4Tcp),
            (4, protocol::UDP, Class::Ipv4Icmp),
            (4, 47, Class::Ipv4Icmp),
            (6, protocol::TCP, Class::Ipv6Tcp),
            (6, protocol::UDP, Class::Ipv6Icmp),
        ] {
            let mut frame = Vec::from([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]);
            if version == 6 {
                frame[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
            }
            frame.resize(100, 0);
            frame[if version == 4 { 23 } else { 20 }] = kind;
            let mut seen = Seen::EMPTY;
            seen.look(frame.as_slice());
            seen.look_at_flow(frame.as_slice(), 0, true);
            seen.become_answer(70);
            assert_eq!(seen.class(), expected as usize, "{version} {kind}");
            assert_eq!(seen.weight.cell, crate::stats::Cell { packets: 1, bytes: 70 });
        }
    }

    fn agrees(frame: &[u8]) -> bool {
        let Some(first) = Sight::first(frame) else { return false };
        let mut headers = Headers::EMPTY;
        headers.parse_network(frame);
        assert_eq!(first, Sight::of(&headers), "{frame:x?}");
        true
    }
}
