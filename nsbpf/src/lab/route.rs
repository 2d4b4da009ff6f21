//! Routes: from what was typed to an interface and a gateway.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde_saphyr::Spanned;

use super::problem::{Problem, listed, nearest_if_seen};
use super::spec::RouteSpec;
use super::{Bridge, Interface, LinkId, Route};

/// What a namespace can send by: an interface, or a bridge in it.
pub(super) struct Device<'a> {
    pub(super) id: LinkId,
    pub(super) name: &'a str,
    pub(super) addresses: &'a [IpNet],
    pub(super) up: bool,
}

/// Checks the routes of a namespace that has these devices.
pub(super) fn check(
    specs: &[RouteSpec],
    devices: &[Device<'_>],
    problems: &mut Vec<Problem>,
) -> Vec<Route> {
    if specs.is_empty() {
        return Vec::new();
    }
    let links = Links::of(devices);
    let mut routes: Vec<Route> = Vec::new();
    let mut known: HashSet<IpNet> = HashSet::new();
    for spec in specs {
        let Some(checked) = one(spec, &links, problems) else { continue };
        if !known.insert(checked.to) {
            let title = format!("there is a route to {} already", checked.to);
            problems.push(Problem::new(title, spec.to.referenced));
        }
        routes.push(checked);
    }
    routes
}

/// The devices of a namespace, to be found by name and by subnet.
struct Links<'d> {
    devices: &'d [Device<'d>],
    by_name: HashMap<&'d str, &'d Device<'d>>,
    /// By their first addresses: those of a lab that is right are equal or apart.
    by_subnet: BTreeMap<IpAddr, (IpNet, &'d Device<'d>)>,
    own: HashSet<IpAddr>,
}

impl<'d> Links<'d> {
    fn of(devices: &'d [Device<'d>]) -> Self {
        let mut links = Self {
            devices,
            by_name: HashMap::new(),
            by_subnet: BTreeMap::new(),
            own: HashSet::new(),
        };
        for device in devices {
            links.by_name.entry(device.name).or_insert(device);
            for address in device.addresses {
                let subnet = address.trunc();
                links.by_subnet.entry(subnet.addr()).or_insert((subnet, device));
                links.own.insert(address.addr());
            }
        }
        links
    }

    /// The device whose subnet an address is in.
    fn behind(&self, via: IpAddr) -> Option<&'d Device<'d>> {
        let (_, (subnet, device)) = self.by_subnet.range(..=via).next_back()?;
        subnet.contains(&via).then_some(*device)
    }

    fn subnets(&self) -> impl Iterator<Item = IpNet> + use<'_, 'd> {
        self.devices.iter().flat_map(|device| device.addresses).map(IpNet::trunc)
    }
}

/// The default routes of a namespace through the uplinks that it is on, where it
/// has no other. `uplink` tells the uplink that an interface is on.
pub(super) fn by_uplinks<'a>(
    interfaces: &[(LinkId, &Interface)],
    uplink: impl Fn(&Interface) -> Option<&'a Bridge>,
    routes: &mut Vec<Route>,
) {
    let mut known: HashSet<IpNet> =
        routes.iter().map(|route| route.to).filter(|to| to.prefix_len() == 0).collect();
    for (dev, interface) in interfaces {
        let Some(bridge) = uplink(interface).filter(|_| interface.up) else { continue };
        for gateway in &bridge.addresses {
            let on_link = interface.addresses.iter().any(|address| address.contains(gateway));
            let to = everywhere(gateway.addr());
            if on_link && known.insert(to) {
                let (via, dev) = (Some(gateway.addr()), dev.clone());
                routes.push(Route { to, via, onlink: false, dev, implied: true });
            }
        }
    }
}

fn everywhere(family: IpAddr) -> IpNet {
    let unspecified = match family {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    };
    IpNet::new_assert(unspecified, 0)
}

fn one(spec: &RouteSpec, links: &Links<'_>, problems: &mut Vec<Problem>) -> Option<Route> {
    let dev = match &spec.dev {
        Some(typed) => Some(device(typed, links, problems)?),
        None => None,
    };
    let Some(typed) = &spec.via else {
        let Some(dev) = dev else {
            let title = "a route leads through a gateway, or right onto a link".to_owned();
            let help = "add `via: 10.0.0.254`, say, or `dev: eth0`";
            problems.push(Problem::new(title, spec.to.referenced).help(help));
            return None;
        };
        refuse_down(dev, &spec.to, problems)?;
        let to = destination(&spec.to, None, problems)?;
        return Some(Route { to, via: None, onlink: false, dev: dev.id.clone(), implied: false });
    };
    let via = gateway(typed, problems)?;
    let to = destination(&spec.to, Some(via), problems)?;
    if links.own.contains(&via) {
        let title = format!("the gateway {via} is this namespace itself");
        problems.push(Problem::new(title, typed.referenced).help("name a neighbour's address"));
        return None;
    }
    let behind = links.behind(via);
    if let Some(dev) = dev {
        refuse_down(dev, &spec.to, problems)?;
        let onlink = behind.is_none_or(|behind| behind.id != dev.id);
        return Some(Route { to, via: Some(via), onlink, dev: dev.id.clone(), implied: false });
    }
    let Some(dev) = behind else {
        let title = format!("the gateway {via} is in no subnet of this namespace");
        let help = match links.subnets().next() {
            None => "give an interface an address first".to_owned(),
            Some(_) => format!("its subnets are {}", listed(links.subnets())),
        };
        problems.push(Problem::new(title, typed.referenced).help(help));
        return None;
    };
    refuse_down(dev, &spec.to, problems)?;
    Some(Route { to, via: Some(via), onlink: false, dev: dev.id.clone(), implied: false })
}

/// The kernel takes no route by a device that is down.
fn refuse_down(
    dev: &Device<'_>,
    place: &Spanned<String>,
    problems: &mut Vec<Problem>,
) -> Option<()> {
    if !dev.up {
        let title = format!("a route cannot go by `{}`, which is down", dev.name);
        let help = "leave the route out for as long as the interface has `up: false`";
        problems.push(Problem::new(title, place.referenced).help(help));
    }
    dev.up.then_some(())
}

fn device<'d>(
    typed: &Spanned<String>,
    links: &Links<'d>,
    problems: &mut Vec<Problem>,
) -> Option<&'d Device<'d>> {
    let found = links.by_name.get(typed.value.as_str()).copied();
    if found.is_none() {
        let title = format!("there is no interface `{}` in this namespace", typed.value);
        let names = links.devices.iter().map(|device| device.name);
        let help = nearest_if_seen(problems, &typed.value, names);
        problems.push(Problem::new(title, typed.referenced).help_if(help));
    }
    found
}

fn gateway(text: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<IpAddr> {
    let via = text.value.parse().ok();
    if via.is_none() {
        let title = format!("`{}` is no address", text.value);
        let help = "write `10.0.0.254`, say: a gateway has no prefix length";
        problems.push(Problem::new(title, text.referenced).help(help));
    }
    via
}

fn destination(
    text: &Spanned<String>,
    via: Option<IpAddr>,
    problems: &mut Vec<Problem>,
) -> Option<IpNet> {
    let to: Option<IpNet> = text.value.parse().ok();
    let (problem, help) = match (to, via) {
        (_, Some(via)) if text.value == "default" => return Some(everywhere(via)),
        (None, _) if text.value == "default" => {
            ("is IPv4 or IPv6?", "without a gateway write `0.0.0.0/0` or `::/0`".to_owned())
        }
        (None, _) => ("is no subnet", "write `default` or `10.1.0.0/24`, say".to_owned()),
        (Some(to), _) if to.trunc() != to => {
            ("is an address in a subnet", format!("write `{}`", to.trunc()))
        }
        (Some(to), Some(via)) if to.addr().is_ipv4() != via.is_ipv4() => {
            ("and its gateway are of different families", "IPv4 with IPv4, IPv6 with IPv6".into())
        }
        (Some(to), _) => return Some(to),
    };
    let title = format!("`{}` {problem}", text.value);
    problems.push(Problem::new(title, text.referenced).help(help));
    None
}
