//! Guarded interfaces: what they may not claim does not arrive, and is counted.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::state::IngressHook;
use nsbpf_common::verdict::Reason;

use crate::Test;
use crate::engine::{Up, lab, settings};
use crate::world::{ip, reaches};

pub(crate) const TESTS: &[Test] = &[
    ("guard::under_tc", || guarded(IngressHook::Tc, BRIDGED)),
    ("guard::under_xdp", || guarded(IngressHook::Xdp, BRIDGED)),
    ("guard::without_a_bridge", || guarded(IngressHook::Tc, DIRECT)),
    ("guard::of_the_mac_address_only", mac_only),
];

const BRIDGED: &str = "
name: guard
bridges: { br0: {} }
namespaces:
  a: { interfaces: { eth0: { bridge: br0, guard: true, addresses: [10.0.0.1/24, 'fd00::1/64'] } } }
  b: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.2/24, 'fd00::2/64'] } } }
";
const DIRECT: &str = "
name: guard
namespaces:
  a: { interfaces: { eth0: { peer: b/eth0, guard: true, addresses: [10.0.0.1/24, 'fd00::1/64'] } } }
  b: { interfaces: { eth0: { peer: a/eth0, addresses: [10.0.0.2/24, 'fd00::2/64'] } } }
";

fn guarded(ingress: IngressHook, source: &str) -> Result<(), Failed> {
    let on = lab(source);
    let up = Up::new(&on);
    up.converge(&on, ingress);
    let dropped = |reason| up.stats()["a/eth0"].tx.drops(reason).packets;
    let own = || reaches("a", "10.0.0.2") && reaches("a", "fd00::2") && reaches("b", "fd00::1");
    assert!(own());
    assert_eq!(up.stats()["a/eth0"].tx.dropped().packets, 0, "what is its own passes");
    // Another IPv4 address, with neighbours that are known and with ones that are not.
    ip(&["-netns", "a", "address", "add", "10.0.0.77/24", "dev", "eth0"]);
    ip(&["-netns", "a", "address", "add", "fd00::77/64", "dev", "eth0", "nodad"]);
    let ping = |from: &str, to: &str| {
        let mut ping = std::process::Command::new("ip");
        ping.args(["netns", "exec", "a", "ping", "-c", "1", "-W", "0.3", "-q", "-I", from, to]);
        ping.output().is_ok_and(|done| done.status.success())
    };
    assert!(!ping("10.0.0.77", "10.0.0.2"));
    assert!(dropped(Reason::SpoofedAddress) > 0);
    ip(&["-netns", "a", "neigh", "flush", "dev", "eth0"]);
    assert!(!ping("10.0.0.77", "10.0.0.2"));
    assert!(dropped(Reason::SpoofedArp) > 0);
    let before = dropped(Reason::SpoofedAddress);
    assert!(!ping("fd00::77", "fd00::2"));
    assert!(dropped(Reason::SpoofedAddress) > before);
    // Its own work still, once the kernel no longer asks for neighbours in the other's
    // name (`arp_solicit` asks for the first packet that waits).
    for (own, to) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !ping(own, to) {
            assert!(Instant::now() < deadline, "{own}");
        }
    }
    // Off and on again by an edit: nothing is lost, and what was counted stays.
    let counted = up.stats()["a/eth0"].tx.total();
    let off = lab(&source.replace("guard: true, ", ""));
    up.converge(&off, ingress);
    assert!(ping("10.0.0.77", "10.0.0.2") && ping("fd00::77", "fd00::2"));
    assert!(up.stats()["a/eth0"].tx.total().packets > counted.packets);
    up.converge(&on, ingress);
    assert_eq!(up.converge(&on, ingress).steps, 0);
    assert!(!ping("10.0.0.77", "10.0.0.2"));
    // Another MAC address: nothing passes, in either direction's answers.
    ip(&["-netns", "a", "link", "set", "eth0", "address", "02:00:00:00:00:99"]);
    assert!(!ping("10.0.0.1", "10.0.0.2"));
    assert!(dropped(Reason::SpoofedMac) > 0);
    up.down();
    Ok(())
}

fn mac_only() -> Result<(), Failed> {
    let source = BRIDGED.replace("guard: true", "guard: mac");
    let on = lab(&source);
    let up = Up::new(&on);
    up.converge_with(&on, &settings(IngressHook::Tc));
    ip(&["-netns", "a", "address", "add", "10.0.0.77/24", "dev", "eth0"]);
    assert!(reaches("b", "10.0.0.77"), "any address, as a router's");
    ip(&["-netns", "a", "link", "set", "eth0", "address", "02:00:00:00:00:99"]);
    assert!(!reaches("b", "10.0.0.1"));
    assert!(up.stats()["a/eth0"].tx.drops(Reason::SpoofedMac).packets > 0);
    up.down();
    Ok(())
}
