//! What a guarded port may claim: its own MAC address, and the IP addresses that
//! the lab gave it.
//!
//! The judgement is pure, so that the kernel half, tests and fuzzers share it;
//! only the look-up of an address is the caller's.

use crate::abi::abi;
use crate::packet::{Cast, Family, Fragment, Headers, Packet, ethertype, protocol};
use crate::port::PortConfig;
use crate::verdict::Reason;

/// An address that a port may claim: the key of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct OwnAddress {
    /// Number of the port.
    pub port: u16,
    /// [`ethertype::IPV4`] or [`ethertype::IPV6`].
    pub family: u16,
    /// The address in network order; an IPv4 address in the first four bytes,
    /// the rest 0.
    pub address: [u8; 16],
}

abi!(OwnAddress, size = 20, align = 2);

impl OwnAddress {
    /// An IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn v4(port: u16, [a, b, c, d]: [u8; 4]) -> Self {
        let address = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        Self { port, family: ethertype::IPV4, address }
    }

    /// An IPv6 address.
    #[inline(always)]
    #[must_use]
    pub const fn v6(port: u16, address: [u8; 16]) -> Self {
        Self { port, family: ethertype::IPV6, address }
    }
}

/// ICMPv6 types (RFC 4861) that only a router sends.
const ROUTER_ADVERTISEMENT: u8 = 134;
const REDIRECT: u8 = 137;
/// Those that tell a link-layer address.
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Their options that hold one: source and target link-layer address.
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
/// Options that are looked at. What a later one could tell concerns only the
/// address that was found to be the sender's own.
const MAX_OPTIONS: usize = 4;

/// Judges the source MAC address of a packet that came in by a guarded port.
///
/// # Errors
/// Why the packet must be dropped.
#[inline(always)]
pub fn judge_mac<P: Packet + ?Sized>(packet: &P, config: &PortConfig) -> Result<(), Reason> {
    if six_bytes(packet, 6) == number(config.mac) { Ok(()) } else { Err(Reason::SpoofedMac) }
}

/// Judges the IP addresses that a packet tells as its sender's. What cannot be read is
/// no claim that the port may make.
///
/// An unspecified source address claims nothing: it may be sent to a group or to
/// everybody (DHCP, address conflict and duplicate address detection, listener
/// reports).
///
/// # Errors
/// Why the packet must be dropped.
#[inline(always)]
pub fn judge_addresses<P: Packet + ?Sized>(
    packet: &P,
    headers: &Headers,
    port: u16,
    config: &PortConfig,
    owns: impl Fn(&OwnAddress) -> bool,
) -> Result<(), Reason> {
    let mac = number(config.mac);
    match headers.family() {
        Family::Arp => arp(packet, headers, port, mac, owns),
        Family::Ipv4 => {
            let Some(source) = packet.load::<4>(headers.network_offset + 12) else {
                return Err(Reason::SpoofedAddress);
            };
            let unspecified = u32::from_ne_bytes(source) == 0;
            if unspecified && !matches!(headers.cast(), Cast::Unicast)
                || owns(&OwnAddress::v4(port, source))
            {
                Ok(())
            } else {
                Err(Reason::SpoofedAddress)
            }
        }
        Family::Ipv6 => ipv6(packet, headers, port, mac, owns),
        // More tags than are followed: what lies behind them is unknown.
        Family::Other => match headers.ethertype {
            ethertype::VLAN | ethertype::SERVICE_VLAN => Err(Reason::SpoofedAddress),
            _ => Ok(()),
        },
    }
}

/// RFC 826: what the sender tells of itself.
#[inline(always)]
fn arp<P: Packet + ?Sized>(
    packet: &P,
    headers: &Headers,
    port: u16,
    mac: u64,
    owns: impl Fn(&OwnAddress) -> bool,
) -> Result<(), Reason> {
    const REFUSED: Result<(), Reason> = Err(Reason::SpoofedArp);
    // Ethernet (1), IPv4 (0x0800), addresses of 6 and 4 bytes.
    if six_bytes(packet, headers.network_offset) != number([0, 1, 8, 0, 6, 4])
        || six_bytes(packet, headers.network_offset + 8) != mac
    {
        return REFUSED;
    }
    let Some(address) = packet.load::<4>(headers.network_offset + 14) else { return REFUSED };
    let probe = u32::from_ne_bytes(address) == 0;
    if probe || owns(&OwnAddress::v4(port, address)) { Ok(()) } else { REFUSED }
}

#[inline(always)]
fn ipv6<P: Packet + ?Sized>(
    packet: &P,
    headers: &Headers,
    port: u16,
    mac: u64,
    owns: impl Fn(&OwnAddress) -> bool,
) -> Result<(), Reason> {
    let Some(source) = packet.load::<16>(headers.network_offset + 8) else {
        return Err(Reason::SpoofedAddress);
    };
    let unspecified = u128::from_ne_bytes(source) == 0;
    if !(unspecified && !matches!(headers.cast(), Cast::Unicast)
        || owns(&OwnAddress::v6(port, source)))
    {
        return Err(Reason::SpoofedAddress);
    }
    // More extension headers than are followed, or fewer than are told: what lies
    // behind them is unknown.
    if headers.protocol == protocol::UNKNOWN {
        return Err(Reason::SpoofedNeighbour);
    }
    if headers.protocol != protocol::ICMPV6 || matches!(headers.fragment(), Fragment::Later) {
        return Ok(());
    }
    let start = headers.transport_offset;
    let Some([kind]) = packet.load::<1>(start) else { return Err(Reason::SpoofedNeighbour) };
    match kind {
        ROUTER_ADVERTISEMENT | REDIRECT => return Err(Reason::SpoofedNeighbour),
        NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT => {}
        _ => return Ok(()),
    }
    // An advertisement is of the sender's own address, and so is the question whether
    // somebody has that address already.
    if kind == NEIGHBOUR_ADVERTISEMENT || unspecified {
        let Some(target) = packet.load::<16>(start + 8) else {
            return Err(Reason::SpoofedNeighbour);
        };
        if !owns(&OwnAddress::v6(port, target)) {
            return Err(Reason::SpoofedNeighbour);
        }
    }
    let mut option = start + 24;
    for _ in 0..MAX_OPTIONS {
        let Some([kind, length]) = packet.load::<2>(option) else { break };
        if matches!(kind, SOURCE_LINK_LAYER | TARGET_LINK_LAYER)
            && six_bytes(packet, option + 2) != mac
        {
            return Err(Reason::SpoofedNeighbour);
        }
        option += u16::from(length) * 8;
    }
    Ok(())
}

/// Six bytes as a number; one that no six bytes make where the packet has none.
///
/// Compared as options, the compiler would compare the bytes before it asks
/// whether there are any, which the verifier forbids.
#[inline(always)]
fn six_bytes<P: Packet + ?Sized>(packet: &P, offset: u16) -> u64 {
    packet.load::<6>(offset).map_or(u64::MAX, number)
}

#[inline(always)]
fn number(bytes: [u8; 6]) -> u64 {
    let [first, second, third, fourth, ..] = bytes;
    let [.., fifth, sixth] = bytes;
    u64::from_ne_bytes([first, second, third, fourth, fifth, sixth, 0, 0])
}

#[cfg(test)]
mod tests;
