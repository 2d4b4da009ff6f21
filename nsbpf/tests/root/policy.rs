//! Policies in the kernel: put in force, changed under traffic, counted, and gone.

mod kill;
mod log;
mod swap;

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;

use crate::Test;
use crate::command::{ended, ran};
use crate::world::{netns, reaches, udp};

pub(crate) const TESTS: &[Test] = &[
    ("policy::up_again_changes_nothing", up_again),
    ("policy::rules_that_stay_keep_their_counters", counters_stay),
    ("policy::a_wrong_file_changes_nothing", wrong_file),
    ("policy::one_that_is_taken_away_comes_back", taken_away),
    ("policy::one_that_outgrows_its_maps_keeps_all_else", outgrown),
    ("policy::what_it_needs_is_asked_for", needs),
    ("policy::rules_that_are_never_reached_are_warned_of", shadowed),
    ("policy::a_change_that_fails_is_undone", swap::undone),
    ("policy::a_first_one_that_fails_is_undone", swap::first_undone),
    ("policy::under_a_flood", swap::under_a_flood),
    ("policy::many_rules", swap::many_rules),
    ("policy::what_is_logged_is_told_once", log::told),
    ("policy::up_goes_on_after_a_killed_first_one", kill::first),
    ("policy::up_goes_on_after_a_killed_swap", kill::swapped),
    ("policy::up_goes_on_after_one_killed_that_outgrows_its_maps", kill::outgrown),
    ("policy::up_goes_on_after_a_killed_end", kill::taken_away),
    ("policy::down_cleans_up_after_a_killed_change", kill::down),
];

const NAME: &str = "policed";
/// Two namespaces, of which one may ask the other.
const LAB: &str = "name: policed
bridges: { br0: {} }
namespaces:
  a: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] } } }
  b: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.2/24, 'fd00::2/64'] } } }
";
const POLICY: &str = "policy:
  default: deny
  rules:
    - { name: echo, from: a, to: b, proto: icmp, action: allow }
    - { name: echo6, from: a, to: b, proto: icmpv6, action: allow }
    - { name: low, from: a, to: b, proto: udp, ports: 1000-1999, action: allow }
";

/// A lab's file, and files of rules for it.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a folder") };
        files.write("lab.yaml", &format!("{LAB}{POLICY}"));
        files.write("open.yaml", LAB);
        files
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a path").to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("write a file");
        path
    }

    /// `nsbpf policy set` with these rules.
    #[track_caller]
    fn set(&self, rules: &str) -> String {
        ran(&["policy", "set", NAME, "--file", &self.write("rules.yaml", rules)])
    }
}

/// What `nsbpf policy show` tells.
#[track_caller]
fn shown() -> Value {
    let shown = ran(&["policy", "show", NAME, "--format", "json"]);
    serde_json::from_str::<Value>(&shown).expect("a JSON object")["policy"].clone()
}

/// Packets that a rule decided on.
#[track_caller]
fn packets(shown: &Value, rule: &str) -> u64 {
    let rules = shown["rules"].as_array().expect("rules");
    let found = rules.iter().find(|it| it["name"] == rule).expect(rule);
    found["packets"].as_u64().expect("a number")
}

/// Whether a datagram gets from one namespace to a port in the other. Both have talked
/// before, so that nobody asks for neighbours.
#[track_caller]
fn arrives([from, to]: [(&str, &str); 2], port: u16) -> bool {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let receiver = netns(to.0)
        .run(|| UdpSocket::bind(SocketAddr::new(address(to.1), port)))
        .and_then(|socket| socket)
        .expect("bind a UDP socket");
    receiver.set_read_timeout(Some(Duration::from_millis(200))).expect("set a timeout");
    let sender = udp(&netns(from.0), address(from.1));
    sender.send_to(b"hello", (address(to.1), port)).expect("send");
    receiver.recv(&mut [0; 16]).is_ok()
}

const THERE: [(&str, &str); 2] = [("a", "10.0.0.1"), ("b", "10.0.0.2")];
const BACK: [(&str, &str); 2] = [("b", "10.0.0.2"), ("a", "10.0.0.1")];

fn up_again() -> Result<(), Failed> {
    let files = Files::new();
    let lab = files.path("lab.yaml");
    let planned = ended(&["plan", &lab], 3).out;
    let lines: Vec<&str> = planned.lines().collect();
    let place = |line: &str| lines.iter().position(|it| *it == line).expect(line);
    assert!(place("+ datapath") < place("+ policy"));
    assert!(place("+ policy") < place("+ tc ingress of a/eth0"));
    let said = ran(&["up", &lab]);
    assert!(said.contains("policy 1 is in force: 3 rules added, 0 gone, 0 stayed"), "{said}");
    let before = shown();
    let again = ran(&["up", &lab]);
    assert!(again.contains("nothing to change"), "{again}");
    ended(&["plan", &lab], 0);
    assert_eq!(shown()["generation"], before["generation"]);
    // Before the other asks: with the same identifier it would be a reply to that.
    assert!(!reaches("b", "10.0.0.1") && reaches("a", "10.0.0.2"));
    assert!(!reaches("b", "fd00::1") && reaches("a", "fd00::2"));
    assert!(arrives(THERE, 1500) && !arrives(THERE, 2500) && !arrives(BACK, 1500));
    ran(&["down", NAME]);
    Ok(())
}

fn counters_stay() -> Result<(), Failed> {
    let files = Files::new();
    ran(&["up", &files.path("lab.yaml")]);
    assert!(reaches("a", "10.0.0.2"));
    for _ in 0..5 {
        assert!(arrives(THERE, 1500));
    }
    let before = shown();
    assert_eq!(packets(&before, "low"), 5);
    let echoes = packets(&before, "echo");
    assert!(echoes > 0);
    // One is before the others, one is gone, one says something else.
    let said = files.set(
        "default: deny
rules:
  - { name: high, from: a, to: b, proto: udp, ports: 3000-3999, action: allow }
  - { name: low, from: a, to: b, proto: udp, ports: 1500-2999, action: allow }
  - { name: echo, proto: icmp, action: allow }
",
    );
    assert!(said.contains("1 rules added, 1 gone, 2 stayed"), "{said}");
    let after = shown();
    assert_eq!((packets(&after, "low"), packets(&after, "high")), (5, 0));
    assert_eq!(packets(&after, "echo"), echoes);
    assert_eq!(after["rules"][1]["matches"], "from a to b proto udp ports 1500-2999");
    assert!(arrives(THERE, 3000) && arrives(THERE, 2500) && !arrives(THERE, 1400));
    assert_eq!((packets(&shown(), "low"), packets(&shown(), "high")), (6, 1));
    // What the default denied is of whatever policy.
    let denied = |shown: &Value| shown["default"]["packets"].as_u64().expect("a number");
    assert!(denied(&shown()) > denied(&before));
    // One that comes back begins anew.
    ran(&["up", &files.path("lab.yaml")]);
    assert_eq!((packets(&shown(), "low"), packets(&shown(), "echo6")), (6, 0));
    ran(&["down", NAME]);
    Ok(())
}

fn wrong_file() -> Result<(), Failed> {
    let files = Files::new();
    ran(&["up", &files.path("lab.yaml")]);
    let before = shown();
    let wrong =
        files.write("wrong.yaml", "default: deny\nrules:\n  - { from: nobody, action: allow }\n");
    let done = ended(&["policy", "set", NAME, "--file", &wrong], 2);
    assert!(done.err.contains("wrong.yaml:3:"), "{}", done.err);
    ended(&["policy", "set", NAME, "--file", &files.path("none.yaml")], 2);
    ended(&["policy", "set", NAME], 2);
    for key in ["generation", "rules"] {
        assert_eq!(shown()[key], before[key]);
    }
    ran(&["down", NAME]);
    ended(&["policy", "show", NAME], 1);
    Ok(())
}

fn taken_away() -> Result<(), Failed> {
    let files = Files::new();
    let lab = files.path("lab.yaml");
    ran(&["up", &lab]);
    assert!(!reaches("b", "10.0.0.1"));
    let said = ran(&["policy", "set", NAME, "--none"]);
    assert!(said.contains("no policy any more"), "{said}");
    assert!(shown().is_null() && reaches("b", "10.0.0.1"));
    // Other verbs do not bring it back.
    ran(&["fastpath", "set", NAME, "bridge"]);
    assert!(shown().is_null() && reaches("b", "10.0.0.1"));
    let pins = std::fs::read_dir("/run/nsbpf/labs/policed/bpf/datapath")?;
    let of_policy =
        pins.flatten().filter(|pin| pin.file_name().to_string_lossy().contains("POLICY"));
    assert_eq!(of_policy.count(), 0);
    let said = ran(&["up", &lab]);
    assert!(said.contains("3 rules added"), "{said}");
    assert!(!reaches("b", "10.0.0.1"), "what flows remember of an old policy holds again");
    // What was set stays while other things change, and until the lab's file is read again.
    files.set("rules: [{ name: only, from: b, action: allow }]");
    ran(&["fastpath", "set", NAME, "peer"]);
    assert_eq!(shown()["rules"][0]["name"], "only");
    ran(&["up", &lab]);
    assert_eq!(shown()["rules"][0]["name"], "echo");
    ran(&["down", NAME]);
    Ok(())
}

/// Rules that are all of one address each, and those of the lab before them.
fn many(count: usize) -> String {
    let mut rules = POLICY.replace("policy:\n", "");
    for number in 0..count {
        let (high, low) = (number / 250, number % 250 + 1);
        let _ = writeln!(
            rules,
            "    - {{ name: n{number}, from: 10.9.{high}.{low}, to: b, proto: tcp, ports: {}, action: deny }}",
            number % 60_000 + 1
        );
    }
    rules
}

fn outgrown() -> Result<(), Failed> {
    let files = Files::new();
    ran(&["up", &files.path("lab.yaml")]);
    assert!(reaches("a", "10.0.0.2") && arrives(THERE, 1500));
    let flows = || -> Value {
        let told = ran(&["flows", NAME, "--proto", "udp", "--format", "json"]);
        let told: Value = serde_json::from_str(&told).expect("a JSON object");
        told["flows"].clone()
    };
    let sent = || -> Value {
        let told = ran(&["stats", NAME, "--format", "json"]);
        let told: Value = serde_json::from_str(&told).expect("a JSON object");
        told["interfaces"][0]["tx"]["udp"]["packets"].clone()
    };
    let pins = || {
        let pins = std::fs::read_dir("/run/nsbpf/labs/policed/bpf/datapath").expect("pins");
        let names = pins.flatten().map(|pin| pin.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("POLICY_NODES")).collect::<Vec<_>>()
    };
    let (before, flow, had) = (shown(), flows(), pins());
    let said = files.set(&many(2000));
    assert!(said.contains("2000 rules added, 0 gone, 3 stayed"), "{said}");
    assert!(said.contains("replaced in place"), "{said}");
    let after = shown();
    for rule in ["echo", "low"] {
        assert_eq!(packets(&after, rule), packets(&before, rule), "{rule}");
    }
    let now = flows();
    for key in ["from", "to", "sent"] {
        assert_eq!(now[0][key], flow[0][key]);
    }
    assert!(now[0]["age_seconds"].as_f64() > flow[0]["age_seconds"].as_f64());
    assert_eq!(sent(), 1);
    let has = pins();
    assert!(had.len() == 1 && has.len() == 1 && had != has, "{had:?} {has:?}");
    assert!(arrives(THERE, 1500) && !arrives(BACK, 1500));
    assert_eq!(packets(&shown(), "low"), packets(&before, "low") + 1);
    // It becomes smaller again: in the same maps, with the same counters.
    ran(&["up", &files.path("lab.yaml")]);
    assert_eq!((pins(), packets(&shown(), "low")), (has, packets(&before, "low") + 1));
    ran(&["down", NAME]);
    Ok(())
}

fn needs() -> Result<(), Failed> {
    let files = Files::new();
    let (lab, open) = (files.path("lab.yaml"), files.path("open.yaml"));
    for verb in ["up", "plan", "run"] {
        let done = ended(&[verb, &lab, "--flows", "0"], 2);
        assert!(done.err.contains("`--flows 0`"), "{}", done.err);
    }
    let done = ended(&["up", &lab, "--hook", "none"], 2);
    assert!(done.err.contains("`--hook none`"), "{}", done.err);
    ran(&["up", &open, "--flows", "0"]);
    let rules = files.write("rules.yaml", "default: deny\n");
    let done = ended(&["policy", "set", NAME, "--file", &rules], 2);
    assert!(done.err.contains("`--flows 0`"), "{}", done.err);
    assert!(shown().is_null());
    // The first one of a lab that is up.
    ran(&["up", &open]);
    assert!(reaches("a", "10.0.0.2"));
    let said = ran(&["policy", "set", NAME, "--file", &rules]);
    assert!(said.contains("policy 1 is in force") && said.contains("replaced in place"), "{said}");
    assert!(!reaches("a", "10.0.0.2"));
    ran(&["down", NAME]);
    Ok(())
}

fn shadowed() -> Result<(), Failed> {
    let files = Files::new();
    let rules = "policy: { rules: [{ name: all, proto: tcp, action: allow }, { name: web, proto: tcp, ports: 80, action: deny }] }\n";
    let lab = files.write("shadowed.yaml", &format!("{LAB}{rules}"));
    let done = ended(&["up", &lab], 0);
    assert!(done.err.contains("`web` is never reached: `all` decided before it"), "{}", done.err);
    ran(&["down", NAME]);
    Ok(())
}
