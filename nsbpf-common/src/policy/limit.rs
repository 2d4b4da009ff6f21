//! Limits: so many packets, or bits, in a time.
//!
//! The generic cell rate algorithm (ITU-T I.371, annex A): one word tells when the next
//! packet is due, so that all processors share a limit.

use crate::abi::abi;

/// What a rule says besides its decision, and the state of its limit. Its key is the slot of
/// the rule's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RuleSetting {
    /// When the next packet is due, in nanoseconds of `CLOCK_MONOTONIC`.
    pub due_ns: u64,
    /// What a packet takes, or a bit, in 1/1024 of a nanosecond.
    pub interval: u64,
    /// How long before it is due a packet may come, in nanoseconds.
    pub burst_ns: u64,
    /// 1 if bits are counted, 0 if packets.
    pub counts_bits: u32,
    /// One of so many packets is logged; 0 and 1 for all.
    pub log_one_of: u32,
}

abi!(RuleSetting, size = 32, align = 8);

impl RuleSetting {
    /// Parts of a nanosecond that [`RuleSetting::interval`] counts.
    pub const PARTS: u64 = 1024;

    /// Packets that are logged: 1,000 a second, as many at once.
    pub const LOG: Self = Self::of_packets(1000, 1000);
    /// Packets that are answered: as many as Linux sends of its own (`icmp_msgs_per_sec`,
    /// `net/ipv4/sysctl_net_ipv4.c`, Linux 6.18).
    pub const ANSWERS: Self = Self::of_packets(1000, 1000);

    const fn of_packets(a_second: u64, burst: u64) -> Self {
        let interval = 1_000_000_000 * Self::PARTS / a_second;
        let burst_ns = burst * interval / Self::PARTS;
        Self { due_ns: 0, interval, burst_ns, counts_bits: 0, log_one_of: 0 }
    }

    /// What so many packets of so many bytes take, in nanoseconds.
    #[inline(always)]
    #[must_use]
    pub const fn cost_ns(&self, packets: u64, bytes: u64) -> u64 {
        let units = if self.counts_bits != 0 { bytes * 8 } else { packets };
        units.wrapping_mul(self.interval) / Self::PARTS
    }
}

/// Whether packets that take so long may come at a time, when the next one was due at
/// another: when the next one is due then, or `None`.
#[inline(always)]
#[must_use]
pub const fn conforms(due_ns: u64, cost_ns: u64, burst_ns: u64, now_ns: u64) -> Option<u64> {
    let due_ns = if due_ns < now_ns { now_ns } else { due_ns };
    if due_ns - now_ns > burst_ns { None } else { Some(due_ns + cost_ns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// How many of the packets, sent all that time apart, conform.
    fn passed(setting: &RuleSetting, packets: u64, apart_ns: u64, bytes: u64) -> usize {
        let mut due = 0;
        let times = (0..packets).map(|number| 5 * SECOND + number * apart_ns);
        let conforming = times.filter(|now| {
            let next = conforms(due, setting.cost_ns(1, bytes), setting.burst_ns, *now);
            due = next.unwrap_or(due);
            next.is_some()
        });
        conforming.count()
    }

    #[test]
    fn as_many_pass_as_the_limit_says_and_no_more_at_once_than_a_burst() {
        let interval = SECOND * RuleSetting::PARTS / 1000;
        let burst_ns = 9 * SECOND / 1000;
        let setting = RuleSetting { interval, burst_ns, ..RuleSetting::default() };
        assert_eq!(passed(&setting, 100, 0, 60), 10);
        assert_eq!(passed(&setting, 100_000, 100_000, 60), 10_009);
        assert_eq!(passed(&setting, 1000, 1_000_000, 60), 1000);
        // 8 Mbit/s are 1,000 packets of 1,000 bytes a second.
        let bits = SECOND * RuleSetting::PARTS / 8_000_000;
        let setting = RuleSetting { interval: bits, counts_bits: 1, ..setting };
        assert_eq!(passed(&setting, 100_000, 100_000, 1000), 10_009);
    }
}
