//! Addresses: what is written, and what cannot be a host's.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_saphyr::{Location, Spanned};

use super::IPV6_MIN_MTU;
use super::problem::Problem;

/// An address that is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// That one.
    This(IpNet, Location),
    /// The next one of a subnet that is free.
    Next(IpNet, Location),
}

impl Asked {
    /// The subnet that it is in.
    pub(super) fn subnet(&self) -> IpNet {
        match self {
            Self::This(address, _) | Self::Next(address, _) => address.trunc(),
        }
    }

    pub(super) fn place(&self) -> Location {
        match self {
            Self::This(_, place) | Self::Next(_, place) => *place,
        }
    }
}

/// Checks the addresses of an interface or a bridge with that MTU.
pub(super) fn check(
    texts: &[Spanned<String>],
    mtu: u32,
    problems: &mut Vec<Problem>,
) -> Vec<Asked> {
    let asked: Vec<Asked> = texts.iter().filter_map(|text| one(text, problems)).collect();
    if mtu < IPV6_MIN_MTU
        && let Some(asked) = asked.iter().find(|asked| matches!(asked.subnet(), IpNet::V6(_)))
    {
        let title = format!("IPv6 does not work with an MTU of {mtu}");
        let help = format!("it takes {IPV6_MIN_MTU} bytes at least");
        problems.push(Problem::new(title, asked.place()).help(help));
    }
    asked
}

fn one(text: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<Asked> {
    let place = text.referenced;
    let parsed: Option<IpNet> = text.value.parse().ok();
    let Some(address) = parsed else {
        let title = format!("`{}` is no address with a prefix length", text.value);
        let help = match text.value.parse() {
            Ok(IpAddr::V4(ip)) => format!("write `{ip}/24`, say"),
            Ok(IpAddr::V6(ip)) => format!("write `{ip}/64`, say"),
            Err(_) => "write `10.0.0.1/24` or `fd00::1/64`, or `10.0.0.0/24` for the next one \
                       that is free"
                .to_owned(),
        };
        problems.push(Problem::new(title, place).help(help));
        return None;
    };
    if let Some(reason) = why_not_a_host(&address) {
        let title = format!("{address} cannot be an interface's address: {reason}");
        problems.push(Problem::new(title, place));
        return None;
    }
    let hosts = address.max_prefix_len() - address.prefix_len();
    let whole = hosts > 1 && address.addr() == address.network();
    Some(if whole { Asked::Next(address, place) } else { Asked::This(address, place) })
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
        IpNet::V4(net) if net.prefix_len() < 31 && net.addr() == net.broadcast() => {
            Some("it is its subnet's broadcast address")
        }
        IpNet::V6(net) if net.addr().is_unicast_link_local() => {
            Some("link-local addresses are the kernel's to give")
        }
        _ => None,
    }
}
