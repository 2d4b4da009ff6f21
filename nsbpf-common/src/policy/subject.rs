//! What a packet is judged by.

use super::{FIELDS, RARE_FIELDS};

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
}

impl Subject {
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
}
