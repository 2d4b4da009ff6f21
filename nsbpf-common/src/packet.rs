//! The packet parser: Ethernet, VLAN tags, ARP, IPv4, IPv6 with extension
//! headers, and the ports of TCP and UDP.
//!
//! It is generic over [`Packet`], which the kernel half implements for the tc
//! and XDP contexts and this module for byte slices, so that the parser the
//! verifier accepts is the one that tests and tools run. It neither panics nor
//! allocates, and every loop has a constant bound.

use crate::abi::abi;
use crate::verifier::reread;
use crate::weight::Weight;

/// IP protocol numbers, as IANA assigns them.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// UDP-Lite.
    pub const UDP_LITE: u8 = 136;
    /// Reserved by IANA; here: the packet ends, or goes wrong, before its
    /// transport protocol is known.
    pub const UNKNOWN: u8 = 255;
}

/// ICMPv6 types of neighbour discovery (RFC 4861, section 4).
pub const DISCOVERY: core::ops::RangeInclusive<u8> = 133..=137;

/// Ethernet protocol numbers, in host order.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// A customer VLAN tag, IEEE 802.1Q.
    pub const VLAN: u16 = 0x8100;
    /// A service VLAN tag, IEEE 802.1ad.
    pub const SERVICE_VLAN: u16 = 0x88a8;
}

const ETHERNET_BYTES: u16 = 14;
/// Bytes of a VLAN tag.
pub(crate) const VLAN_BYTES: u16 = 4;
const IPV4_BYTES: u16 = 20;
const IPV6_BYTES: u16 = 40;
/// Where the flags are in a TCP header.
pub(crate) const TCP_FLAGS: u16 = 13;
const UDP_BYTES: u16 = 8;

/// Tags that are read from the frame itself; a third one makes the packet
/// [`Family::Other`].
const MAX_FRAME_TAGS: usize = 2;
/// Extension headers that are followed. RFC 8200 names seven kinds, each of
/// which should occur once (destination options twice); past this many the
/// transport protocol is [`protocol::UNKNOWN`].
const MAX_EXTENSION_HEADERS: usize = 8;

/// A frame that can be read.
pub trait Packet {
    /// The `N` bytes that start at `offset`; `None` when the frame is shorter.
    fn load<const N: usize>(&self, offset: u16) -> Option<[u8; N]>;

    /// The first 24 bytes, as three words in the order of the machine; `None` when
    /// the frame is shorter or they are not at hand.
    #[inline(always)]
    fn head(&self) -> Option<[u64; 3]> {
        let words = [self.load(0)?, self.load(8)?, self.load(16)?];
        Some(words.map(u64::from_ne_bytes))
    }

    /// Bytes of the frame as the kernel holds it: a GSO packet with one set of
    /// headers, and without a tag that is kept beside the frame.
    fn frame_bytes(&self) -> u32;

    /// Tag control information of the outermost VLAN tag, where the kernel
    /// keeps it beside the frame (`skb->vlan_tci`).
    fn vlan_beside_frame(&self) -> Option<u16> {
        None
    }

    /// Whether that tag is a service VLAN's (IEEE 802.1ad).
    fn is_service_vlan_beside_frame(&self) -> bool {
        false
    }

    /// Of a GSO packet, what it will be cut into.
    fn segmentation(&self) -> Option<Segmentation> {
        None
    }
}

/// How a GSO packet will be cut (`skb_shared_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// Payload bytes of each segment but the last: `gso_size`, not 0; or
    /// [`BY_FRAGS`](Self::BY_FRAGS).
    pub payload_bytes: u32,
    /// Segments, or 0 when the kernel has not counted them: `gso_segs`.
    pub segments: u32,
}

impl Segmentation {
    /// Each segment is as long as it was made, as SCTP does (`GSO_BY_FRAGS`).
    pub const BY_FRAGS: u32 = 0xffff;
}

impl Packet for [u8] {
    fn load<const N: usize>(&self, offset: u16) -> Option<[u8; N]> {
        self.get(usize::from(offset)..)?.first_chunk().copied()
    }

    fn frame_bytes(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }
}

/// A network protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// Anything else, LLC (so STP too) included.
    Other,
    /// ARP.
    Arp,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Which part of an IP packet a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fragment {
    /// All of it.
    Whole,
    /// The beginning, transport header included.
    First,
    /// A later part, which has no transport header.
    Later,
}

/// Whom a frame is for, by its destination MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cast {
    /// One station.
    Unicast,
    /// A group: the lowest bit of the first byte is set.
    Multicast,
    /// Everybody: all bits are set.
    Broadcast,
}

impl Cast {
    /// The one with that number.
    #[inline(always)]
    pub(crate) fn numbered(number: u8) -> Self {
        const MULTICAST: u8 = Cast::Multicast as u8;
        const BROADCAST: u8 = Cast::Broadcast as u8;
        match number {
            MULTICAST => Self::Multicast,
            BROADCAST => Self::Broadcast,
            _ => Self::Unicast,
        }
    }

    /// By that address, whose first byte is the highest of six.
    #[inline(always)]
    pub(crate) fn of(destination: u64) -> Self {
        if destination & (1 << 40) == 0 {
            Self::Unicast
        } else if destination == 0xffff_ffff_ffff {
            Self::Broadcast
        } else {
            Self::Multicast
        }
    }
}

/// What the parser found. Offsets count from the start of the frame, in bytes;
/// integers are in host order; what the packet does not have is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Headers {
    /// Ethernet protocol behind all VLAN tags, or a length below 0x600 (LLC).
    pub ethertype: u16,
    /// Tag control information of the outermost VLAN tag.
    pub vlan_tci: u16,
    /// TCP or UDP source port.
    pub source_port: u16,
    /// TCP or UDP destination port.
    pub destination_port: u16,
    /// Where the network header starts.
    pub network_offset: u16,
    /// Where the transport header starts, or in a later fragment the payload.
    pub transport_offset: u16,
    /// Where what the headers carry starts.
    pub payload_offset: u16,
    family: u8,
    fragment: u8,
    /// IP protocol number behind all extension headers; see [`protocol`].
    pub protocol: u8,
    /// VLAN tags, the one beside the frame included.
    pub vlan_tags: u8,
    cast: u8,
    /// Of a fragment, which packet it is of; an IPv4 packet has it in the last two bytes.
    pub identification: [u8; 4],
    reserved: u8,
}

abi!(Headers, size = 24, align = 8);

impl Headers {
    /// Of a packet that ends before it says anything.
    pub const EMPTY: Self = Self {
        ethertype: 0,
        vlan_tci: 0,
        source_port: 0,
        destination_port: 0,
        network_offset: 0,
        transport_offset: 0,
        payload_offset: 0,
        family: Family::Other as u8,
        fragment: Fragment::Whole as u8,
        protocol: protocol::UNKNOWN,
        vlan_tags: 0,
        cast: Cast::Unicast as u8,
        identification: [0; 4],
        reserved: 0,
    };

    /// Whom the frame is for.
    #[inline(always)]
    #[must_use]
    pub fn cast(&self) -> Cast {
        Cast::numbered(self.cast)
    }

    /// The network protocol, as the Ethernet header names it.
    #[inline(always)]
    #[must_use]
    pub fn family(&self) -> Family {
        const ARP: u8 = Family::Arp as u8;
        const IPV4: u8 = Family::Ipv4 as u8;
        const IPV6: u8 = Family::Ipv6 as u8;
        match self.family {
            ARP => Family::Arp,
            IPV4 => Family::Ipv4,
            IPV6 => Family::Ipv6,
            _ => Family::Other,
        }
    }

    /// Which part of an IP packet this is.
    #[inline(always)]
    #[must_use]
    pub fn fragment(&self) -> Fragment {
        const FIRST: u8 = Fragment::First as u8;
        const LATER: u8 = Fragment::Later as u8;
        match self.fragment {
            FIRST => Fragment::First,
            LATER => Fragment::Later,
            _ => Fragment::Whole,
        }
    }

    /// Parses a frame. What cannot be read is left as in [`Headers::EMPTY`].
    #[inline(always)]
    pub fn parse<P: Packet + ?Sized>(&mut self, packet: &P) {
        self.parse_network(packet);
        self.parse_transport(packet);
    }

    /// Parses up to the transport header, which is enough to say what a frame
    /// is counted as.
    #[inline(always)]
    pub fn parse_network<P: Packet + ?Sized>(&mut self, packet: &P) {
        *self = Self::EMPTY;
        if let Some(tci) = packet.vlan_beside_frame() {
            self.vlan_tci = tci;
            self.vlan_tags = 1;
        }
        let Some(start) = packet.load(0) else {
            return;
        };
        self.cast = Cast::of(u64::from_be_bytes(start) >> 16) as u8;
        let Some(ethertype) = load_u16(packet, 12) else {
            return;
        };
        self.ethertype = ethertype;
        self.network_offset = ETHERNET_BYTES;
        for _ in 0..MAX_FRAME_TAGS {
            if !matches!(self.ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN) {
                break;
            }
            let Some([tci_high, tci_low, high, low]) = packet.load(self.network_offset) else {
                break;
            };
            if self.vlan_tags == 0 {
                self.vlan_tci = u16::from_be_bytes([tci_high, tci_low]);
            }
            self.vlan_tags += 1;
            self.ethertype = u16::from_be_bytes([high, low]);
            self.network_offset += VLAN_BYTES;
        }
        self.transport_offset = self.network_offset;
        self.payload_offset = self.network_offset;
        reread(self);
        match self.ethertype {
            ethertype::ARP => self.family = Family::Arp as u8,
            ethertype::IPV4 => self.parse_ipv4(packet),
            ethertype::IPV6 => self.parse_ipv6(packet),
            _ => {}
        }
    }

    #[inline(always)]
    fn parse_ipv4<P: Packet + ?Sized>(&mut self, packet: &P) {
        self.family = Family::Ipv4 as u8;
        // Version and header length, two bytes of length, identification, …
        let Some([first, _, _, _, high, low, flags_high, flags_low, _, protocol]) =
            packet.load(self.network_offset)
        else {
            return;
        };
        let header_bytes = u16::from(first & 0x0f) * 4;
        if first >> 4 != 4 || header_bytes < IPV4_BYTES {
            return;
        }
        let flags = u16::from_be_bytes([flags_high, flags_low]);
        self.set_fragment(flags & 0x1fff != 0, flags & 0x2000 != 0);
        self.identification = [0, 0, high, low];
        self.transport_starts(protocol, self.network_offset + header_bytes);
    }

    #[inline(always)]
    fn parse_ipv6<P: Packet + ?Sized>(&mut self, packet: &P) {
        self.family = Family::Ipv6 as u8;
        let Some([first, _, _, _, _, _, mut next]) = packet.load(self.network_offset) else {
            return;
        };
        if first >> 4 != 6 {
            return;
        }
        let mut offset = self.network_offset + IPV6_BYTES;
        for _ in 0..MAX_EXTENSION_HEADERS {
            self.transport_starts(next, offset);
            reread(self);
            (next, offset) = (self.protocol, self.transport_offset);
            let Some(kind) = Extension::of(next) else { return };
            // Unknown until all of them were followed.
            self.protocol = protocol::UNKNOWN;
            let Some([following, length, fragment_high, fragment_low]) = packet.load(offset) else {
                return;
            };
            next = following;
            // At most 2,048 bytes a header, eight headers, and what came before:
            // no overflow of 16 bits.
            offset += match kind {
                Extension::Options => (u16::from(length) + 1) * 8,
                Extension::Authentication => (u16::from(length) + 2) * 4,
                Extension::Fragment => 8,
            };
            if matches!(kind, Extension::Fragment) {
                let fragment = u16::from_be_bytes([fragment_high, fragment_low]);
                self.set_fragment(fragment & 0xfff8 != 0, fragment & 1 != 0);
                if let Some(identification) = packet.load(offset - 4) {
                    self.identification = identification;
                }
                if matches!(self.fragment(), Fragment::Later) {
                    // What follows is the middle of something.
                    self.transport_starts(next, offset);
                    return;
                }
            }
        }
    }

    #[inline(always)]
    fn set_fragment(&mut self, later: bool, more: bool) {
        let fragment = match (later, more) {
            (true, _) => Fragment::Later,
            (false, true) => Fragment::First,
            (false, false) => Fragment::Whole,
        };
        self.fragment = fragment as u8;
    }

    #[inline(always)]
    fn transport_starts(&mut self, protocol: u8, offset: u16) {
        self.protocol = protocol;
        self.transport_offset = offset;
        self.payload_offset = offset;
    }

    /// Parses the transport header, after [`Headers::parse_network`]: its ports
    /// and where it ends.
    #[inline(always)]
    pub fn parse_transport<P: Packet + ?Sized>(&mut self, packet: &P) {
        if matches!(self.fragment(), Fragment::Later) {
            return;
        }
        let offset = self.transport_offset;
        let header_bytes = match self.protocol {
            protocol::TCP => match packet.load(offset + 12) {
                Some([data_offset]) if data_offset >> 4 >= 5 => u16::from(data_offset >> 4) * 4,
                _ => return,
            },
            protocol::UDP => UDP_BYTES,
            _ => return,
        };
        let Some([source_high, source_low, high, low]) = packet.load(offset) else {
            return;
        };
        self.source_port = u16::from_be_bytes([source_high, source_low]);
        self.destination_port = u16::from_be_bytes([high, low]);
        self.payload_offset = offset + header_bytes;
    }

    /// Where the IP packet ends by what its header says, after [`Headers::parse_network`]: what
    /// is behind that in the frame is padding, which receivers cut off. `None` of what is no
    /// IP.
    #[inline(always)]
    pub fn end<P: Packet + ?Sized>(&self, packet: &P) -> Option<u32> {
        let (place, before) = match self.family() {
            Family::Ipv4 => (2, 0),
            Family::Ipv6 => (4, IPV6_BYTES),
            _ => return None,
        };
        let length = load_u16(packet, self.network_offset + place)?;
        Some(u32::from(self.network_offset) + u32::from(before) + u32::from(length))
    }

    /// What the packet weighs on a wire. Of a GSO packet the transport header
    /// must have been parsed.
    #[inline(always)]
    pub fn weigh<P: Packet + ?Sized>(&self, packet: &P) -> Weight {
        match packet.segmentation() {
            None => Weight::of_one(packet),
            Some(segmentation) => {
                Weight::of_segments(packet, self.payload_offset.into(), segmentation)
            }
        }
    }
}

/// IPv6 extension headers, by how their length is told.
enum Extension {
    /// Hop-by-hop and destination options, routing, mobility, HIP, shim6: in
    /// units of 8 bytes, the first not counted.
    Options,
    /// In units of 4 bytes, the first two not counted.
    Authentication,
    /// Always 8 bytes.
    Fragment,
}

impl Extension {
    #[inline(always)]
    fn of(next_header: u8) -> Option<Self> {
        match next_header {
            0 | 43 | 60 | 135 | 139 | 140 => Some(Self::Options),
            51 => Some(Self::Authentication),
            44 => Some(Self::Fragment),
            _ => None,
        }
    }
}

#[inline(always)]
fn load_u16<P: Packet + ?Sized>(packet: &P, offset: u16) -> Option<u16> {
    packet.load(offset).map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests;
