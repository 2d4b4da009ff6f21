//! Large labs, and large labs that are wrong everywhere: none takes the square of
//! its size.
//!
//! `cargo test --release -p nsbpf lab::tests::large -- --nocapture` shows the times.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::lab::*;

/// Of each shape: a debug build takes ten seconds to read the text of 10,000.
const MANY: usize = if cfg!(debug_assertions) { 1000 } else { 10_000 };
/// What is linear takes a tenth of it, even where others use the machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// A line for each number.
fn lines(line: impl Fn(usize) -> String) -> String {
    some_lines(MANY, line)
}

fn some_lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        writeln!(text, "{}", line(number)).unwrap();
        text
    })
}

fn list(item: impl Fn(usize) -> String) -> String {
    (0..MANY).map(item).collect::<Vec<_>>().join(", ")
}

/// An address of 10.0.0.0/8.
fn ip(number: usize) -> String {
    format!("10.{}.{}.{}", number >> 16, (number >> 8) & 255, number & 255)
}

/// A subnet with room for two.
fn pair(number: usize) -> String {
    format!("{}/30", ip(number * 4 + 1))
}

const BRIDGES: usize = MANY / 500;

fn with_bridges(rest: &str) -> String {
    let bridges = some_lines(BRIDGES, |number| format!("  br{number}: {{}}"));
    format!("name: a\nbridges:\n{bridges}{rest}")
}

fn on_bridges() -> String {
    lines(|number| {
        let bridge = number % BRIDGES;
        format!(
            "  n{number}: {{ interfaces: {{ e: {{ bridge: br{bridge}, addresses: [10.{bridge}.0.0/16] }} }} }}"
        )
    })
}

/// An interface with a subnet for each number.
fn wide(rest: &str) -> String {
    let there = lines(|number| {
        format!("      e{number}: {{ peer: o{number}/e, addresses: [{}] }}", pair(number))
    });
    let others = lines(|number| format!("  o{number}: {{ interfaces: {{ e: {{}} }} }}"));
    format!("name: a\nnamespaces:\n  n:\n{rest}    interfaces:\n{there}{others}")
}

fn one_link(routes: &str, addresses: &str) -> String {
    format!(
        "name: a\nbridges: {{ br0: {{}} }}\nnamespaces:\n  n:\n    routes:\n{routes}\n    \
         interfaces: {{ e: {{ bridge: br0, addresses: [{addresses}] }} }}\n"
    )
}

fn time(what: &str, source: &str, right: bool) {
    let begin = Instant::now();
    let parsed = Lab::parse(source, "lab.yaml");
    let shown = parsed.as_ref().err().map(|error| (error.to_string(), error.render()));
    let took = begin.elapsed();
    println!("{:>7} ms  {:>5} KiB  {what}", took.as_millis(), source.len() >> 10);
    let told = shown.map_or_else(String::new, |(told, _)| told);
    let first = told.lines().next().unwrap_or_default();
    assert_eq!(parsed.is_ok(), right, "{what}: {first}");
    assert!(!told.contains("budget"), "{what}: {first}");
    assert!(took < PATIENCE, "{what}: {took:?}");
}

#[test]
fn large_labs_take_linear_time() {
    let counted = "name: a\nnamespaces: { n: { count: 65000 } }\n";
    time("namespaces by count", counted, true);
    let wired = some_lines(63, |number| {
        let count = MANY / 10;
        format!(
            "  n{number}-: {{ count: {count}, interfaces: {{ e: {{ bridge: br{number}, addresses: [10.{number}.0.0/16] }} }} }}"
        )
    });
    let bridges = some_lines(63, |number| format!("  br{number}: {{}}"));
    let wired = format!("name: a\nbridges:\n{bridges}namespaces:\n{wired}");
    time("interfaces by count", &wired, true);
    let written = with_bridges(&format!("namespaces:\n{}", on_bridges()));
    time("namespaces", &written, true);
    time("peers", &wide(""), true);
    let sysctls =
        lines(|number| format!("      net.ipv4.conf.e{number}.rp_filter: {}", number % 2));
    time("settings", &wide(&format!("    sysctls:\n{sysctls}")), true);
    let gateways = lines(|number| {
        let via = ip(number * 4 + 2);
        format!("      - {{ to: 11.{}.{}.0/24, via: {via} }}", number >> 8, number & 255)
    });
    time("gateways", &wide(&format!("    routes:\n{gateways}")), true);
    let routes = lines(|number| {
        format!("      - {{ to: 11.{}.{}.0/24, dev: e }}", number >> 8, number & 255)
    });
    time("routes", &one_link(&routes, ""), true);
    let addresses = list(|number| format!("{}/8", ip(number + 1)));
    time("addresses", &one_link("      []", &addresses), true);
    let inside = lines(|number| format!("  b{number}: {{ namespace: s{} }}", number % 100));
    let members =
        lines(|number| format!("  n{number}: {{ interfaces: {{ e: {{ bridge: b{number} }} }} }}"));
    let inside = format!("name: a\nbridges:\n{inside}namespaces:\n{members}");
    time("bridges in namespaces", &inside, true);
    let uplinks =
        lines(|number| format!("  b{number}: {{ uplink: true, addresses: [{}] }}", pair(number)));
    let uplinks = format!("name: a\nbridges:\n{uplinks}namespaces:\n{members}");
    time("uplinks", &uplinks, true);
}

#[test]
fn large_expectations_take_linear_time() {
    let written = with_bridges(&format!("namespaces:\n{}", on_bridges()));
    let each = lines(|number| {
        format!("  - {{ from: n{number}, to: [n{}, 192.0.2.1] }}", (number + BRIDGES) % MANY)
    });
    time("expectations", &format!("{written}expect:\n{each}"), true);
    let everybody = list(|number| format!("n{number}"));
    let lists = format!("{written}expect: [{{ from: [{everybody}], to: [{everybody}] }}]\n");
    time("a list to a list", &lists, true);
    let wrong = lines(|number| format!("  - {{ from: m{number}, to: [n{number}, n1/f] }}"));
    time("wrong expectations", &format!("{written}expect:\n{wrong}"), false);
}

#[test]
fn large_labs_that_are_wrong_take_linear_time() {
    let interface = |said: &dyn Fn(usize) -> String| {
        lines(|number| format!("  n{number}: {{ interfaces: {{ e: {{ {} }} }} }}", said(number)))
    };
    let peers = interface(&|number| format!("peer: m{number}/e"));
    time("wrong peers", &format!("name: a\nnamespaces:\n{peers}"), false);
    let bridges = interface(&|number| format!("bridge: c{number}"));
    let made = lines(|number| format!("  b{number}: {{}}"));
    time("wrong bridges", &format!("name: a\nbridges:\n{made}namespaces:\n{bridges}"), false);
    time(
        "attached to nothing",
        &format!("name: a\nnamespaces:\n{}", interface(&|_| String::new())),
        false,
    );
    let sysctls = lines(|number| format!("      net.ipv4.conf.f{number}.rp_filter: 1"));
    time("wrong settings", &wide(&format!("    sysctls:\n{sysctls}")), false);
    let gateways =
        lines(|number| format!("      - {{ to: 11.0.0.0/24, via: 12.{} }}", &ip(number)[3..]));
    time("wrong gateways", &wide(&format!("    routes:\n{gateways}")), false);
    let devices = lines(|number| format!("      - {{ to: 11.0.0.0/24, dev: f{number} }}"));
    time("wrong devices", &wide(&format!("    routes:\n{devices}")), false);
    let same = list(|_| "10.0.0.1/8".to_owned());
    time("the same address", &one_link("      []", &same), false);
    let trunks = "name: a\nbridges: { b: { vlan_filtering: true } }\n\
        namespaces: { n: { count: 65000, interfaces: { e: { bridge: b, trunk: [1-1000] } } } }\n";
    time("too many trunks", trunks, false);
    let names = lines(|number| format!("  n/{number}: {{ count: 5 }}"));
    time("wrong names", &format!("name: a\nnamespaces:\n{names}"), false);
}

#[test]
fn large_policies_take_linear_time() {
    let lab = |rest: &str| {
        let group = "  g: { count: 400, interfaces: { e: { bridge: br0 } } }\n";
        with_bridges(&format!("namespaces:\n{}{group}policy:\n{rest}", on_bridges()))
    };
    let rule = |asks: String| format!("  - {{ {asks}, action: allow }}");
    let rules = |asks: &dyn Fn(usize) -> String| {
        format!("  rules:\n{}", lines(|number| rule(asks(number))))
    };
    let ends =
        rules(&|number| format!("from: n{number}, to: [g, n{}/e, {}]", number / 2, ip(number)));
    time("rules", &lab(&ends), true);
    let list_of_ends = list(|number| format!("n{number}"));
    let sets = lines(|number| format!("    s{number}: [g, n{number}, {}]", ip(number)));
    let used = rules(&|number| format!("from: s{number}"));
    time("sets", &lab(&format!("  sets:\n{sets}{used}")), true);
    let wide = format!(
        "  rules: [{{ from: [{list_of_ends}], ports: [{}], action: deny }}]\n",
        list(|it| it.to_string())
    );
    time("a rule of long lists", &lab(&wide), true);
    let wrong = rules(&|number| {
        format!("from: m{number}, to: [g/f{number}, n{number}/f], ports: 2-1, proto: tpc")
    });
    time("wrong rules", &lab(&wrong), false);
    let same = rules(&|_| "name: a, from: n1, to: n2".to_owned());
    time("rules of one name", &lab(&same), false);
    let nested = lines(|number| format!("    s{number}: [s{}, g]", number / 2));
    time("sets in sets", &lab(&format!("  sets:\n{nested}")), false);
}
