//! Rules that no packet reaches are found, and no others.

use super::*;

fn shadowed(rules: &[&str]) -> Vec<(usize, Vec<usize>)> {
    let lab = lab();
    let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
    let policy = read(&lab, &rules).unwrap();
    let ruleset = compile(&policy, &ends(&lab)).unwrap();
    ruleset.shadowed.into_iter().map(|it| (it.rule, it.by)).collect()
}

#[test]
fn what_an_earlier_rule_covers_is_told() {
    let rules = [
        "{ from: client, to: web, action: allow }",
        "{ from: client2, to: web, proto: tcp, ports: 80, action: deny }",
        "{ from: client2, to: far, action: deny }",
    ];
    assert_eq!(shadowed(&rules), [(1, vec![0])]);
    let rules = [
        "{ from: any, proto: tcp, action: allow }",
        "{ proto: udp, action: deny }",
        "{ to: web, proto: [tcp, udp], action: deny }",
        "{ to: web, action: deny }",
    ];
    assert_eq!(shadowed(&rules), [(2, vec![0, 1])]);
}

#[test]
fn flags_and_rare_things_cover_only_what_asks_as_much() {
    let rules = [
        "{ proto: tcp, flags: [syn], action: allow }",
        "{ proto: tcp, flags: [syn, ack], action: deny }",
        "{ proto: tcp, flags: ['!ack', syn, '!rst'], action: deny }",
        "{ proto: tcp, vlan: 1-9, action: allow }",
        "{ proto: tcp, vlan: 7, flags: fin, action: allow }",
        "{ proto: tcp, vlan: none, action: allow }",
    ];
    assert_eq!(shadowed(&rules), [(2, vec![0]), (4, vec![3])]);
}

#[test]
fn what_no_packet_can_be_is_told_without_a_reason() {
    // No packet has the destination address of an interface without addresses, but for the
    // one that the kernel gives.
    let lab = lab();
    let policy = read(&lab, &["{ to: far/eth1, action: deny }".to_owned()]).unwrap();
    let ruleset = compile(&policy, &Ends::of_lab(&lab)).unwrap();
    assert_eq!(ruleset.shadowed, [Shadowed { rule: 0, by: Vec::new() }]);
    assert_eq!(compile(&policy, &ends(&lab)).unwrap().shadowed, []);
}
