//! All that a policy in force comes from.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nsbpf_common::policy::RuleSetting;

use super::digest::digest;
use super::{Ends, PolicyError, Ruleset, compile};
use crate::lab::Policy;
use crate::lab::policy::{Limit, Rule, RuleAction, Unit};

/// What a policy says, and the ends that it says it about. It is compiled when it is asked
/// for that, and once.
pub struct Source {
    /// What it says.
    pub policy: Policy,
    /// Numbers and addresses of the interfaces that it names.
    pub ends: Ends,
    /// The file of rules that it was read from; `None` if the lab's own file says it.
    pub rules_file: Option<String>,
    digest: [u8; 16],
    compiled: OnceLock<(Result<Ruleset, PolicyError>, Duration)>,
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Source").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Source {
    /// A policy for a lab with these ends.
    #[must_use]
    pub fn new(policy: Policy, ends: Ends, rules_file: Option<String>) -> Self {
        let digest = digest(&policy, &ends);
        Self { policy, ends, rules_file, digest, compiled: OnceLock::new() }
    }

    /// Tells it from others.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        self.digest
    }

    /// What the kernel judges by.
    ///
    /// # Errors
    /// There are too many rules that overlap.
    pub fn compiled(&self) -> Result<&Ruleset, PolicyError> {
        let (compiled, _) = self.compile();
        compiled.as_ref().map_err(Clone::clone)
    }

    /// What that took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.compile().1
    }

    fn compile(&self) -> &(Result<Ruleset, PolicyError>, Duration) {
        self.compiled.get_or_init(|| {
            let start = Instant::now();
            let compiled = compile(&self.policy, &self.ends);
            (compiled, start.elapsed())
        })
    }

    /// Limits and logs of its rules, as the kernel half knows them.
    #[must_use]
    pub fn settings(&self) -> Vec<RuleSetting> {
        self.policy.rules.iter().map(setting).collect()
    }
}

fn setting(rule: &Rule) -> RuleSetting {
    let log_one_of = rule.log.unwrap_or(0);
    match rule.action {
        RuleAction::Limit(limit) => RuleSetting { log_one_of, ..of_limit(limit) },
        RuleAction::Allow | RuleAction::Deny | RuleAction::Reject => {
            RuleSetting { log_one_of, ..RuleSetting::default() }
        }
    }
}

fn of_limit(Limit { rate, unit, burst }: Limit) -> RuleSetting {
    /// Nanoseconds of a second.
    const SECOND: u64 = 1_000_000_000;
    let interval = (RuleSetting::PARTS * SECOND / rate.max(1)).max(1);
    let burst_ns = u128::from(burst) * u128::from(interval) / u128::from(RuleSetting::PARTS);
    RuleSetting {
        due_ns: 0,
        interval,
        burst_ns: u64::try_from(burst_ns).unwrap_or(u64::MAX),
        counts_bits: u32::from(unit == Unit::Bits),
        log_one_of: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_what_it_says() {
        let limit = |rate, unit, burst| of_limit(Limit { rate, unit, burst });
        let packets = limit(1000, Unit::Packets, 100);
        assert_eq!(packets.cost_ns(1, 60), 1_000_000);
        assert_eq!((packets.burst_ns, packets.counts_bits), (100_000_000, 0));
        let bits = limit(8_000_000, Unit::Bits, 80_000);
        assert_eq!(bits.cost_ns(1, 1000), 1_000_000);
        assert_eq!((bits.burst_ns, bits.counts_bits), (10_000_000, 1));
        // Faster than anything, and never without an end.
        assert_eq!(limit(u64::MAX, Unit::Bits, u64::MAX).interval, 1);
        assert_eq!(limit(1, Unit::Packets, u64::MAX).burst_ns, u64::MAX);
    }
}
