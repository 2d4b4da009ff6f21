//! What the lab language says, in the kernel: routes, routers, MTU and MAC.

use libtest_mimic::Failed;
use nsbpf::plan::Settings;
use nsbpf::state::IngressHook;
use nsbpf_common::stats::Way;

use crate::Test;
use crate::engine::{Up, lab, settings};
use crate::world::{ip, ip_json, reaches};

pub(crate) const TESTS: &[Test] = &[
    ("language::a_router_routes", router),
    ("language::a_route_changes_in_place", route_changes),
    ("language::mtu_and_mac", mtu_and_mac),
];

const ROUTER: &str = include_str!("../../../labs/05-router.yaml");

fn router() -> Result<(), Failed> {
    let with = lab(ROUTER);
    let up = Up::new(&with);
    up.converge(&with, IngressHook::Tc);
    assert_eq!(up.converge(&with, IngressHook::Tc).steps, 0);
    for (from, target) in
        [("left", "10.2.0.1"), ("right", "10.1.0.1"), ("left", "fd02::1"), ("right", "fd01::1")]
    {
        assert!(reaches(from, target), "{from} does not reach {target}");
    }
    let without = lab(&ROUTER.replace("router: true", "router: false"));
    // Routes are replayed until then.
    let bridged = Settings { fastpath: Some(Way::Bridge), ..settings(IngressHook::Tc) };
    up.converge_with(&with, &bridged);
    // IPv4 and IPv6.
    assert_eq!(up.converge_with(&without, &bridged).steps, 2);
    assert!(!reaches("left", "10.2.0.1"));
    assert!(!reaches("left", "fd02::1"));
    up.converge(&with, IngressHook::Tc);
    assert!(reaches("left", "10.2.0.1"));
    up.down();
    Ok(())
}

fn route_changes() -> Result<(), Failed> {
    let before = lab(ROUTER);
    let up = Up::new(&before);
    up.converge(&before, IngressHook::Tc);
    let default = |namespace: &str| {
        ip_json(&["-netns", namespace, "route", "show", "default"])[0]["gateway"].clone()
    };
    assert_eq!(default("left"), "10.1.0.254");
    let after = lab(&ROUTER.replace("via: 10.1.0.254", "via: 10.1.0.253"));
    assert_eq!(up.converge(&after, IngressHook::Tc).steps, 1);
    assert_eq!(default("left"), "10.1.0.253");
    // A route that somebody else made stays; one of ours that is lost comes back.
    ip(&["-netns", "left", "route", "add", "192.0.2.0/24", "via", "10.1.0.7"]);
    ip(&["-netns", "left", "route", "delete", "default"]);
    assert_eq!(up.converge(&after, IngressHook::Tc).steps, 1);
    assert_eq!(default("left"), "10.1.0.253");
    assert!(ip(&["-netns", "left", "route"]).contains("192.0.2.0/24"));
    // And one that the lab no longer has goes.
    let none = lab(&ROUTER.replace("      - { to: default, via: 10.1.0.254 }\n", ""));
    assert_eq!(up.converge(&none, IngressHook::Tc).steps, 1);
    assert!(!ip(&["-netns", "left", "route"]).contains("default"));
    up.down();
    Ok(())
}

fn mtu_and_mac() -> Result<(), Failed> {
    let text = "name: jumbo\nbridges: { br0: { mtu: 9000 } }\nnamespaces:\n  \
        n0: { interfaces: { eth0: { bridge: br0, mac: '02:00:00:00:00:AA' } } }\n";
    let first = lab(text);
    let up = Up::new(&first);
    up.converge(&first, IngressHook::Tc);
    let look = |mtu: u32, mac: &str| {
        for link in ["br0", "n0-eth0"] {
            assert_eq!(ip_json(&["link", "show", link])[0]["mtu"], mtu, "{link}");
        }
        let inner = &ip_json(&["-netns", "n0", "link", "show", "eth0"])[0];
        assert_eq!((&inner["mtu"], &inner["address"]), (&mtu.into(), &mac.into()));
    };
    look(9000, "02:00:00:00:00:aa");
    let second = lab(&text.replace("9000", "1400").replace(":AA", ":bb"));
    up.converge(&second, IngressHook::Tc);
    look(1400, "02:00:00:00:00:bb");
    assert_eq!(up.converge(&second, IngressHook::Tc).steps, 0);
    up.down();
    Ok(())
}
