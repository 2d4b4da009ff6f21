//! From a policy as it is typed to what it means, or to all that is wrong with it.

use std::collections::HashMap;

use serde_saphyr::{Location, Spanned};

use super::matches::Match;
use super::names::{ICMP, ICMPV6, TCP, WITH_PORTS};
use super::places::{Known, Places};
use super::ranges::Ranges;
use super::spec::{PolicySpec, RuleSpec};
use super::{Fallback, MAX_RULES, Policy, Rule, RuleAction, families, fields, limit};
use crate::lab::name::RuleName;
use crate::lab::problem::{Problem, nearest};

const ACTIONS: [&str; 5] = ["allow", "deny", "reject", "limit", "log"];

/// Checks a policy against what a lab has.
pub(in crate::lab) fn check(
    spec: &PolicySpec,
    known: Known<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Policy> {
    let before = problems.len();
    let default = fallback(spec.default.as_ref(), problems);
    if let Some(first) = spec.rules.get(MAX_RULES) {
        let title = format!("there are {} rules", spec.rules.len());
        let help = format!("a policy has {MAX_RULES} at most: put addresses and ports into lists");
        problems.push(Problem::new(title, first.action.referenced).help(help));
        return None;
    }
    let mut places = Places::new(known);
    places.define(&spec.sets, problems);
    let names = names(&spec.rules, problems);
    let rules: Vec<Rule> = spec
        .rules
        .iter()
        .zip(names)
        .filter_map(|(rule, name)| self::rule(rule, name, &mut places, problems))
        .collect();
    let established = spec.established.unwrap_or(true);
    (problems.len() == before).then_some(Policy { default, established, rules })
}

fn fallback(said: Option<&Spanned<String>>, problems: &mut Vec<Problem>) -> Fallback {
    match said.map(|said| (said.value.as_str(), said.referenced)) {
        None | Some(("allow", _)) => Fallback::Allow,
        Some(("deny", _)) => Fallback::Deny,
        Some((word, place)) => {
            let title = format!("`{word}` cannot be the default");
            problems.push(Problem::new(title, place).help("write `allow` or `deny`"));
            Fallback::Allow
        }
    }
}

/// The rules' names; `None` for one that cannot be.
fn names(rules: &[RuleSpec], problems: &mut Vec<Problem>) -> Vec<Option<RuleName>> {
    let mut taken: HashMap<String, Location> = HashMap::new();
    let mut named = Vec::with_capacity(rules.len());
    for (number, rule) in (1..).zip(rules) {
        let (name, place) = match &rule.name {
            Some(name) => (name.value.clone(), name.referenced),
            None => (format!("rule-{number}"), rule.action.referenced),
        };
        let other = taken.insert(name.clone(), place);
        named.push(match (RuleName::new(&name), other) {
            (Ok(name), None) => Some(name),
            (Ok(_), Some(other)) => {
                let title = format!("there is a rule `{name}` already (line {})", other.line());
                problems.push(Problem::new(title, place).help("give one of them another name"));
                None
            }
            (Err(why), _) => {
                problems.push(Problem::name(&name, "a rule", place, why));
                None
            }
        });
    }
    named
}

fn rule(
    spec: &RuleSpec,
    name: Option<RuleName>,
    places: &mut Places<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Rule> {
    let before = problems.len();
    let log = log(spec, problems);
    let action = action(spec, problems);
    let from = places.side("from", spec.from.as_ref(), problems);
    let to = places.side("to", spec.to.as_ref(), problems);
    let mut protocols = fields::protocols(spec.proto.as_ref(), problems);
    if problems.len() == before {
        protocols = implied_protocols(spec, protocols, problems);
    }
    let has = |number| protocols.as_ref().is_none_or(|it: &Ranges<u64>| it.contains(number));
    let (is_v4, is_v6) = (has(ICMP), has(ICMPV6));
    let matches = Match {
        from,
        to,
        source_ports: fields::ports("source_ports", spec.source_ports.as_ref(), problems),
        ports: fields::ports("ports", spec.ports.as_ref(), problems),
        flags: fields::flags(spec.flags.as_ref(), problems),
        icmp: fields::icmp(spec.icmp.as_ref(), is_v4, is_v6, problems),
        dscps: fields::dscps(spec.dscp.as_ref(), problems),
        vlans: fields::vlans(spec.vlan.as_ref(), problems),
        source_macs: fields::macs("source_mac", spec.source_mac.as_ref(), problems),
        destination_macs: fields::macs("destination_mac", spec.destination_mac.as_ref(), problems),
        ethertypes: fields::ethertypes(spec.ethertype.as_ref(), problems),
        fragments: fields::fragments(spec.fragment.as_ref(), problems),
        protocols,
    };
    if problems.len() > before {
        return None;
    }
    families::check(&matches, &|key| place(spec, key), problems);
    let (name, action) = (name?, action?);
    (problems.len() == before).then_some(Rule { name, matches, action, log })
}

/// What follows from what else is asked, where no protocol is said; refuses what does not
/// go with one that is.
fn implied_protocols(
    spec: &RuleSpec,
    said: Option<Ranges<u64>>,
    problems: &mut Vec<Problem>,
) -> Option<Ranges<u64>> {
    let asked = [
        ("flags", spec.flags.is_some(), &[TCP][..], "tcp"),
        ("icmp", spec.icmp.is_some(), &[ICMP, ICMPV6], "icmp or icmpv6"),
        ("source_ports", spec.source_ports.is_some(), &WITH_PORTS, "tcp, udp or sctp"),
        ("ports", spec.ports.is_some(), &WITH_PORTS, "tcp, udp or sctp"),
    ];
    let mut protocols = said;
    for (key, _, possible, words) in asked.into_iter().filter(|(_, is_asked, _, _)| *is_asked) {
        let possible = Ranges::new(possible.iter().map(|number| *number..=*number));
        match &protocols {
            None if spec.proto.is_none() => protocols = Some(possible),
            Some(some) if some.without(&possible).is_empty() => {}
            // `any`, or one of another kind.
            _ => {
                let title = format!("`{key}` is of {words}, and the rule is about more than that");
                let help =
                    format!("say `proto: {}`", words.split([',', ' ']).next().unwrap_or(words));
                problems.push(Problem::new(title, place(spec, key)).help(help));
            }
        }
    }
    protocols
}

fn action(spec: &RuleSpec, problems: &mut Vec<Problem>) -> Option<RuleAction> {
    let place = spec.action.referenced;
    if spec.action.value == "limit" {
        let Some(limit) = &spec.limit else {
            let title = "the rule does not say what its limit is".to_owned();
            problems
                .push(Problem::new(title, place).help("add `limit: 100/s`, or `limit: 10Mbit/s`"));
            return None;
        };
        return limit::check(limit, spec.burst.as_ref(), problems).map(RuleAction::Limit);
    }
    for (key, said) in [("limit", &spec.limit), ("burst", &spec.burst)] {
        if let Some(said) = said {
            let title = format!("`{key}` is of a rule whose action is `limit`");
            let help = format!("write `action: limit`, or leave `{key}` out");
            problems.push(Problem::new(title, said.referenced).help(help));
        }
    }
    match spec.action.value.as_str() {
        "allow" | "log" => Some(RuleAction::Allow),
        "deny" => Some(RuleAction::Deny),
        "reject" => Some(RuleAction::Reject),
        word => {
            let title = format!("`{word}` is no action");
            problems.push(Problem::new(title, place).help_if(nearest(word, ACTIONS)));
            None
        }
    }
}

/// If packets are logged: one of so many.
fn log(spec: &RuleSpec, problems: &mut Vec<Problem>) -> Option<u32> {
    let is_action = spec.action.value == "log";
    let Some(said) = &spec.log else { return is_action.then_some(1) };
    match (said.value.to_ascii_lowercase().as_str(), said.value.parse::<u32>()) {
        ("true", _) => Some(1),
        ("false", _) if is_action => {
            let title = "the action is to log, and `log` says not to".to_owned();
            problems.push(Problem::new(title, said.referenced).help("write `action: allow`"));
            None
        }
        ("false", _) => None,
        (_, Ok(number)) if number > 0 => Some(number),
        _ => {
            let title = format!("`{}` does not say what is logged", said.value);
            let help = "write `true`, `false`, or a number to log one of so many";
            problems.push(Problem::new(title, said.referenced).help(help));
            None
        }
    }
}

/// Where a key of a rule is.
fn place(spec: &RuleSpec, key: &str) -> Location {
    let words = |said: &Option<Spanned<_>>| said.as_ref().map(|said: &Spanned<_>| said.referenced);
    let place = match key {
        "from" => spec.from.as_ref().map(|said| said.referenced),
        "to" => spec.to.as_ref().map(|said| said.referenced),
        "proto" => words(&spec.proto),
        "ports" => words(&spec.ports),
        "source_ports" => words(&spec.source_ports),
        "flags" => words(&spec.flags),
        "icmp" => words(&spec.icmp),
        "dscp" => words(&spec.dscp),
        "ethertype" => words(&spec.ethertype),
        "fragment" => spec.fragment.as_ref().map(|said| said.referenced),
        _ => None,
    };
    place.unwrap_or(spec.action.referenced)
}
