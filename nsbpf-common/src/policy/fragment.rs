//! Fragments: only the first one of a packet has ports, and the others follow it.

use super::Judgement;
use crate::abi::abi;

/// What fragments of one packet have in common (RFC 791, section 3.2; RFC 8200, section
/// 4.5), and the domain that they were seen in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FragmentKey {
    /// Addresses as in a [`FlowKey`](crate::flow::FlowKey), the sender's first.
    pub addresses: [[u64; 2]; 2],
    /// Identification; of IPv4 the lower half.
    pub identification: u32,
    /// The layer 2 domain.
    pub domain: u16,
    /// IP protocol number, and above it the family.
    pub kind: u16,
    /// The VLAN, as [`tag`](crate::crossing::tag) has it.
    pub vlan: u16,
    /// The port that they came in by.
    pub port: u16,
    /// Nothing.
    pub reserved: u32,
}

abi!(FragmentKey, size = 48, align = 8);

/// What is known from the first fragment of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FragmentHead {
    /// What was decided on it.
    pub judgement: Judgement,
    /// When it came, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
}

abi!(FragmentHead, size = 16, align = 8);

impl FragmentHead {
    /// For how long the others may follow: as long as Linux keeps fragments
    /// (`IP_FRAG_TIME`, `include/net/ip.h`, Linux 6.18).
    pub const LIFETIME_NS: u64 = 30_000_000_000;
}
