//! What a rule asks of a packet, one thing after the other: what `policy test` shows, and
//! what the trees have to agree with.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nsbpf_common::policy::value::{ICMP, ICMPV6, IPV4, IPV6};
use nsbpf_common::policy::{ROUTED, Subject, field};
use serde::Serialize;

use super::{Ends, Kind};
use crate::lab::policy::{self, Ethertypes, Match, Place, Ranges, Side};

/// A thing that a rule asks, and what a packet has of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The key, as it is written in a rule.
    pub key: &'static str,
    /// What the rule asks.
    pub asked: String,
    /// What the packet has.
    pub has: String,
    /// Whether it is as asked.
    pub holds: bool,
}

/// What a packet of a kind has, where interfaces are at these ends.
#[derive(Clone, Copy, Debug)]
pub struct Looked<'a> {
    /// Interfaces.
    pub ends: &'a Ends,
    /// The packet's kind.
    pub kind: Kind,
    /// Its fields.
    pub subject: &'a Subject,
}

impl Looked<'_> {
    /// Whether it is all that a rule asks.
    #[must_use]
    pub fn is(&self, asked: &Match) -> bool {
        asked.keys().all(|key| self.holds(asked, key))
    }

    /// All that a rule asks, and that it asks IPv4 or IPv6 where it does not say so.
    #[must_use]
    pub fn answers(&self, asked: &Match) -> Vec<Answer> {
        let mut answers = Vec::new();
        if asked.ethertypes == Ethertypes::Ip && self.kind == Kind::Other {
            let (key, asked) = ("ethertype", "ipv4,ipv6".to_owned());
            answers.push(Answer { key, asked, has: self.has(key), holds: false });
        }
        for (key, text) in asked.asks() {
            let holds = self.holds(asked, key);
            answers.push(Answer { key, asked: text, has: self.has(key), holds });
        }
        answers
    }

    /// Whether one thing that is asked holds.
    fn holds(&self, asked: &Match, key: &str) -> bool {
        let is_ip = self.kind != Kind::Other;
        let within = |ranges: &Option<Ranges<u64>>, number: u32| {
            ranges.as_ref().is_none_or(|ranges| ranges.contains(self.subject.field(number)))
        };
        match key {
            "ethertype" => asked.ethertypes.contains(self.ethertype()),
            "from" => asked.from.as_ref().is_none_or(|side| self.is_from(side)),
            "to" => asked.to.as_ref().is_none_or(|side| self.is_to(side)),
            "proto" => is_ip && within(&asked.protocols, field::PROTOCOL) && self.is_of_family(),
            "source_ports" => is_ip && within(&asked.source_ports, field::SOURCE_PORT),
            "ports" => is_ip && within(&asked.ports, field::DESTINATION_PORT),
            "flags" => {
                let has = self.subject.tcp_flags;
                is_ip && asked.flags.is_none_or(|flags| has & flags.mask == flags.set)
            }
            "icmp" => asked.icmp.as_ref().is_none_or(|icmp| {
                let kind = self.subject.field(field::ICMP).checked_sub(1);
                kind.is_some_and(|kind| match self.kind {
                    Kind::V4 => icmp.v4.contains(kind),
                    Kind::V6 => icmp.v6.contains(kind),
                    Kind::Other => false,
                })
            }),
            "dscp" => is_ip && within(&asked.dscps, field::DSCP),
            "vlan" => within(&asked.vlans, field::VLAN),
            "source_mac" => within(&asked.source_macs, field::SOURCE_MAC),
            "destination_mac" => within(&asked.destination_macs, field::DESTINATION_MAC),
            "fragment" => is_ip && within(&asked.fragments, field::FRAGMENT),
            _ => false,
        }
    }

    /// ICMP is IPv4's, ICMPv6 is IPv6's.
    fn is_of_family(&self) -> bool {
        let others = if self.kind == Kind::V4 { ICMPV6 } else { ICMP };
        self.subject.field(field::PROTOCOL) != others
    }

    fn ethertype(&self) -> u64 {
        match self.kind {
            Kind::V4 => IPV4,
            Kind::V6 => IPV6,
            Kind::Other => self.subject.field(field::ETHERTYPE),
        }
    }

    fn is_from(&self, side: &Side) -> bool {
        let port = self.subject.field(field::PORT);
        let source = self.source();
        let is_in = side.places().any(|place| match place {
            Place::Net(net) => source.is_some_and(|source| net.contains(&source)),
            Place::Own(address) => port == ROUTED && source == Some(*address),
            Place::Interfaces(ids) => ids.iter().filter_map(|id| self.ends.get(id)).any(|end| {
                let has = || source.is_some_and(|source| end.addresses.contains(&source));
                if port == ROUTED { has() } else { !end.is_router && port == u64::from(end.number) }
            }),
        });
        is_in != side.negated
    }

    fn is_to(&self, side: &Side) -> bool {
        let destination = self.destination();
        let is_in = destination.is_some_and(|destination| {
            side.places().any(|place| match place {
                Place::Net(net) => net.contains(&destination),
                Place::Own(address) => destination == *address,
                Place::Interfaces(ids) => ids
                    .iter()
                    .filter_map(|id| self.ends.get(id))
                    .any(|end| end.addresses.contains(&destination)),
            })
        });
        is_in != side.negated
    }

    /// The source address.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.address(field::SOURCE, field::SOURCE_REST)
    }

    /// The destination address.
    #[must_use]
    pub fn destination(&self) -> Option<IpAddr> {
        self.address(field::DESTINATION, field::DESTINATION_REST)
    }

    fn address(&self, first: u32, rest: u32) -> Option<IpAddr> {
        let [first, rest] = [first, rest].map(|field| self.subject.field(field));
        match self.kind {
            Kind::V4 => u32::try_from(first).ok().map(|bits| Ipv4Addr::from_bits(bits).into()),
            Kind::V6 => {
                let bits = u128::from(first) << 64 | u128::from(rest);
                Some(Ipv6Addr::from_bits(bits).into())
            }
            Kind::Other => None,
        }
    }

    /// The name of the interface that it came in by; `None` if its source address tells.
    #[must_use]
    pub fn interface(&self) -> Option<String> {
        let port = self.subject.field(field::PORT);
        let mut found = self.ends.0.iter().filter(|(_, end)| u64::from(end.number) == port);
        found.next().map(|(id, _)| id.to_string())
    }

    /// What it has of a thing, in a word.
    fn has(&self, key: &str) -> String {
        let is_ip = self.kind != Kind::Other;
        let number = |field: u32| self.subject.field(field);
        let of_ip = |text: String| if is_ip { text } else { "none".to_owned() };
        let shown = |address: Option<IpAddr>| {
            address.map_or_else(|| "no address".to_owned(), |it| it.to_string())
        };
        match key {
            "ethertype" => policy::ethertype(self.ethertype()),
            "from" => match (number(field::PORT), self.interface()) {
                (ROUTED, _) => format!("{} through a router or the host", shown(self.source())),
                (_, Some(interface)) => format!("{interface}, {}", shown(self.source())),
                (port, None) => format!("port {port}, {}", shown(self.source())),
            },
            "to" => shown(self.destination()),
            "proto" => of_ip(policy::protocol(number(field::PROTOCOL))),
            "source_ports" => of_ip(number(field::SOURCE_PORT).to_string()),
            "ports" => of_ip(number(field::DESTINATION_PORT).to_string()),
            "flags" => policy::flags(self.subject.tcp_flags),
            "icmp" => match number(field::ICMP).checked_sub(1) {
                None => "none".to_owned(),
                Some(kind) => format!("{}/{}", kind >> 8, kind & 0xff),
            },
            "dscp" => of_ip(number(field::DSCP).to_string()),
            "vlan" => policy::vlan(number(field::VLAN)),
            "source_mac" => policy::mac(number(field::SOURCE_MAC)),
            "destination_mac" => policy::mac(number(field::DESTINATION_MAC)),
            "fragment" => match number(field::FRAGMENT) {
                0 => "false".to_owned(),
                1 => "first".to_owned(),
                _ => "later".to_owned(),
            },
            _ => String::new(),
        }
    }

    /// The packet on a line: where it comes from, what it is, and where it goes.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.has("from");
        if self.kind == Kind::Other {
            let _ = write!(line, " {}", self.has("ethertype"));
            return line;
        }
        let _ = write!(line, " > {} {}", self.has("to"), self.has("proto"));
        let port = self.subject.field(field::DESTINATION_PORT);
        if port > 0 {
            let _ = write!(line, " {port}");
        }
        if self.subject.field(field::ICMP) > 0 {
            let _ = write!(line, " {}", self.has("icmp"));
        }
        line
    }
}
