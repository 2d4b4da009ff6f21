//! Ports and how they are numbered.
//!
//! A *port* is a veth end under management. Its number is the key of every
//! per-port map, and it is arithmetic: the user half asks for the interface
//! index when it creates a link, so the kernel half subtracts a constant from
//! the index it is given and needs no look-up table.
//!
//! ```text
//! ifindex   31            16 15             0
//!            0 ‖ slot (15)  ‖  number (16)
//! ```
//!
//! A *slot* belongs to one lab on one host. The same bits make the lab's link
//! group and the MAC addresses, so a link is marked as ours, as that lab's and
//! as that port's by the very message that creates it (`rtnl_newlink`, Linux
//! 6.18: `ifi_index`, `IFLA_GROUP` and `IFLA_ADDRESS` are honoured at creation,
//! an alias is not).

use crate::abi::abi;
use crate::stats::Way;

/// First two bytes of every MAC address that nsbpf gives: locally administered,
/// unicast, `n`.
pub const MAC_PREFIX: [u8; 2] = [0x02, 0x6e];

/// High half of a link group that marks a link as made by nsbpf: `nb`.
const GROUP_PREFIX: u32 = 0x6e62_0000;

/// Set in the group of a link that is about to be deleted with others.
const GROUP_DOOMED: u32 = 0x8000;

/// A lab's share of the interface indices of a host: 1 to [`Slot::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

/// Which end of a veth pair an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The end that carries the hooks, on the host's or the bridge's side.
    Host,
    /// The end inside the namespace.
    Namespace,
}

impl Slot {
    /// The highest slot: an interface index is a positive `int`
    /// (`dev_index_reserve`, Linux 6.18), which leaves 15 bits.
    pub const MAX: u16 = 0x7fff;

    /// The slot of that number; `None` outside 1 to [`Slot::MAX`].
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number == 0 || number > Self::MAX { None } else { Some(Self(number)) }
    }

    /// The number of the slot.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The slot whose links bear this group; `None` for a group that is not
    /// nsbpf's.
    #[must_use]
    pub const fn of_group(group: u32) -> Option<Self> {
        if group & 0xffff_0000 == GROUP_PREFIX { Self::new((group & 0x7fff) as u16) } else { None }
    }

    /// The group of this slot's links.
    #[must_use]
    pub const fn group(self) -> u32 {
        GROUP_PREFIX | self.0 as u32
    }

    /// The group that this slot's links are moved to right before they are
    /// deleted together.
    #[must_use]
    pub const fn doomed_group(self) -> u32 {
        self.group() | GROUP_DOOMED
    }

    /// The interface index of number 0.
    #[must_use]
    pub const fn base(self) -> u32 {
        (self.0 as u32) << 16
    }

    /// The interface index of an object of this slot.
    #[must_use]
    pub const fn ifindex(self, number: u16) -> u32 {
        self.base() | number as u32
    }

    /// The number behind an interface index; `None` when the index is not of
    /// this slot.
    #[must_use]
    pub const fn number(self, ifindex: u32) -> Option<u16> {
        if ifindex & 0xffff_0000 == self.base() {
            #[expect(clippy::cast_possible_truncation, reason = "the low half is the number")]
            Some(ifindex as u16)
        } else {
            None
        }
    }

    /// The MAC address of one end of an object of this slot, unique on the
    /// host: two bytes of [`MAC_PREFIX`], then slot, end and number.
    #[must_use]
    pub const fn mac(self, number: u16, end: End) -> [u8; 6] {
        let end = match end {
            End::Host => 0,
            End::Namespace => 0x8000,
        };
        let [slot_high, slot_low] = (self.0 | end).to_be_bytes();
        let [high, low] = number.to_be_bytes();
        [MAC_PREFIX[0], MAC_PREFIX[1], slot_high, slot_low, high, low]
    }
}

/// The MAC address of the host's end with that interface index: [`Slot::mac`], where all
/// that is known is where the slot's indices begin.
#[inline(always)]
#[must_use]
pub const fn host_mac(ifindex: u32) -> [u8; 6] {
    let [slot_high, slot_low, high, low] = ifindex.to_be_bytes();
    [MAC_PREFIX[0], MAC_PREFIX[1], slot_high, slot_low, high, low]
}

/// What the datapath must know of a port before its first packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PortConfig {
    flags: u16,
    direct_peer: u16,
    /// The MAC address that the lab gave the interface.
    pub mac: [u8; 6],
    /// Tells interfaces apart that have the number one after the other.
    pub identity: [u8; 4],
    /// Its layer 2 domain: the number of its bridge, or the lower one of a pair's ports.
    pub domain: u16,
}

abi!(PortConfig, size = 16, align = 2);

impl PortConfig {
    /// There is such a port.
    const PRESENT: u16 = 1;
    const DIRECT: u16 = 1 << 1;
    const GUARD_MAC: u16 = 1 << 2;
    const GUARD_ADDRESSES: u16 = 1 << 3;
    /// Two bits: the number of the way.
    const WAY: u16 = 0b11 << Self::WAY_SHIFT;
    const WAY_SHIFT: u16 = 4;
    const HANDED_OVER: u16 = 1 << 6;
    const ROUTER: u16 = 1 << 7;

    /// Of a port whose interface has that MAC address.
    #[must_use]
    pub const fn new(mac: [u8; 6]) -> Self {
        Self { flags: Self::PRESENT, direct_peer: 0, mac, identity: [0; 4], domain: 0 }
    }

    /// The same, of an interface that this tells from others.
    #[must_use]
    pub const fn of(self, identity: [u8; 4]) -> Self {
        Self { identity, ..self }
    }

    /// The same, in a layer 2 domain.
    #[must_use]
    pub const fn within(self, domain: u16) -> Self {
        Self { domain, ..self }
    }

    /// The same, whose packets take that way where they can.
    #[must_use]
    pub const fn by(self, way: Way) -> Self {
        let flags = self.flags & !Self::WAY | (way as u16) << Self::WAY_SHIFT;
        Self { flags, ..self }
    }

    /// The way that its packets take where they can.
    #[inline(always)]
    #[must_use]
    pub const fn way(&self) -> Way {
        match (self.flags & Self::WAY) >> Self::WAY_SHIFT {
            1 => Way::Redirect,
            2 => Way::Peer,
            3 => Way::Xdp,
            _ => Way::Bridge,
        }
    }

    /// The same, with no bridge in between: what it sends enters that port.
    #[must_use]
    pub const fn direct(self, peer: u16) -> Self {
        Self { flags: self.flags | Self::DIRECT, direct_peer: peer, ..self }
    }

    /// The same, guarded: against other MAC addresses, and if told so against
    /// other IP addresses.
    #[must_use]
    pub const fn guarded(self, addresses: bool) -> Self {
        let addresses = if addresses { Self::GUARD_ADDRESSES } else { 0 };
        Self { flags: self.flags | Self::GUARD_MAC | addresses, ..self }
    }

    /// The same, while its packets meet the datapath at two hooks: one takes over from the
    /// other.
    #[must_use]
    pub const fn handed_over(self, is: bool) -> Self {
        let flags = self.flags & !Self::HANDED_OVER | if is { Self::HANDED_OVER } else { 0 };
        Self { flags, ..self }
    }

    /// Whether its packets meet the datapath at two hooks, one of which is to leave alone
    /// what the other has done.
    #[inline(always)]
    #[must_use]
    pub const fn is_handed_over(&self) -> bool {
        self.flags & Self::HANDED_OVER != 0
    }

    /// The same, whose namespace may forward what others sent.
    #[must_use]
    pub const fn router(self, is: bool) -> Self {
        let flags = self.flags & !Self::ROUTER | if is { Self::ROUTER } else { 0 };
        Self { flags, ..self }
    }

    /// Whether what comes in by it may be from others than its namespace.
    #[inline(always)]
    #[must_use]
    pub const fn is_router(&self) -> bool {
        self.flags & Self::ROUTER != 0
    }

    /// Whether there is such a port.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        self.flags & Self::PRESENT != 0
    }

    /// The port at the other end of a pair without a bridge.
    #[inline(always)]
    #[must_use]
    pub const fn direct_peer(&self) -> Option<u16> {
        if self.flags & Self::DIRECT == 0 { None } else { Some(self.direct_peer) }
    }

    /// Whether source MAC addresses are looked at.
    #[inline(always)]
    #[must_use]
    pub const fn is_guarded(&self) -> bool {
        self.flags & Self::GUARD_MAC != 0
    }

    /// Whether source IP addresses are looked at too.
    #[inline(always)]
    #[must_use]
    pub const fn guards_addresses(&self) -> bool {
        self.flags & Self::GUARD_ADDRESSES != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ifindex_leads_back_to_its_number() {
        for slot in [1, 2, 0x1234, Slot::MAX] {
            let slot = Slot::new(slot).unwrap();
            for number in [0, 1, 255, 256, u16::MAX] {
                let ifindex = slot.ifindex(number);
                assert!(i32::try_from(ifindex).is_ok_and(|index| index > 0));
                assert_eq!(slot.number(ifindex), Some(number));
            }
            assert_eq!(slot.number(slot.base() - 1), None);
        }
    }

    #[test]
    fn a_config_keeps_all_that_it_is_told() {
        for way in Way::ALL {
            let config = PortConfig::new([1; 6]).within(7).by(Way::Xdp).guarded(true).by(way);
            assert_eq!((config.way(), config.domain), (way, 7));
            assert!(config.is_present() && config.guards_addresses());
            assert!(config.handed_over(true).is_handed_over() && !config.is_handed_over());
            assert_eq!(config.handed_over(true).handed_over(false), config);
            assert_eq!(config.direct(3).direct_peer(), Some(3));
        }
    }

    #[test]
    fn a_group_leads_back_to_its_slot() {
        for number in [1, 77, Slot::MAX] {
            let slot = Slot::new(number).unwrap();
            assert_eq!(Slot::of_group(slot.group()), Some(slot));
            assert_eq!(Slot::of_group(slot.doomed_group()), Some(slot));
            assert_ne!(slot.group(), slot.doomed_group());
        }
        assert_eq!(Slot::of_group(0), None);
        assert_eq!(Slot::of_group(GROUP_PREFIX), None);
    }

    #[test]
    fn slots_outside_the_range_do_not_exist() {
        assert_eq!(Slot::new(0), None);
        assert_eq!(Slot::new(Slot::MAX + 1), None);
    }

    #[test]
    fn macs_are_unicast_local_and_differ_by_slot_number_and_end() {
        let mut seen = std::collections::HashSet::new();
        for slot in [1, 2, Slot::MAX] {
            for number in [0, 1, 256, u16::MAX] {
                for end in [End::Host, End::Namespace] {
                    let slot = Slot::new(slot).unwrap();
                    let mac = slot.mac(number, end);
                    assert_eq!(mac == host_mac(slot.ifindex(number)), end == End::Host);
                    assert_eq!(mac[0] & 0b11, 0b10);
                    assert!(seen.insert(mac));
                }
            }
        }
    }
}
