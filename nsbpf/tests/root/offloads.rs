//! What interfaces leave to their drivers: off where XDP takes their frames, as it was
//! before afterwards; and what XDP carries then arrives as it was sent.

mod carry;
mod queues;
mod witness;

use libtest_mimic::Failed;
use nsbpf::plan::Settings;
use nsbpf::state::IngressHook;
use nsbpf_common::stats::Way;

use crate::Test;
use crate::command::{ended, ran};
use crate::engine::{Up, lab, settings};
use crate::world::{Foreign, ip};
pub(crate) use witness::of_all;
use witness::{Features, Legacy, features, set};

const TAGS: &str = "offloads::tags_of_a_device_inside_are_kept";

pub(crate) const TESTS: &[Test] = &[
    ("offloads::xdp_and_back_leaves_them_as_they_were", there_and_back),
    ("offloads::what_others_set_before_is_put_back", others_settings),
    ("offloads::only_who_sends_by_xdp_loses_them", only_senders),
    ("offloads::generic_xdp_changes_none", generic),
    ("offloads::what_others_set_meanwhile_is_put_right", drift),
    ("offloads::a_link_that_is_made_anew_has_its_own", made_anew),
    ("offloads::up_says_what_it_does", told),
    ("offloads::what_is_too_wide_for_xdp_is_left_as_it_was", too_wide),
    ("offloads::tcp_and_udp_arrive_as_they_were_sent", carry::everything),
    ("offloads::one_interface_sends_by_xdp", carry::one_sends),
    ("offloads::xdp_on_a_bridge_in_a_namespace", carry::inside),
    ("offloads::an_interface_that_comes_up_late_is_reached", carry::late),
    (TAGS, carry::tagged),
    ("offloads::a_pair_has_the_queues_that_are_said", queues::of_pairs),
    ("offloads::xdp_carries_over_many_queues", queues::carry),
];

/// What a test takes that is not there.
pub(crate) fn why_not(test: &str) -> Option<&'static str> {
    if test == TAGS { crate::vlan::no_devices() } else { None }
}

const LAB: &str = "
name: offloads
bridges: { br0: {} }
namespaces:
  a: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] } } }
  b: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.2/24, 'fd00::2/64'] } } }
";

/// What XDP cannot have of a sender.
const OF_SENDERS: [&str; 4] =
    ["tx-checksum-ip-generic", "tx-checksum-sctp", "tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"];

fn by(way: Way) -> Settings {
    Settings { fastpath: Some(way), ..settings(IngressHook::Tc) }
}

/// The features of both interfaces, and of the ports behind them.
fn all() -> [Features; 4] {
    let host = |name| witness::features_here(name);
    [features("a", "eth0"), features("b", "eth0"), host("a-eth0"), host("b-eth0")]
}

#[track_caller]
fn assert_off(features: &Features) {
    for name in OF_SENDERS {
        assert!(!features[name].active, "{name} is on");
    }
}

fn there_and_back() -> Result<(), Failed> {
    let lab = lab(LAB);
    let up = Up::new(&lab);
    up.converge_with(&lab, &by(Way::Peer));
    let before = all();
    for name in OF_SENDERS {
        assert!(before[0][name].active, "{name} is off");
    }
    assert!(!before[0]["rx-gro"].active);
    for _ in 0..2 {
        up.converge_with(&lab, &by(Way::Xdp));
        for interface in ["a", "b"] {
            let now = features(interface, "eth0");
            assert_off(&now);
            assert!(now["rx-gro"].active);
        }
        assert_eq!(up.converge_with(&lab, &by(Way::Xdp)).steps, 0);
        up.converge_with(&lab, &by(Way::Peer));
        assert_eq!(all(), before);
        assert_eq!(up.converge_with(&lab, &by(Way::Peer)).steps, 0);
    }
    // Born with XDP, and then without.
    up.converge_with(&self::lab("name: offloads\nnamespaces: { c: {} }\n"), &by(Way::Xdp));
    up.converge_with(&lab, &by(Way::Xdp));
    assert_off(&features("a", "eth0"));
    up.converge_with(&lab, &by(Way::Redirect));
    assert_eq!(all(), before);
    up.down();
    Ok(())
}

/// Also in a namespace of somebody else's.
fn others_settings() -> Result<(), Failed> {
    let theirs = Foreign::new("theirs");
    let lab = lab(&LAB.replace("b: { interfaces", "b: { netns: theirs, interfaces"));
    let up = Up::new(&lab);
    up.converge_with(&lab, &by(Way::Peer));
    set("a", "eth0", Legacy::TxChecksum, false);
    set("a", "eth0", Legacy::Gro, true);
    set(theirs.name(), "eth0", Legacy::Tso, false);
    let now = || [features("a", "eth0"), features(theirs.name(), "eth0")];
    let before = now();
    assert!(!before[0]["tx-checksum-ip-generic"].wanted && before[0]["rx-gro"].wanted);
    assert!(!before[1]["tx-tcp-segmentation"].wanted);
    up.converge_with(&lab, &by(Way::Xdp));
    assert_ne!(now(), before);
    now().iter().for_each(assert_off);
    assert_eq!(up.converge_with(&lab, &by(Way::Xdp)).steps, 0);
    up.converge_with(&lab, &by(Way::Peer));
    assert_eq!(now(), before);
    up.down();
    Ok(())
}

fn only_senders() -> Result<(), Failed> {
    let plain = lab(LAB);
    let one = lab(&LAB.replace("eth0: { bridge: br0, addresses: [10.0.0.1", SENDS_BY_XDP));
    let up = Up::new(&plain);
    up.converge_with(&plain, &settings(IngressHook::Tc));
    let before = all();
    up.converge_with(&one, &settings(IngressHook::Tc));
    assert_off(&features("a", "eth0"));
    let mut receiver = features("b", "eth0");
    assert!(receiver["rx-gro"].active);
    receiver.insert("rx-gro".to_owned(), before[1]["rx-gro"]);
    assert_eq!(receiver, before[1]);
    // From all that send to one: the rest is put back.
    up.converge_with(&plain, &by(Way::Xdp));
    assert_off(&features("b", "eth0"));
    up.converge_with(&one, &settings(IngressHook::Tc));
    assert!(features("b", "eth0")["tx-checksum-ip-generic"].active);
    assert!(features("b", "eth0")["rx-gro"].active);
    up.converge_with(&plain, &settings(IngressHook::Tc));
    assert_eq!(all(), before);
    up.down();
    Ok(())
}

const SENDS_BY_XDP: &str = "eth0: { bridge: br0, fastpath: xdp, addresses: [10.0.0.1";

fn generic() -> Result<(), Failed> {
    let lab = lab(LAB);
    let up = Up::new(&lab);
    up.converge_with(&lab, &by(Way::Peer));
    let before = [features("a", "eth0"), features("b", "eth0")];
    let generic = Settings { fastpath: Some(Way::Xdp), ..settings(IngressHook::XdpGeneric) };
    up.converge_with(&lab, &generic);
    assert_eq!([features("a", "eth0"), features("b", "eth0")], before);
    up.down();
    Ok(())
}

fn drift() -> Result<(), Failed> {
    let lab = lab(LAB);
    let up = Up::new(&lab);
    up.converge_with(&lab, &by(Way::Peer));
    let before = all();
    up.converge_with(&lab, &by(Way::Xdp));
    let wanted = all();
    for (feature, on) in [(Legacy::TxChecksum, true), (Legacy::Gro, false)] {
        set("a", "eth0", feature, on);
        assert_ne!(all(), wanted);
        assert_eq!(up.converge_with(&lab, &by(Way::Xdp)).steps, 1);
        assert_eq!(all(), wanted);
    }
    set("b", "eth0", Legacy::TxChecksum, true);
    up.converge_with(&lab, &by(Way::Peer));
    assert_eq!(all(), before);
    up.down();
    Ok(())
}

/// What is noted of a link is not another's.
fn made_anew() -> Result<(), Failed> {
    let lab = lab(LAB);
    let up = Up::new(&lab);
    up.converge_with(&lab, &by(Way::Peer));
    let before = all();
    set("a", "eth0", Legacy::TxChecksum, false);
    up.converge_with(&lab, &by(Way::Xdp));
    ip(&["link", "delete", "a-eth0"]);
    up.converge_with(&lab, &by(Way::Xdp));
    assert_eq!(up.converge_with(&lab, &by(Way::Xdp)).steps, 0);
    up.converge_with(&lab, &by(Way::Peer));
    assert_eq!(all(), before);
    up.converge_with(&lab, &by(Way::Xdp));
    ip(&["link", "delete", "b-eth0"]);
    up.converge_with(&lab, &by(Way::Peer));
    assert_eq!(all(), before);
    assert_eq!(up.converge_with(&lab, &by(Way::Peer)).steps, 0);
    up.down();
    Ok(())
}

fn told() -> Result<(), Failed> {
    const OFF: &str = "offloads: tx checksum and VLAN offload are off on 2 interfaces, as XDP needs it; TCP in bulk will be slower\n";
    const BACK: &str = "offloads: tx checksum and VLAN offload are as they were on 2 interfaces\n";
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lab.yaml");
    std::fs::write(&path, LAB)?;
    let path = path.to_str().ok_or("a path")?;
    let up = |way| ran(&["up", path, "--fastpath", way]);
    let said = |out: &str| [OFF, BACK].map(|line| out.contains(line));
    assert_eq!(said(&up("xdp")), [true, false]);
    let again = up("xdp");
    assert!(again.contains("nothing to change") && !again.contains("offload "), "{again}");
    let planned = ended(&["plan", path, "--fastpath", "peer"], 3).out;
    assert!(planned.contains("- offloads of a/eth0\n"), "{planned}");
    assert_eq!(said(&up("peer")), [false, true]);
    assert_eq!(said(&up("redirect")), [false, false]);
    ran(&["down", "offloads"]);
    Ok(())
}

/// One page holds a frame of XDP's, with room before and behind.
fn too_wide() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("write a lab");
        path.to_str().expect("UTF-8").to_owned()
    };
    let narrow = file("narrow.yaml", LAB);
    let wide = file("wide.yaml", &LAB.replace("br0: {}", "br0: { mtu: 65535 }"));
    let refused = |path: &str| {
        let said = ended(&["up", path, "--fastpath", "xdp"], 1).err;
        for words in
            ["a/eth0: the MTU of its interface is more", "smaller `mtu`", "--fastpath peer"]
        {
            assert!(said.contains(words), "{said}");
        }
    };
    ran(&["up", &wide]);
    let before = all();
    refused(&wide);
    assert_eq!(all(), before);
    assert!(ran(&["up", &wide]).contains("nothing to change"));
    // And when it becomes so.
    ran(&["up", &narrow, "--fastpath", "xdp"]);
    let before = all();
    refused(&wide);
    assert_eq!(all(), before);
    assert!(ran(&["up", &narrow, "--fastpath", "xdp"]).contains("nothing to change"));
    ran(&["up", &wide]);
    ran(&["down", "offloads"]);
    Ok(())
}
