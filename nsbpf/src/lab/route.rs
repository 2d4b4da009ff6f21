//! Routes: from what was typed to an interface and a gateway.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_saphyr::Spanned;

use super::problem::{Problem, nearest};
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
    let mut routes: Vec<Route> = Vec::new();
    for spec in specs {
        let Some(checked) = one(spec, devices, problems) else { continue };
        if routes.iter().any(|other| other.to == checked.to) {
            let title = format!("there is a route to {} already", checked.to);
            problems.push(Problem::new(title, spec.to.referenced));
        }
        routes.push(checked);
    }
    routes
}

/// The default routes of a namespace through the uplinks that it is on, where it
/// has no other. `uplink` tells the uplink that an interface is on.
pub(super) fn by_uplinks<'a>(
    interfaces: &[(LinkId, &Interface)],
    uplink: impl Fn(&Interface) -> Option<&'a Bridge>,
    routes: &mut Vec<Route>,
) {
    for (dev, interface) in interfaces {
        let Some(bridge) = uplink(interface).filter(|_| interface.up) else { continue };
        for gateway in &bridge.addresses {
            let on_link = interface.addresses.iter().any(|address| address.contains(gateway));
            let to = everywhere(gateway.addr());
            if on_link && routes.iter().all(|route| route.to != to) {
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

fn one(spec: &RouteSpec, devices: &[Device<'_>], problems: &mut Vec<Problem>) -> Option<Route> {
    let dev = match &spec.dev {
        Some(typed) => Some(device(typed, devices, problems)?),
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
    let behind = |device: &&Device<'_>| {
        device.addresses.iter().any(|subnet| subnet.contains(&via) && subnet.addr() != via)
    };
    if let Some(dev) = dev {
        refuse_down(dev, &spec.to, problems)?;
        let onlink = !behind(&dev);
        return Some(Route { to, via: Some(via), onlink, dev: dev.id.clone(), implied: false });
    }
    let Some(dev) = devices.iter().find(behind) else {
        let title = format!("the gateway {via} is in no subnet of this namespace");
        let subnets: Vec<String> = devices
            .iter()
            .flat_map(|device| device.addresses)
            .map(|subnet| subnet.trunc().to_string())
            .collect();
        let help = match subnets.as_slice() {
            [] => "give an interface an address first".to_owned(),
            subnets => format!("its subnets are {}", subnets.join(", ")),
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

fn device<'a, 'd>(
    typed: &Spanned<String>,
    devices: &'d [Device<'a>],
    problems: &mut Vec<Problem>,
) -> Option<&'d Device<'a>> {
    let found = devices.iter().find(|device| device.name == typed.value);
    if found.is_none() {
        let title = format!("there is no interface `{}` in this namespace", typed.value);
        let help = nearest(&typed.value, devices.iter().map(|device| device.name));
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
