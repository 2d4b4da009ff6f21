//! Counters of a port.
//!
//! A packet touches one [`Cell`], that of its [`Class`] in its direction, and the
//! counter of its [`Size`]. Totals, families and protocols are sums that the
//! reader makes, so that counting costs the same however finely it is looked at.

use core::ops::{AddAssign, Index, Sub};

use crate::abi::abi;
use crate::packet::{Cast, Family, Headers, protocol};
use crate::verdict::Reason;
use crate::verifier::unknown;
use crate::weight::Weight;

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

/// How long a frame is: the buckets of the Ethernet history of RMON (RFC 2819,
/// `etherStatsPkts64Octets` and following).
///
/// RMON counts the frame check sequence, which the kernel does not hold: a bucket
/// of `65 to 127` has frames of 61 to 123 bytes as [`Cell`] counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Size {
    /// At most 64 octets: virtual links take shorter frames than a wire does.
    UpTo64,
    /// 65 to 127 octets.
    UpTo127,
    /// 128 to 255 octets.
    UpTo255,
    /// 256 to 511 octets.
    UpTo511,
    /// 512 to 1,023 octets.
    UpTo1023,
    /// 1,024 to 1,518 octets.
    UpTo1518,
    /// More than that: a tagged frame of full length, or a jumbo frame.
    Longer,
}

impl Size {
    /// Every size, in the order of its number.
    pub const ALL: [Self; 7] = [
        Self::UpTo64,
        Self::UpTo127,
        Self::UpTo255,
        Self::UpTo511,
        Self::UpTo1023,
        Self::UpTo1518,
        Self::Longer,
    ];

    /// From the first to the last length, in octets as RMON counts them.
    #[must_use]
    pub const fn octets(self) -> &'static str {
        match self {
            Self::UpTo64 => "0-64",
            Self::UpTo127 => "65-127",
            Self::UpTo255 => "128-255",
            Self::UpTo511 => "256-511",
            Self::UpTo1023 => "512-1023",
            Self::UpTo1518 => "1024-1518",
            Self::Longer => "1519-",
        }
    }

    /// Number of the size of a frame of so many bytes, frame check sequence not
    /// included.
    #[inline(always)]
    #[must_use]
    pub const fn of(frame_bytes: u32) -> u32 {
        // A sum, not branches: the verifier would follow each of them to the
        // program's end.
        longer(frame_bytes, 60)
            + longer(frame_bytes, 123)
            + longer(frame_bytes, 251)
            + longer(frame_bytes, 507)
            + longer(frame_bytes, 1019)
            + longer(frame_bytes, 1514)
    }
}

/// 1 if so many bytes are more than a limit, else 0.
#[inline(always)]
const fn longer(bytes: u32, limit: u64) -> u32 {
    (limit.wrapping_sub(bytes as u64) >> 63) as u32
}

/// Which way a packet took to the other port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Way {
    /// That of the kernel: over the bridge, or straight to the other end of a
    /// pair without one.
    Bridge,
    /// By `bpf_redirect` at tc ingress.
    Redirect,
    /// By `bpf_redirect_peer` at tc ingress.
    Peer,
    /// By a redirect at XDP.
    Xdp,
}

impl Way {
    /// Every way, in the order of its number.
    pub const ALL: [Self; 4] = [Self::Bridge, Self::Redirect, Self::Peer, Self::Xdp];

    /// One word, as it is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Redirect => "redirect",
            Self::Peer => "peer",
            Self::Xdp => "xdp",
        }
    }
}

impl Sub for Cell {
    type Output = Self;

    /// The rest. A reader may see a part of a packet that is just being counted:
    /// never less than nothing.
    fn sub(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(other.packets),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// One direction of a port.
///
/// What every packet touches is on two cache lines: the first, and the one with
/// the cell of its class. What is rare, or the rest of a sum, costs nothing when
/// it is not there: unicast packets and those that took the bridge have no
/// counter of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Direction {
    /// The kernel's tick (1 to 10 ms) in which the last packet came.
    tick: u64,
    /// When the first packet of that tick came, in nanoseconds of
    /// `CLOCK_MONOTONIC`; 0 for never.
    pub last_seen_ns: u64,
    sizes: [u64; Size::ALL.len()],
    classes: [Cell; Class::ALL.len()],
    multicast: Cell,
    broadcast: Cell,
    fast_ways: [Cell; Way::ALL.len() - 1],
    drops: [Cell; Reason::ROOM],
}

abi!(Direction, size = 440, align = 8);

impl Direction {
    /// Counts one packet (or the segments of one GSO packet) in the class of that
    /// number.
    #[inline(always)]
    pub fn count(&mut self, class: usize, cast: Cast, weight: &Weight) {
        let Weight { cell, frame_size, last_size } = *weight;
        // Never out of range, but the kernel half has no panicking code.
        if let Some(of_class) = self.classes.get_mut(class) {
            *of_class += cell;
        }
        if let Some(last) = self.sizes.get_mut(unknown(last_size as usize)) {
            *last += 1;
        }
        if cell.packets > 1
            && let Some(others) = self.sizes.get_mut(unknown(frame_size as usize))
        {
            *others += cell.packets - 1;
        }
        match cast {
            Cast::Unicast => {}
            Cast::Multicast => self.multicast += cell,
            Cast::Broadcast => self.broadcast += cell,
        }
    }

    /// Notes that a packet came in a tick. What time it is matters only for the
    /// first of each: to ask costs more than to count.
    #[inline(always)]
    pub fn see(&mut self, tick: u64, now_ns: impl FnOnce() -> u64) {
        if self.tick != tick {
            self.tick = tick;
            self.last_seen_ns = now_ns();
        }
    }

    /// Counts that a packet, counted before, took a way.
    #[inline(always)]
    pub fn count_way(&mut self, way: Way, cell: Cell) {
        if let Some(of_way) = self.fast_ways.get_mut((way as usize).wrapping_sub(1)) {
            *of_way += cell;
        }
    }

    /// Counts that a packet, counted before, was dropped.
    #[inline(always)]
    pub fn count_drop(&mut self, reason: Reason, cell: Cell) {
        if let Some(of_reason) = self.drops.get_mut(reason as usize) {
            *of_reason += cell;
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

    /// Those for one station, a group, or everybody.
    #[must_use]
    pub fn cast(&self, cast: Cast) -> Cell {
        match cast {
            Cast::Unicast => self.total() - self.multicast - self.broadcast,
            Cast::Multicast => self.multicast,
            Cast::Broadcast => self.broadcast,
        }
    }

    /// Packets of a size.
    #[must_use]
    pub fn size(&self, size: Size) -> u64 {
        self.sizes[size as usize]
    }

    /// Those that took a way. What was dropped took none.
    #[must_use]
    pub fn way(&self, way: Way) -> Cell {
        match way {
            Way::Bridge => {
                let others = self.fast_ways.into_iter().fold(self.dropped(), sum);
                self.total() - others
            }
            way => self.fast_ways[way as usize - 1],
        }
    }

    /// Those dropped for a reason.
    #[must_use]
    pub fn drops(&self, reason: Reason) -> Cell {
        self.drops[reason as usize]
    }

    /// Those dropped for any reason.
    #[must_use]
    pub fn dropped(&self) -> Cell {
        self.drops.into_iter().fold(Cell::default(), sum)
    }

    fn sum(&self, wanted: impl Fn(Class) -> bool) -> Cell {
        let mut sum = Cell::default();
        for (class, cell) in Class::ALL.into_iter().zip(self.classes) {
            if wanted(class) {
                sum += cell;
            }
        }
        sum
    }
}

fn sum(mut sum: Cell, cell: Cell) -> Cell {
    sum += cell;
    sum
}

impl Index<Class> for Direction {
    type Output = Cell;

    fn index(&self, class: Class) -> &Cell {
        &self.classes[class as usize]
    }
}

impl AddAssign for Direction {
    fn add_assign(&mut self, other: Self) {
        let Self { tick, last_seen_ns, sizes, classes, multicast, broadcast, fast_ways, drops } =
            other;
        self.tick = self.tick.max(tick);
        self.last_seen_ns = self.last_seen_ns.max(last_seen_ns);
        for (size, other) in self.sizes.iter_mut().zip(sizes) {
            *size = size.wrapping_add(other);
        }
        let cells = self.classes.iter_mut().chain(&mut self.fast_ways).chain(&mut self.drops);
        for (cell, other) in cells.zip(classes.into_iter().chain(fast_ways).chain(drops)) {
            *cell += other;
        }
        self.multicast += multicast;
        self.broadcast += broadcast;
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

abi!(PortStats, size = 880, align = 8);

impl AddAssign for PortStats {
    fn add_assign(&mut self, other: Self) {
        self.tx += other.tx;
        self.rx += other.rx;
    }
}

#[cfg(test)]
mod tests;
