//! Counters of a port.
//!
//! A packet touches one [`Cell`]: the one of its [`Class`] in its direction.
//! Totals, families and protocols are sums that the reader makes, so that
//! counting costs the same however finely it is looked at.

use core::ops::{AddAssign, Index};

use crate::abi::abi;
use crate::packet::{Family, Headers, protocol};

/// What a packet is counted as: its network protocol and, under IP, its
/// transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// ARP.
    Arp,
    /// Any network protocol that is not ARP, IPv4 or IPv6.
    Other,
    /// IPv4 carrying TCP.
    Ipv4Tcp,
    /// IPv4 carrying UDP.
    Ipv4Udp,
    /// IPv4 carrying ICMP.
    Ipv4Icmp,
    /// IPv4 carrying anything else.
    Ipv4Other,
    /// IPv6 carrying TCP.
    Ipv6Tcp,
    /// IPv6 carrying UDP.
    Ipv6Udp,
    /// IPv6 carrying ICMPv6.
    Ipv6Icmp,
    /// IPv6 carrying anything else.
    Ipv6Other,
}

impl Class {
    /// Every class, in the order of its number.
    pub const ALL: [Self; 10] = [
        Self::Arp,
        Self::Other,
        Self::Ipv4Tcp,
        Self::Ipv4Udp,
        Self::Ipv4Icmp,
        Self::Ipv4Other,
        Self::Ipv6Tcp,
        Self::Ipv6Udp,
        Self::Ipv6Icmp,
        Self::Ipv6Other,
    ];

    /// The class of a parsed packet.
    #[inline(always)]
    #[must_use]
    pub fn of(headers: &Headers) -> Self {
        match headers.family() {
            Family::Arp => Self::Arp,
            Family::Other => Self::Other,
            Family::Ipv4 => match headers.protocol {
                protocol::TCP => Self::Ipv4Tcp,
                protocol::UDP => Self::Ipv4Udp,
                protocol::ICMP => Self::Ipv4Icmp,
                _ => Self::Ipv4Other,
            },
            Family::Ipv6 => match headers.protocol {
                protocol::TCP => Self::Ipv6Tcp,
                protocol::UDP => Self::Ipv6Udp,
                protocol::ICMPV6 => Self::Ipv6Icmp,
                _ => Self::Ipv6Other,
            },
        }
    }

    /// The network protocol of the class.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Arp => Family::Arp,
            Self::Other => Family::Other,
            Self::Ipv4Tcp | Self::Ipv4Udp | Self::Ipv4Icmp | Self::Ipv4Other => Family::Ipv4,
            Self::Ipv6Tcp | Self::Ipv6Udp | Self::Ipv6Icmp | Self::Ipv6Other => Family::Ipv6,
        }
    }
}

/// Packets and bytes as a wire would carry them.
///
/// Bytes run from the first byte of the destination MAC address to the last byte
/// that the sender gave the frame: no preamble, no frame check sequence. A VLAN
/// tag counts, in the frame or beside it; beside it only tc sees it, not XDP. A
/// GSO packet counts as the segments it becomes, each with its headers; inside a
/// tunnel, with the outer ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Cell {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

abi!(Cell, size = 16, align = 8);

impl AddAssign for Cell {
    fn add_assign(&mut self, other: Self) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }
}

/// One direction of a port, a cell a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Direction {
    cells: [Cell; Class::ALL.len()],
}

abi!(Direction, size = 160, align = 8);

impl Direction {
    /// Counts one packet (or the segments of one GSO packet).
    #[inline(always)]
    pub fn count(&mut self, class: Class, weight: Cell) {
        // Never out of range, but the kernel half has no panicking code.
        if let Some(cell) = self.cells.get_mut(class as usize) {
            *cell += weight;
        }
    }

    /// The sum over all classes.
    #[must_use]
    pub fn total(&self) -> Cell {
        self.sum(|_| true)
    }

    /// The sum over the classes of one network protocol.
    #[must_use]
    pub fn family(&self, family: Family) -> Cell {
        self.sum(|class| class.family() == family)
    }

    fn sum(&self, wanted: impl Fn(Class) -> bool) -> Cell {
        let mut sum = Cell::default();
        for (class, cell) in Class::ALL.into_iter().zip(self.cells) {
            if wanted(class) {
                sum += cell;
            }
        }
        sum
    }
}

impl Index<Class> for Direction {
    type Output = Cell;

    fn index(&self, class: Class) -> &Cell {
        &self.cells[class as usize]
    }
}

impl AddAssign for Direction {
    fn add_assign(&mut self, other: Self) {
        for (cell, other) in self.cells.iter_mut().zip(other.cells) {
            *cell += other;
        }
    }
}

/// The counters of a port, told from its namespace's view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PortStats {
    /// What left the namespace.
    pub tx: Direction,
    /// What entered the namespace.
    pub rx: Direction,
}

abi!(PortStats, size = 320, align = 8);

impl AddAssign for PortStats {
    fn add_assign(&mut self, other: Self) {
        self.tx += other.tx;
        self.rx += other.rx;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_its_place() {
        for (place, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, place);
        }
    }

    #[test]
    fn families_add_up_to_the_total() {
        let mut direction = Direction::default();
        for (weight, class) in (1..).zip(Class::ALL) {
            direction.count(class, Cell { packets: weight, bytes: 100 * weight });
        }
        let mut sum = Cell::default();
        for family in [Family::Arp, Family::Ipv4, Family::Ipv6, Family::Other] {
            sum += direction.family(family);
        }
        assert_eq!(sum, direction.total());
        assert_eq!(sum, Cell { packets: 55, bytes: 5500 });
        assert_eq!(direction[Class::Ipv4Udp], Cell { packets: 4, bytes: 400 });
    }
}
