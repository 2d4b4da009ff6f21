//! What a rule asks of a packet.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use nsbpf_common::policy::value;

use super::names;
use super::ranges::Ranges;
use crate::lab::InterfaceId;

/// What a rule asks; what it does not ask is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Where the packet came from.
    pub from: Option<Side>,
    /// Whom it is for.
    pub to: Option<Side>,
    /// IP protocol numbers; ICMP's is about IPv4 only, ICMPv6's about IPv6 only.
    pub protocols: Option<Ranges<u64>>,
    /// Source ports.
    pub source_ports: Option<Ranges<u64>>,
    /// Destination ports.
    pub ports: Option<Ranges<u64>>,
    /// TCP flags.
    pub flags: Option<Flags>,
    /// Types and codes of ICMP.
    pub icmp: Option<Icmp>,
    /// Differentiated services code points.
    pub dscps: Option<Ranges<u64>>,
    /// VLANs, 0 for none.
    pub vlans: Option<Ranges<u64>>,
    /// Source MAC addresses, as numbers.
    pub source_macs: Option<Ranges<u64>>,
    /// Destination MAC addresses.
    pub destination_macs: Option<Ranges<u64>>,
    /// Network protocols.
    pub ethertypes: Ethertypes,
    /// 0 for a whole packet, 1 for the first fragment of one, 2 for a later one.
    pub fragments: Option<Ranges<u64>>,
}

/// One side of a packet: any of these places, or none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Whether it is none of them.
    pub negated: bool,
    /// The places, as they were typed.
    pub words: Vec<Word>,
}

impl Side {
    /// All the places.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.words.iter().flat_map(|word| word.places.iter())
    }
}

/// A word for places; those of a word are the same memory wherever it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// As it was typed.
    pub text: Arc<str>,
    /// What it means.
    pub places: Arc<[Place]>,
}

/// Where packets come from or go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Interfaces of namespaces.
    Interfaces(Arc<[InterfaceId]>),
    /// An address that a namespace has on a bridge, so at no port.
    Own(IpAddr),
    /// Addresses, whoever has them.
    Net(IpNet),
}

/// Which TCP flags there have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// Those that are looked at.
    pub mask: u8,
    /// Those of them that are set.
    pub set: u8,
}

/// Types of ICMP and ICMPv6, each with its code in the lowest byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Of ICMP.
    pub v4: Ranges<u64>,
    /// Of ICMPv6.
    pub v6: Ranges<u64>,
}

/// Which network protocols a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ethertypes {
    /// IPv4 and IPv6.
    #[default]
    Ip,
    /// All.
    Any,
    /// These.
    Some(Ranges<u64>),
}

impl Ethertypes {
    /// Whether one is among them.
    #[must_use]
    pub fn contains(&self, ethertype: u64) -> bool {
        match self {
            Self::Ip => [names::IPV4, names::IPV6].contains(&ethertype),
            Self::Any => true,
            Self::Some(some) => some.contains(ethertype),
        }
    }
}

impl Match {
    /// Whether ARP is named, which passes unless some rule does.
    #[must_use]
    pub fn names_arp(&self) -> bool {
        self.ethertypes.contains(names::ARP)
    }

    /// Whether IPv6 neighbour discovery is named, which passes unless some rule does.
    #[must_use]
    pub fn names_discovery(&self) -> bool {
        // Types and codes are 1 less than in the field.
        let discovery = value::DISCOVERY.start() - 1..=value::DISCOVERY.end() - 1;
        self.icmp.as_ref().is_some_and(|icmp| icmp.v6.meets(discovery))
    }
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negated {
            formatter.write_str("not ")?;
        }
        for (place, word) in self.words.iter().enumerate() {
            let between = if place > 0 { "," } else { "" };
            write!(formatter, "{between}{}", word.text)?;
        }
        Ok(())
    }
}
