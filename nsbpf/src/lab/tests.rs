//! What a lab means, and what is told of one that cannot be.

mod expect;
mod fuzz;
mod large;
mod policy;
mod schema;

use super::*;

const QUICKSTART: &str = include_str!("../../../labs/quickstart.yaml");

fn errors(source: &str) -> String {
    Lab::parse(source, "lab.yaml").unwrap_err().to_string()
}

#[test]
fn the_quickstart_means_what_it_says() {
    let lab = Lab::parse(QUICKSTART, "quickstart.yaml").unwrap();
    assert_eq!(lab.name.as_str(), "quickstart");
    assert_eq!(lab.bridges.len(), 1);
    let interfaces: Vec<_> = lab
        .interfaces()
        .map(|(id, interface)| (id.to_string(), interface.addresses.clone()))
        .collect();
    assert_eq!(
        interfaces,
        [
            ("vnet0/eth0".to_owned(), vec!["10.0.0.1/24".parse().unwrap()]),
            ("vnet1/eth0".to_owned(), vec!["10.0.0.2/24".parse().unwrap()]),
        ]
    );
}

/// The examples of the reference are labs.
#[test]
fn the_reference_tells_the_truth() {
    let reference = include_str!("../../../docs/lab-reference.md");
    let examples: Vec<&str> = reference
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        Lab::parse(example, "docs/lab-reference.md").unwrap();
    }
}

/// What is wrong, at which line and column, and what would be right.
#[test]
fn mistakes_are_named_at_their_place() {
    let cases = [
        (
            "name: a\nnamespces: {}\n",
            "lab.yaml:2:1: unknown key `namespces`; did you mean `namespaces`?",
        ),
        ("name: a\nnamespaces: {}\nnamespaces: {}\n", "lab.yaml:3:1: `namespaces` is there twice"),
        (
            "name: a\nnamespaces:\n  n: { interfaces: { e: { bridge: br1 } } }\nbridges: { br0: {} }\n",
            "lab.yaml:3:35: there is no bridge `br1`; did you mean `br0`?",
        ),
        (
            "name: a\nnamespaces:\n  n: { interfaces: { e: {} } }\n",
            "lab.yaml:3:22: interface `e` is attached to nothing; say which bridge it is on (`bridge: NAME`), or which interface is at its other end (`peer: NAMESPACE/INTERFACE`)",
        ),
        ("name: a/b\nnamespaces: { n: {} }\n", "lab.yaml:1:7: `a/b` cannot be the name of a lab"),
        (
            "name: a\nnamespaces: { n: {} }\nbridges: { much-too-long-a-name: {} }\n",
            "lab.yaml:3:12: `much-too-long-a-name` cannot be the name of a bridge",
        ),
        (
            "name: a\nbridges: { br0: {}, n-e: {} }\nnamespaces:\n  n: { interfaces: { e: { bridge: br0 } } }\n",
            "lab.yaml:4:22: the bridge's end of n/e and bridge `n-e` would both be called `n-e`; rename one of them",
        ),
        (
            "name: a\n",
            "lab.yaml:1:7: the lab has no namespace; add one under `namespaces:`, as `vnet0: {}`",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(errors(source), expected, "{source}");
    }
}

#[test]
fn addresses_that_cannot_be() {
    let lab = |first: &str, second: &str| {
        format!(
            "name: a\nbridges: {{ br0: {{}} }}\nnamespaces:\n  n0: {{ interfaces: {{ e: {{ bridge: br0, addresses: [{first}] }} }} }}\n  n1: {{ interfaces: {{ e: {{ bridge: br0, addresses: [{second}] }} }} }}\n"
        )
    };
    for (first, second, expected) in [
        (
            "10.0.0.1",
            "10.0.0.2/24",
            "`10.0.0.1` is no address with a prefix length; write `10.0.0.1/24`, say",
        ),
        ("10.0.0.1/24", "10.0.0.1/24", "10.0.0.1/24 is there twice (line 4 too)"),
        ("10.0.0.1/24", "10.0.1.1/16", "subnets on one bridge are equal or apart"),
        ("10.0.0.0/31", "10.0.0.0/31", "10.0.0.0/31 is there twice"),
        ("10.0.0.255/24", "10.0.0.2/24", "it is its subnet's broadcast address"),
        ("\"fe80::1/64\"", "10.0.0.2/24", "link-local"),
        ("224.0.0.1/24", "10.0.0.2/24", "multicast"),
        ("127.0.0.1/8", "10.0.0.2/24", "loopback"),
        ("255.255.255.255/32", "10.0.0.2/24", "240.0.0.0/4 is reserved"),
        ("0.1.2.3/24", "10.0.0.2/24", "0.0.0.0/8 is reserved"),
        ("\"::ffff:1.2.3.4/120\"", "10.0.0.2/24", "IPv4 addresses are written as such"),
    ] {
        let errors = errors(&lab(first, second));
        assert!(errors.contains(expected), "{first}, {second}: {errors}");
    }
    Lab::parse(&lab("10.0.0.1/24, \"fd00::1/64\"", "10.0.0.2/24, 10.0.1.1/24"), "").unwrap();
}

#[test]
fn routes_macs_and_mtus_are_checked() {
    const MAC: &str = "02:00:00:00:00:01";
    let lab = |routes: &str, mac: &str, mtu: &str| {
        format!(
            "name: a\nbridges: {{ br0: {{ mtu: {mtu} }} }}\nnamespaces:\n  n0:\n    routes: [{routes}]\n    interfaces: {{ e: {{ bridge: br0, mac: '{mac}', addresses: [10.0.0.1/24, 'fd00::1/64'] }} }}\n"
        )
    };
    for (routes, mac, mtu, expected) in [
        (
            "{ to: default, via: 10.0.1.1 }",
            MAC,
            "1500",
            "10.0.1.1 is in no subnet of this namespace; its subnets are 10.0.0.0/24, fd00::/64",
        ),
        (
            "{ to: default, via: 10.0.0.1 }",
            MAC,
            "1500",
            "the gateway 10.0.0.1 is this namespace itself",
        ),
        (
            "{ to: default, via: 10.0.0.1, dev: e }",
            MAC,
            "1500",
            "10.0.0.1 is this namespace itself",
        ),
        ("{ to: 10.9.0.1/24, via: 10.0.0.2 }", MAC, "1500", "write `10.9.0.0/24`"),
        ("{ to: 'fd09::/64', via: 10.0.0.2 }", MAC, "1500", "different families"),
        ("{ to: nowhere, via: 10.0.0.2 }", MAC, "1500", "`nowhere` is no subnet"),
        ("{ to: default, via: 10.0.0.0/24 }", MAC, "1500", "a gateway has no prefix length"),
        (
            "{ to: default, via: 10.0.0.2 }, { to: 0.0.0.0/0, via: 10.0.0.3 }",
            MAC,
            "1500",
            "there is a route to 0.0.0.0/0 already",
        ),
        ("{ via: 10.0.0.2 }", MAC, "1500", "the key `to` is missing"),
        ("", "02:00:00:00:00", "1500", "is no MAC address"),
        ("", "+2:00:00:00:00:01", "1500", "is no MAC address"),
        ("", "01:00:00:00:00:01", "1500", "is a multicast address"),
        ("", "00:00:00:00:00:00", "1500", "stands for no address"),
        ("", MAC, "67", "an MTU of 67 is not possible; 68 to 65535 bytes"),
    ] {
        let errors = errors(&lab(routes, mac, mtu));
        assert!(errors.contains(expected), "{routes} {mac} {mtu}: {errors}");
    }
    let good = "{ to: default, via: 10.0.0.2 }, { to: default, via: 'fd00::2' }";
    let lab = Lab::parse(&lab(good, MAC, "9000"), "").unwrap();
    assert_eq!(lab.bridges[0].mtu, 9000);
    let routes: Vec<String> = lab.namespaces[0]
        .routes
        .iter()
        .map(|route| format!("{} {}", route.to, route.via.unwrap()))
        .collect();
    assert_eq!(routes, ["0.0.0.0/0 10.0.0.2", "::/0 fd00::2"]);
}

#[test]
fn every_lab_of_the_repository_is_one() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        Lab::parse(&source, &path.display().to_string()).unwrap();
    }
}

#[test]
fn a_wrong_shape_is_told_in_plain_words() {
    for (source, expected) in [
        ("name: a\nnamespaces: [a]\n", "2:13: this should be a mapping"),
        ("name: a\nnamespaces: {}\n", "1:7: the lab has no namespace"),
        ("name:\nnamespaces: {}\n", "the value is missing"),
        ("[]", "this should be a mapping"),
    ] {
        let errors = errors(source);
        assert!(errors.contains(expected), "{source}: {errors}");
    }
    let addresses = "name: a\nbridges: { br0: {} }\nnamespaces:\n  n: { interfaces: { e: { bridge: br0, addresses: 10.0.0.1/24 } } }\n";
    assert!(errors(addresses).contains("this should be a list"), "{}", errors(addresses));
}

#[test]
fn the_same_address_twice_in_a_namespace() {
    let source = "name: a\nbridges: { br0: {}, br1: {} }\nnamespaces:\n  n:\n    interfaces:\n      a: { bridge: br0, addresses: [10.0.0.1/24] }\n      b: { bridge: br1, addresses: [10.0.0.1/24] }\n";
    assert!(errors(source).contains("10.0.0.1/24 overlaps 10.0.0.0/24 of the same namespace"));
}

#[test]
fn subnets_of_a_namespace_are_apart() {
    let source = "name: a\nbridges: { br0: {}, br1: {} }\nnamespaces:\n  n:\n    interfaces:\n      a: { bridge: br0, addresses: [10.0.0.1/24] }\n      b: { bridge: br1, addresses: [10.0.0.2/25] }\n";
    let errors = errors(source);
    assert!(
        errors.contains("7:37: 10.0.0.2/25 overlaps 10.0.0.0/24 of the same namespace"),
        "{errors}"
    );
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let source = "name: a b\nbridges: { br0: {} }\nnamespaces:\n  n/1: { interfaces: { e: { bridge: br9, addresses: [1] } } }\n";
    assert_eq!(errors(source).lines().count(), 4);
}

#[test]
fn a_bridge_takes_1023_ports() {
    use std::fmt::Write as _;
    let lab = |ports: usize| {
        let mut source = "name: a\nbridges: { br0: {} }\nnamespaces:\n".to_owned();
        for port in 0..ports {
            writeln!(source, "  n{port}: {{ interfaces: {{ e: {{ bridge: br0 }} }} }}").unwrap();
        }
        Lab::parse(&source, "lab.yaml")
    };
    lab(MAX_BRIDGE_PORTS).unwrap();
    let error = lab(MAX_BRIDGE_PORTS + 1).unwrap_err().to_string();
    assert!(error.contains("more than 1023 ports"), "{error}");
}

#[test]
fn an_excerpt_points_at_the_word() {
    let error = Lab::parse("name: a\nnamespces: {}\n", "lab.yaml").unwrap_err();
    let shown = error.render();
    assert!(shown.contains("namespces: {}"), "{shown}");
    assert!(shown.contains("^^^^^^^^^"), "{shown}");
    assert!(shown.contains("lab.yaml:2:1"), "{shown}");
}

#[test]
fn hostile_yaml_is_refused_not_run_with() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nname: *c\nnamespaces: {}\n";
    assert!(Lab::parse(bomb, "lab.yaml").is_err());
    assert!(Lab::parse(&"[".repeat(100_000), "lab.yaml").is_err());
    assert!(Lab::parse("", "lab.yaml").is_err());
    assert!(Lab::parse("name: \u{0}\n", "lab.yaml").is_err());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn what_cannot_be_wired() {
    for (source, expected) in [
        (
            "namespaces: { a: { interfaces: { e: { peer: b/x } } }, b: { interfaces: { y: { peer: a/e } } } }",
            "there is no interface `b/x`; did you mean `b/y`?",
        ),
        (
            "namespaces: { a: { interfaces: { e: { peer: a/f }, f: {} } } }",
            "`a/f` is in the same namespace; a peer is in another namespace",
        ),
        (
            "namespaces: { a: { interfaces: { e: { peer: c/e } } }, b: { interfaces: { e: { peer: c/e } } }, c: { interfaces: { e: {} } } }",
            "c/e is the peer of a/e; a veth pair has two ends",
        ),
        (
            "namespaces: { a: { interfaces: { e: { peer: b/e, mtu: 1400 } } }, b: { interfaces: { e: { mtu: 1500 } } } }",
            "the MTU is 1400 here and 1500 at b/e",
        ),
        (
            "namespaces: { a: { interfaces: { e: { peer: b/e, queues: 2 } } }, b: { interfaces: { e: { queues: 3 } } } }",
            "there are 2 queues here and 3 at b/e; both ends of a pair have as many",
        ),
        (
            "bridges: { br0: {} }\nnamespaces: { a: { interfaces: { e: { bridge: br0, queues: 65 } } } }",
            "65 queues are not possible; 1 to 64 here",
        ),
        (
            "namespaces: { a: { interfaces: { e: { peer: b/e, vlan: 3 } } }, b: { interfaces: { e: {} } } }",
            "`vlan` is of a bridge's port, and a/e has a peer",
        ),
        (
            "bridges: { br0: {} }\nnamespaces: { a: { interfaces: { e: { bridge: br0, peer: b/e } } }, b: { interfaces: { e: {} } } }",
            "a/e is on a bridge and has a peer",
        ),
        (
            "bridges: { br0: {} }\nnamespaces: { a: { interfaces: { e: { bridge: br0, mtu: 9000 } } } }",
            "the MTU is 9000 here and 1500 on bridge `br0`",
        ),
        (
            "bridges: { br0: { namespace: a } }\nnamespaces: { a: { interfaces: { e: { bridge: br0 } } } }",
            "bridge `br0` is in this namespace itself",
        ),
        (
            "bridges: { br0: {} }\nnamespaces: { a: { interfaces: { e: { bridge: br0, vlan: 3 } } } }",
            "bridge `br0` looks at no VLAN; add `vlan_filtering: true` to `br0`",
        ),
        (
            "bridges: { br0: { vlan_filtering: true } }\nnamespaces: { a: { interfaces: { e: { bridge: br0, trunk: [4095] } } } }",
            "`4095` is no VLAN",
        ),
        (
            "bridges: { br0: { vlan_filtering: true } }\nnamespaces: { a: { interfaces: { e: { bridge: br0, vlan: 3, trunk: [2-4] } } } }",
            "VLAN 3 is both tagged and untagged here",
        ),
        (
            "bridges: { br0: { uplink: true } }\nnamespaces: { a: {} }",
            "an uplink needs an address that is the gateway",
        ),
        (
            "bridges: { br0: { uplink: true, namespace: x, addresses: [10.0.0.1/24] } }\nnamespaces: { a: {} }",
            "a bridge in a namespace has no way out through the host",
        ),
        (
            "bridges: { br0: { forward_delay: 2 } }\nnamespaces: { a: {} }",
            "`forward_delay` is of the spanning tree protocol; add `stp: true`",
        ),
        (
            "bridges: { br0: { stp: true, forward_delay: 1 } }\nnamespaces: { a: {} }",
            "a forward delay of 1 seconds is not possible; 2 to 30 seconds",
        ),
        (
            "bridges: { br0: { mtu: 1279, addresses: ['fd00::1/64'] } }\nnamespaces: { a: {} }",
            "IPv6 does not work with an MTU of 1279; it takes 1280 bytes at least",
        ),
        (
            "bridges: { br0: {} }\nnamespaces: { a: { count: 3, interfaces: { e: { bridge: br0, addresses: [10.0.0.0/30] } } } }",
            "10.0.0.0/30 has no address left; write a shorter prefix length",
        ),
        (
            "bridges: { br0: {} }\nnamespaces: { a: { count: 2, interfaces: { e: { bridge: br0, addresses: [10.0.0.1/30] } } } }",
            "10.0.0.1/30 is there twice",
        ),
        ("namespaces: { a: { count: 0 } }", "a count of 0 is not possible; 1 to 65536 here"),
        ("namespaces: { a: { count: 70000 } }", "a count of 70000 is not possible"),
        (
            "namespaces: { a: { count: 2 }, a2: {} }",
            "there is a namespace `a2` already (line 2); give one of them another name",
        ),
        (
            "namespaces: { a: { count: 2, pid: 1 } }",
            "`pid` is of one namespace, and `a` has a count",
        ),
        (
            "namespaces: { a: { pid: 1, netns: x } }",
            "a namespace is found in one way; choose one of `netns`, `pid` and `container`",
        ),
        ("namespaces: { a: { pid: 0 } }", "there is no process 0"),
        ("namespaces: { a: { netns: ../x } }", "`../x` names no namespace"),
        ("namespaces: { a: { container: --rm } }", "`--rm` cannot be the name of a container"),
        (
            "namespaces: { a: { netns: x, router: true } }",
            "the settings of an adopted namespace are its owner's",
        ),
        (
            "namespaces: { a: { sysctls: { kernel.panic: 1 } } }",
            "`kernel.panic` is no setting of a network namespace",
        ),
        (
            "namespaces: { a: { sysctls: { net.ipv4.conf.eth0.rp_filter: 1 } } }",
            "`net.ipv4.conf.eth0.rp_filter` is of `eth0`, which the namespace does not have",
        ),
        (
            "namespaces: { a: { router: true, sysctls: { net.ipv4.ip_forward: 0 } } }",
            "`net.ipv4.ip_forward` is 1 already; `router: true` says so",
        ),
        (
            "bridges: { b: {} }\nnamespaces: { a: { interfaces: { e: { bridge: b, guard: ip } } } }",
            "`ip` says nothing about a guard; write `true`, `false`, or `mac`",
        ),
        (
            "bridges: { b: {} }\nnamespaces:\n  \
             a: { router: true, interfaces: { e: { bridge: b, guard: true } } }",
            "a/e is a router's, which sends what others have the addresses of; write `guard: mac`",
        ),
        (
            "namespaces: { a: { sysctls: { net.ipv4.tcp_ecn: } } }",
            "`net.ipv4.tcp_ecn` has no value",
        ),
        (
            "namespaces: { a: { routes: [{ to: 10.0.0.0/8 }] } }",
            "a route leads through a gateway, or right onto a link",
        ),
        (
            "namespaces: { a: { routes: [{ to: 10.0.0.0/8, dev: e }], interfaces: { f: { peer: b/f } } }, b: { interfaces: { f: {} } } }",
            "there is no interface `e` in this namespace; did you mean `f`?",
        ),
    ] {
        let errors = errors(&format!("name: a\n{source}\n"));
        assert!(errors.contains(expected), "{source}\n{errors}");
        assert!(errors.lines().count() <= 2, "{source}\n{errors}");
    }
}

#[test]
fn what_is_handed_out_is_apart_from_what_is_written() {
    let source = "name: a\nbridges: { br0: { addresses: [10.0.0.0/29] } }\nnamespaces:\n  \
        x: { count: 2, interfaces: { e: { bridge: br0, addresses: [10.0.0.0/29, 'fd00::/126'] } } }\n  \
        y: { interfaces: { e: { bridge: br0, addresses: [10.0.0.2/29] } } }\n  \
        z: { interfaces: { e: { bridge: br0, addresses: [10.0.0.0/29] } } }\n";
    let lab = Lab::parse(source, "lab.yaml").unwrap();
    let given: Vec<String> = lab
        .interfaces()
        .flat_map(|(id, interface)| {
            interface.addresses.iter().map(move |address| format!("{id} {address}"))
        })
        .collect();
    assert_eq!(lab.bridges[0].addresses[0].to_string(), "10.0.0.1/29");
    assert_eq!(
        given,
        [
            "x1/e 10.0.0.3/29",
            "x1/e fd00::1/126",
            "x2/e 10.0.0.4/29",
            "x2/e fd00::2/126",
            "y/e 10.0.0.2/29",
            "z/e 10.0.0.5/29"
        ]
    );
}

#[test]
fn both_ends_of_a_pair_have_the_queues_that_one_says() {
    let queues = |one: &str, other: &str| {
        let text = format!(
            "name: q\nbridges: {{ b: {{}} }}\nnamespaces:\n  \
             a: {{ interfaces: {{ e: {{ peer: c/e{one} }}, f: {{ bridge: b{other} }} }} }}\n  \
             c: {{ interfaces: {{ e: {{}} }} }}\n"
        );
        let lab = Lab::parse(&text, "test").unwrap();
        lab.interfaces().map(|(_, one)| one.queues).collect::<Vec<_>>()
    };
    assert_eq!(queues("", ""), [1, 1, 1]);
    assert_eq!(queues(", queues: 4", ", queues: 64"), [4, 64, 4]);
    assert_eq!(queues(", queues: ", ", queues: 1"), [1, 1, 1]);
}

#[test]
fn a_guard_is_on_off_or_of_the_mac_address() {
    let guard = |said: &str| {
        let text = format!(
            "name: g\nbridges: {{ b: {{}} }}\n\
             namespaces: {{ a: {{ interfaces: {{ e: {{ bridge: b, guard: {said} }} }} }} }}"
        );
        Lab::parse(&text, "test").unwrap().namespaces[0].interfaces[0].guard
    };
    assert_eq!(guard("true"), Some(Guard::Addresses));
    assert_eq!(guard("mac"), Some(Guard::Mac));
    assert_eq!(guard("false"), None);
    assert_eq!(guard(""), None);
}
