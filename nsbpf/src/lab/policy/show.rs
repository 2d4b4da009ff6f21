//! What a rule asks and does, in words.

use std::fmt;
use std::ops::RangeInclusive;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::matches::{Ethertypes, Flags, Icmp, Match};
use super::names::{self, Names};
use super::ranges::Ranges;
use super::{Fallback, Limit, Rule, RuleAction, Unit};

impl Match {
    /// The keys that it asks something under; `ethertype` always.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static str> + use<> {
        let asked = [
            ("ethertype", true),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
            ("proto", self.protocols.is_some()),
            ("source_ports", self.source_ports.is_some()),
            ("ports", self.ports.is_some()),
            ("flags", self.flags.is_some()),
            ("icmp", self.icmp.is_some()),
            ("dscp", self.dscps.is_some()),
            ("vlan", self.vlans.is_some()),
            ("source_mac", self.source_macs.is_some()),
            ("destination_mac", self.destination_macs.is_some()),
            ("fragment", self.fragments.is_some()),
        ];
        asked.into_iter().filter(|(_, is_asked)| *is_asked).map(|(key, _)| key)
    }

    /// What it asks: keys as they are written, and their values in one word each, or
    /// several with a comma between them.
    #[must_use]
    pub fn asks(&self) -> Vec<(&'static str, String)> {
        let Self {
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
        } = self;
        let ethertypes = match ethertypes {
            Ethertypes::Ip => None,
            Ethertypes::Any => Some("any".to_owned()),
            Ethertypes::Some(some) => Some(each(some, ethertype)),
        };
        let numbers = |some: &Ranges<u64>| ranges(some, |number| number.to_string());
        let all = [
            ("ethertype", ethertypes),
            ("from", from.as_ref().map(ToString::to_string)),
            ("to", to.as_ref().map(ToString::to_string)),
            ("proto", protocols.as_ref().map(|some| each(some, protocol))),
            ("source_ports", source_ports.as_ref().map(numbers)),
            ("ports", ports.as_ref().map(numbers)),
            ("flags", flags.as_ref().map(ToString::to_string)),
            ("icmp", icmp.as_ref().map(ToString::to_string)),
            ("dscp", dscps.as_ref().map(|some| each(some, dscp))),
            ("vlan", vlans.as_ref().map(|some| ranges(some, vlan))),
            ("source_mac", source_macs.as_ref().map(|some| each(some, mac))),
            ("destination_mac", destination_macs.as_ref().map(|some| each(some, mac))),
            ("fragment", fragments.as_ref().map(which_fragments)),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

impl fmt::Display for Match {
    /// `from clients to web proto tcp ports 80,443`, or `any`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asks = self.asks();
        if asks.is_empty() {
            return formatter.write_str("any");
        }
        for (place, (key, value)) in asks.into_iter().enumerate() {
            let between = if place > 0 { " " } else { "" };
            write!(formatter, "{between}{key} {value}")?;
        }
        Ok(())
    }
}

impl Serialize for Match {
    /// As [`Match::asks`] has it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let asks = self.asks();
        let mut map = serializer.serialize_map(Some(asks.len()))?;
        for (key, value) in asks {
            map.serialize_entry(key, &value)?;
        }
        map.end()
    }
}

impl fmt::Display for Rule {
    /// What it asks, and what it does.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.matches, self.action)?;
        match self.log {
            None => Ok(()),
            Some(1) => formatter.write_str(" log"),
            Some(number) => write!(formatter, " log {number}"),
        }
    }
}

impl fmt::Display for RuleAction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(limit) => write!(formatter, "limit {limit}"),
            Self::Allow | Self::Deny | Self::Reject => formatter.write_str(self.action().name()),
        }
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.action().name())
    }
}

impl fmt::Display for Limit {
    /// As it is written, the burst left out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, unit, .. } = self;
        match (unit, rate) {
            (Unit::Packets, _) => write!(formatter, "{rate}/s"),
            (Unit::Bits, rate) if rate.is_multiple_of(1_000_000_000) => {
                write!(formatter, "{}Gbit/s", rate / 1_000_000_000)
            }
            (Unit::Bits, rate) if rate.is_multiple_of(1_000_000) => {
                write!(formatter, "{}Mbit/s", rate / 1_000_000)
            }
            (Unit::Bits, rate) if rate.is_multiple_of(1000) => {
                write!(formatter, "{}kbit/s", rate / 1000)
            }
            (Unit::Bits, _) => write!(formatter, "{rate}bit/s"),
        }
    }
}

impl fmt::Display for Flags {
    /// As they are written; `syn` alone is what begins a connection.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mask, set } = *self;
        if (mask, set) == (names::SYN | names::ACK, names::SYN) {
            return formatter.write_str("syn");
        }
        let asked = names::FLAGS.iter().filter(|(_, bit)| mask & bit != 0);
        for (place, (name, bit)) in asked.enumerate() {
            let between = if place > 0 { "," } else { "" };
            let not = if set & bit == 0 { "!" } else { "" };
            write!(formatter, "{between}{not}{name}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Icmp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { v4, v6 } = self;
        let v4 = v4.iter().flat_map(|range| types(&range, names::ICMP_TYPES));
        let v6 = v6.iter().flat_map(|range| types(&range, names::ICMPV6_TYPES));
        let mut shown: Vec<String> = Vec::new();
        for text in v4.chain(v6) {
            if !shown.contains(&text) {
                shown.push(text);
            }
        }
        formatter.write_str(&shown.join(","))
    }
}

/// Whole types by their names, single codes behind a slash. A range that covers several
/// types is the whole of each.
fn types(range: &RangeInclusive<u64>, names: Names) -> Vec<String> {
    let (low, high) = (*range.start(), *range.end());
    let of_type = |kind: u64| {
        let (first, last) = (low.max(kind << 8) & 0xff, high.min((kind << 8) | 0xff) & 0xff);
        let name = names::name(names, kind).map_or_else(|| kind.to_string(), str::to_owned);
        match (first, last) {
            (0, 0xff) => vec![name],
            (first, last) => (first..=last).map(|code| format!("{kind}/{code}")).collect(),
        }
    };
    (low >> 8..=high >> 8).flat_map(of_type).collect()
}

/// Ranges, with commas between them.
fn ranges(some: &Ranges<u64>, show: impl Fn(u64) -> String) -> String {
    let one = |range: RangeInclusive<u64>| match range.into_inner() {
        (low, high) if low == high => show(low),
        (low, high) => format!("{}-{}", show(low), show(high)),
    };
    let shown: Vec<String> = some.iter().map(one).collect();
    shown.join(",")
}

/// Numbers that are written one by one, with commas between them.
fn each(some: &Ranges<u64>, show: impl Fn(u64) -> String) -> String {
    let shown: Vec<String> = some.iter().flatten().map(show).collect();
    shown.join(",")
}

/// A protocol, by its name if it has one.
#[must_use]
pub fn protocol(number: u64) -> String {
    names::name(names::PROTOCOLS, number).map_or_else(|| number.to_string(), str::to_owned)
}

/// A network protocol, by its name if it has one.
#[must_use]
pub fn ethertype(number: u64) -> String {
    names::name(names::ETHERTYPES, number).map_or_else(|| format!("0x{number:04x}"), str::to_owned)
}

/// TCP flags that are set.
#[must_use]
pub fn flags(set: u8) -> String {
    let set = names::FLAGS.iter().filter(|(_, bit)| set & bit != 0).map(|(name, _)| *name);
    let set: Vec<&str> = set.collect();
    if set.is_empty() { "none".to_owned() } else { set.join(",") }
}

fn dscp(number: u64) -> String {
    names::name(names::DSCPS, number).map_or_else(|| number.to_string(), str::to_owned)
}

/// A VLAN, or that there is none.
#[must_use]
pub fn vlan(number: u64) -> String {
    if number == 0 { "none".to_owned() } else { number.to_string() }
}

/// A MAC address that was made a number.
#[must_use]
pub fn mac(number: u64) -> String {
    let [_, _, bytes @ ..] = number.to_be_bytes();
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

fn which_fragments(some: &Ranges<u64>) -> String {
    let word = match (some.contains(0), some.contains(1), some.contains(2)) {
        (false, true, true) => "true",
        (true, false, false) => "false",
        _ => "any",
    };
    word.to_owned()
}
