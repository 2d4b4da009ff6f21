//! Words for numbers that headers carry.

pub(super) use nsbpf_common::policy::value::{ARP, ICMP, ICMPV6, IPV4, IPV6, SCTP, TCP, UDP};

/// A word, and what it stands for.
pub(super) type Names = &'static [(&'static str, u64)];

/// Protocols that have ports.
pub(super) const WITH_PORTS: [u64; 3] = [TCP, UDP, SCTP];

pub(super) const PROTOCOLS: Names =
    &[("tcp", TCP), ("udp", UDP), ("icmp", ICMP), ("icmpv6", ICMPV6), ("sctp", SCTP)];

pub(super) const ETHERTYPES: Names = &[("arp", ARP), ("ipv4", IPV4), ("ipv6", IPV6)];

/// Differentiated services code points (RFC 2474, RFC 2597, RFC 3246).
pub(super) const DSCPS: Names = &[
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("ef", 46),
];

/// TCP flags, by their bits.
pub(super) const FLAGS: &[(&str, u8)] =
    &[("fin", 1), ("syn", 2), ("rst", 4), ("psh", 8), ("ack", 16), ("urg", 32)];
pub(super) const SYN: u8 = 2;
pub(super) const ACK: u8 = 16;

/// Types of ICMP (RFC 792, RFC 1256).
pub(super) const ICMP_TYPES: Names = &[
    ("echo-reply", 0),
    ("unreachable", 3),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp-request", 13),
    ("timestamp-reply", 14),
];

/// Types of ICMPv6 (RFC 4443, RFC 2710, RFC 3810, RFC 4861).
pub(super) const ICMPV6_TYPES: Names = &[
    ("unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("listener-query", 130),
    ("listener-report", 131),
    ("listener-done", 132),
    ("router-solicitation", 133),
    ("router-advertisement", 134),
    ("neighbour-solicitation", 135),
    ("neighbour-advertisement", 136),
    ("redirect", 137),
    ("listener-report-v2", 143),
];

/// The number that a word stands for.
pub(super) fn number(names: Names, word: &str) -> Option<u64> {
    names.iter().find(|(name, _)| *name == word).map(|(_, number)| *number)
}

/// The word for a number.
pub(super) fn name(names: Names, number: u64) -> Option<&'static str> {
    names.iter().find(|(_, it)| *it == number).map(|(name, _)| *name)
}
