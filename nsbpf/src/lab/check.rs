//! From what was typed to what it means, or to all that is wrong with it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde_saphyr::{Location, Spanned};

use super::name::{InterfaceName, Name, NameError};
use super::problem::{Problem, nearest};
use super::spec::{InterfaceSpec, LabSpec, NamespaceSpec};
use super::{Bridge, DEFAULT_MTU, Interface, Lab, MAX_BRIDGE_PORTS, Namespace, Route, routes};

/// Checks a lab. All problems are collected: one run shows them all.
pub(super) fn check(spec: LabSpec) -> Result<Lab, Vec<Problem>> {
    let mut checker = Checker::default();
    let name = checker.name(&spec.name, "lab", Name::new);
    let mut bridges = Vec::new();
    for (name, bridge) in &spec.bridges.0 {
        let mtu = checker.mtu(bridge.mtu.as_ref());
        if let Some(name) = checker.name(name, "bridge", InterfaceName::new) {
            checker.bridges.insert(name.clone(), Segment::default());
            bridges.push(Bridge { name, mtu });
        }
    }
    if spec.namespaces.0.is_empty() {
        let problem = Problem::new("the lab has no namespace".to_owned(), spec.name.referenced)
            .help("add one under `namespaces:`, as `vnet0: {}`");
        checker.problems.push(problem);
    }
    let namespaces: Vec<Namespace> = spec
        .namespaces
        .0
        .into_iter()
        .filter_map(|(name, namespace)| checker.namespace(&name, namespace))
        .collect();
    checker.host_ends(&namespaces);
    match (name, checker.problems.is_empty()) {
        (Some(name), true) => Ok(Lab { name, bridges, namespaces }),
        _ => Err(checker.problems),
    }
}

/// A layer 2 segment: what is on a bridge.
#[derive(Default)]
struct Segment {
    ports: usize,
    addresses: Vec<(IpNet, Location)>,
    macs: Vec<[u8; 6]>,
}

#[derive(Default)]
struct Checker {
    problems: Vec<Problem>,
    bridges: BTreeMap<InterfaceName, Segment>,
}

impl Checker {
    fn name<T>(
        &mut self,
        name: &Spanned<String>,
        what: &str,
        parse: impl Fn(&str) -> Result<T, NameError>,
    ) -> Option<T> {
        match parse(&name.value) {
            Ok(name) => Some(name),
            Err(error) => {
                let title = format!("`{}` cannot be the name of a {what}", name.value);
                self.problems.push(Problem::new(title, name.referenced).label(error.to_string()));
                None
            }
        }
    }

    fn namespace(&mut self, name: &Spanned<String>, spec: NamespaceSpec) -> Option<Namespace> {
        let checked = self.name(name, "namespace", Name::new);
        let mut subnets = Vec::new();
        let mut interfaces = Vec::new();
        for (name, interface) in spec.interfaces.0 {
            interfaces.extend(self.interface(&name, interface, &mut subnets));
        }
        let mut routes: Vec<Route> = Vec::new();
        for route in &spec.routes {
            let Some(checked) = routes::check(route, &interfaces, &mut self.problems) else {
                continue;
            };
            if routes.iter().any(|other| other.to == checked.to) {
                let title = format!("there is a route to {} already", checked.to);
                self.problems.push(Problem::new(title, route.to.referenced));
            }
            routes.push(checked);
        }
        Some(Namespace { name: checked?, router: spec.router, routes, interfaces })
    }

    /// `subnets` are those of the namespace's interfaces so far.
    fn interface(
        &mut self,
        name: &Spanned<String>,
        spec: InterfaceSpec,
        subnets: &mut Vec<IpNet>,
    ) -> Option<Interface> {
        let checked = self.name(name, "interface", InterfaceName::new);
        let bridge = self.attachment(name, spec.bridge);
        let mac = spec.mac.as_ref().and_then(|mac| self.mac(mac));
        let addresses: Vec<(IpNet, Location)> = spec
            .addresses
            .iter()
            .filter_map(|text| Some((self.address(text)?, text.referenced)))
            .collect();
        for (address, location) in &addresses {
            if let Some(other) = subnets.iter().find(|subnet| overlap(subnet, address)) {
                let title = format!("{address} overlaps {other} of the same namespace");
                let problem = Problem::new(title, *location)
                    .help("give each interface of a namespace a subnet of its own");
                self.problems.push(problem);
            }
        }
        subnets.extend(addresses.iter().map(|(address, _)| *address));
        let bridge = bridge?;
        self.join(&bridge, name, &addresses);
        self.join_mac(&bridge, mac, spec.mac.as_ref());
        let addresses = addresses.into_iter().map(|(address, _)| address).collect();
        Some(Interface { name: checked?, bridge, mac, addresses })
    }

    /// The bridge that an interface is attached to.
    fn attachment(
        &mut self,
        interface: &Spanned<String>,
        bridge: Option<Spanned<String>>,
    ) -> Option<InterfaceName> {
        let Some(bridge) = bridge else {
            let title = format!("interface `{}` is attached to nothing", interface.value);
            let problem = Problem::new(title, interface.referenced)
                .help("say which bridge it is on: `bridge: NAME`");
            self.problems.push(problem);
            return None;
        };
        if let Some((name, _)) = self.bridges.get_key_value(bridge.value.as_str()) {
            return Some(name.clone());
        }
        let title = format!("there is no bridge `{}`", bridge.value);
        let help = nearest(&bridge.value, self.bridges.keys().map(InterfaceName::as_str))
            .unwrap_or_else(|| format!("add it under `bridges:`, as `{}: {{}}`", bridge.value));
        self.problems.push(Problem::new(title, bridge.referenced).help(help));
        None
    }

    fn mtu(&mut self, mtu: Option<&Spanned<u32>>) -> u32 {
        /// What IPv4 takes at least (RFC 791), and the most that a veth can have
        /// (`ETH_MAX_MTU`).
        const POSSIBLE: RangeInclusive<u32> = 68..=65_535;
        let Some(mtu) = mtu else { return DEFAULT_MTU };
        if !POSSIBLE.contains(&mtu.value) {
            let title = format!("an MTU of {} is not possible", mtu.value);
            let help = format!("{} to {} bytes", POSSIBLE.start(), POSSIBLE.end());
            self.problems.push(Problem::new(title, mtu.referenced).help(help));
        }
        mtu.value
    }

    fn mac(&mut self, text: &Spanned<String>) -> Option<[u8; 6]> {
        let bytes: Option<Vec<u8>> = text
            .value
            .split(':')
            .map(|byte| {
                // The standard parser would take a sign.
                let digits = byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
                digits.then(|| u8::from_str_radix(byte, 16).ok()).flatten()
            })
            .collect();
        let mac = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
        let problem = match mac {
            None => "is no MAC address",
            Some(mac) if mac == [0; 6] => "stands for no address",
            Some([first, ..]) if first & 1 != 0 => "is a multicast address",
            Some(mac) => return Some(mac),
        };
        let title = format!("`{}` {problem}", text.value);
        let help = "write `02:00:00:00:00:01`, say";
        self.problems.push(Problem::new(title, text.referenced).help(help));
        None
    }

    fn join_mac(
        &mut self,
        bridge: &InterfaceName,
        mac: Option<[u8; 6]>,
        text: Option<&Spanned<String>>,
    ) {
        let (Some(segment), Some(mac), Some(text)) = (self.bridges.get_mut(bridge), mac, text)
        else {
            return;
        };
        if segment.macs.contains(&mac) {
            let title = format!("`{}` is on `{bridge}` twice", text.value);
            self.problems.push(Problem::new(title, text.referenced));
        }
        segment.macs.push(mac);
    }

    fn address(&mut self, text: &Spanned<String>) -> Option<IpNet> {
        let parsed: Option<IpNet> = text.value.parse().ok();
        let Some(address) = parsed else {
            let title = format!("`{}` is no address with a prefix length", text.value);
            let help = match text.value.parse() {
                Ok(IpAddr::V4(ip)) => format!("write `{ip}/24`, say"),
                Ok(IpAddr::V6(ip)) => format!("write `{ip}/64`, say"),
                Err(_) => "write `10.0.0.1/24` or `fd00::1/64`, say".to_owned(),
            };
            self.problems.push(Problem::new(title, text.referenced).help(help));
            return None;
        };
        if let Some(reason) = why_not_a_host(&address) {
            let title = format!("{address} cannot be an interface's address: {reason}");
            self.problems.push(Problem::new(title, text.referenced));
            return None;
        }
        Some(address)
    }

    /// Puts an interface on a bridge.
    fn join(
        &mut self,
        bridge: &InterfaceName,
        interface: &Spanned<String>,
        addresses: &[(IpNet, Location)],
    ) {
        let Some(segment) = self.bridges.get_mut(bridge) else {
            return;
        };
        segment.ports += 1;
        if segment.ports == MAX_BRIDGE_PORTS + 1 {
            let title = format!("bridge `{bridge}` has more than {MAX_BRIDGE_PORTS} ports");
            let problem = Problem::new(title, interface.referenced)
                .label("this one is too many: the kernel takes no more")
                .help("spread the namespaces over several bridges");
            self.problems.push(problem);
        }
        for (address, location) in addresses {
            let clash = segment.addresses.iter().find(|(other, _)| {
                address.addr() == other.addr()
                    || (overlap(address, other) && address.trunc() != other.trunc())
            });
            if let Some((other, place)) = clash {
                let title = format!(
                    "{address} overlaps {other}, which is on `{bridge}` too (line {})",
                    place.line()
                );
                let help = if address.addr() == other.addr() {
                    "an address belongs to one interface"
                } else {
                    "subnets on one bridge are equal or apart"
                };
                self.problems.push(Problem::new(title, *location).help(help));
            }
            segment.addresses.push((*address, *location));
        }
    }

    /// Shortened names of host-side ends, and bridges, share the host's
    /// namespace.
    fn host_ends(&mut self, namespaces: &[Namespace]) {
        let mut taken: HashMap<InterfaceName, String> = self
            .bridges
            .keys()
            .map(|bridge| (bridge.clone(), format!("bridge `{bridge}`")))
            .collect();
        for namespace in namespaces {
            for interface in &namespace.interfaces {
                let end = InterfaceName::of_host_end(&namespace.name, &interface.name);
                let what = format!("the host's end of {}/{}", namespace.name, interface.name);
                if let Some(other) = taken.insert(end.clone(), what.clone()) {
                    let title = format!("{what} and {other} would both be called `{end}`");
                    let problem = Problem::new(title, Location::UNKNOWN).help("rename one of them");
                    self.problems.push(problem);
                }
            }
        }
    }
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn why_not_a_host(address: &IpNet) -> Option<&'static str> {
    let ip = match address.addr() {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            return Some("IPv4 addresses are written as such");
        }
        IpAddr::V4(ip) if ip.octets()[0] == 0 && !ip.is_unspecified() => {
            return Some("0.0.0.0/8 is reserved");
        }
        IpAddr::V4(ip) if ip.octets()[0] >= 240 => return Some("240.0.0.0/4 is reserved"),
        ip => ip,
    };
    if ip.is_unspecified() {
        return Some("it stands for no address");
    }
    if ip.is_multicast() {
        return Some("it is a multicast address");
    }
    if ip.is_loopback() {
        return Some("it is a loopback address");
    }
    match address {
        IpNet::V4(net) if net.prefix_len() < 31 && net.addr() == net.network() => {
            Some("it is its subnet's own address")
        }
        IpNet::V4(net) if net.prefix_len() < 31 && net.addr() == net.broadcast() => {
            Some("it is its subnet's broadcast address")
        }
        IpNet::V6(net) if net.addr().is_unicast_link_local() => {
            Some("link-local addresses are the kernel's to give")
        }
        _ => None,
    }
}
