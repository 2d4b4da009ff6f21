//! What there is of a policy besides its tables.

use core::ops::AddAssign;

use super::{Decision, MAX_TREES, NONE};
use crate::abi::abi;

/// The rest of a policy: where its tables begin, and what holds where no rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PolicyHead {
    /// Roots of the trees for IPv4, for IPv6 and for all else.
    pub roots: [[u32; MAX_TREES]; 3],
    /// What is done with a packet that no rule is about.
    pub default: Decision,
    flags: u32,
    /// Tells the policy from others.
    pub digest: [u8; 16],
}

abi!(PolicyHead, size = 96, align = 4);

impl Default for PolicyHead {
    fn default() -> Self {
        Self { roots: [[NONE; MAX_TREES]; 3], default: Decision::ALLOW, flags: 0, digest: [0; 16] }
    }
}

impl PolicyHead {
    const ESTABLISHED: u32 = 1;
    const ARP: u32 = 1 << 1;
    const DISCOVERY: u32 = 1 << 2;

    const fn with(self, flag: u32, is: bool) -> Self {
        let flags = if is { self.flags | flag } else { self.flags & !flag };
        Self { flags, ..self }
    }

    const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// The same, with replies to what was allowed allowed or not.
    #[must_use]
    pub const fn established(self, is: bool) -> Self {
        self.with(Self::ESTABLISHED, is)
    }

    /// Whether replies to what was allowed are allowed.
    #[inline(always)]
    #[must_use]
    pub const fn allows_replies(&self) -> bool {
        self.has(Self::ESTABLISHED)
    }

    /// The same, with rules that name ARP, or none.
    #[must_use]
    pub const fn about_arp(self, is: bool) -> Self {
        self.with(Self::ARP, is)
    }

    /// Whether some rule names ARP, which passes otherwise.
    #[inline(always)]
    #[must_use]
    pub const fn is_about_arp(&self) -> bool {
        self.has(Self::ARP)
    }

    /// The same, with rules that name IPv6 neighbour discovery, or none.
    #[must_use]
    pub const fn about_discovery(self, is: bool) -> Self {
        self.with(Self::DISCOVERY, is)
    }

    /// Whether some rule names IPv6 neighbour discovery, which passes otherwise.
    #[inline(always)]
    #[must_use]
    pub const fn is_about_discovery(&self) -> bool {
        self.has(Self::DISCOVERY)
    }
}

/// The half of the tables that holds in a generation: 0 or 1.
#[inline(always)]
#[must_use]
pub const fn half(generation: u64) -> u32 {
    (generation & 1) as u32
}

/// Packets that a rule decided on, on one processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RuleStats {
    /// Packets; a GSO packet as the segments that it becomes.
    pub packets: u64,
    /// Their bytes on a wire.
    pub bytes: u64,
    /// The kernel's tick in which the last one came.
    pub tick: u64,
    /// When the first one of that tick came, in nanoseconds of `CLOCK_MONOTONIC`; 0 for
    /// never.
    pub last_seen_ns: u64,
}

abi!(RuleStats, size = 32, align = 8);

impl AddAssign for RuleStats {
    fn add_assign(&mut self, other: Self) {
        let Self { packets, bytes, tick, last_seen_ns } = other;
        self.packets = self.packets.wrapping_add(packets);
        self.bytes = self.bytes.wrapping_add(bytes);
        self.tick = self.tick.max(tick);
        self.last_seen_ns = self.last_seen_ns.max(last_seen_ns);
    }
}

/// What became of packets that a policy had more to do about than to count, on one
/// processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PolicyEvents {
    /// Rejected packets whose senders were told.
    pub answered: u64,
    /// Rejected packets that ended unanswered: there were too many, or there is no answer to
    /// what they are.
    pub unanswered: u64,
    /// Fragments that came before the head of their packet, and passed.
    pub headless: u64,
    /// Packets that were to be logged, and were not because there were too many.
    pub unlogged: u64,
    /// Packets that were to be logged, and for which there was no room.
    pub lost: u64,
}

abi!(PolicyEvents, size = 40, align = 8);

impl AddAssign for PolicyEvents {
    fn add_assign(&mut self, other: Self) {
        let Self { answered, unanswered, headless, unlogged, lost } = other;
        self.answered = self.answered.wrapping_add(answered);
        self.unanswered = self.unanswered.wrapping_add(unanswered);
        self.headless = self.headless.wrapping_add(headless);
        self.unlogged = self.unlogged.wrapping_add(unlogged);
        self.lost = self.lost.wrapping_add(lost);
    }
}
