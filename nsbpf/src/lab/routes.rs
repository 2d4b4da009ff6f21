//! Routes: from what was typed to an interface and a gateway.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_saphyr::Spanned;

use super::problem::Problem;
use super::spec::RouteSpec;
use super::{Interface, Route};

/// Checks a route of a namespace that has these interfaces.
pub(super) fn check(
    spec: &RouteSpec,
    interfaces: &[Interface],
    problems: &mut Vec<Problem>,
) -> Option<Route> {
    let via = gateway(&spec.via, problems)?;
    let to = destination(&spec.to, via, problems)?;
    let behind = interfaces.iter().find(|interface| {
        interface.addresses.iter().any(|subnet| subnet.contains(&via) && subnet.addr() != via)
    });
    let Some(interface) = behind else {
        let title = format!("the gateway {via} is in no subnet of this namespace");
        let subnets: Vec<String> = interfaces
            .iter()
            .flat_map(|interface| &interface.addresses)
            .map(|subnet| subnet.trunc().to_string())
            .collect();
        let help = match subnets.as_slice() {
            [] => "give an interface an address first".to_owned(),
            subnets => format!("its subnets are {}", subnets.join(", ")),
        };
        problems.push(Problem::new(title, spec.via.referenced).help(help));
        return None;
    };
    Some(Route { to, via, interface: interface.name.clone() })
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

fn destination(text: &Spanned<String>, via: IpAddr, problems: &mut Vec<Problem>) -> Option<IpNet> {
    if text.value == "default" {
        let everywhere = match via {
            IpAddr::V4(_) => "0.0.0.0/0",
            IpAddr::V6(_) => "::/0",
        };
        return everywhere.parse().ok();
    }
    let to: Option<IpNet> = text.value.parse().ok();
    let (problem, help) = match to {
        None => ("is no subnet", "write `default` or `10.1.0.0/24`, say".to_owned()),
        Some(to) if to.trunc() != to => {
            ("is an address in a subnet", format!("write `{}`", to.trunc()))
        }
        Some(to) if to.addr().is_ipv4() != via.is_ipv4() => {
            ("and its gateway are of different families", "IPv4 with IPv4, IPv6 with IPv6".into())
        }
        Some(to) => return Some(to),
    };
    let title = format!("`{}` {problem}", text.value);
    problems.push(Problem::new(title, text.referenced).help(help));
    None
}
