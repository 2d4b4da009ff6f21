//! Crossings: frames that enter a bridge by a port, told apart by all that the bridge
//! looks at, and the paths that the bridge chose for them.
//!
//! The bridge decides, egress learns, ingress replays: for a time, and only for frames
//! that are the same to the bridge.

use crate::abi::abi;
use crate::packet::Packet;
use crate::spread::spread;
use crate::verifier::unknown;

/// What a bridge looks at in a unicast frame: the port that it came in by, both MAC
/// addresses and the VLAN tag. Frames that agree in these are forwarded alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Crossing {
    /// Destination MAC address, and below it the number of the port.
    to: u64,
    /// Source MAC address, and below it the tag: see [`tag`].
    from: u64,
}

abi!(Crossing, size = 16, align = 8);

/// The tag of an untagged frame.
const UNTAGGED: u16 = 0;
/// Set in the tag of a tagged one. Priority and drop eligibility are no part of it:
/// a frame that keeps its tag keeps them too.
const TAGGED: u16 = 0x1000;
const VLAN_ID: u16 = 0x0fff;
const LOW: u64 = 0xffff;
const MULTICAST: u64 = 1 << 56;

/// What tells frames apart by their outermost tag: nothing, or the VLAN.
#[inline(always)]
#[must_use]
pub const fn tag(tci: Option<u16>) -> u16 {
    match tci {
        None => UNTAGGED,
        Some(tci) => TAGGED | (tci & VLAN_ID),
    }
}

/// The VLAN that [`tag`] tells; `None` for untagged frames.
#[must_use]
pub const fn vlan(tag: u16) -> Option<u16> {
    if tag & TAGGED == 0 { None } else { Some(tag & VLAN_ID) }
}

impl Crossing {
    /// Of a frame that came in by a port with that tag; `None` for one that ends in its
    /// Ethernet header.
    #[inline(always)]
    pub fn of<P: Packet + ?Sized>(packet: &P, port: u16, tag: u16) -> Option<Self> {
        let [first, second, _] = packet.head()?.map(u64::to_be);
        let to = (first & !LOW) | u64::from(port);
        let from = (first << 48) | ((second >> 16) & 0xffff_ffff_0000) | u64::from(tag);
        Some(Self { to, from })
    }

    /// The port that the frame came in by.
    #[inline(always)]
    #[must_use]
    pub const fn port(&self) -> u16 {
        low(self.to)
    }

    /// Its tag.
    #[inline(always)]
    #[must_use]
    pub const fn tag(&self) -> u16 {
        low(self.from)
    }

    /// Whether it is for one station.
    #[inline(always)]
    #[must_use]
    pub const fn is_unicast(&self) -> bool {
        self.to & MULTICAST == 0
    }

    /// Who sent it, in a layer 2 domain.
    #[inline(always)]
    #[must_use]
    pub const fn sender(&self, domain: u16) -> Station {
        Station((self.from & !LOW) | domain as u64)
    }

    /// Whom it is for, in a layer 2 domain.
    #[inline(always)]
    #[must_use]
    pub const fn receiver(&self, domain: u16) -> Station {
        Station((self.to & !LOW) | domain as u64)
    }

    /// Whether it is for that MAC address.
    #[inline(always)]
    #[must_use]
    pub fn is_for(&self, mac: [u8; 6]) -> bool {
        self.to >> 16 == whole(mac)
    }

    /// Whether that MAC address sent it.
    #[inline(always)]
    #[must_use]
    pub fn is_from(&self, mac: [u8; 6]) -> bool {
        self.from >> 16 == whole(mac)
    }

    /// Where to note something of it, among so many places.
    #[inline(always)]
    #[must_use]
    pub const fn place(&self, places: u32) -> u32 {
        spread(self.to ^ self.from.rotate_left(32), places)
    }
}

/// A MAC address in a layer 2 domain: a bridge, or a pair without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Station(u64);

abi!(Station, size = 8, align = 8);

/// A port, and when that was so; of a path also how long frames were, and whom they were
/// for.
///
/// ```text
/// 63       48 47      32   31   30        0
///  longest   ‖   port   ‖ own ‖    tick
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Sighting(u64);

abi!(Sighting, size = 8, align = 8);

const TICK: u64 = 0x7fff_ffff;
const OWN: u64 = 1 << 31;

impl Sighting {
    /// At that port in that tick.
    #[inline(always)]
    #[must_use]
    pub const fn new(port: u16, tick: u64) -> Self {
        Self(((port as u64) << 32) | (tick & TICK))
    }

    /// The same at another port.
    #[inline(always)]
    #[must_use]
    pub const fn moved_to(self, port: u16) -> Self {
        Self(self.0 & !(LOW << 32) | ((port as u64) << 32))
    }

    /// The same, of frames of up to so many bytes.
    #[inline(always)]
    #[must_use]
    pub const fn up_to(self, longest: u32) -> Self {
        let longest = longest as u64;
        let longest = if longest > LOW { LOW } else { longest };
        Self(self.0 & !(LOW << 48) | (longest << 48))
    }

    /// The same, for the interface's own MAC address.
    #[inline(always)]
    #[must_use]
    pub const fn own(self) -> Self {
        Self(self.0 | OWN)
    }

    /// The port.
    #[inline(always)]
    #[must_use]
    pub const fn port(self) -> u16 {
        low(self.0 >> 32)
    }

    /// Bytes of the longest frame.
    #[inline(always)]
    #[must_use]
    pub const fn longest(self) -> u32 {
        low(self.0 >> 48) as u32
    }

    /// Whether it is for the interface's own MAC address.
    #[inline(always)]
    #[must_use]
    pub const fn is_own(self) -> bool {
        self.0 & OWN != 0
    }

    /// Ticks that have passed since. The counter begins anew every 2^31 ticks, which
    /// are 24 days at 1,000 a second.
    #[inline(always)]
    #[must_use]
    pub const fn age(self, tick: u64) -> u32 {
        half(tick.wrapping_sub(self.0) & TICK)
    }
}

/// Frames of a crossing, and the port where they were seen last, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Passage {
    /// As they came in.
    pub crossing: Crossing,
    /// Where they were seen.
    pub sighting: Sighting,
}

abi!(Passage, size = 24, align = 8);

/// Places in [`Passages`]: more than the frames that the kernel handles in one go.
pub const PLACES: u32 = 256;

/// The passages of one processor, each at its crossing's place: one value of a map, so
/// that one write empties it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Passages([Passage; PLACES as usize]);

abi!(Passages, size = 24 * PLACES as usize, align = 8);

impl Default for Passages {
    fn default() -> Self {
        let nowhere = Crossing { to: 0, from: 0 };
        Self([Passage { crossing: nowhere, sighting: Sighting(0) }; PLACES as usize])
    }
}

impl Passages {
    /// The place of a crossing.
    #[inline(always)]
    pub fn at(&mut self, crossing: &Crossing) -> Option<&mut Passage> {
        self.0.get_mut(unknown(crossing.place(PLACES) as usize))
    }
}

/// A MAC address as a number.
#[inline(always)]
const fn whole([first, second, third, fourth, fifth, sixth]: [u8; 6]) -> u64 {
    u64::from_be_bytes([0, 0, first, second, third, fourth, fifth, sixth])
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
const fn half(word: u64) -> u32 {
    word as u32
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lowest 16 bits are meant")]
const fn low(word: u64) -> u16 {
    word as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(to: u8, from: u8) -> [u8; 60] {
        let mut frame = [0; 60];
        frame[..6].copy_from_slice(&[2, 3, 4, 5, 6, to]);
        frame[6..12].copy_from_slice(&[2, 3, 4, 5, 6, from]);
        frame
    }

    fn crossing(to: u8, from: u8, port: u16, tci: Option<u16>) -> Crossing {
        Crossing::of(frame(to, from).as_slice(), port, tag(tci)).unwrap()
    }

    #[test]
    fn a_crossing_holds_what_a_bridge_looks_at() {
        let one = crossing(1, 2, 7, None);
        assert_eq!((one.to, one.from), (0x0203_0405_0601_0007, 0x0203_0405_0602_0000));
        let others = [
            crossing(3, 2, 7, None),
            crossing(1, 3, 7, None),
            crossing(1, 2, 8, None),
            crossing(1, 2, 7, Some(0)),
            crossing(1, 2, 7, Some(5)),
        ];
        for other in others {
            assert_ne!(one, other);
        }
        assert_eq!(crossing(1, 2, 7, Some(0xe005)), crossing(1, 2, 7, Some(5)));
        assert!(one.is_unicast());
        let mut group = frame(1, 2);
        group[0] = 3;
        assert!(!Crossing::of(group.as_slice(), 7, 0).unwrap().is_unicast());
        assert_eq!(Crossing::of([0; 13].as_slice(), 7, 0), None);
        assert_eq!(one.sender(9), crossing(2, 1, 3, Some(4)).receiver(9));
        assert_ne!(one.sender(9), one.sender(8));
    }

    #[test]
    fn a_sighting_ages() {
        let tick = 0xffff_fffe;
        let sighting = Sighting::new(600, tick);
        assert_eq!((sighting.port(), sighting.age(tick)), (600, 0));
        assert_eq!(sighting.age(tick + 5), 5);
        let whole = sighting.up_to(1514).own();
        assert_eq!((whole.port(), whole.longest(), whole.age(tick + 7)), (600, 1514, 7));
        assert!(whole.is_own() && !sighting.is_own());
        let moved = whole.moved_to(7).up_to(70_000);
        assert_eq!((moved.port(), moved.longest(), moved.age(tick)), (7, 65_535, 0));
    }

    #[test]
    fn a_frame_is_for_one_address() {
        let one = crossing(1, 2, 7, None);
        assert!(one.is_for([2, 3, 4, 5, 6, 1]) && !one.is_for([2, 3, 4, 5, 6, 2]));
    }

    #[test]
    fn places_differ() {
        let place = |to, from| crossing(to, from, 7, None).place(256);
        let places: std::collections::HashSet<u32> =
            (0..16).flat_map(|to| (0..16).map(move |from| place(to, from))).collect();
        assert!(places.len() > 128, "{}", places.len());
        assert!(places.into_iter().all(|place| place < 256));
    }
}
