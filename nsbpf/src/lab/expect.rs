//! Expectations: who in the lab reaches whom, and who must not.
//!
//! An expectation stays as short as it was typed; [`Expectation::trials`] says
//! what there is to try. With `all` to `all` that grows with the square of the
//! lab, and most commands never ask.

mod index;

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_saphyr::{Location, Spanned};

use super::problem::{Problem, nearest_if_seen};
use super::spec::ExpectSpec;
use super::words::Words;
use super::{Bridge, InterfaceId, Lab, Name, Namespace};
use index::Index;

/// The word for every namespace.
const ALL: &str = "all";

/// Who is to reach whom, or must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Who begins.
    pub from: Party<Name>,
    /// Who is to answer.
    pub to: Party<Destination>,
    /// By what.
    pub way: Way,
    /// Whether it must be reached: all of it; otherwise none of it may be.
    pub reach: bool,
    /// Why so, in the words of the lab's author.
    pub because: Option<String>,
}

/// Some, or everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party<T> {
    /// Every namespace of the lab.
    All,
    /// These.
    Some(Vec<T>),
}

/// What is to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// All addresses of a namespace.
    Namespace(Name),
    /// All addresses of an interface.
    Interface(InterfaceId),
    /// An address, and the namespace that has it, if one of the lab does.
    Address(IpAddr, Option<Name>),
}

/// By what something is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// ICMP echo.
    Ping,
    /// A TCP connection to that port.
    Tcp(u16),
    /// A UDP datagram to that port, and its answer.
    Udp(u16),
}

/// One thing to try: from a namespace to an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trial {
    /// Who begins.
    pub from: Name,
    /// Whose address it is; `None` for one outside the lab.
    pub to: Option<Name>,
    /// What is to be reached.
    pub address: IpAddr,
}

impl Expectation {
    /// All that it means, of the lab that it belongs to: from each namespace
    /// every address of the others of a family that it has an address of.
    pub fn trials<'a>(&'a self, lab: &'a Lab) -> impl Iterator<Item = Trial> + 'a {
        trials(self, &lab.namespaces, &lab.bridges)
    }
}

fn trials<'a>(
    expectation: &'a Expectation,
    namespaces: &'a [Namespace],
    bridges: &'a [Bridge],
) -> impl Iterator<Item = Trial> + 'a {
    let targets: Vec<(Option<&Name>, IpAddr)> = match &expectation.to {
        Party::All => namespaces
            .iter()
            .flat_map(|namespace| namespace.ips(bridges).map(|ip| (Some(&namespace.name), ip)))
            .collect(),
        Party::Some(destinations) => destinations
            .iter()
            .flat_map(|destination| destination.addresses(namespaces, bridges))
            .collect(),
    };
    let named: Option<HashSet<&Name>> = match &expectation.from {
        Party::All => None,
        Party::Some(names) => Some(names.iter().collect()),
    };
    let begins = move |namespace: &&Namespace| {
        named.as_ref().is_none_or(|names| names.contains(&namespace.name))
    };
    namespaces.iter().filter(begins).flat_map(move |from| {
        let (ipv4, ipv6) = from.families(bridges);
        targets
            .clone()
            .into_iter()
            .filter(move |(to, ip)| {
                *to != Some(&from.name) && if ip.is_ipv4() { ipv4 } else { ipv6 }
            })
            .map(|(to, address)| Trial { from: from.name.clone(), to: to.cloned(), address })
    })
}

impl Namespace {
    /// All of its addresses, those of the lab's bridges that are in it included.
    pub fn ips<'a>(&'a self, bridges: &'a [Bridge]) -> impl Iterator<Item = IpAddr> + 'a {
        let inside = bridges.iter().filter(|bridge| bridge.namespace.as_ref() == Some(&self.name));
        let of_bridges = inside.flat_map(|bridge| &bridge.addresses);
        let of_interfaces = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        of_interfaces.chain(of_bridges).map(IpNet::addr)
    }

    /// Whether it has IPv4 addresses, and whether IPv6.
    #[must_use]
    pub fn families(&self, bridges: &[Bridge]) -> (bool, bool) {
        self.ips(bridges)
            .fold((false, false), |(ipv4, ipv6), ip| (ipv4 || ip.is_ipv4(), ipv6 || ip.is_ipv6()))
    }
}

impl Destination {
    fn addresses<'a>(
        &'a self,
        namespaces: &'a [Namespace],
        bridges: &'a [Bridge],
    ) -> Vec<(Option<&'a Name>, IpAddr)> {
        let named = |name: &Name| namespaces.iter().find(|namespace| namespace.name == *name);
        let of = |namespace: &'a Namespace, ips: Vec<IpAddr>| {
            ips.into_iter().map(|ip| (Some(&namespace.name), ip)).collect()
        };
        match self {
            Self::Namespace(name) => {
                named(name).map_or_else(Vec::new, |found| of(found, found.ips(bridges).collect()))
            }
            Self::Interface(id) => named(&id.namespace).map_or_else(Vec::new, |found| {
                let interface = found.interfaces.iter().find(|one| one.name == id.interface);
                let addresses = interface.iter().flat_map(|interface| &interface.addresses);
                of(found, addresses.map(IpNet::addr).collect())
            }),
            Self::Address(ip, owner) => vec![(owner.as_ref(), *ip)],
        }
    }
}

impl<T: fmt::Display> fmt::Display for Party<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str(ALL),
            Self::Some(members) => {
                let members: Vec<String> = members.iter().map(ToString::to_string).collect();
                formatter.write_str(&members.join(", "))
            }
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(name) => name.fmt(formatter),
            Self::Interface(id) => id.fmt(formatter),
            Self::Address(ip, _) => ip.fmt(formatter),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping => formatter.write_str("ping"),
            Self::Tcp(port) => write!(formatter, "tcp {port}"),
            Self::Udp(port) => write!(formatter, "udp {port}"),
        }
    }
}

/// Checks what is expected of a lab that has these namespaces, and is right in
/// all else.
pub(super) fn check(
    specs: &[ExpectSpec],
    namespaces: &[Namespace],
    bridges: &[Bridge],
    problems: &mut Vec<Problem>,
) -> Vec<Expectation> {
    if specs.is_empty() {
        return Vec::new();
    }
    let mut checker = Checker { index: Index::of(namespaces, bridges), namespaces, problems };
    specs.iter().filter_map(|spec| checker.expectation(spec)).collect()
}

struct Checker<'a> {
    namespaces: &'a [Namespace],
    index: Index<'a>,
    problems: &'a mut Vec<Problem>,
}

impl Checker<'_> {
    fn refuse<T>(&mut self, problem: Problem) -> Option<T> {
        self.problems.push(problem);
        None
    }

    fn expectation(&mut self, spec: &ExpectSpec) -> Option<Expectation> {
        let way = self.way(spec);
        let from = self.party(&spec.from, Self::namespace);
        let to = self.party(&spec.to, Self::destination);
        let (way, from, to) = (way?, from?, to?);
        let because = spec.because.clone();
        let expectation = Expectation { from, to, way, reach: spec.reach.unwrap_or(true), because };
        let before = self.problems.len();
        self.receivers(spec, &expectation);
        self.nothing_is_empty(spec, &expectation);
        (self.problems.len() == before).then_some(expectation)
    }

    fn way(&mut self, spec: &ExpectSpec) -> Option<Way> {
        let (port, way): (_, fn(u16) -> Way) = match (&spec.tcp, &spec.udp) {
            (None, None) => return Some(Way::Ping),
            (Some(port), None) => (port, Way::Tcp),
            (None, Some(port)) => (port, Way::Udp),
            (Some(_), Some(udp)) => {
                let title = "an expectation is by tcp or by udp, not by both".to_owned();
                let help = "write two expectations";
                return self.refuse(Problem::new(title, udp.referenced).help(help));
            }
        };
        match u16::try_from(port.value) {
            Ok(number) if number != 0 => Some(way(number)),
            _ => {
                let title = format!("{} is no port", port.value);
                self.refuse(Problem::new(title, port.referenced).help("1 to 65535"))
            }
        }
    }

    fn party<T>(
        &mut self,
        words: &Spanned<Words>,
        member: impl Fn(&mut Self, &str, Location) -> Option<T>,
    ) -> Option<Party<T>> {
        let places = words.value.places(words.referenced);
        if places.is_empty() {
            let title = "the list names nobody".to_owned();
            let help = "name a namespace, or write `all`";
            return self.refuse(Problem::new(title, words.referenced).help(help));
        }
        if places.iter().any(|(word, _)| *word == ALL) {
            return Some(Party::All);
        }
        let members: Vec<Option<T>> =
            places.into_iter().map(|(word, place)| member(self, word, place)).collect();
        members.into_iter().collect::<Option<_>>().map(Party::Some)
    }

    fn namespace(&mut self, word: &str, place: Location) -> Option<Name> {
        if let Some(place) = self.index.places.get(word) {
            return Some(self.namespaces[*place].name.clone());
        }
        let title = format!("there is no namespace `{word}`");
        let names = self.namespaces.iter().map(|namespace| namespace.name.as_str());
        let help = nearest_if_seen(self.problems, word, names);
        self.refuse(Problem::new(title, place).help_if(help))
    }

    fn destination(&mut self, word: &str, place: Location) -> Option<Destination> {
        if let Ok(ip) = word.parse() {
            return self.address(ip, place);
        }
        if let Ok(net) = word.parse::<IpNet>() {
            let title = format!("`{word}` is an address with a prefix length");
            let help = format!("write `{}`", net.addr());
            return self.refuse(Problem::new(title, place).help(help));
        }
        let Some((namespace, interface)) = word.split_once('/') else {
            return self.namespace(word, place).map(Destination::Namespace);
        };
        let name = self.namespace(namespace, place)?;
        let interfaces = match self.index.places.get(namespace) {
            Some(place) => self.namespaces[*place].interfaces.as_slice(),
            None => &[],
        };
        let names = interfaces.iter().map(|interface| &interface.name);
        if let Some(found) = names.clone().find(|name| name.as_str() == interface) {
            let id = InterfaceId { namespace: name, interface: found.clone() };
            return Some(Destination::Interface(id));
        }
        let title = format!("namespace `{name}` has no interface `{interface}`");
        let help = if interfaces.is_empty() {
            Some("it has none".to_owned())
        } else {
            let names = names.map(super::InterfaceName::as_str);
            nearest_if_seen(self.problems, interface, names)
        };
        self.refuse(Problem::new(title, place).help_if(help))
    }

    fn address(&mut self, ip: IpAddr, place: Location) -> Option<Destination> {
        let what = match ip {
            _ if ip.is_unspecified() => Some("stands for no address"),
            _ if ip.is_multicast() => Some("is a multicast address"),
            _ if ip.is_loopback() => Some("is everybody's own"),
            IpAddr::V4(ip) if ip.is_broadcast() => Some("is the broadcast address"),
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("is a link-local address"),
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => Some("is IPv4 in disguise"),
            _ => None,
        };
        if let Some(what) = what {
            let help = "name a namespace, one of its interfaces, or an address of one host";
            return self.refuse(Problem::new(format!("{ip} {what}"), place).help(help));
        }
        let owners = self.index.owners.get(&ip).map_or(&[][..], Vec::as_slice);
        let owners: Vec<&Name> = owners.iter().map(|place| &self.namespaces[*place].name).collect();
        if let [one, other, ..] = owners[..] {
            let title = format!("{ip} is an address of `{one}` and of `{other}`");
            return self.refuse(Problem::new(title, place).help("name the one that is meant"));
        }
        Some(Destination::Address(ip, owners.first().copied().cloned()))
    }

    /// What comes by UDP needs somebody to answer it.
    fn receivers(&mut self, spec: &ExpectSpec, expectation: &Expectation) {
        let (Way::Udp(_), Party::Some(destinations)) = (expectation.way, &expectation.to) else {
            return;
        };
        let places = spec.to.value.places(spec.to.referenced);
        for (destination, (word, place)) in destinations.iter().zip(places) {
            if matches!(destination, Destination::Address(_, None)) {
                let title = format!("{word} is no namespace's address: nobody answers UDP there");
                let help = "expect it by ping or tcp";
                self.problems.push(Problem::new(title, place).help(help));
            }
        }
    }

    /// Refuses who has nobody to reach, and whom nobody tries to reach.
    fn nothing_is_empty(&mut self, spec: &ExpectSpec, expectation: &Expectation) {
        let sources = self.index.sources(&expectation.from);
        let targets = self.index.targets(&expectation.to);
        let mut found = Vec::new();
        if let Party::Some(destinations) = &expectation.to {
            let places = spec.to.value.places(spec.to.referenced);
            for (destination, (word, place)) in destinations.iter().zip(places) {
                let targets = self.index.targets_of(destination);
                if !sources.reach(&targets) {
                    let from = &spec.from.value;
                    let title = if targets.is_empty() {
                        format!("`{word}` has no address")
                    } else {
                        format!("`{from}` has no address of `{word}`'s family")
                    };
                    found.push((title, place, itself(&expectation.from, destination)));
                }
            }
        }
        if let (Party::Some(names), true) = (&expectation.from, found.is_empty()) {
            let places = spec.from.value.places(spec.from.referenced);
            for (name, (word, place)) in names.iter().zip(places) {
                if !self.index.sources_of(name).reach(&targets) {
                    let title = format!("`{word}` has no address of `{}`'s family", spec.to.value);
                    found.push((title, place, false));
                }
            }
        }
        if found.is_empty() && !sources.reach(&targets) {
            let title = "there is nobody to reach: no two namespaces have addresses of one family";
            found.push((title.to_owned(), spec.to.referenced, false));
        }
        for (title, place, itself) in found {
            let (title, help) = if itself {
                ("that is itself".to_owned(), "name another namespace")
            } else {
                (title, "who reaches, and what is reached, take addresses of the same family")
            };
            self.problems.push(Problem::new(title, place).help(help));
        }
    }
}

/// Whether only one namespace is meant, on both sides.
fn itself(from: &Party<Name>, to: &Destination) -> bool {
    let owner = match to {
        Destination::Namespace(name) => Some(name),
        Destination::Interface(id) => Some(&id.namespace),
        Destination::Address(_, owner) => owner.as_ref(),
    };
    matches!(from, Party::Some(names) if names.iter().all(|name| Some(name) == owner))
}
