//! Routes that a stack chose for flows, to be replayed: a router's, or that of the host
//! between bridges.
//!
//! The stack decides, tc egress learns, tc ingress replays: for a time, for packets of
//! the same flow that came in by the same interface and are no longer than those that
//! the stack forwarded.

use crate::abi::abi;
use crate::crossing::Sighting;
use crate::flow::FlowKey;

/// Bytes of both MAC addresses.
pub const MACS: usize = 12;
/// A packet with fewer hops left is not for replaying: the stack answers its sender.
pub const MIN_HOPS: u8 = 2;
/// Where the hops that are left are told, behind Ethernet.
pub const HOPS_V4: u16 = 14 + 8;
/// The same in IPv6.
pub const HOPS_V6: u16 = 14 + 7;
/// Stands for the tag in the keys of untagged packets that a namespace sends to the host:
/// no tag is like it. What a router gets by the same port has a key of its own.
pub const TO_HOST: u16 = 0x2000;

/// What the stack does to a flow's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Route {
    /// The port's interface that they leave by, and when that was so.
    pub sighting: Sighting,
    /// Bytes of the longest frame.
    pub longest: u32,
    /// Destination and source MAC address that they get.
    pub macs: [u8; MACS],
    /// How they are to be treated: [`class_of`].
    pub class: u8,
    /// Nothing.
    pub reserved: [u8; 7],
}

abi!(Route, size = 32, align = 8);

/// The class of service of an IP packet, by the two bytes behind Ethernet: routing rules
/// may look at it (RFC 2474; congestion notification is no part of it).
#[inline(always)]
#[must_use]
pub const fn class_of([first, second]: [u8; 2]) -> u8 {
    let class = if first >> 4 == 4 { second } else { (first << 4) | (second >> 4) };
    class & 0xfc
}

/// A packet that was left to the stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handed {
    /// Its flow, the sender's end first, and as its domain the port whose interface it
    /// came in by.
    pub key: FlowKey,
    /// When.
    pub tick: u64,
    /// Hops that it had left, and above them the port where it came out: see [`came_out`].
    ///
    /// [`came_out`]: Handed::came_out
    state: u64,
}

abi!(Handed, size = 64, align = 8);

const HOPS: u64 = 0xff;
const PORT_SHIFT: u32 = 32;

impl Handed {
    /// A packet with so many hops left, that has come out nowhere as yet.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: FlowKey, tick: u64, hops: u8) -> Self {
        Self { key, tick, state: hops as u64 }
    }

    /// Whether it is what came in as the packet with that key, a hop less than it had, and
    /// not long ago.
    #[inline(always)]
    #[must_use]
    pub const fn is_before(&self, key: &FlowKey, hops: u8, tick: u64) -> bool {
        let was = self.state & HOPS;
        self.key.is(key) && was == hops as u64 + 1 && tick.wrapping_sub(self.tick) <= 1
    }

    /// Notes a port where it came out; `false` if it came out by another one before.
    #[inline(always)]
    pub const fn came_out(&mut self, port: u16) -> bool {
        let (before, now) = (self.state >> PORT_SHIFT, port as u64 + 1);
        self.state = (self.state & HOPS) | (now << PORT_SHIFT);
        before == 0 || before == now
    }
}

/// The checksum of an IPv4 header whose hops go down by one (RFC 1624): the byte is the
/// higher one of its word.
#[inline(always)]
#[must_use]
pub const fn checksum_after_hop(checksum: [u8; 2]) -> [u8; 2] {
    let sum = u16::from_be_bytes(checksum) as u32 + 0x0100;
    #[expect(clippy::cast_possible_truncation, reason = "the carry is added")]
    let folded = (sum + (sum >> 16)) as u16;
    folded.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(header: &[u8]) -> u16 {
        let words = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    #[test]
    fn a_packet_comes_out_a_hop_later_and_once() {
        let key = FlowKey::new([[10, 0, 0, 1].into(), [10, 0, 0, 2].into()], [1, 2], 17);
        let other = FlowKey::new([[10, 0, 0, 1].into(), [10, 0, 0, 2].into()], [1, 3], 17);
        let mut handed = Handed::new(key, 7, 64);
        assert!(handed.is_before(&key, 63, 7) && handed.is_before(&key, 63, 8));
        assert!(!handed.is_before(&key, 63, 9) && !handed.is_before(&other, 63, 7));
        assert!(!handed.is_before(&key, 64, 7) && !handed.is_before(&key, 62, 7));
        assert!(handed.came_out(0) && handed.came_out(0) && handed.is_before(&key, 63, 7));
        assert!(!handed.came_out(5) && !handed.came_out(0));
        assert!(Handed::new(key, 7, 255).is_before(&key, 254, 7));
    }

    #[test]
    fn a_class_of_service_is_found_in_both_headers() {
        assert_eq!(class_of([0x45, 0xb8]), 0xb8);
        assert_eq!(class_of([0x45, 0xbb]), 0xb8);
        assert_eq!(class_of([0x6b, 0x80]), 0xb8);
        assert_eq!(class_of([0x60, 0x0f]), 0);
    }

    #[test]
    fn a_header_stays_right_from_hop_to_hop() {
        for identification in 0..=u16::MAX {
            let [high, low] = identification.to_be_bytes();
            let mut header =
                [0x45, 0, 0, 60, high, low, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 192, 168, 7, 9];
            let sum = checksum(&header).to_be_bytes();
            header[10..12].copy_from_slice(&sum);
            header[8] -= 1;
            let next = checksum_after_hop([header[10], header[11]]);
            header[10..12].copy_from_slice(&next);
            assert_eq!(checksum(&header), 0, "{identification}");
        }
    }
}
