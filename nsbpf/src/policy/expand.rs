//! From rules to boxes: what a rule asks is a list of ranges in each field, and one of each
//! list together are a box.

mod sides;
mod space;

use nsbpf_common::policy::value::{ICMP, ICMPV6, IPV4, IPV6};
use nsbpf_common::policy::{Decision, field};

use self::sides::{Sides, Unclear};
use self::space::{Part, Space, parts};
use super::shadow::{self, Shadowed};
use super::{Compiled, Ends, Kind, Ranked, TooComplex};
use crate::lab::policy::{Ethertypes, Match, Policy, Ranges, Rule};
use crate::lab::{InterfaceId, RuleName};

/// Boxes of all rules together at most.
pub const MAX_CONDITIONS: usize = 1 << 18;

/// A policy, compiled, and what there is to know of it besides.
#[derive(Clone, Debug)]
pub struct Ruleset {
    /// Conditions and trees. The slot of a condition's decision is 1 more than the place of
    /// its rule.
    pub compiled: Compiled,
    /// Whether some rule names ARP, which passes otherwise.
    pub about_arp: bool,
    /// Whether some rule names IPv6 neighbour discovery, which passes otherwise.
    pub about_discovery: bool,
    /// Rules that no packet reaches.
    pub shadowed: Vec<Shadowed>,
}

/// Why a policy cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More boxes than there may be.
    #[error(
        "rule {number} (`{name}`) brings the policy over {MAX_CONDITIONS} combinations of \
         addresses, ports and what else it lists: split the lists, or write subnets and ranges"
    )]
    TooMany {
        /// The rule's number, from 1.
        number: usize,
        /// Its name.
        name: RuleName,
    },
    /// An interface that is not there.
    #[error(
        "rule {number} (`{name}`) is about {interface}, which is not there: `nsbpf up` the lab"
    )]
    Unknown {
        /// The rule's number, from 1.
        number: usize,
        /// Its name.
        name: RuleName,
        /// The interface.
        interface: InterfaceId,
    },
    /// No table for it answers quickly.
    #[error(transparent)]
    TooComplex(#[from] TooComplex),
}

/// Compiles a policy for interfaces that are there.
pub fn compile(policy: &Policy, ends: &Ends) -> Result<Ruleset, PolicyError> {
    let mut sides = Sides::new(ends);
    let mut ranked = Vec::new();
    for (place, rule) in policy.rules.iter().enumerate() {
        let (number, name) = (place + 1, || rule.name.clone());
        for kind in Kind::ALL {
            expand(number, rule, kind, &mut sides, &mut ranked).map_err(|why| match why {
                Unclear::TooMuch => PolicyError::TooMany { number, name: name() },
                Unclear::Unknown(interface) => {
                    PolicyError::Unknown { number, name: name(), interface }
                }
            })?;
        }
    }
    let compiled = Compiled::new(&ranked)?;
    let kinds: Vec<Kind> = ranked.into_iter().map(|one| one.kind).collect();
    let asks = || policy.rules.iter().map(|rule| &rule.matches);
    Ok(Ruleset {
        about_arp: asks().any(Match::names_arp),
        about_discovery: asks().any(Match::names_discovery),
        shadowed: shadow::find(&compiled, &kinds, policy.rules.len()),
        compiled,
    })
}

/// Adds the boxes of a rule that packets of a kind may be in.
fn expand(
    number: usize,
    rule: &Rule,
    kind: Kind,
    sides: &mut Sides<'_>,
    ranked: &mut Vec<Ranked>,
) -> Result<(), Unclear> {
    let asked = &rule.matches;
    let Some(mut lists) = fields(asked, kind) else { return Ok(()) };
    if let Some(from) = &asked.from {
        lists.push(sides.from(kind, from)?);
    }
    if let Some(to) = &asked.to {
        lists.push(sides.to(kind, to)?);
    }
    let count = lists.iter().try_fold(1_usize, |count, list| count.checked_mul(list.len()));
    let room = MAX_CONDITIONS - ranked.len();
    if count.is_none_or(|count| count > room) {
        return Err(Unclear::TooMuch);
    }
    let flags = asked.flags.map_or((0, 0), |flags| (flags.mask, flags.set));
    let mut boxes = vec![Space::all(flags)];
    for list in &lists {
        let within = |space: &Space| {
            let space = *space;
            list.iter().map(move |part| space.within(kind, part))
        };
        boxes = boxes.iter().flat_map(within).collect();
    }
    let slot = u32::try_from(number).map_err(|_| Unclear::TooMuch)?;
    let decision = Decision::new(rule.action.action(), rule.log.is_some(), slot);
    ranked.extend(boxes.iter().map(|space| space.ranked(kind, decision)));
    Ok(())
}

/// What a rule asks but for its ends, as a list of parts each; `None` if packets of that
/// kind cannot be that.
fn fields(asked: &Match, kind: Kind) -> Option<Vec<Vec<Part>>> {
    let mut lists = Vec::new();
    let mut list = |field: u32, ranges: &Option<Ranges<u64>>| {
        lists.extend(ranges.as_ref().map(|ranges| parts(field, ranges)));
    };
    list(field::VLAN, &asked.vlans);
    list(field::SOURCE_MAC, &asked.source_macs);
    list(field::DESTINATION_MAC, &asked.destination_macs);
    let (protocol, of_other_family, icmp) = match kind {
        Kind::V4 => (IPV4, ICMPV6, asked.icmp.as_ref().map(|icmp| &icmp.v4)),
        Kind::V6 => (IPV6, ICMP, asked.icmp.as_ref().map(|icmp| &icmp.v6)),
        Kind::Other => return is_no_ip(asked).then(|| with_ethertype(lists, asked)),
    };
    if !asked.ethertypes.contains(protocol) {
        return None;
    }
    if let Some(protocols) = &asked.protocols {
        let other = Ranges::new([of_other_family..=of_other_family]);
        list(field::PROTOCOL, &Some(protocols.without(&other)));
    }
    if let Some(icmp) = icmp {
        // 0 is no ICMP.
        let some = icmp.iter().map(|range| range.start() + 1..=range.end() + 1);
        list(field::ICMP, &Some(Ranges::new(some)));
    }
    list(field::SOURCE_PORT, &asked.source_ports);
    list(field::DESTINATION_PORT, &asked.ports);
    list(field::DSCP, &asked.dscps);
    list(field::FRAGMENT, &asked.fragments);
    Some(lists)
}

/// Whether a packet that is no IP can be what a rule asks.
fn is_no_ip(asked: &Match) -> bool {
    let of_ip = [&asked.protocols, &asked.source_ports, &asked.ports, &asked.dscps];
    let asks_ip = of_ip.into_iter().chain([&asked.fragments]).any(Option::is_some);
    !asks_ip && asked.flags.is_none() && asked.icmp.is_none() && asked.ethertypes != Ethertypes::Ip
}

fn with_ethertype(mut lists: Vec<Vec<Part>>, asked: &Match) -> Vec<Vec<Part>> {
    if let Ethertypes::Some(some) = &asked.ethertypes {
        let ip = Ranges::new([IPV4..=IPV4, IPV6..=IPV6]);
        lists.push(parts(field::ETHERTYPE, &some.without(&ip)));
    }
    lists
}
