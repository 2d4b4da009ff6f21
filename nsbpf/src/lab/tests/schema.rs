//! The schema, the parser and the reference say the same.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::lab::*;

const REFERENCE: &str = include_str!("../../../../docs/lab-reference.md");

/// Sections of the reference, and what the schema calls what they describe.
const SECTIONS: [(&str, &str); 8] = [
    ("The lab", ""),
    ("Bridges", "Bridge"),
    ("Namespaces", "Namespace"),
    ("Routes", "Route"),
    ("Interfaces", "Interface"),
    ("Policy", "Policy"),
    ("Rules", "Rule"),
    ("Expectations", "Expectation"),
];

fn yaml(text: &str) -> Value {
    // As YAML 1.2 has it, which editors follow.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn validator() -> Validator {
    let schema = schema();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

fn properties<'a>(schema: &'a Value, of: &str) -> &'a Map<String, Value> {
    let of = if of.is_empty() { schema } else { &schema["$defs"][of] };
    of["properties"].as_object().unwrap()
}

/// Keys, what they say and an example, as the table of a section has them.
fn rows(section: &str) -> Vec<(Vec<&str>, &str, &str)> {
    let begin = format!("\n## {section}\n");
    let text = REFERENCE.split_once(&begin).expect(section).1;
    let text = text.split_once("\n## ").map_or(text, |(text, _)| text);
    text.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [keys, says, example] = cells[..] else { panic!("{line}") };
            let keys = keys.split(", ").map(|key| key.trim_matches('`')).collect();
            (keys, says, example.trim_matches('`'))
        })
        .collect()
}

/// `[text](#target)` as `text`.
fn without_links(text: &str) -> String {
    let mut parts = text.split('[');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (text, rest) = part.split_once("](").unwrap();
        plain.push_str(text);
        plain.push_str(rest.split_once(')').unwrap().1);
    }
    plain
}

#[test]
fn the_reference_describes_what_the_schema_has() {
    let schema = schema();
    let known: BTreeSet<&str> =
        schema["$defs"].as_object().unwrap().keys().map(String::as_str).collect();
    let described: BTreeSet<&str> =
        SECTIONS.iter().map(|(_, of)| *of).filter(|of| !of.is_empty()).collect();
    assert_eq!(known, described);
    for (section, of) in SECTIONS {
        let properties = properties(&schema, of);
        let mut described = BTreeSet::new();
        for (keys, says, _) in rows(section) {
            for key in keys {
                let property = properties.get(key).unwrap_or_else(|| panic!("{section}: {key}"));
                assert_eq!(property["description"], json!(without_links(says)), "{key}");
                described.insert(key);
            }
        }
        assert_eq!(described, properties.keys().map(String::as_str).collect(), "{section}");
    }
}

/// Each example of a key, by the schema of that key alone.
#[test]
fn examples_of_keys_are_what_the_schema_takes() {
    let schema = schema();
    for (section, of) in SECTIONS {
        for (_, _, example) in rows(section) {
            let example = yaml(example);
            let (key, value) = example.as_object().unwrap().iter().next().unwrap();
            let part = json!({
                "$defs": schema["$defs"],
                "allOf": [properties(&schema, of)[key]],
            });
            let validator = jsonschema::draft202012::new(&part).unwrap();
            assert!(validator.is_valid(value), "{section}: {key}: {value}");
        }
    }
}

/// What the schema shows as an example is one, and so is what it calls the default.
#[test]
fn what_the_schema_says_of_values_holds() {
    fn walk(part: &Value, defs: &Value) {
        if let Value::Object(members) = part {
            let schema = json!({ "$defs": defs, "allOf": [part] });
            let examples = members.get("examples").and_then(Value::as_array).into_iter().flatten();
            for value in examples.chain(members.get("default")) {
                let validator = jsonschema::draft202012::new(&schema).unwrap();
                assert!(validator.is_valid(value), "{value}: {part}");
            }
            members.values().for_each(|part| walk(part, defs));
        }
    }
    let schema = schema();
    walk(&schema["properties"], &schema["$defs"]);
    walk(&schema["$defs"], &schema["$defs"]);
    assert!(validator().is_valid(&schema["examples"][0]));
}

#[test]
fn labs_of_the_repository_are_what_the_schema_takes() {
    let validator = validator();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs");
    let labs = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let examples = REFERENCE.split("```yaml\n").skip(1);
    let examples = examples.map(|rest| rest.split("```").next().unwrap().to_owned());
    let all: Vec<String> = labs.chain(examples).collect();
    assert!(all.len() > 10, "{}", all.len());
    for lab in all {
        if let Err(error) = validator.validate(&yaml(&lab)) {
            panic!("{lab}\n{}: {error}", error.instance_path());
        }
    }
}

fn lab(bridge: &str, namespace: &str, interface: &str, rest: &str) -> String {
    format!(
        "name: a\nbridges:\n  br0: {{ vlan_filtering: true, stp: true, {bridge} }}\n\
         namespaces:\n  n:\n    {namespace}\n    interfaces:\n      \
         e: {{ addresses: [10.0.0.1/24], {interface} }}\n  \
         m: {{ interfaces: {{ e: {{ bridge: br0, addresses: [10.0.0.2/24] }} }} }}\n{rest}\n"
    )
}

fn policy(text: &str) -> String {
    lab("", "", "bridge: br0", &format!("policy: {{ {text} }}"))
}

/// What each of both takes, the other takes.
#[test]
fn the_schema_takes_what_the_parser_takes() {
    let validator = validator();
    for source in [
        lab("", "", "bridge: br0", ""),
        lab("mtu: 68, vlan: 4094, forward_delay: 30", "", "bridge: br0", "expect: []"),
        lab("mtu: 65535, vlan: 1, forward_delay: 2", "", "bridge: br0", "expect: []"),
        lab("mtu: , vlan: ~, uplink: null", "router:", "bridge: br0, up: , mac: ", ""),
        lab("addresses: []", "routes: []", "bridge: br0, trunk: []", ""),
        lab("", "sysctls: { net.ipv4.tcp_ecn: 1, net/ipv4/ip_forward: '0' }", "bridge: br0", ""),
        lab("", "", "bridge: br0, queues: 64", ""),
        lab("", "sysctls:", "bridge: br0, trunk: [10, 20-29, '30']", ""),
        lab("", "netns: x\n    pid:\n    container:", "bridge: br0, peer:", ""),
        lab("", "", "bridge: br0", "expect: [{ from: all, to: [n, 10.0.0.2], tcp: 1, udp: }]"),
        lab("", "", "bridge: br0", "expect: [{ from: n, to: m, udp: 65535, reach: false }]"),
        policy("default: deny, established: , sets: , rules: []"),
        policy(
            "sets: { a: [n, 10.0.0.0/8, 1.5.0.0/16], b: m/e }, rules: [{ from: a, to: { not: [b] }, action: log }]",
        ),
        policy(
            "rules: [{ ports: [80, 443-444, '1'], source_ports: 0, proto: [tcp, 17], action: reject, log: 7 }]",
        ),
        policy(
            "rules: [{ flags: [syn, '!ack'], action: allow, limit: , burst: ~ }, { flags: rst, action: deny, log: false }]",
        ),
        policy(
            "rules: [{ proto: icmp, icmp: [8, 3/1, redirect], action: deny }, { icmp: echo-reply, action: deny }]",
        ),
        policy(
            "rules: [{ dscp: [ef, 63], vlan: [none, 1-9], fragment: true, action: deny, name: }]",
        ),
        policy(
            "rules: [{ ethertype: [0x0806, arp, 34525], source_mac: '03:00:00:00:00:01', fragment: , action: deny }]",
        ),
        policy(
            "rules: [{ action: limit, limit: 5 packets/s, burst: 9 }, { action: limit, limit: 1Gbit/s, burst: 1Mbit }]",
        ),
        "name: 1\nnamespaces: { 2: }\n".to_owned(),
        "name: 1.5\nbridges: { 3: { namespace: 4 } }\nnamespaces: { 2: }\n".to_owned(),
        "name: a\nbridges:\nnamespaces: { n: { interfaces: } }\nexpect: []\n".to_owned(),
    ] {
        if let Err(error) = Lab::parse(&source, "lab.yaml") {
            panic!("{source}{error}");
        }
        if let Err(error) = validator.validate(&yaml(&source)) {
            panic!("{source}{}: {error}", error.instance_path());
        }
    }
}

#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    let validator = validator();
    for source in [
        lab("colour: red", "", "bridge: br0", ""),
        lab("", "colour: red", "bridge: br0", ""),
        lab("", "", "bridge: br0, colour: red", ""),
        lab("", "", "bridge: br0", "colour: red"),
        lab("mtu: 67", "", "bridge: br0", ""),
        lab("mtu: 65536", "", "bridge: br0", ""),
        lab("mtu: many", "", "bridge: br0", ""),
        lab("vlan: 0", "", "bridge: br0", ""),
        lab("", "", "bridge: br0, vlan: 4095", ""),
        lab("", "", "bridge: br0, trunk: [4095]", ""),
        lab("", "", "bridge: br0, trunk: [ten]", ""),
        lab("", "", "bridge: br0, trunk: 10", ""),
        lab("forward_delay: 31", "", "bridge: br0", ""),
        lab("forward_delay: 1", "", "bridge: br0", ""),
        lab("uplink: maybe", "", "bridge: br0", ""),
        lab("addresses: 10.0.0.3/24", "", "bridge: br0", ""),
        lab("addresses: [10.0.0.3]", "", "bridge: br0", ""),
        lab("", "count: 0", "bridge: br0", ""),
        lab("", "count: 70000", "bridge: br0", ""),
        lab("", "pid: 0", "bridge: br0", ""),
        lab("", "netns: a/b", "bridge: br0", ""),
        lab("", "container: -rm", "bridge: br0", ""),
        lab("", "netns: a\n    pid: 1", "bridge: br0", ""),
        lab("", "pid: 1\n    container: a", "bridge: br0", ""),
        lab("", "sysctls: { kernel.panic: 1 }", "bridge: br0", ""),
        lab("", "sysctls: { net.ipv4.ip_forward: }", "bridge: br0", ""),
        lab("", "routes: [{ via: 10.0.0.2 }]", "bridge: br0", ""),
        lab("", "routes: [{ to: nowhere, via: 10.0.0.2 }]", "bridge: br0", ""),
        lab("", "routes: [{ to: default, via: 10.0.0.2/24 }]", "bridge: br0", ""),
        lab("", "routes: {}", "bridge: br0", ""),
        lab("", "routes:", "bridge: br0", ""),
        lab("addresses:", "", "bridge: br0", ""),
        lab("", "", "bridge: br0, trunk:", ""),
        lab("", "", "bridge: br0", "expect:"),
        lab("", "", "bridge: br0, queues: 0", ""),
        lab("", "", "bridge: br0, queues: 65", ""),
        lab("", "", "bridge: br0, queues: 70000", ""),
        lab("", "", "bridge: br0, peer: m/e", ""),
        lab("", "", "peer: m", ""),
        lab("", "", "bridge: br0, mac: '01:00:00:00:00:01'", ""),
        lab("", "", "bridge: br0, mac: '02:00:00:00:00'", ""),
        lab("", "", "bridge: [br0]", ""),
        lab("", "", "bridge: br0", "expect: [{ from: n, to: m, tcp: 0 }]"),
        lab("", "", "bridge: br0", "expect: [{ from: n, to: m, tcp: 1, udp: 1 }]"),
        lab("", "", "bridge: br0", "expect: [{ from: [], to: m }]"),
        lab("", "", "bridge: br0", "expect: [{ from: n }]"),
        lab("", "", "bridge: br0", "expect: { from: n, to: m }"),
        policy("default: drop"),
        policy("colour: red"),
        policy("established: maybe"),
        policy("sets: { a: [] }"),
        policy("sets: { a/b: [n] }"),
        policy("rules: {}"),
        policy("rules: [{}]"),
        policy("rules: [{ action: drop }]"),
        policy("rules: [{ action: deny, colour: red }]"),
        policy("rules: [{ action: deny, name: a/b }]"),
        policy("rules: [{ action: deny, from: [] }]"),
        policy("rules: [{ action: deny, from: { net: n } }]"),
        policy("rules: [{ action: deny, from: {} }]"),
        policy("rules: [{ action: deny, proto: tpc }]"),
        policy("rules: [{ action: deny, proto: 256 }]"),
        policy("rules: [{ action: deny, ports: 65536 }]"),
        policy("rules: [{ action: deny, ports: http }]"),
        policy("rules: [{ action: deny, ports: [] }]"),
        policy("rules: [{ action: deny, flags: sin }]"),
        policy("rules: [{ action: deny, icmp: 8/ }]"),
        policy("rules: [{ action: deny, dscp: af14 }]"),
        policy("rules: [{ action: deny, dscp: 64 }]"),
        policy("rules: [{ action: deny, vlan: 4095 }]"),
        policy("rules: [{ action: deny, source_mac: '02:00' }]"),
        policy("rules: [{ action: deny, ethertype: ip }]"),
        policy("rules: [{ action: deny, ethertype: 5 }]"),
        policy("rules: [{ action: deny, fragment: some }]"),
        policy("rules: [{ action: deny, log: 0 }]"),
        policy("rules: [{ action: deny, limit: 5/s }]"),
        policy("rules: [{ action: deny, burst: 5 }]"),
        policy("rules: [{ action: limit }]"),
        policy("rules: [{ action: limit, limit: 5 }]"),
        policy("rules: [{ action: limit, limit: 5/s, burst: some }]"),
        "name: a/b\nnamespaces: { n: {} }\n".to_owned(),
        "namespaces: { n: {} }\n".to_owned(),
        "name: a\n".to_owned(),
        "name: a\nnamespaces:\n".to_owned(),
        "name: a\nnamespaces: {}\n".to_owned(),
        "name: a\nnamespaces: [n]\n".to_owned(),
        "name: a\nnamespaces: { n/1: {} }\n".to_owned(),
        "name: a\nbridges: { lo: {} }\nnamespaces: { n: {} }\n".to_owned(),
        "name: a\nbridges: { much-too-long-a-name: {} }\nnamespaces: { n: {} }\n".to_owned(),
        "[]".to_owned(),
    ] {
        assert!(Lab::parse(&source, "lab.yaml").is_err(), "the parser takes\n{source}");
        assert!(!validator.is_valid(&yaml(&source)), "the schema takes\n{source}");
    }
}
