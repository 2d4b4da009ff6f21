//! Policies: what is read, and what is refused at its place.

use crate::lab::policy::{Fallback, Limit, MAX_RULES, Place, RuleAction, Unit};
use crate::lab::*;

const LAB: &str = "
name: small
bridges: { br0: { namespace: switch, addresses: [10.0.0.254/24] } }
namespaces:
  web: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24] } } }
  client: { count: 2, interfaces: { eth0: { bridge: br0 }, eth1: { bridge: br0 } } }
  idle: {}
";

fn lab() -> Lab {
    Lab::parse(LAB, "lab.yaml").unwrap()
}

fn read(source: &str) -> Result<Policy, LabError> {
    lab().read_policy(source, "rules.yaml")
}

/// A policy of one rule that allows.
fn rule(asks: &str) -> String {
    format!("rules: [{{ {asks}, action: allow }}]\n")
}

#[track_caller]
fn refused(source: &str, message: &str) {
    let error = read(source).expect_err(source).to_string();
    assert!(error.contains(message), "{source}\n{error}\ninstead of\n{message}");
    let place = error.strip_prefix("rules.yaml:");
    assert!(place.is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit())), "{error}");
}

#[test]
fn a_policy_is_in_a_lab_or_in_a_file_of_its_own() {
    let policy =
        "  default: deny\n  established: false\n  rules:\n  - { from: web, action: reject }\n";
    let inside =
        Lab::parse(&format!("{LAB}policy:\n{policy}"), "lab.yaml").unwrap().policy.unwrap();
    assert_eq!(read(&format!("policy:\n{policy}")).unwrap(), inside);
    assert_eq!(read(policy).unwrap(), inside);
    assert_eq!((inside.default, inside.established), (Fallback::Deny, false));
    assert_eq!(inside.rules[0].name.as_str(), "rule-1");
    assert_eq!(lab().policy, None);
    let plain = read("rules: []").unwrap();
    assert_eq!((plain.default, plain.established), (Fallback::Allow, true));
    assert!(read("").is_err());
    refused("policy: { rules: [] }\ndefault: deny\n", "parts of one beside it");
    refused("polcy: {}\n", "did you mean `policy`?");
}

#[test]
fn rules_show_what_they_mean_as_they_are_written() {
    for (asks, shown) in [
        ("name: a", "any allow"),
        ("from: client, to: [web, 10.0.0.0/8]", "from client to web,10.0.0.0/8 allow"),
        ("from: { not: [web] }", "from not web allow"),
        ("ports: [443, 80, 81-89, 79]", "proto tcp,udp,sctp ports 79-89,443 allow"),
        ("proto: [58, tcp, 47]", "proto tcp,47,icmpv6 allow"),
        ("flags: syn", "proto tcp flags syn allow"),
        ("flags: [syn, ack, '!rst']", "proto tcp flags syn,!rst,ack allow"),
        ("icmp: echo-request", "proto icmp,icmpv6 icmp echo-request allow"),
        ("proto: icmp, icmp: [3/1, 8, 200]", "proto icmp icmp 3/1,echo-request,200 allow"),
        ("dscp: [ef, 10, 1]", "dscp 1,af11,ef allow"),
        ("vlan: [none, 7-9]", "vlan none,7-9 allow"),
        ("source_mac: '02:00:00:00:00:0A'", "source_mac 02:00:00:00:00:0a allow"),
        ("ethertype: [0x0806, 0x88cc]", "ethertype arp,0x88cc allow"),
        ("fragment: true, log: 10", "fragment true allow log 10"),
        ("from: any, proto: any, log: true", "any allow log"),
    ] {
        let policy = read(&rule(asks)).unwrap_or_else(|error| panic!("{asks}: {error}"));
        assert_eq!(policy.rules[0].to_string(), shown);
    }
    let policy = read("rules: [{ name: x, to: web, action: log }]").unwrap();
    let json = serde_json::to_value(&policy.rules[0]).unwrap();
    let wanted = serde_json::json!({ "name": "x", "to": "web", "action": "allow", "log": 1 });
    assert_eq!(json, wanted);
}

#[test]
fn words_for_ends_mean_what_the_lab_has() {
    let source = "sets: { some: [client, 192.0.2.1] }\n\
                  rules: [{ from: [client, client/eth1, client2/eth0, switch, some], action: deny }]";
    let policy = read(source).unwrap();
    let from = policy.rules[0].matches.from.as_ref().unwrap();
    let meant: Vec<Vec<String>> = from
        .words
        .iter()
        .map(|word| {
            let places = word.places.iter().flat_map(|place| match place {
                Place::Interfaces(ids) => ids.iter().map(ToString::to_string).collect(),
                Place::Own(address) => vec![format!("own {address}")],
                Place::Net(net) => vec![net.to_string()],
            });
            places.collect()
        })
        .collect();
    let all = ["client1/eth0", "client1/eth1", "client2/eth0", "client2/eth1"];
    assert_eq!(meant[0], all);
    assert_eq!(meant[1], ["client1/eth1", "client2/eth1"]);
    assert_eq!(meant[2], ["client2/eth0"]);
    assert_eq!(meant[3], ["own 10.0.0.254"]);
    assert_eq!(meant[4], [&all[..], &["192.0.2.1/32"]].concat());
}

#[test]
fn limits_have_a_burst() {
    for (said, rate, unit, burst) in [
        ("limit: 1000/s", 1000, Unit::Packets, 100),
        ("limit: 5 packets/s", 5, Unit::Packets, 1),
        ("limit: 10Mbit/s", 10_000_000, Unit::Bits, 1_000_000),
        ("limit: 64kbit/s", 64_000, Unit::Bits, 524_280),
        ("limit: 64kbit/s, burst: 1Mbit", 64_000, Unit::Bits, 1_000_000),
        ("limit: 1/s, burst: 50", 1, Unit::Packets, 50),
    ] {
        let policy = read(&format!("rules: [{{ action: limit, {said} }}]")).unwrap();
        assert_eq!(
            policy.rules[0].action,
            RuleAction::Limit(Limit { rate, unit, burst }),
            "{said}"
        );
    }
}

#[test]
fn mistakes_are_named_at_their_place() {
    for (asks, message) in [
        ("from: wep", "1:17: there is no namespace, group or set `wep`; did you mean `web`?"),
        ("from: web/eth1", "namespace `web` has no interface `eth1`; did you mean `eth0`?"),
        ("from: clint", "did you mean `client`?"),
        ("from: idle", "`idle` has no interface"),
        ("from: []", "`from` names nobody"),
        ("from: { not: any }", "nothing is not `any`"),
        ("from: { net: web }", "unknown key `net`; did you mean `not`?"),
        ("from: {}", "the key `not` is missing"),
        ("to: 10.0.0.1/24", "write `10.0.0.0/24` for the subnet, `10.0.0.1` for the address"),
        ("to: '::ffff:10.0.0.1'", "is IPv4 in disguise; write `10.0.0.1`"),
        ("proto: tpc", "`tpc` is no IP protocol; did you mean `tcp`?"),
        ("proto: 256", "256 is no IP protocol; 0 to 255"),
        ("proto: []", "`proto` lists nothing"),
        ("ports: [90-80]", "the range `90-80` is the wrong way round; write `80-90`"),
        ("ports: 65536", "`65536` is no port"),
        ("ports: http", "`http` is no port"),
        ("ports: -1", "`-1` is no port"),
        ("proto: icmp, ports: 80", "`ports` is of tcp, udp or sctp, and the rule is about more"),
        ("proto: any, ports: 80", "`ports` is of tcp, udp or sctp, and the rule is about more"),
        ("proto: udp, flags: syn", "`flags` is of tcp, and the rule is about more than that"),
        ("flags: sny", "`sny` is no TCP flag; did you mean `syn`?"),
        ("flags: [!ack ]", "the value is missing; what begins with `!` goes into quotes"),
        ("flags: [syn, '!syn']", "a flag cannot be set and not set"),
        ("proto: tcp, icmp: 8", "`icmp` is of icmp or icmpv6, and the rule is about more"),
        ("icmp: 8", "type 8 is one thing in ICMP and another in ICMPv6"),
        ("proto: icmp, icmp: packet-too-big", "is no type of ICMP"),
        ("proto: icmp, icmp: 8/256", "is no type of ICMP, nor a type with a code"),
        ("ports: 80, icmp: 8", "`ports` is of tcp, udp or sctp"),
        ("dscp: 64", "64 is no code point; 0 to 63"),
        ("dscp: af14", "`af14` is no code point; did you mean `af"),
        ("vlan: 0", "`0` is no VLAN"),
        ("vlan: 4095", "`4095` is no VLAN"),
        ("source_mac: '02:00:00:00:00'", "`02:00:00:00:00` is no MAC address"),
        ("ethertype: 5", "5 is no network protocol; 1536 to 65535"),
        ("fragment: some", "`some` says nothing about fragments"),
        ("from: 10.0.0.0/8, to: 'fd00::/64'", "`to` is about IPv6, and `from` about IPv4"),
        ("proto: icmpv6, to: 10.0.0.1", "`proto` is about IPv6, and `to` about IPv4"),
        (
            "ethertype: arp, to: web",
            "`to` is about IPv4 and IPv6, and `ethertype` about what is no IP",
        ),
        ("ethertype: arp, dscp: ef", "`dscp` is about IPv4 and IPv6, and `ethertype`"),
        ("log: 0", "`0` does not say what is logged"),
        ("log: often", "`often` does not say what is logged"),
        ("limit: 5/s", "`limit` is of a rule whose action is `limit`"),
        ("name: a/b", "`a/b` cannot be the name of a rule"),
        ("form: web", "unknown key `form`; did you mean `from`?"),
    ] {
        refused(&rule(asks), message);
    }
    for (source, message) in [
        ("default: drop", "1:10: `drop` cannot be the default; write `allow` or `deny`"),
        ("rules: [{ from: web }]", "the key `action` is missing"),
        ("rules: [{ action: alow }]", "`alow` is no action; did you mean `allow`?"),
        ("rules: [{ action: limit }]", "the rule does not say what its limit is"),
        ("rules: [{ action: limit, limit: fast }]", "`fast` is no limit"),
        ("rules: [{ action: limit, limit: 0/s }]", "a limit of `0/s` is not possible"),
        ("rules: [{ action: limit, limit: 100Gbit/s }]", "1bit/s to 10Gbit/s"),
        ("rules: [{ action: limit, limit: 5/s, burst: 1Mbit }]", "cannot be the burst"),
        ("rules: [{ action: limit, limit: 5/s, burst: 0 }]", "cannot be the burst"),
        ("rules: [{ action: log, log: false }]", "the action is to log"),
        (
            "rules: [{ name: a, action: deny },\n{ name: a, action: deny }]",
            "2:9: there is a rule `a` already (line 1)",
        ),
        (
            "rules: [{ action: deny }, { name: rule-1, action: deny }]",
            "there is a rule `rule-1` already",
        ),
        ("sets: { a: [] }", "the set `a` has no member"),
        ("sets: { a: }", "the set `a` has no member"),
        ("sets: { a: [b], b: [web] }", "`b` is a set, and sets have no sets in them"),
        ("sets: { a: any }", "`any` is no member of a set"),
        ("sets: { web: [10.0.0.1] }", "`web` is a namespace, and cannot be a set as well"),
        ("sets: { client: [10.0.0.1] }", "`client` is a group of namespaces"),
        ("sets: { 10.0.0.1: [web] }", "`10.0.0.1` is an address, and cannot be a set as well"),
        ("sets: { any: [web] }", "`any` is the word for everything"),
        ("rules: { action: deny }", "this should be a list"),
    ] {
        refused(source, message);
    }
}

#[test]
fn a_name_of_a_namespace_and_of_a_group_is_neither() {
    let lab = "name: a\nbridges: { br0: {} }\nnamespaces:\n  \
               web: { count: 2, interfaces: { eth0: { bridge: br0 } } }\n  \
               web1: { count: 2, interfaces: { eth0: { bridge: br0 } } }\n";
    let lab = Lab::parse(lab, "lab.yaml").unwrap();
    let error = lab.read_policy(&rule("from: web1"), "rules.yaml").unwrap_err().to_string();
    assert!(error.contains("`web1` is a namespace, and namespaces of a count as well"), "{error}");
    assert!(lab.read_policy(&rule("from: [web, web11]"), "rules.yaml").is_ok());
}

#[test]
fn a_policy_has_an_end() {
    let rules = |count: usize| format!("rules:\n{}", "- { action: deny }\n".repeat(count));
    assert_eq!(read(&rules(MAX_RULES)).unwrap().rules.len(), MAX_RULES);
    let error = read(&rules(MAX_RULES + 1)).unwrap_err().to_string();
    assert!(error.starts_with("rules.yaml:65538:13: there are 65537 rules"), "{error}");
}
