//! Values of [`field`](super::field)s, as numbers of their width.

use core::ops::RangeInclusive;

use crate::packet::{DISCOVERY as DISCOVERY_TYPES, ethertype, protocol};

/// Of [`field::ETHERTYPE`](super::field::ETHERTYPE): IPv4.
pub const IPV4: u64 = ethertype::IPV4 as u64;
/// ARP.
pub const ARP: u64 = ethertype::ARP as u64;
/// IPv6.
pub const IPV6: u64 = ethertype::IPV6 as u64;
/// Of [`field::PROTOCOL`](super::field::PROTOCOL): ICMP for IPv4.
pub const ICMP: u64 = protocol::ICMP as u64;
/// TCP.
pub const TCP: u64 = protocol::TCP as u64;
/// UDP.
pub const UDP: u64 = protocol::UDP as u64;
/// ICMP for IPv6.
pub const ICMPV6: u64 = protocol::ICMPV6 as u64;
/// SCTP.
pub const SCTP: u64 = protocol::SCTP as u64;
/// Of [`field::ICMP`](super::field::ICMP), of ICMPv6: neighbour discovery.
pub const DISCOVERY: RangeInclusive<u64> =
    super::icmp(*DISCOVERY_TYPES.start(), 0)..=super::icmp(*DISCOVERY_TYPES.end(), u8::MAX);
