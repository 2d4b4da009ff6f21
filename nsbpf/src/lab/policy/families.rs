//! Whether any packet can be all that a rule asks: what is of IPv4 only does not go with
//! what is of IPv6 only, nor what only IP has with other network protocols.

use ipnet::IpNet;
use serde_saphyr::Location;

use super::matches::{Ethertypes, Match, Place, Side};
use super::names;
use crate::lab::problem::Problem;

/// Of IPv4, of IPv6, and of anything else.
type Families = [bool; 3];

const IP: Families = [true, true, false];
const ALL: Families = [true; 3];
const NAMES: [&str; 3] = ["IPv4", "IPv6", "what is no IP"];

/// What a rule asks under a key, of which families that is, and where it says so.
struct Asked {
    key: &'static str,
    families: Families,
    place: Location,
}

/// Where each key of a rule is.
pub(super) type PlaceOf<'a> = &'a dyn Fn(&str) -> Location;

/// Tells the first thing that no packet can be together with the ones before it.
pub(super) fn check(matches: &Match, place_of: PlaceOf<'_>, problems: &mut Vec<Problem>) {
    let mut so_far: Vec<Asked> = Vec::new();
    let mut left = ALL;
    for (key, families) in of_each(matches) {
        let place = place_of(key);
        let next = both(left, families);
        if next != [false; 3] {
            left = next;
            so_far.push(Asked { key, families, place });
            continue;
        }
        let against = so_far.iter().find(|other| both(other.families, families) == [false; 3]);
        let title = match against {
            Some(other) => format!(
                "`{key}` is about {}, and `{}` about {}",
                told(families),
                other.key,
                told(other.families)
            ),
            None => {
                format!("`{key}` is about {}, and the rest about {}", told(families), told(left))
            }
        };
        let help = "no packet is both: leave one of them out, or write two rules";
        let line = against.map_or(place, |other| other.place).line();
        let label = if line == place.line() { String::new() } else { format!("see line {line}") };
        problems.push(Problem::new(title, place).label(label).help(help));
        return;
    }
}

fn both(one: Families, other: Families) -> Families {
    [one[0] && other[0], one[1] && other[1], one[2] && other[2]]
}

fn told(families: Families) -> String {
    let named = NAMES.iter().zip(families).filter(|(_, is)| *is).map(|(name, _)| *name);
    named.collect::<Vec<_>>().join(" and ")
}

/// The keys that are asked, each with what it is about.
fn of_each(matches: &Match) -> Vec<(&'static str, Families)> {
    let ethertypes = match &matches.ethertypes {
        Ethertypes::Ip => IP,
        Ethertypes::Any => ALL,
        Ethertypes::Some(some) => {
            let known = [names::IPV4, names::IPV6];
            let [is_v4, is_v6] = known.map(|it| some.contains(it));
            let others = some.iter().flatten().any(|it| !known.contains(&it));
            [is_v4, is_v6, others]
        }
    };
    let protocols = matches.protocols.as_ref().map(|some| {
        let others = some.iter().flatten().any(|it| ![names::ICMP, names::ICMPV6].contains(&it));
        [others || some.contains(names::ICMP), others || some.contains(names::ICMPV6), false]
    });
    let ip = |is_asked: bool| is_asked.then_some(IP);
    let all = [
        ("ethertype", Some(ethertypes)),
        ("from", matches.from.as_ref().map(|side| of_side(side, true))),
        ("to", matches.to.as_ref().map(|side| of_side(side, false))),
        ("proto", protocols),
        ("source_ports", ip(matches.source_ports.is_some())),
        ("ports", ip(matches.ports.is_some())),
        ("flags", ip(matches.flags.is_some())),
        ("icmp", matches.icmp.as_ref().map(|it| [!it.v4.is_empty(), !it.v6.is_empty(), false])),
        ("dscp", ip(matches.dscps.is_some())),
        ("fragment", ip(matches.fragments.is_some())),
    ];
    all.into_iter().filter_map(|(key, families)| Some((key, families?))).collect()
}

/// Packets without addresses come by ports at most, and are for no address.
fn of_side(side: &Side, by_port: bool) -> Families {
    if side.negated {
        return ALL;
    }
    side.places().fold([false; 3], |[v4, v6, other], place| match place {
        Place::Interfaces(_) => [true, true, other || by_port],
        Place::Own(address) => [v4 || address.is_ipv4(), v6 || address.is_ipv6(), other],
        Place::Net(IpNet::V4(_)) => [true, v6, other],
        Place::Net(IpNet::V6(_)) => [v4, true, other],
    })
}
