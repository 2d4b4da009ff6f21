//! The host's packet filter, and the bridges that send their frames through it:
//! what eats bridged traffic without a word on most machines with Docker.

use super::finding::Finding;
use super::reading::{Reading, sysctl};
use crate::net::netfilter::{
    BaseChain, Family, Hook, LegacyChain, LegacyFamily, base_chains, legacy_chains,
};

const CALLS: &str = "br_netfilter";
const FILTER: &str = "packet filter";

/// Which filters frames on bridges of this namespace are sent through
/// (`net.bridge.bridge-nf-call-…`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Calls {
    iptables: bool,
    ip6tables: bool,
    arptables: bool,
}

const CALL_IPTABLES: &str = "net.bridge.bridge-nf-call-iptables";
const CALL_IP6TABLES: &str = "net.bridge.bridge-nf-call-ip6tables";
const CALL_ARPTABLES: &str = "net.bridge.bridge-nf-call-arptables";

impl Calls {
    fn on(self) -> Vec<&'static str> {
        let Self { iptables, ip6tables, arptables } = self;
        [(iptables, CALL_IPTABLES), (ip6tables, CALL_IP6TABLES), (arptables, CALL_ARPTABLES)]
            .into_iter()
            .filter_map(|(on, name)| on.then_some(name))
            .collect()
    }
}

/// Which packets come to a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// All that a bridge forwards.
    Bridged,
    /// What is routed, and what the switches send there.
    Routed(&'static [&'static str]),
    /// Only what the switch sends there.
    Called(&'static [&'static str]),
}

/// A chain whose policy is to drop.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dropper {
    /// What it is called.
    what: String,
    reach: Reach,
    /// What lets traffic of one bridge pass.
    let_pass: String,
}

impl Dropper {
    fn nftables(chain: BaseChain) -> Option<Self> {
        let BaseChain { family, table, name, hook, rules: _, drops } = chain;
        if !drops {
            return None;
        }
        let (hook, interface) = match hook {
            Hook::Prerouting => ("prerouting", "iifname"),
            Hook::Forward => ("forward", "iifname"),
            Hook::Postrouting => ("postrouting", "oifname"),
        };
        let family_name = family.name();
        let chain = format!("{family_name} {table} {name}");
        let let_pass = match family {
            Family::Bridge => format!("nft 'chain {chain} {{ policy accept; }}'"),
            _ => format!("nft insert rule {chain} {interface} BRIDGE accept"),
        };
        let what = format!(
            "the nf_tables chain {name} of table {family_name} {table} ({hook} hook) has policy \
             drop"
        );
        let reach = match family {
            Family::Inet => Reach::Routed(&[CALL_IPTABLES, CALL_IP6TABLES]),
            Family::Ipv4 => Reach::Routed(&[CALL_IPTABLES]),
            Family::Ipv6 => Reach::Routed(&[CALL_IP6TABLES]),
            Family::Bridge => Reach::Bridged,
        };
        Some(Self { what, reach, let_pass })
    }

    fn legacy(family: LegacyFamily) -> Self {
        let program = family.program();
        let (reach, let_pass) = match family {
            LegacyFamily::Ipv4 => {
                (Reach::Routed(&[CALL_IPTABLES]), "-I FORWARD -i BRIDGE -j ACCEPT")
            }
            LegacyFamily::Ipv6 => {
                (Reach::Routed(&[CALL_IP6TABLES]), "-I FORWARD -i BRIDGE -j ACCEPT")
            }
            LegacyFamily::Arp => (Reach::Called(&[CALL_ARPTABLES]), "-P FORWARD ACCEPT"),
        };
        Self {
            what: format!("the FORWARD chain of {program} has policy DROP"),
            reach,
            let_pass: format!("{program} {let_pass}"),
        }
    }
}

pub(super) fn check() -> Vec<Finding> {
    let calls = read_calls();
    let mut findings = vec![judge_calls(&calls)];
    let calls = *calls.value().unwrap_or(&Calls::default());
    let mut droppers = Vec::new();
    let mut unseen = Vec::new();
    match base_chains() {
        Ok(chains) => droppers.extend(chains.into_iter().filter_map(Dropper::nftables)),
        Err(error) => unseen.push(format!("the chains of nf_tables: {error}")),
    }
    for family in [LegacyFamily::Ipv4, LegacyFamily::Ipv6, LegacyFamily::Arp] {
        match legacy_chains(family) {
            Ok(chains) if chains.iter().any(LegacyChain::is_dropping_filter) => {
                droppers.push(Dropper::legacy(family));
            }
            Ok(_) => {}
            Err(error) => unseen.push(error.to_string()),
        }
    }
    findings.extend(judge_filter(calls, &droppers, &unseen));
    findings
}

fn read_calls() -> Reading<Calls> {
    let read = |name| sysctl(name).and_then(|value| Reading::Is(value != 0));
    read(CALL_IPTABLES).and_then(|iptables| {
        read(CALL_IP6TABLES).and_then(|ip6tables| {
            read(CALL_ARPTABLES)
                .and_then(|arptables| Reading::Is(Calls { iptables, ip6tables, arptables }))
        })
    })
}

fn judge_calls(calls: &Reading<Calls>) -> Finding {
    match calls {
        Reading::Absent => Finding::ok(CALLS, "not there: bridges do not call the packet filter"),
        Reading::Unreadable(why) => Finding::unknown(CALLS, why),
        Reading::Is(calls) if calls.on().is_empty() => {
            Finding::ok(CALLS, "net.bridge.bridge-nf-call-… = 0")
        }
        Reading::Is(calls) => Finding::warning(
            CALLS,
            format!(
                "{} = 1: each frame on a bridge of this host passes the packet filter, which \
                 takes up to a third of the bridge's packets a second even when it has no rule",
                calls.on().join(", ")
            ),
            switch_off(&calls.on()),
        ),
    }
}

fn judge_filter(calls: Calls, droppers: &[Dropper], unseen: &[String]) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        droppers.iter().filter_map(|dropper| judge_dropper(calls, dropper)).collect();
    if !unseen.is_empty() {
        findings.push(Finding::unknown(FILTER, format!("{} (it takes root)", unseen.join("; "))));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            FILTER,
            "no chain that forwarded packets pass has policy drop (rules were not looked at)",
        ));
    }
    findings
}

/// `None` when no traffic of labs comes by.
fn judge_dropper(calls: Calls, dropper: &Dropper) -> Option<Finding> {
    const EATEN: &str = "frames between ports of a bridge are dropped unless a rule accepts them";
    let Dropper { what, reach, let_pass } = dropper;
    let on = |switches: &[&'static str]| {
        calls.on().into_iter().filter(|name| switches.contains(name)).collect::<Vec<_>>()
    };
    let by = match reach {
        Reach::Bridged => {
            return Some(Finding::problem(FILTER, format!("{what}: {EATEN}"), let_pass));
        }
        Reach::Routed(switches) | Reach::Called(switches) => on(switches),
    };
    match (by.is_empty(), reach) {
        (false, _) => Some(Finding::problem(
            FILTER,
            format!("{what}, and {} = 1: {EATEN}", by.join(" and ")),
            format!("{}, or {let_pass}", switch_off(&by)),
        )),
        (true, Reach::Routed(_)) => Some(Finding::warning(
            FILTER,
            format!(
                "{what}: what is routed between a lab and the outside is dropped unless a rule \
                 accepts it; traffic inside labs is not touched"
            ),
            format!("{let_pass}, and for answers the same with the outgoing interface"),
        )),
        (true, _) => None,
    }
}

fn switch_off(names: &[&str]) -> String {
    let settings: Vec<String> = names.iter().map(|name| format!("{name}=0")).collect();
    format!("sysctl -w {}", settings.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    const ALL: Calls = Calls { iptables: true, ip6tables: true, arptables: true };
    const NONE: Calls = Calls { iptables: false, ip6tables: false, arptables: false };

    fn chain(family: Family, hook: Hook, drops: bool) -> BaseChain {
        let (table, name) = ("filter".to_owned(), "FORWARD".to_owned());
        BaseChain { family, table, name, hook, rules: 0, drops }
    }

    fn judged(calls: Calls, chain: BaseChain) -> Finding {
        let droppers: Vec<Dropper> = Dropper::nftables(chain).into_iter().collect();
        let mut findings = judge_filter(calls, &droppers, &[]);
        assert_eq!(findings.len(), 1);
        findings.remove(0)
    }

    #[test]
    fn a_policy_eats_frames_only_where_bridges_call_it() {
        let docker = || chain(Family::Ipv4, Hook::Forward, true);
        let finding = judged(ALL, docker());
        assert_eq!(finding.severity, Severity::Problem);
        assert_eq!(
            finding.cure.unwrap(),
            "sysctl -w net.bridge.bridge-nf-call-iptables=0, \
             or nft insert rule ip filter FORWARD iifname BRIDGE accept"
        );
        assert!(finding.cause.contains("chain FORWARD of table ip filter (forward hook)"));
        assert_eq!(judged(NONE, docker()).severity, Severity::Warning);
        let only_ipv6 = Calls { ip6tables: true, ..NONE };
        assert_eq!(judged(only_ipv6, docker()).severity, Severity::Warning);
        let inet = judged(only_ipv6, chain(Family::Inet, Hook::Forward, true));
        assert_eq!(inet.severity, Severity::Problem);
        assert!(inet.cure.unwrap().starts_with("sysctl -w net.bridge.bridge-nf-call-ip6tables=0,"));
    }

    #[test]
    fn a_policy_to_accept_is_no_finding() {
        assert_eq!(judged(ALL, chain(Family::Inet, Hook::Forward, false)).severity, Severity::Ok);
    }

    #[test]
    fn a_bridge_table_eats_frames_without_br_netfilter() {
        let finding = judged(NONE, chain(Family::Bridge, Hook::Forward, true));
        assert_eq!(finding.severity, Severity::Problem);
        assert_eq!(finding.cure.unwrap(), "nft 'chain bridge filter FORWARD { policy accept; }'");
    }

    #[test]
    fn legacy_tables_count_as_well() {
        let findings = judge_filter(ALL, &[Dropper::legacy(LegacyFamily::Ipv6)], &[]);
        assert_eq!(findings[0].severity, Severity::Problem);
        assert!(findings[0].cause.contains("ip6tables-legacy has policy DROP"));
    }

    #[test]
    fn arp_comes_to_its_filter_only_by_the_switch() {
        let arp = Dropper::legacy(LegacyFamily::Arp);
        let finding = judge_dropper(ALL, &arp).unwrap();
        assert_eq!(finding.severity, Severity::Problem);
        assert_eq!(
            finding.cure.unwrap(),
            "sysctl -w net.bridge.bridge-nf-call-arptables=0, or arptables-legacy -P FORWARD ACCEPT"
        );
        assert_eq!(judge_dropper(NONE, &arp), None);
    }

    #[test]
    fn what_was_not_seen_is_not_called_well() {
        let findings = judge_filter(NONE, &[], &["the chains: not permitted".to_owned()]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].severity, Severity::Unknown);
    }

    #[test]
    fn calls_alone_are_slow() {
        let on = judge_calls(&Reading::Is(Calls { iptables: true, ..NONE }));
        assert_eq!(on.severity, Severity::Warning);
        assert_eq!(on.cure.unwrap(), "sysctl -w net.bridge.bridge-nf-call-iptables=0");
        assert_eq!(judge_calls(&Reading::Is(NONE)).severity, Severity::Ok);
        assert_eq!(judge_calls(&Reading::Absent).severity, Severity::Ok);
    }
}
