//! What tells a policy from others: a digest of all that it is compiled from.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{End, Ends};
use crate::lab::Policy;
use crate::lab::policy::{
    Ethertypes, Flags, Icmp, Limit, Match, Place, Ranges, Rule, RuleAction, Side, Unit, Word,
};

/// Half of SHA-256.
pub(super) fn digest(policy: &Policy, ends: &Ends) -> [u8; 16] {
    let mut it = Digester { sha: Sha256::new(), places: HashMap::new() };
    let Policy { default, established, rules } = policy;
    it.text(default);
    it.number(u64::from(*established));
    it.number(rules.len() as u64);
    for rule in rules {
        it.rule(rule);
    }
    let Ends(ends) = ends;
    for (id, End { number, addresses, is_router }) in ends {
        it.text(id);
        it.number(u64::from(*number));
        it.number(u64::from(*is_router));
        it.number(addresses.len() as u64);
        for address in addresses {
            it.text(address);
        }
    }
    let mut digest = [0; 16];
    for (half, byte) in digest.iter_mut().zip(it.sha.finalize()) {
        *half = byte;
    }
    digest
}

struct Digester {
    sha: Sha256,
    /// Numbers of lists that are in it already: thousands of rules may use one set. They
    /// are told by where they are in memory.
    places: HashMap<*const Place, u64>,
}

impl Digester {
    fn number(&mut self, number: u64) {
        self.sha.update(number.to_le_bytes());
    }

    fn text(&mut self, text: &impl Display) {
        let text = text.to_string();
        self.number(text.len() as u64);
        self.sha.update(text);
    }

    fn ranges(&mut self, ranges: &Ranges<u64>) {
        self.number(ranges.len() as u64);
        for range in ranges.iter() {
            self.number(*range.start());
            self.number(*range.end());
        }
    }

    fn rule(&mut self, rule: &Rule) {
        let Rule { name, matches, action, log } = rule;
        self.text(name);
        self.matches(matches);
        let (kind, [rate, bits, burst]) = match action {
            RuleAction::Allow => (0, [0; 3]),
            RuleAction::Deny => (1, [0; 3]),
            RuleAction::Reject => (2, [0; 3]),
            RuleAction::Limit(Limit { rate, unit, burst }) => {
                (3, [*rate, u64::from(*unit == Unit::Bits), *burst])
            }
        };
        for number in [kind, rate, bits, burst, u64::from(log.unwrap_or(0))] {
            self.number(number);
        }
    }

    fn matches(&mut self, matches: &Match) {
        let Match {
            from,
            to,
            protocols,
            source_ports,
            ports,
            flags,
            icmp,
            dscps,
            vlans,
            source_macs,
            destination_macs,
            ethertypes,
            fragments,
        } = matches;
        for side in [from, to] {
            self.side(side.as_ref());
        }
        let ranges = [protocols, source_ports, ports, dscps, vlans, source_macs, destination_macs];
        for ranges in ranges.into_iter().chain([fragments]) {
            self.number(u64::from(ranges.is_some()));
            if let Some(ranges) = ranges {
                self.ranges(ranges);
            }
        }
        let Flags { mask, set } = flags.unwrap_or(Flags { mask: 0, set: 0 });
        self.number(u64::from(mask) << 8 | u64::from(set));
        self.number(u64::from(icmp.is_some()));
        if let Some(Icmp { v4, v6 }) = icmp {
            self.ranges(v4);
            self.ranges(v6);
        }
        match ethertypes {
            Ethertypes::Ip => self.number(0),
            Ethertypes::Any => self.number(1),
            Ethertypes::Some(some) => {
                self.number(2);
                self.ranges(some);
            }
        }
    }

    fn side(&mut self, side: Option<&Side>) {
        let Some(Side { negated, words }) = side else { return self.number(u64::MAX) };
        self.number(words.len() as u64);
        self.number(u64::from(*negated));
        for Word { text, places } in words {
            self.text(text);
            self.places(places);
        }
    }

    fn places(&mut self, places: &Arc<[Place]>) {
        let next = self.places.len() as u64;
        let number = *self.places.entry(places.as_ptr()).or_insert(next);
        self.number(number);
        if number != next {
            return;
        }
        self.number(places.len() as u64);
        for place in places.iter() {
            match place {
                Place::Interfaces(interfaces) => {
                    self.number(0);
                    self.number(interfaces.len() as u64);
                    interfaces.iter().for_each(|id| self.text(id));
                }
                Place::Own(address) => {
                    self.number(1);
                    self.text(address);
                }
                Place::Net(subnet) => {
                    self.number(2);
                    self.text(subnet);
                }
            }
        }
    }
}
