//! What compiled rules find is what the rules say, read one after the other.

use nsbpf_common::policy::{NONE, ROUTED, Subject};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::lab::{Lab, Policy};
use words::{KEYS, LAB, SETS, WORDS};

fn lab() -> Lab {
    Lab::parse(LAB, "lab.yaml").unwrap()
}

fn ends(lab: &Lab) -> Ends {
    let mut ends = Ends::of_lab(lab);
    for end in ends.0.values_mut() {
        end.addresses.push(format!("fe80::{}", end.number).parse().unwrap());
    }
    ends
}

fn key(name: &'static str, values: &'static [&'static str], percent: u8) -> BoxedStrategy<String> {
    let said = select(values).prop_map(move |value| format!("{name}: {value}, "));
    prop::option::weighted(f64::from(percent) / 100.0, said)
        .prop_map(Option::unwrap_or_default)
        .boxed()
}

fn side(name: &'static str) -> BoxedStrategy<String> {
    let words = prop::collection::vec(select(WORDS), 1..4);
    let said = (words, prop::bool::weighted(0.25)).prop_map(move |(words, negated)| {
        let words = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
        if negated {
            format!("{name}: {{ not: [{words}] }}, ")
        } else {
            format!("{name}: [{words}], ")
        }
    });
    prop::option::weighted(0.55, said).prop_map(Option::unwrap_or_default).boxed()
}

/// A rule, often one that is refused.
fn rule() -> impl Strategy<Value = String> {
    let sides = [side("from"), side("to")];
    let others = KEYS.map(|(name, percent, values)| key(name, values, percent));
    let keys: Vec<_> = sides.into_iter().chain(others).collect();
    let action = select(&["allow", "deny", "reject", "log"][..]);
    (keys, action).prop_map(|(keys, action)| format!("{{ {}action: {action} }}", keys.concat()))
}

fn read(lab: &Lab, rules: &[String]) -> Option<Policy> {
    let rules = rules.join("\n- ");
    lab.read_policy(&format!("sets: {SETS}\nrules:\n- {rules}\n"), "rules.yaml").ok()
}

fn policy(lab: &Lab, rules: Vec<String>) -> Policy {
    let mut fine: Vec<String> =
        rules.into_iter().filter(|rule| read(lab, std::slice::from_ref(rule)).is_some()).collect();
    fine.push("{ from: web, action: allow }".to_owned());
    read(lab, &fine).unwrap()
}

const V4: &[&str] = &[
    "10.0.0.0",
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.4",
    "10.0.0.9",
    "10.0.0.254",
    "10.1.0.1",
    "10.1.0.9",
    "10.1.0.254",
    "11.0.0.0",
    "255.255.255.255",
    "0.0.0.0",
];
const V6: &[&str] = &[
    "fd00::",
    "fd00::1",
    "fd00::2",
    "fd00::3",
    "fd00::4",
    "fd00::9",
    "fd00::fe",
    "fd00::7fff:ffff:ffff:ffff",
    "fd00::8000:0:0:0",
    "fd00::ffff:ffff:ffff:ffff",
    "fd00:0:0:1::",
    "fd00:0:0:1:ffff:ffff:ffff:ffff",
    "fd00:0:0:2::",
    "fe80::1",
    "fe80::5",
    "::",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

fn address(kind: Kind) -> BoxedStrategy<[u64; 2]> {
    match kind {
        Kind::V4 => select(V4)
            .prop_map(|text| [u64::from(text.parse::<std::net::Ipv4Addr>().unwrap().to_bits()), 0])
            .boxed(),
        Kind::V6 => select(V6)
            .prop_map(|text| {
                let bits = text.parse::<std::net::Ipv6Addr>().unwrap().to_bits();
                [bits >> 64, bits & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap())
            })
            .boxed(),
        Kind::Other => Just([0, 0]).boxed(),
    }
}

/// A packet that can be: what its protocol does not have is 0.
fn packet() -> impl Strategy<Value = (Kind, Subject)> {
    select(&[Kind::V4, Kind::V6, Kind::V4, Kind::V6, Kind::Other][..]).prop_flat_map(|kind| {
        let ends =
            (address(kind), address(kind), prop_oneof![0..10_u64, Just(ROUTED), Just(ROUTED)]);
        let port =
            || select(&[0_u64, 1, 2, 3, 5, 79, 80, 82, 83, 89, 95, 443, 1023, 1024, 65_535][..]);
        let protocol = select(&[1_u64, 6, 6, 6, 17, 17, 47, 58, 132, 255][..]);
        let transport = (protocol, port(), port(), 0..64_u8);
        let icmp = select(
            &[0_u64, 0x0300, 0x0301, 0x0302, 0x0500, 0x0800, 0x0801, 0x8000, 0x8700, 0x8900][..],
        );
        let mac = || select(&[0x0200_0000_0001_u64, 0x0200_0000_0002, 0xffff_ffff_ffff][..]);
        let link = (
            select(&[0_u64, 0, 1, 6, 7, 8][..]),
            mac(),
            mac(),
            select(&[0x0806_u64, 0x88cc, 0x0027][..]),
        );
        let rest = (icmp, select(&[0_u64, 1, 46, 47, 63][..]), 0..3_u64);
        (ends, transport, link, rest).prop_map(move |all| {
            let (([s0, s1], [d0, d1], in_port), (protocol, from, to, flags), link, rest) = all;
            let ((vlan, source_mac, destination_mac, ethertype), (icmp, dscp, fragment)) =
                (link, rest);
            let is_ip = kind != Kind::Other;
            let ip = |value: u64| if is_ip { value } else { 0 };
            let has_ports = is_ip && [6, 17, 132].contains(&protocol);
            let ports = |value: u64| if has_ports { value } else { 0 };
            let is_icmp = (kind, protocol) == (Kind::V4, 1) || (kind, protocol) == (Kind::V6, 58);
            let ethertype = match kind {
                Kind::V4 => 0x0800,
                Kind::V6 => 0x86dd,
                Kind::Other => ethertype,
            };
            let icmp = if is_icmp { icmp + 1 } else { 0 };
            let fields = [s0, s1, d0, d1, in_port, ip(protocol), ports(from), ports(to)];
            let rare = [vlan, ethertype, source_mac, destination_mac, ip(dscp), icmp, ip(fragment)];
            let tcp_flags = if is_ip && protocol == 6 { flags } else { 0 };
            let mut subject = Subject::default();
            (subject.fields, subject.rare, subject.tcp_flags) = (fields, rare, tcp_flags);
            (kind, subject)
        })
    })
}

/// The rule that decides, by reading one after the other.
fn oracle(policy: &Policy, ends: &Ends, kind: Kind, subject: &Subject) -> Option<usize> {
    let looked = Looked { ends, kind, subject };
    policy.rules.iter().position(|rule| looked.is(&rule.matches))
}

/// The rule that compiled ones find.
fn found(ruleset: &Ruleset, kind: Kind, subject: &Subject) -> Option<usize> {
    let index = ruleset.compiled.find(kind, subject).condition;
    let condition = (index != NONE).then(|| ruleset.compiled.conditions[index as usize]);
    condition.map(|condition| condition.decision.slot() as usize - 1)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(120) })]

    #[test]
    fn compiled_rules_find_what_reading_them_finds(
        rules in prop::collection::vec(rule(), 1..40),
        packets in prop::collection::vec(packet(), 300),
    ) {
        let lab = lab();
        let ends = ends(&lab);
        let policy = policy(&lab, rules);
        let ruleset = compile(&policy, &ends).unwrap();
        for (kind, subject) in &packets {
            let wanted = oracle(&policy, &ends, *kind, subject);
            prop_assert_eq!(found(&ruleset, *kind, subject), wanted, "{:?} {:?}", kind, subject);
            if let Some(place) = wanted {
                let shadowed = ruleset.shadowed.iter().find(|it| it.rule == place);
                prop_assert_eq!(shadowed, None, "{:?} {:?}", kind, subject);
            }
        }
    }

    /// Whatever is told apart by what a packet's flow does not tell is said to be.
    #[test]
    fn what_is_kept_for_a_flow_holds_for_all_of_it(
        rules in prop::collection::vec(rule(), 1..20),
        packets in prop::collection::vec(packet(), 60),
    ) {
        let lab = lab();
        let ends = ends(&lab);
        let ruleset = compile(&policy(&lab, rules), &ends).unwrap();
        for pair in packets.chunks_exact(2) {
            let [(kind, first), (_, other)] = pair else { continue };
            let mut second = *first;
            second.rare[1..].copy_from_slice(&other.rare[1..]);
            let known = ruleset.compiled.find(*kind, first);
            let again = ruleset.compiled.find(*kind, &second);
            prop_assert!(known.depends_on_packet || known.condition == again.condition);
        }
    }
}

/// What would take more room than there is, or time, is refused by the rule's name.
#[test]
fn what_expands_too_far_is_refused_soon() {
    let lab = lab();
    let ends = ends(&lab);
    let ports: Vec<String> = (0..2000).map(|number| (number * 2).to_string()).collect();
    let ports = ports.join(", ");
    let wide = format!("{{ name: wide, ports: [{ports}], source_ports: [{ports}], action: deny }}");
    let policy = read(&lab, &["{ to: web, action: allow }".to_owned(), wide]).unwrap();
    let Err(PolicyError::TooMany { number: 2, name }) = compile(&policy, &ends) else {
        panic!("four million boxes");
    };
    assert_eq!(name.as_str(), "wide");
    // The same ports side by side are one range.
    let ports: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    let ports = ports.join(", ");
    let narrow =
        format!("{{ ports: [{ports}], source_ports: [{ports}], proto: tcp, action: deny }}");
    let policy = read(&lab, &[narrow]).unwrap();
    assert_eq!(compile(&policy, &ends).unwrap().compiled.conditions.len(), 2);
}

#[test]
fn an_interface_that_is_not_there_is_refused() {
    let lab = lab();
    let mut ends = ends(&lab);
    let policy = read(&lab, &["{ from: client, action: allow }".to_owned()]).unwrap();
    assert!(compile(&policy, &ends).is_ok());
    ends.0.retain(|id, _| id.namespace.as_str() != "client2");
    let error = compile(&policy, &ends).unwrap_err().to_string();
    let wanted = "rule 1 (`rule-1`) is about client2/eth0, which is not there: `nsbpf up` the lab";
    assert_eq!(error, wanted);
}

mod shadowing;
mod words;
