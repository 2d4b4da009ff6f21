//! What the table of a lab holds, and what of it can be read from a table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::expression::{Expression, Is, Meta, Verdict};
use crate::net::attribute::until_zero;

/// Bytes that an interface's name is compared in (`IFNAMSIZ`).
const NAME_BYTES: usize = 16;
/// `NFPROTO_IPV4`, `NFPROTO_IPV6`
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// Offset and length of the source address in either header.
const SOURCE_V4: (u32, u32) = (12, 4);
const SOURCE_V6: (u32, u32) = (8, 16);
/// Bits of a connection's state (`NF_CT_STATE_BIT` of `IP_CT_ESTABLISHED` and
/// `IP_CT_RELATED`), compared in the machine's order.
const ESTABLISHED_OR_RELATED: u32 = 0b110;

/// Bridges with a way out, and the subnets behind each.
pub type Uplinks = BTreeMap<String, BTreeSet<IpNet>>;

/// The expressions of a rule.
pub(super) type Rule = Vec<Expression>;

/// Where a chain is called, and what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hook {
    pub(super) kind: String,
    pub(super) number: u32,
    pub(super) priority: i32,
    pub(super) policy: u32,
}

/// A chain and its rules, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: String,
    /// `None` when only other chains call it.
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Rule>,
}

/// The chains of a table, by name.
pub(super) fn chains(uplinks: &Uplinks) -> Vec<Chain> {
    /// `NF_INET_FORWARD` and `NF_INET_POST_ROUTING`
    const FORWARD: u32 = 2;
    const POST_ROUTING: u32 = 4;
    /// `NF_IP_PRI_FILTER` and `NF_IP_PRI_NAT_SRC`
    const FILTER: i32 = 0;
    const NAT_SRC: i32 = 100;
    let hook = |kind: &str, number, priority| {
        Some(Hook { kind: kind.to_owned(), number, priority, policy: Verdict::Accept as u32 })
    };
    let bridges = || uplinks.keys().map(String::as_str);
    let subnets = uplinks
        .iter()
        .flat_map(|(bridge, subnets)| subnets.iter().map(|subnet| (bridge.as_str(), *subnet)));
    vec![
        Chain {
            name: "forward".to_owned(),
            hook: hook("filter", FORWARD, FILTER),
            rules: bridges()
                .map(accept_from)
                .chain(bridges().flat_map(|bridge| [accept_answers_to(bridge), drop_to(bridge)]))
                .collect(),
        },
        Chain {
            name: "postrouting".to_owned(),
            hook: hook("nat", POST_ROUTING, NAT_SRC),
            rules: subnets.map(|(bridge, subnet)| masquerade(bridge, subnet)).collect(),
        },
    ]
}

/// The uplinks that chains were made for, as far as that can be read from them.
pub(super) fn uplinks(chains: &[Chain]) -> Uplinks {
    let mut uplinks = Uplinks::new();
    for rule in chains.iter().flat_map(|chain| &chain.rules) {
        if let [Expression::Meta(Meta::OutputName), Expression::Compare(Is::Equal, name), ..] =
            rule.as_slice()
        {
            uplinks.entry(until_zero(name)).or_default();
        } else if let Some((bridge, subnet)) = masqueraded(rule) {
            uplinks.entry(bridge).or_default().insert(subnet);
        }
    }
    uplinks
}

/// What comes from an uplink is none of this table's business, so it passes
/// before the rules about what goes to one.
fn accept_from(bridge: &str) -> Rule {
    vec![
        Expression::Meta(Meta::InputName),
        Expression::Compare(Is::Equal, padded(bridge)),
        Expression::Verdict(Verdict::Accept),
    ]
}

fn accept_answers_to(bridge: &str) -> Rule {
    vec![
        Expression::Meta(Meta::OutputName),
        Expression::Compare(Is::Equal, padded(bridge)),
        Expression::ConnectionState,
        Expression::Mask(ESTABLISHED_OR_RELATED.to_ne_bytes().to_vec()),
        Expression::Compare(Is::NotEqual, vec![0; 4]),
        Expression::Verdict(Verdict::Accept),
    ]
}

fn drop_to(bridge: &str) -> Rule {
    vec![
        Expression::Meta(Meta::OutputName),
        Expression::Compare(Is::Equal, padded(bridge)),
        Expression::Counter,
        Expression::Verdict(Verdict::Drop),
    ]
}

fn masquerade(bridge: &str, subnet: IpNet) -> Rule {
    let (family, (offset, length)) = match subnet {
        IpNet::V4(_) => (IPV4, SOURCE_V4),
        IpNet::V6(_) => (IPV6, SOURCE_V6),
    };
    let bytes = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    vec![
        Expression::Meta(Meta::Family),
        Expression::Compare(Is::Equal, vec![family]),
        Expression::Network { offset, length },
        Expression::Mask(bytes(subnet.netmask())),
        Expression::Compare(Is::Equal, bytes(subnet.network())),
        Expression::Meta(Meta::OutputName),
        Expression::Compare(Is::NotEqual, padded(bridge)),
        Expression::Masquerade,
    ]
}

/// Bridge and subnet of a rule that [`masquerade`] could have made.
fn masqueraded(rule: &Rule) -> Option<(String, IpNet)> {
    let [_, _, _, Expression::Mask(mask), Expression::Compare(_, network), _, last, _] =
        rule.as_slice()
    else {
        return None;
    };
    let Expression::Compare(_, bridge) = last else {
        return None;
    };
    let bridge = until_zero(bridge);
    let subnet = IpNet::with_netmask(address(network)?, address(mask)?).ok()?;
    (masquerade(&bridge, subnet) == *rule).then_some((bridge, subnet))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(|octets| Ipv4Addr::from(octets).into());
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into());
    v4().or_else(v6)
}

fn padded(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(NAME_BYTES, 0);
    bytes
}

/// Whether the kernel could have an interface of that name.
pub(super) fn fits(name: &str) -> bool {
    (1..NAME_BYTES).contains(&name.len()) && !name.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Uplinks {
        let subnets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        [
            ("br0".to_owned(), subnets(&["10.0.0.0/24", "fd00::/64", "10.9.8.7/32"])),
            ("fifteen-letters".to_owned(), subnets(&["0.0.0.0/0", "::/0", "fd01::1/128"])),
            ("empty".to_owned(), subnets(&[])),
        ]
        .into()
    }

    #[test]
    fn what_it_was_made_for_can_be_read() {
        assert_eq!(uplinks(&chains(&some())), some());
        assert_eq!(uplinks(&chains(&Uplinks::new())), Uplinks::new());
    }

    #[test]
    fn a_rule_that_differs_is_not_taken_for_ours() {
        let rule = masquerade("br0", "10.0.0.0/24".parse().unwrap());
        for place in 0..rule.len() {
            let mut other = rule.clone();
            other[place] = Expression::Counter;
            assert_eq!(masqueraded(&other), None, "without expression {place}");
        }
        let mut holes = rule.clone();
        holes[3] = Expression::Mask(vec![255, 0, 255, 0]);
        assert_eq!(masqueraded(&holes), None);
    }
}
