//! VLANs, in the kernel: who reaches whom through a bridge that filters them, and
//! what `bridge` says of its ports.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use nsbpf::state::IngressHook;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::{Value, json};

use crate::Test;
use crate::command::run;
use crate::engine::{Up, lab};
use crate::world::{answers, ip, ip_json};

const TRUNK: &str = "vlan::a_trunk_carries_tagged_frames";

pub(crate) const TESTS: &[Test] = &[
    ("vlan::those_of_one_reach_each_other_and_no_others", apart),
    ("vlan::the_lab_is_as_it_expects", as_expected),
    ("vlan::one_address_twice", one_address_twice),
    (TRUNK, trunk),
    ("vlan::a_port_moves_in_place", moves),
    ("vlan::a_trunk_becomes_narrower", narrower),
    ("vlan::drift_is_put_right", drift),
    ("vlan::filtering_is_turned_off_and_on", toggled),
    ("vlan::the_bridges_own_addresses_are_in_one", own_addresses),
    ("vlan::a_port_that_names_none_is_in_the_first", first),
    ("vlan::a_bridge_in_a_namespace_filters", in_a_namespace),
];

const LAB: &str = include_str!("../../../labs/06-vlan.yaml");

/// How long to wait for what must not come.
const SILENCE: Duration = Duration::from_millis(300);

/// What the kernel has of VLANs.
#[derive(Clone, Copy, Default)]
struct Kernel {
    /// Bridges that filter them.
    filtering: bool,
    /// Devices that tag.
    devices: bool,
}

/// Tried in a network namespace that goes with its thread.
static KERNEL: LazyLock<Kernel> = LazyLock::new(|| thread::spawn(probe).join().unwrap_or_default());

fn probe() -> Kernel {
    let succeeds = |words: &str| {
        let done = Command::new("ip").args(words.split(' ')).output();
        done.ok().filter(|done| done.status.success())
    };
    // SAFETY: file descriptors and memory stay shared.
    if unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.is_err() {
        return Kernel::default();
    }
    let filters = || {
        succeeds("link add probe type bridge vlan_filtering 1")?;
        // A kernel that knows the option and not the thing takes it and forgets it.
        let shown = succeeds("-json -details link show probe")?;
        let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
        (shown[0]["linkinfo"]["info_data"]["vlan_filtering"] == 1).then_some(())
    };
    let filtering = filters().is_some();
    let devices = succeeds("link add link probe name tagged type vlan id 10").is_some();
    Kernel { filtering, devices }
}

/// What a test takes that is not there.
pub(crate) fn why_not(test: &str) -> Option<&'static str> {
    if !TESTS.iter().any(|(ours, _)| *ours == test) {
        return None;
    }
    let bridge = Command::new("bridge").arg("-V").output();
    if !bridge.is_ok_and(|done| done.status.success()) {
        return Some("needs the program bridge of iproute2");
    }
    why_not_here().or_else(|| if test == TRUNK { no_devices() } else { None })
}

/// Why there are no devices that tag.
pub(crate) fn no_devices() -> Option<&'static str> {
    (!KERNEL.devices).then_some("this kernel has no VLAN devices")
}

/// Why there are no VLANs here.
pub(crate) fn why_not_here() -> Option<&'static str> {
    (!KERNEL.filtering).then_some("this kernel's bridges do not filter VLANs")
}

/// Fails unless that address answers, or unless it does not.
#[track_caller]
fn reaches(from: &str, target: &str, expected: bool) {
    // The first one resolves neighbours. What must not come is given less time:
    // it would be as quick as what must.
    let times: &[Duration] = if expected { &[Duration::from_secs(1); 10] } else { &[SILENCE] };
    assert_eq!(answers(from, target, times), expected, "{from} to {target}");
}

/// Fails unless those reach each other, in both families, and no others.
#[track_caller]
fn meet(groups: &[&[&str]]) {
    let addresses = |name: &str| match name {
        "red1" => ["10.0.0.1", "fd00::1"],
        "red2" => ["10.0.0.2", "fd00::2"],
        "blue1" => ["10.0.0.3", "fd00::3"],
        "blue2" => ["10.0.0.4", "fd00::4"],
        other => panic!("{other} is in no lab of these"),
    };
    let members = || {
        groups
            .iter()
            .enumerate()
            .flat_map(|(group, names)| names.iter().map(move |name| (group, *name)))
    };
    for expected in [true, false] {
        for (group, from) in members() {
            for (other, to) in members().filter(|(_, to)| *to != from) {
                if (group == other) == expected {
                    for target in addresses(to) {
                        reaches(from, target, expected);
                    }
                }
            }
        }
    }
}

/// The VLANs of a port as `nsbpf` shows them: number, and its two properties.
type Vlans = BTreeMap<u64, (bool, bool)>;

/// Changes something behind nsbpf's back.
#[track_caller]
fn bridge(words: &str) {
    let done = Command::new("bridge").args(words.split(' ')).output().expect("start bridge");
    assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
}

/// The VLANs of all ports and bridges as `bridge` tells them.
#[track_caller]
fn witnessed(arguments: &[&str]) -> BTreeMap<String, Vlans> {
    let done = Command::new("bridge")
        .args(arguments)
        .args(["-json", "-compressvlans", "vlan", "show"])
        .output()
        .expect("start bridge");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let ports: Vec<Value> = serde_json::from_slice(&done.stdout).expect("JSON");
    ports
        .iter()
        .map(|port| {
            let mut vlans = Vlans::new();
            for vlan in port["vlans"].as_array().expect("VLANs") {
                let first = vlan["vlan"].as_u64().expect("a number");
                let last = vlan["vlanEnd"].as_u64().unwrap_or(first);
                let has = |flag: &str| {
                    vlan["flags"].as_array().is_some_and(|flags| flags.contains(&json!(flag)))
                };
                let properties = (has("PVID"), has("Egress Untagged"));
                vlans.extend((first..=last).map(|number| (number, properties)));
            }
            (port["ifname"].as_str().expect("a name").to_owned(), vlans)
        })
        .collect()
}

/// Fails unless `nsbpf show` tells of the same ports the same as `bridge`.
#[track_caller]
fn told_alike(name: &str, arguments: &[&str]) {
    let witnessed = witnessed(arguments);
    let shown = run(&["show", name, "--format", "json"]);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    let shown: Value = serde_json::from_str(&shown.out).expect("JSON");
    let mut ports = 0;
    for namespace in shown["namespaces"].as_array().expect("namespaces") {
        for interface in namespace["interfaces"].as_array().expect("interfaces") {
            let told: Vlans = interface["vlans"]
                .as_array()
                .expect("VLANs")
                .iter()
                .map(|vlan| {
                    let [pvid, untagged] =
                        ["pvid", "untagged"].map(|key| vlan[key].as_bool().expect("a property"));
                    (vlan["vlan"].as_u64().expect("a number"), (pvid, untagged))
                })
                .collect();
            let port = interface["far_end"].as_str().expect("a name");
            assert_eq!(witnessed.get(port), Some(&told), "{port}");
            ports += 1;
        }
    }
    assert!(ports > 0, "{shown}");
}

fn apart() -> Result<(), Failed> {
    let vlans = lab(LAB);
    let up = Up::new(&vlans);
    up.converge(&vlans, IngressHook::Tc);
    assert_eq!(up.converge(&vlans, IngressHook::Tc).steps, 0);
    meet(&[&["red1", "red2"], &["blue1", "blue2"]]);
    told_alike("vlan", &[]);
    let witnessed = witnessed(&[]);
    assert_eq!(witnessed["red1-eth0"], [(10, (true, true))].into());
    assert_eq!(witnessed["blue2-eth0"], [(20, (true, true))].into());
    let shown = run(&["show", "vlan"]).out;
    assert!(shown.contains(", VLAN 10: 10.0.0.1/24"), "{shown}");
    up.down();
    Ok(())
}

fn as_expected() -> Result<(), Failed> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/06-vlan.yaml");
    let up = run(&["up", file]);
    assert_eq!(up.code, Some(0), "{}", up.err);
    let checked = run(&["check", "vlan"]);
    assert_eq!(checked.code, Some(0), "{}{}", checked.out, checked.err);
    bridge("vlan add dev red2-eth0 vid 20 pvid untagged");
    bridge("vlan delete dev red2-eth0 vid 10");
    assert_eq!(run(&["check", "vlan"]).code, Some(1));
    assert_eq!(run(&["down", "vlan"]).code, Some(0));
    Ok(())
}

/// Those of a VLAN know nothing of the addresses in another.
fn one_address_twice() -> Result<(), Failed> {
    let twice = lab(&LAB.replace("10.0.0.4/24", "10.0.0.2/24").replace("fd00::4", "fd00::2"));
    let up = Up::new(&twice);
    up.converge(&twice, IngressHook::Tc);
    for from in ["red1", "blue1"] {
        reaches(from, "10.0.0.2", true);
        reaches(from, "fd00::2", true);
    }
    let neighbour = |from: &str| {
        ip_json(&["-netns", from, "neighbour", "show", "10.0.0.2"])[0]["lladdr"].clone()
    };
    let mac = |of: &str| ip_json(&["-netns", of, "link", "show", "eth0"])[0]["address"].clone();
    assert_eq!(neighbour("red1"), mac("red2"));
    assert_eq!(neighbour("blue1"), mac("blue2"));
    up.down();
    Ok(())
}

/// The lab with one more namespace, on such a port.
fn with_router(port: &str) -> String {
    let router = format!("  router:\n    interfaces:\n      eth0: {{ bridge: br0, {port} }}\n");
    LAB.replace("\nexpect:", &format!("{router}\nexpect:"))
}

fn trunk() -> Result<(), Failed> {
    let with = lab(&with_router("trunk: [10, 20-21]"));
    let up = Up::new(&with);
    up.converge(&with, IngressHook::Tc);
    assert_eq!(up.converge(&with, IngressHook::Tc).steps, 0);
    told_alike("vlan", &[]);
    // Devices of the namespace's own tag what they send, and take what is tagged so.
    let router = |words: &str| {
        ip(&[&["-netns", "router"], words.split(' ').collect::<Vec<_>>().as_slice()].concat())
    };
    for vlan in [10, 20, 30] {
        router(&format!("link add link eth0 name tagged{vlan} type vlan id {vlan}"));
        router(&format!("link set tagged{vlan} up"));
    }
    let sends = |device: &str, target: &str, answered: bool| {
        router(&format!("address add 10.0.0.9/32 dev {device}"));
        router(&format!("route add 10.0.0.0/24 dev {device} src 10.0.0.9"));
        reaches("router", target, answered);
        router(&format!("route delete 10.0.0.0/24 dev {device}"));
        router(&format!("address delete 10.0.0.9/32 dev {device}"));
    };
    for (device, target, answered) in [
        ("tagged10", "10.0.0.1", true),
        ("tagged10", "10.0.0.3", false),
        ("tagged20", "10.0.0.3", true),
        ("tagged20", "10.0.0.2", false),
        // A tag that the trunk does not carry, and none.
        ("tagged30", "10.0.0.1", false),
        ("eth0", "10.0.0.1", false),
        ("eth0", "10.0.0.3", false),
    ] {
        sends(device, target, answered);
    }
    // The devices of others are none of a lab's business.
    assert_eq!(up.converge(&with, IngressHook::Tc).steps, 0);
    up.down();
    Ok(())
}

#[track_caller]
fn index(link: &str) -> Value {
    ip_json(&["link", "show", link])[0]["ifindex"].clone()
}

fn moves() -> Result<(), Failed> {
    let before = lab(LAB);
    let up = Up::new(&before);
    up.converge(&before, IngressHook::Tc);
    let born = index("red2-eth0");
    let after =
        lab(&LAB.replace("vlan: 10, addresses: [10.0.0.2", "vlan: 20, addresses: [10.0.0.2"));
    assert_eq!(up.converge(&after, IngressHook::Tc).steps, 1);
    assert_eq!(up.converge(&after, IngressHook::Tc).steps, 0);
    assert_eq!(index("red2-eth0"), born);
    assert_eq!(witnessed(&[])["red2-eth0"], [(20, (true, true))].into());
    told_alike("vlan", &[]);
    meet(&[&["red1"], &["red2", "blue1", "blue2"]]);
    assert_eq!(up.converge(&before, IngressHook::Tc).steps, 1);
    meet(&[&["red1", "red2"], &["blue1", "blue2"]]);
    up.down();
    Ok(())
}

fn narrower() -> Result<(), Failed> {
    let wide = lab(&with_router("trunk: [10, 20-29]"));
    let up = Up::new(&wide);
    up.converge(&wide, IngressHook::Tc);
    let born = index("router-eth0");
    let vlans = || witnessed(&[])["router-eth0"].clone();
    let tagged = |numbers: &mut dyn Iterator<Item = u64>| -> Vlans {
        numbers.map(|number| (number, (false, false))).collect()
    };
    assert_eq!(vlans(), tagged(&mut [10].into_iter().chain(20..=29)));
    told_alike("vlan", &[]);
    for (typed, expected) in [
        ("20-24", tagged(&mut (20..=24))),
        ("4094, 23-26", tagged(&mut (23..=26).chain([4094]))),
        ("1-4094", tagged(&mut (1..=4094))),
        ("10, 20-29", tagged(&mut [10].into_iter().chain(20..=29))),
    ] {
        let other = lab(&with_router(&format!("trunk: [{typed}]")));
        assert_eq!(up.converge(&other, IngressHook::Tc).steps, 1, "{typed}");
        assert_eq!(vlans(), expected, "{typed}");
        assert_eq!(up.converge(&other, IngressHook::Tc).steps, 0, "{typed}");
    }
    // Tagged ones beside one that is not; and none but that.
    let both = lab(&with_router("vlan: 10, trunk: [20-21]"));
    assert_eq!(up.converge(&both, IngressHook::Tc).steps, 1);
    let expected = [(10, (true, true)), (20, (false, false)), (21, (false, false))];
    assert_eq!(vlans(), expected.into());
    let access = lab(&with_router("vlan: 20"));
    assert_eq!(up.converge(&access, IngressHook::Tc).steps, 1);
    assert_eq!(vlans(), [(20, (true, true))].into());
    assert_eq!(index("router-eth0"), born);
    up.down();
    Ok(())
}

fn drift() -> Result<(), Failed> {
    let vlans = lab(LAB);
    let up = Up::new(&vlans);
    up.converge(&vlans, IngressHook::Tc);
    for change in [
        "vlan add dev red1-eth0 vid 20",
        "vlan add dev red1-eth0 vid 20 pvid untagged",
        "vlan add dev red1-eth0 vid 10 untagged",
        "vlan delete dev red1-eth0 vid 10",
    ] {
        bridge(change);
        assert_eq!(up.converge(&vlans, IngressHook::Tc).steps, 1, "{change}");
        assert_eq!(witnessed(&[])["red1-eth0"], [(10, (true, true))].into(), "{change}");
    }
    ip(&["link", "set", "br0", "type", "bridge", "vlan_filtering", "0"]);
    reaches("red1", "10.0.0.3", true);
    up.converge(&vlans, IngressHook::Tc);
    reaches("red1", "10.0.0.3", false);
    // A port that leaves the bridge loses its VLANs with it.
    ip(&["link", "set", "blue1-eth0", "nomaster"]);
    up.converge(&vlans, IngressHook::Tc);
    meet(&[&["red1", "red2"], &["blue1", "blue2"]]);
    up.down();
    Ok(())
}

fn toggled() -> Result<(), Failed> {
    let with = lab(LAB);
    let plain = ["vlan: 10, ", "vlan: 20, "]
        .iter()
        .fold(LAB.replace("{ vlan_filtering: true }", "{}"), |text, vlan| text.replace(vlan, ""));
    let without = lab(&plain);
    let up = Up::new(&with);
    up.converge(&with, IngressHook::Tc);
    let born = ["br0", "red1-eth0"].map(index);
    let filters = || {
        let shown = ip_json(&["-details", "link", "show", "br0"]);
        shown[0]["linkinfo"]["info_data"]["vlan_filtering"].clone()
    };
    assert_eq!(filters(), 1);
    for _ in 0..2 {
        up.converge(&without, IngressHook::Tc);
        assert_eq!(filters(), 0);
        assert_eq!(up.converge(&without, IngressHook::Tc).steps, 0);
        meet(&[&["red1", "red2", "blue1", "blue2"]]);
        up.converge(&with, IngressHook::Tc);
        assert_eq!(filters(), 1);
        assert_eq!(up.converge(&with, IngressHook::Tc).steps, 0);
        told_alike("vlan", &[]);
    }
    meet(&[&["red1", "red2"], &["blue1", "blue2"]]);
    assert_eq!(["br0", "red1-eth0"].map(index), born);
    up.down();
    Ok(())
}

fn own_addresses() -> Result<(), Failed> {
    let text = LAB.replace(
        "vlan_filtering: true",
        "vlan_filtering: true, vlan: 10, addresses: [10.0.0.254/24, 'fd00::fe/64']",
    );
    let red = lab(&text);
    let up = Up::new(&red);
    up.converge(&red, IngressHook::Tc);
    assert_eq!(up.converge(&red, IngressHook::Tc).steps, 0);
    let born = index("br0");
    for (vlan, reaching, others) in [("10", "red1", "blue1"), ("20", "blue1", "red1")] {
        let other = lab(&text.replace("true, vlan: 10", &format!("true, vlan: {vlan}")));
        up.converge(&other, IngressHook::Tc);
        assert_eq!(up.converge(&other, IngressHook::Tc).steps, 0);
        assert_eq!(witnessed(&[])["br0"], [(vlan.parse()?, (true, true))].into());
        for target in ["10.0.0.254", "fd00::fe"] {
            reaches(reaching, target, true);
            reaches(others, target, false);
        }
    }
    assert_eq!(index("br0"), born);
    up.down();
    Ok(())
}

fn first() -> Result<(), Failed> {
    let mixed = lab(&LAB.replace("vlan: 20, ", ""));
    let up = Up::new(&mixed);
    up.converge(&mixed, IngressHook::Tc);
    assert_eq!(up.converge(&mixed, IngressHook::Tc).steps, 0);
    assert_eq!(witnessed(&[])["blue1-eth0"], [(1, (true, true))].into());
    meet(&[&["red1", "red2"], &["blue1", "blue2"]]);
    up.down();
    Ok(())
}

fn in_a_namespace() -> Result<(), Failed> {
    let inside = lab(&LAB.replace("vlan_filtering", "namespace: switch, vlan_filtering"));
    let up = Up::new(&inside);
    up.converge(&inside, IngressHook::Tc);
    assert_eq!(up.converge(&inside, IngressHook::Tc).steps, 0);
    told_alike("vlan", &["-netns", "switch"]);
    meet(&[&["red1", "red2"], &["blue1", "blue2"]]);
    up.down();
    Ok(())
}
