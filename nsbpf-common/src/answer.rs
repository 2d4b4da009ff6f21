//! What the sender of a rejected packet is told: of TCP that there is no connection (RFC 9293,
//! section 3.10.7.1), else that the packet cannot be delivered (RFC 792, RFC 4443).
//!
//! The answer takes the packet's place: its headers are written over those of the packet, or
//! before them.

use crate::abi::abi;
use crate::flow::tcp_flag::{ACK, FIN, RST, SYN};
use crate::flow::{FlowKey, FlowPacket};
use crate::packet::{Cast, Family, Fragment, Packet, protocol};
use crate::sight::Seen;
use crate::verifier::{reread, unknown};

/// Bytes of a TCP header without options, and of an ICMP header.
const TCP: u16 = 20;
const ICMP: u16 = 8;
/// Bytes of a packet that an ICMP error holds at most: an IPv4 header with all options, or an
/// IPv6 header with some, and eight bytes of what it carries.
const QUOTE: u16 = 96;
/// Hops that an answer has.
const HOPS: u32 = 64;
/// Words of an IPv4 header without options, and of an IPv6 header.
const IPV4_WORDS: usize = 5;
const IPV6_WORDS: usize = 10;

/// An answer, in memory where functions meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Answer {
    /// Its headers behind Ethernet and VLAN tags, in network order: [`Kind::header_bytes`] of
    /// them.
    headers: [u32; 16],
    sum: u32,
    /// Bytes of the packet, behind Ethernet and VLAN tags, that an ICMP error holds.
    pub quoted: u16,
    /// Where its headers begin.
    pub network: u16,
    kind: u8,
    reserved: [u8; 3],
}

abi!(Answer, size = 76, align = 4);

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// There is none.
    None,
    /// TCP over IPv4.
    ResetV4,
    /// TCP over IPv6.
    ResetV6,
    /// ICMP.
    UnreachableV4,
    /// ICMPv6.
    UnreachableV6,
}

impl Kind {
    /// Bytes of its headers.
    #[inline(always)]
    #[must_use]
    pub const fn header_bytes(self) -> u16 {
        match self {
            Self::None => 0,
            Self::ResetV4 => 40,
            Self::ResetV6 => 60,
            Self::UnreachableV4 => 28,
            Self::UnreachableV6 => 48,
        }
    }

    /// Whether it is before the packet, and not in its place.
    #[inline(always)]
    #[must_use]
    pub const fn has_quote(self) -> bool {
        matches!(self, Self::UnreachableV4 | Self::UnreachableV6)
    }
}

impl Answer {
    /// What it is.
    #[inline(always)]
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.kind {
            1 => Kind::ResetV4,
            2 => Kind::ResetV6,
            3 => Kind::UnreachableV4,
            4 => Kind::UnreachableV6,
            _ => Kind::None,
        }
    }

    /// Its headers, of which the first bytes count.
    #[inline(always)]
    #[must_use]
    pub const fn headers(&self) -> &[u8; 64] {
        // SAFETY: words of memory are bytes too.
        unsafe { &*core::ptr::from_ref(&self.headers).cast() }
    }

    /// Looks what there is to answer to a packet, after [`Seen::look_at_flow`]: nothing to a
    /// group, to what is an answer itself, and to a fragment that does not say what it is of.
    #[inline(always)]
    pub fn find<P: Packet + ?Sized>(&mut self, packet: &P, seen: &Seen) {
        self.kind = Kind::None as u8;
        let FlowPacket { key, direction, .. } = &seen.flow;
        if !seen.flow.has_flow()
            || !matches!(seen.cast(), Cast::Unicast)
            || matches!(seen.fragment(), Fragment::Later)
        {
            return;
        }
        let is_v4 = matches!(key.family(), Family::Ipv4);
        let [network, transport] = seen.offsets();
        self.network = network;
        self.headers = [0; 16];
        self.sum = 0;
        let is_tcp = key.protocol() == protocol::TCP;
        let found = if is_tcp {
            self.reset(packet, key, *direction, transport)
        } else {
            self.unreachable(packet, key, transport)
        };
        if found.is_some() {
            let kind = match (is_tcp, is_v4) {
                (true, true) => Kind::ResetV4,
                (true, false) => Kind::ResetV6,
                (false, true) => Kind::UnreachableV4,
                (false, false) => Kind::UnreachableV6,
            };
            self.kind = kind as u8;
        }
    }

    /// Completes an answer that was found to a packet of a flow: who it is from, and what
    /// does not hang on the packet.
    #[inline(always)]
    pub fn complete(&mut self, key: &FlowKey, direction: u8) {
        let (length, carried) = match self.kind() {
            Kind::None => return,
            Kind::ResetV4 | Kind::ResetV6 => (TCP, protocol::TCP),
            Kind::UnreachableV4 => (ICMP + self.quoted, protocol::ICMP),
            Kind::UnreachableV6 => (ICMP + self.quoted, protocol::ICMPV6),
        };
        reread(self);
        self.address(key, direction, length, carried);
        reread(self);
        self.sum_up(length, carried);
    }

    /// The words behind the network header, of which the first is at that place.
    #[inline(always)]
    fn set(&mut self, is_v4: bool, place: usize, word: u32) {
        let place = place + if is_v4 { IPV4_WORDS } else { IPV6_WORDS };
        if let Some(at) = self.headers.get_mut(place) {
            *at = word;
        }
    }

    /// The TCP header of a reset; nothing answers a reset.
    #[inline(always)]
    fn reset<P: Packet + ?Sized>(
        &mut self,
        packet: &P,
        key: &FlowKey,
        direction: u8,
        transport: u16,
    ) -> Option<()> {
        let is_v4 = matches!(key.family(), Family::Ipv4);
        let sequence = packet.load(transport + 4).map(u32::from_be_bytes)?;
        let acknowledged = packet.load(transport + 8).map(u32::from_be_bytes)?;
        let [offset, flags] = packet.load(transport + 12)?;
        if flags & RST != 0 {
            return None;
        }
        let length_at = self.network + if is_v4 { 2 } else { 4 };
        let length = packet.load(length_at).map(u16::from_be_bytes)?;
        let end = self.network.wrapping_add(length).wrapping_add(if is_v4 { 0 } else { 40 });
        let carried = end.saturating_sub(transport + u16::from(offset >> 4) * 4);
        let begins = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let next = sequence.wrapping_add(u32::from(carried) + begins);
        let (sequence, acknowledged, flags) =
            if flags & ACK == 0 { (0, next, RST | ACK) } else { (acknowledged, 0, RST) };
        let [mut to, mut from] = key.ports();
        if direction != 0 {
            (to, from) = (from, to);
        }
        self.set(is_v4, 0, (u32::from(from) << 16) | u32::from(to));
        self.set(is_v4, 1, sequence);
        self.set(is_v4, 2, acknowledged);
        self.set(is_v4, 3, (5 << 28) | (u32::from(flags) << 16));
        Some(())
    }

    /// The ICMP header of what says that a packet is not delivered; nothing answers an ICMP
    /// error.
    #[inline(always)]
    fn unreachable<P: Packet + ?Sized>(
        &mut self,
        packet: &P,
        key: &FlowKey,
        transport: u16,
    ) -> Option<()> {
        let is_v4 = matches!(key.family(), Family::Ipv4);
        let protocol = key.protocol();
        if key.is_icmp() {
            let [of_type] = packet.load(transport)?;
            let is_error = if is_v4 { matches!(of_type, 3..=5 | 11 | 12) } else { of_type < 128 };
            if is_error {
                return None;
            }
        }
        // Destination unreachable: the port, or administratively prohibited.
        let (of_type, port, prohibited) = if is_v4 { (3, 3, 13) } else { (1, 4, 1) };
        let code = if has_ports(protocol) { port } else { prohibited };
        self.set(is_v4, 0, (of_type << 24) | (code << 16));
        self.quote(packet);
        Some(())
    }

    /// Looks at what an ICMP error holds: how many bytes those are, and the sum of their
    /// 16-bit words.
    #[inline(always)]
    fn quote<P: Packet + ?Sized>(&mut self, packet: &P) {
        let left = unknown(packet.frame_bytes() as usize).saturating_sub(self.network.into());
        #[expect(clippy::cast_possible_truncation, reason = "at most as long as a quote")]
        let quoted = if left < QUOTE.into() { left as u16 } else { QUOTE };
        self.quoted = quoted;
        for place in (0..QUOTE).step_by(2) {
            reread(self);
            let at = self.network + place;
            if place + 1 < self.quoted {
                let Some(word) = packet.load(at) else { return };
                self.sum += u32::from(u16::from_be_bytes(word));
            } else if place < self.quoted {
                let Some([last]) = packet.load(at) else { return };
                self.sum += u32::from(last) << 8;
            } else {
                return;
            }
        }
    }

    /// The network header, from whom the packet was for to whom it was from.
    #[inline(always)]
    fn address(&mut self, key: &FlowKey, direction: u8, length: u16, carried: u8) {
        let [to, from] = key.addresses_from(direction).map(|address| address.map(u64::from_be));
        let (length, carried) = (u32::from(length), u32::from(carried));
        if matches!(key.family(), Family::Ipv4) {
            self.headers[0] = 0x4500_0000 | (length + 20);
            self.headers[1] = 0x4000;
            self.headers[2] = (HOPS << 24) | (carried << 16);
            self.headers[3] = high(from[0]);
            self.headers[4] = high(to[0]);
        } else {
            self.headers[0] = 0x6000_0000;
            self.headers[1] = (length << 16) | (carried << 8) | HOPS;
            let words = [from[0], from[1], to[0], to[1]];
            let [a, b, c, d] = words;
            self.headers[2] = high(a);
            self.headers[3] = low(a);
            self.headers[4] = high(b);
            self.headers[5] = low(b);
            self.headers[6] = high(c);
            self.headers[7] = low(c);
            self.headers[8] = high(d);
            self.headers[9] = low(d);
        }
    }

    /// Checksums, and the order of bytes.
    #[inline(always)]
    fn sum_up(&mut self, length: u16, carried: u8) {
        let is_v4 = matches!(self.kind(), Kind::ResetV4 | Kind::UnreachableV4);
        let is_tcp = !self.kind().has_quote();
        let (addresses, end) = if is_v4 { (3, IPV4_WORDS) } else { (2, IPV6_WORDS) };
        let (mut before, mut of_addresses, mut behind) = (0, 0, self.sum);
        for (place, word) in self.headers.iter().enumerate() {
            let both = halves(*word);
            if place >= end {
                behind += both;
            } else if place >= addresses {
                of_addresses += both;
            } else {
                before += both;
            }
        }
        if is_v4 {
            self.headers[2] |= u32::from(!fold(before + of_addresses));
        }
        // The pseudo header: addresses, length and protocol (RFC 9293, section 3.1; RFC 8200,
        // section 8.1). ICMP over IPv4 has none.
        if is_tcp || !is_v4 {
            behind += of_addresses + u32::from(length) + u32::from(carried);
        }
        let (place, shift) = if is_tcp { (4, 16) } else { (0, 0) };
        if let Some(word) = self.headers.get_mut(unknown(place + end)) {
            *word |= u32::from(!fold(behind)) << shift;
        }
        reread(self);
        for word in &mut self.headers {
            *word = word.to_be();
        }
    }
}

/// Whether senders of that protocol know what an unreachable port is.
#[inline(always)]
const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::UDP | protocol::SCTP | protocol::UDP_LITE)
}

#[inline(always)]
const fn halves(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}

#[inline(always)]
const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn low(word: u64) -> u32 {
    word as u32
}

/// A sum of 16-bit words as one (RFC 1071).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the carry is added")]
const fn fold(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + sum) as u16
}

#[cfg(test)]
mod tests;
