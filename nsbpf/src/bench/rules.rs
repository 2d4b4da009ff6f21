//! Rules as people write them: hosts, networks and ports of services. None but the last is
//! about anything that the benchmark sends, and that one lets it pass.

use std::fmt::{self, Write as _};
use std::net::Ipv4Addr;

/// Rules of a policy, and of nftables, at most.
pub const MAX_RULES: u32 = 65_536;
/// What the benchmark's senders and receivers have addresses of.
const OURS: u8 = 9;
/// Ports of services, so many from the first on: the benchmark's own are others.
const FIRST_PORT: u16 = 25;
const PORTS: u32 = 1_000;
/// The first of those that rules about no address have.
const FIRST_OPEN_PORT: u16 = 2_000;

/// One of them, but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    from: Place,
    to: Place,
    protocol: &'static str,
    ports: (u16, u16),
    is_allowed: bool,
}

/// What one end of a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Any,
    Host(Ipv4Addr),
    /// Of 256 addresses.
    Network(Ipv4Addr),
    /// What the namespace sends whose frames are measured.
    Sender,
    /// What the other one does.
    Receiver,
}

/// All but the last, so that there are so many with it. Others with another `seed`.
fn rules(count: u32, seed: u32) -> impl Iterator<Item = Rule> {
    (0..count.saturating_sub(1)).map(move |number| Rule::new(number, seed))
}

impl Rule {
    fn new(number: u32, seed: u32) -> Self {
        // Knuth's multiplier: neighbours are far apart, and none is there twice.
        let mixed = number.wrapping_add(seed << 16).wrapping_mul(0x9e37_79b9);
        let address = |bits: u32| {
            let [_, first, second, third] = bits.to_be_bytes();
            Ipv4Addr::new(10, if first == OURS { OURS - 1 } else { first }, second, third)
        };
        let network = |bits: u32| Place::Network(address(bits & !0xff));
        let from = match number % 4 {
            0 => network(mixed),
            1 => Place::Host(address(mixed.rotate_left(8))),
            2 if number % 8 == 2 => Place::Sender,
            2 => Place::Receiver,
            _ => Place::Any,
        };
        let to = match (number.is_multiple_of(5), from) {
            (true, Place::Any) => Place::Any,
            (true, _) => network(mixed.rotate_left(16)),
            (false, _) => Place::Host(address(mixed >> 8)),
        };
        let port = |first: u16, more: u32| first + u16::try_from(more).unwrap_or_default();
        let first = match to {
            Place::Any => port(FIRST_OPEN_PORT, number / 20),
            _ => port(FIRST_PORT, number % PORTS),
        };
        let ports = match to {
            Place::Any => (first, first),
            _ => (first, first + 100 * port(0, number % 3)),
        };
        let protocol = if mixed & 1 == 0 { "tcp" } else { "udp" };
        Self {
            from,
            to,
            protocol,
            ports,
            is_allowed: to == Place::Any || !number.is_multiple_of(7),
        }
    }
}

/// A policy of so many rules, for the lab of a path with that number.
pub(super) fn policy(count: u32, seed: u32, path: usize) -> String {
    let mut text = "default: deny\nrules:\n".to_owned();
    for Rule { from, to, protocol, ports: (first, last), is_allowed } in rules(count, seed) {
        text.push_str("  - { ");
        for (key, place) in [("from", from), ("to", to)] {
            match place {
                Place::Any => Ok(()),
                Place::Sender => write!(text, "{key}: a{path}, "),
                Place::Receiver => write!(text, "{key}: b{path}, "),
                Place::Host(address) => write!(text, "{key}: {address}, "),
                Place::Network(address) => write!(text, "{key}: {address}/24, "),
            }
            .expect("writing to a string");
        }
        let action = if is_allowed { "allow" } else { "deny" };
        let ports = Ports(first, last);
        writeln!(text, "proto: {protocol}, ports: [{ports}], action: {action} }}")
            .expect("writing to a string");
    }
    text.push_str("  - name: last\n    from: [10.0.0.0/8, 'fd09::/16']\n");
    text.push_str("    to: [10.0.0.0/8, 'fd09::/16']\n    action: allow\n");
    text
}

/// The same for nftables, one after the other: a table of bridges that sleeps.
pub(super) fn linear(table: &str, count: u32) -> String {
    let mut text = begin(table);
    text.push_str(CHAIN);
    for Rule { from, to, protocol, ports: (first, last), is_allowed } in rules(count, 0) {
        for (key, place) in [("saddr", from), ("daddr", to)] {
            match place {
                Place::Any => Ok(()),
                Place::Sender => write!(text, "ip {key} 10.9.0.1 "),
                Place::Receiver => write!(text, "ip {key} 10.9.0.2 "),
                Place::Host(address) => write!(text, "ip {key} {address} "),
                Place::Network(address) => write!(text, "ip {key} {address}/24 "),
            }
            .expect("writing to a string");
        }
        let action = if is_allowed { "accept" } else { "drop" };
        writeln!(text, "{protocol} dport {} {action}", Ports(first, last))
            .expect("writing to a string");
    }
    text.push_str("ip saddr 10.0.0.0/8 ip daddr 10.0.0.0/8 accept\nether type arp accept\n}\n}\n");
    text
}

/// The same by one look-up: so many pairs of an address and a port, and the traffic's is one.
pub(super) fn set(table: &str, count: u32) -> String {
    let mut text = begin(table);
    writeln!(text, "set services {{ type ipv4_addr . inet_service; size {count}; elements = {{")
        .expect("writing to a string");
    for number in 0..count.saturating_sub(1) {
        let [_, first, second, third] = number.wrapping_mul(0x9e37_79b9).to_be_bytes();
        let first = if first == OURS { OURS - 1 } else { first };
        let port = u32::from(FIRST_PORT) + number % PORTS;
        writeln!(text, "10.{first}.{second}.{third} . {port},").expect("writing to a string");
    }
    text.push_str("10.9.0.2 . 9 } }\n");
    text.push_str(CHAIN);
    text.push_str("ip daddr . udp dport @services accept\n");
    // New flows to elsewhere.
    text.push_str("ip daddr 10.0.0.0/8 udp dport 9 accept\nether type arp accept\n}\n}\n");
    text
}

const CHAIN: &str = "chain forward { type filter hook forward priority 0; policy drop;\n";

fn begin(table: &str) -> String {
    format!("table bridge {table} {{ flags dormant;\n")
}

/// A range of ports, if there is more than one.
struct Ports(u16, u16);

impl fmt::Display for Ports {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(first, last) = self;
        if first == last {
            write!(formatter, "{first}")
        } else {
            write!(formatter, "{first}-{last}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nsbpf_common::generator;

    use super::*;
    use crate::bench::wiring::{Size, Wiring};
    use crate::lab::Lab;

    #[test]
    fn only_the_last_is_about_what_is_sent() {
        let (_, last) = generator::ports(generator::MAX_FLOWS - 1);
        let is_ours = |place: Place| match place {
            Place::Any | Place::Sender | Place::Receiver => true,
            Place::Host(address) | Place::Network(address) => address.octets()[..2] == [10, OURS],
        };
        for rule in rules(MAX_RULES, 0) {
            assert!(rule.ports.0 > last && rule.ports.0 <= rule.ports.1, "{rule:?}");
            assert!(rule.to == Place::Any || !is_ours(rule.to), "{rule:?}");
            // What benchmarks of TCP connect to is above all of them.
            assert!(rule.ports.1 < 1 << 15, "{rule:?}");
        }
    }

    #[test]
    fn a_lab_takes_them() {
        let text = Wiring::Bridge { netfilter: false }.lab(7, Size::USUAL);
        let lab = Lab::parse(&text, "test").unwrap();
        for count in [1, 2, 500] {
            let policy = lab.read_policy(&policy(count, 1, 7), "test");
            let policy = policy.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(policy.rules.len(), count as usize);
        }
        assert_ne!(policy(100, 0, 7), policy(100, 1, 7));
    }

    #[test]
    fn nftables_has_as_many() {
        let linear = linear("x", 100);
        assert_eq!(linear.lines().filter(|line| line.contains(" dport ")).count(), 99);
        let set = set("x", 10_000);
        let pairs: BTreeSet<&str> = set.lines().filter(|line| line.starts_with("10.")).collect();
        assert_eq!(pairs.len(), 10_000, "a pair is there twice");
        assert!(linear.starts_with("table bridge x { flags dormant;"), "{linear}");
    }
}
