//! Who is to reach whom.

use crate::lab::*;

/// Left and right have both families, old only IPv4, mute none.
fn lab(expect: &str) -> Result<Lab, String> {
    let source = format!(
        "name: a\nbridges: {{ br0: {{}}, br1: {{}} }}\nnamespaces:\n  \
         left: {{ interfaces: {{ e: {{ bridge: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] }} }} }}\n  \
         right: {{ interfaces: {{ e: {{ bridge: br0, addresses: [10.0.0.2/24, 'fd00::2/64'] }}, f: {{ bridge: br1, addresses: [10.0.1.2/24] }} }} }}\n  \
         old: {{ interfaces: {{ e: {{ bridge: br0, addresses: [10.0.0.3/24] }}, none: {{ bridge: br1 }} }} }}\n  \
         mute: {{}}\nexpect:\n  - {expect}\n"
    );
    Lab::parse(&source, "lab.yaml").map_err(|error| error.to_string())
}

fn trials(expect: &str) -> Vec<String> {
    let lab = lab(expect).unwrap();
    let trials = lab.expect[0].trials(&lab);
    trials
        .map(|Trial { from, to, address }| match to {
            Some(to) => format!("{from} {to} {address}"),
            None => format!("{from} {address}"),
        })
        .collect()
}

#[test]
fn a_target_is_all_of_its_addresses_that_the_source_can_speak_to() {
    assert_eq!(
        trials("{ from: left, to: right }"),
        ["left right 10.0.0.2", "left right fd00::2", "left right 10.0.1.2"]
    );
    assert_eq!(trials("{ from: old, to: right }"), ["old right 10.0.0.2", "old right 10.0.1.2"]);
    assert_eq!(trials("{ from: left, to: right/f }"), ["left right 10.0.1.2"]);
    assert_eq!(trials("{ from: left, to: 10.0.0.3 }"), ["left old 10.0.0.3"]);
    assert_eq!(trials("{ from: left, to: 192.0.2.1 }"), ["left 192.0.2.1"]);
    assert_eq!(
        trials("{ from: [left, old], to: ['fd00::2', right/f] }"),
        ["left right fd00::2", "left right 10.0.1.2", "old right 10.0.1.2"]
    );
}

#[test]
fn all_is_everybody_but_oneself() {
    assert_eq!(trials("{ from: all, to: old }"), ["left old 10.0.0.3", "right old 10.0.0.3"]);
    let all = trials("{ from: all, to: all }");
    assert_eq!(all.len(), 4 + 3 + 3, "{all:?}");
    assert!(all.iter().all(|trial| !trial.contains("mute")), "{all:?}");
}

#[test]
fn an_expectation_says_how_and_why() {
    let said = lab("{ from: all, to: right, tcp: 80, reach: false, because: a wall }").unwrap();
    let expectation = &said.expect[0];
    assert_eq!(expectation.way, Way::Tcp(80));
    assert!(!expectation.reach);
    assert_eq!(expectation.because.as_deref(), Some("a wall"));
    let (from, to) = (expectation.from.to_string(), expectation.to.to_string());
    assert_eq!((from.as_str(), to.as_str()), ("all", "right"));
    let plain = lab("{ from: left, to: right/e, udp: 53 }").unwrap();
    assert_eq!(plain.expect[0].way, Way::Udp(53));
    assert!(plain.expect[0].reach);
    assert_eq!(plain.expect[0].to.to_string(), "right/e");
}

/// What is wrong, at which column of the expectation, and what would be right.
#[test]
fn mistakes_are_named_at_their_place() {
    for (expect, problem) in [
        ("{ from: lft, to: right }", ":13: there is no namespace `lft`; did you mean `left`?"),
        ("{ from: left, to: rigt }", ":23: there is no namespace `rigt`; did you mean `right`?"),
        ("{ from: left, to: rigt/e }", ":23: there is no namespace `rigt`"),
        ("{ from: [left, odl], to: all }", ":20: there is no namespace `odl`; did you mean `old`?"),
        (
            "{ from: left, to: right/g }",
            ":23: namespace `right` has no interface `g`; did you mean `e`?",
        ),
        ("{ from: left, to: mute/e }", ":23: namespace `mute` has no interface `e`; it has none"),
        ("{ from: left, to: right, tcp: 0 }", ":35: 0 is no port; 1 to 65535"),
        ("{ from: left, to: right, udp: 65536 }", ":35: 65536 is no port"),
        ("{ from: left, to: right, tcp: -1 }", ":35: -1 is no port"),
        ("{ from: left, to: right, tcp: 1, udp: 2 }", "by tcp or by udp, not by both"),
        ("{ from: left, to: 10.0.0.2/24 }", "with a prefix length; write `10.0.0.2`"),
        ("{ from: left, to: mute }", ":23: `mute` has no address"),
        ("{ from: left, to: old/none }", ":23: `old/none` has no address"),
        ("{ from: old, to: 'fd00::2' }", "`old` has no address of `fd00::2`'s family"),
        ("{ from: mute, to: right }", "`mute` has no address of `right`'s family"),
        ("{ from: [left, mute], to: right }", ":20: `mute` has no address of `right`'s family"),
        ("{ from: left, to: left/e }", ":23: that is itself; name another namespace"),
        ("{ from: [], to: left }", ":13: the list names nobody"),
        ("{ from: left, to: 127.0.0.1 }", "127.0.0.1 is everybody's own"),
        ("{ from: left, to: 'fe80::1' }", "fe80::1 is a link-local address"),
        ("{ from: left, to: 224.0.0.1 }", "224.0.0.1 is a multicast address"),
        ("{ from: left, to: 192.0.2.1, udp: 5 }", "nobody answers UDP there"),
        ("{ from: left }", "the key `to` is missing"),
        ("{ from: left, too: right }", "unknown key `too`; did you mean `to`?"),
        ("{ from: { a: b }, to: right }", "this should be a name, or a list of names"),
        (
            "{ from: true, to: right }",
            ":13: a name that looks like something else goes into quotes",
        ),
        ("{ from: left, to: 1.5 }", ":23: a name that looks like something else goes into quotes"),
    ] {
        let error = lab(expect).expect_err(expect);
        assert!(error.contains(problem), "{expect}: {error}");
    }
}

#[test]
fn a_lab_of_strangers_expects_nothing_of_all() {
    let source = "name: a\nnamespaces: { n: {} }\nexpect: [{ from: all, to: all }]\n";
    let error = Lab::parse(source, "lab.yaml").unwrap_err().to_string();
    assert!(error.contains("lab.yaml:3:27: there is nobody to reach"), "{error}");
}

/// As YAML 1.1 would have them, these are booleans and numbers.
#[test]
fn names_that_look_like_something_else() {
    for name in ["n", "yes", "off", "007", "1_0", "12"] {
        let source = format!(
            "name: a\nbridges: {{ b: {{}} }}\nnamespaces:\n  \
             {name}: {{ interfaces: {{ e: {{ bridge: b, addresses: [10.0.0.1/24] }} }} }}\n  \
             other: {{ interfaces: {{ e: {{ bridge: b, addresses: [10.0.0.2/24] }} }} }}\n\
             expect: [{{ from: {name}, to: other }}, {{ from: [other], to: [{name}] }}]\n"
        );
        if let Err(error) = Lab::parse(&source, "lab.yaml") {
            panic!("{error}");
        }
    }
}

#[test]
fn an_address_that_two_have_is_nobodys() {
    let source = "name: a\nbridges: { x: {}, y: {} }\nnamespaces:\n  \
        a: { interfaces: { e: { bridge: x, addresses: [10.0.0.1/24] } } }\n  \
        b: { interfaces: { e: { bridge: y, addresses: [10.0.0.1/24] } } }\n\
        expect: [{ from: a, to: 10.0.0.1 }]\n";
    let error = Lab::parse(source, "lab.yaml").unwrap_err().to_string();
    assert!(error.contains("an address of `a` and of `b`"), "{error}");
}

#[test]
fn a_bridge_inside_is_an_address_of_its_namespace() {
    let source = "name: a\nbridges: { br0: {}, inner: { namespace: sw, addresses: [10.7.0.1/24] } }\n\
        namespaces:\n  a: { interfaces: { e: { bridge: br0, addresses: [10.0.0.1/24] } } }\n  sw: {}\n\
        expect: [{ from: a, to: sw }]\n";
    let lab = Lab::parse(source, "lab.yaml").unwrap();
    let trials: Vec<_> = lab.expect[0].trials(&lab).map(|trial| trial.address).collect();
    assert_eq!(trials, ["10.7.0.1".parse::<IpAddr>().unwrap()]);
}
