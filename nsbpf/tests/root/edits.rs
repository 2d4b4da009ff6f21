//! Edits with which the kernel takes more than it is told to.

use libtest_mimic::Failed;
use nsbpf::state::IngressHook;
use serde_json::Value;

use crate::Test;
use crate::engine::{Up, lab};
use crate::world::{Foreign, ip, ip_json, reaches};

pub(crate) const TESTS: &[Test] = &[
    ("edits::an_only_address_changes", only_address),
    ("edits::the_first_address_of_a_subnet_goes", first_address),
    ("edits::an_interface_is_taken_down", taken_down),
    ("edits::a_narrow_bridge_becomes_wide", narrow),
    ("edits::an_own_namespace_becomes_anothers", own_becomes_adopted),
    ("edits::who_moves_is_found", moves),
    ("edits::settings_that_the_kernel_refuses", refused_settings),
    ("edits::a_setting_that_follows_another", following_setting),
];

const GATEWAY: &str = "name: edits\nbridges: { br0: { addresses: [10.0.0.254/24] } }\nnamespaces:\n  \
    a:\n    \
    interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] } }\n    \
    routes: [{ to: default, via: 10.0.0.254 }]\n";

/// Addresses of a device that are not link-local, with the lengths of their
/// prefixes.
fn addresses(arguments: &[&str]) -> Vec<String> {
    let shown = ip_json(&[arguments, &["address", "show"]].concat());
    let all = shown.as_array().into_iter().flatten();
    let mut addresses: Vec<String> = all
        .flat_map(|link| link["addr_info"].as_array().into_iter().flatten())
        .filter(|info| info["scope"] == "global")
        .map(|info| format!("{}/{}", info["local"].as_str().unwrap(), info["prefixlen"]))
        .collect();
    addresses.sort();
    addresses
}

fn gateway(netns: &str) -> Value {
    ip_json(&["-netns", netns, "route", "show", "default"])[0]["gateway"].clone()
}

/// With the last IPv4 address go all routes by the interface.
fn only_address() -> Result<(), Failed> {
    let before = lab(GATEWAY);
    let up = Up::new(&before);
    up.converge(&before, IngressHook::Tc);
    let after = lab(&GATEWAY.replace("10.0.0.1/24", "10.0.0.9/24"));
    up.converge(&after, IngressHook::Tc);
    assert_eq!(addresses(&["-netns", "a"]), ["10.0.0.9/24", "fd00::1/64"]);
    assert_eq!(gateway("a"), "10.0.0.254");
    assert_eq!(up.converge(&after, IngressHook::Tc).steps, 0);
    up.down();
    Ok(())
}

/// With the first IPv4 address of a subnet go the others, and a gateway in it can
/// not be named before they are back.
fn first_address() -> Result<(), Failed> {
    let two = GATEWAY
        .replace("10.0.0.1/24", "10.0.0.1/24, 10.0.0.5/24")
        .replace("10.0.0.254/24", "10.0.0.254/24, 10.0.0.253/24");
    let before = lab(&two);
    let up = Up::new(&before);
    up.converge(&before, IngressHook::Tc);
    let one = two
        .replace("10.0.0.1/24, ", "")
        .replace("10.0.0.254/24, ", "")
        .replace("via: 10.0.0.254", "via: 10.0.0.253");
    let after = lab(&one);
    up.converge(&after, IngressHook::Tc);
    assert_eq!(addresses(&["-netns", "a"]), ["10.0.0.5/24", "fd00::1/64"]);
    assert_eq!(addresses(&[]), ["10.0.0.253/24"]);
    assert_eq!(gateway("a"), "10.0.0.253");
    assert_eq!(up.converge(&after, IngressHook::Tc).steps, 0);
    // Where another's is the first, ours comes second, and both stay.
    ip(&["-netns", "a", "address", "flush", "dev", "eth0"]);
    ip(&["-netns", "a", "address", "add", "10.0.0.77/24", "dev", "eth0"]);
    up.converge(&after, IngressHook::Tc);
    assert_eq!(addresses(&["-netns", "a"]), ["10.0.0.5/24", "10.0.0.77/24", "fd00::1/64"]);
    up.down();
    Ok(())
}

/// An interface that is down keeps the addresses that the lab says, IPv6 too.
fn taken_down() -> Result<(), Failed> {
    let text = GATEWAY.replace("    routes: [{ to: default, via: 10.0.0.254 }]\n", "");
    let before = lab(&text);
    let up = Up::new(&before);
    up.converge(&before, IngressHook::Tc);
    let after = lab(&text.replace("bridge: br0,", "bridge: br0, up: false,"));
    up.converge(&after, IngressHook::Tc);
    assert_eq!(addresses(&["-netns", "a"]), ["10.0.0.1/24", "fd00::1/64"]);
    assert_eq!(up.converge(&after, IngressHook::Tc).steps, 0);
    up.down();
    Ok(())
}

/// Below 1,280 bytes the kernel has no IPv6 of a link, and afterwards it knows
/// nothing of what it had been told.
fn narrow() -> Result<(), Failed> {
    let text = "name: edits\nbridges: { br0: { mtu: 1000 } }\nnamespaces:\n  \
        a: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24] } } }\n";
    let before = lab(text);
    let up = Up::new(&before);
    up.converge(&before, IngressHook::Tc);
    assert_eq!(ip_json(&["link", "show", "a-eth0"])[0]["mtu"], 1000);
    let after = lab(&text.replace("1000", "1280"));
    up.converge(&after, IngressHook::Tc);
    assert_eq!(ip_json(&["link", "show", "a-eth0"])[0]["mtu"], 1280);
    for link in ["br0", "a-eth0"] {
        assert_eq!(ip(&["-6", "address", "show", link]), "");
    }
    up.down();
    Ok(())
}

fn own_becomes_adopted() -> Result<(), Failed> {
    let _theirs = Foreign::new("theirs");
    let before = lab(GATEWAY);
    let up = Up::new(&before);
    up.converge(&before, IngressHook::Tc);
    let after = lab(&GATEWAY.replace("  a:\n", "  a:\n    netns: theirs\n"));
    up.converge(&after, IngressHook::Tc);
    assert_eq!(addresses(&["-netns", "theirs"]), ["10.0.0.1/24", "fd00::1/64"]);
    assert!(!ip(&["netns", "list"]).lines().any(|line| line.starts_with("a ")));
    assert_eq!(up.converge(&after, IngressHook::Tc).steps, 0);
    up.converge(&before, IngressHook::Tc);
    assert_eq!(addresses(&["-netns", "a"]), ["10.0.0.1/24", "fd00::1/64"]);
    assert_eq!(ip_json(&["-netns", "theirs", "link"]).as_array().map(Vec::len), Some(1));
    up.down();
    Ok(())
}

/// Neighbours forget where an address was: at once, and not when the kernel does.
fn moves() -> Result<(), Failed> {
    let text = "name: edits\nbridges: { br0: {} }\nnamespaces:\n  \
        a: { interfaces: { eth0: { bridge: br0, mac: '02:00:00:00:00:0a', addresses: [10.0.0.1/24, 'fd00::1/64'] } } }\n  \
        b: { interfaces: { eth0: { bridge: br0, mac: '02:00:00:00:00:0b', addresses: [10.0.0.2/24, 'fd00::2/64'] } } }\n  \
        c: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.3/24, 'fd00::3/64'] } } }\n";
    let swapped = |one: &str, other: &str| {
        text.replace(one, "SWAP").replace(other, one).replace("SWAP", other)
    };
    let before = lab(text);
    let up = Up::new(&before);
    let labs = [
        text.to_owned(),
        swapped("00:0a'", "00:0b'"),
        text.to_owned(),
        swapped("10.0.0.1/24, 'fd00::1/64'", "10.0.0.2/24, 'fd00::2/64'"),
        text.replace("00:0a'", "00:0c'"),
    ];
    for text in labs {
        up.converge(&lab(&text), IngressHook::Tc);
        for target in ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"] {
            assert!(reaches("c", target), "{target} in {text}");
        }
    }
    up.down();
    Ok(())
}

/// A setting that cannot be set is not in the way of the next run.
fn refused_settings() -> Result<(), Failed> {
    let text = "name: edits\nnamespaces: { a: { sysctls: { net.ipv4.tcp_ecn: 0 } } }\n";
    let before = lab(text);
    let up = Up::new(&before);
    up.converge(&before, IngressHook::Tc);
    for (setting, says) in [
        // One of the host's, which shows itself and does not change.
        ("net.core.rmem_max: 4711", "create setting net.core.rmem_max of a"),
        ("net.ipv4.tcp_ecn: 0x1", "it is `1` after `0x1` was written"),
        ("net.ipv4.tcp_ecn: maybe", "change setting net.ipv4.tcp_ecn of a"),
    ] {
        let refused = lab(&text.replace("net.ipv4.tcp_ecn: 0", setting));
        let error = up.try_converge(&refused, IngressHook::Tc).expect_err(setting).to_string();
        assert!(error.contains(says) && error.ends_with("was undone."), "{error}");
        assert_eq!(up.converge(&before, IngressHook::Tc).steps, 0);
    }
    up.down();
    Ok(())
}

/// Forwarding of a namespace sets that of its interfaces.
fn following_setting() -> Result<(), Failed> {
    let text = "name: edits\nbridges: { br0: {} }\nnamespaces:\n  a:\n    router: false\n    \
        sysctls: { net.ipv4.conf.eth0.forwarding: 0 }\n    interfaces: { eth0: { bridge: br0 } }\n";
    let before = lab(text);
    let up = Up::new(&before);
    up.converge(&before, IngressHook::Tc);
    let router = lab(&text.replace("router: false", "router: true"));
    up.converge(&router, IngressHook::Tc);
    assert_eq!(up.converge(&router, IngressHook::Tc).steps, 0);
    up.down();
    Ok(())
}
