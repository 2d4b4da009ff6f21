//! What can be wired, in the kernel: peers, bridges in namespaces, bridges'
//! addresses, isolation, the spanning tree, on-link routes, settings, namespaces
//! that come in numbers.

use std::process::Command;

use libtest_mimic::Failed;
use nsbpf::state::IngressHook;
use serde_json::Value;

use crate::Test;
use crate::command::run;
use crate::engine::{Up, lab};
use crate::world::{Foreign, ip, ip_json, netns, reaches};

pub(crate) const TESTS: &[Test] = &[
    ("wiring::peers_reach_each_other", peers),
    ("wiring::peers_under_xdp", peers_under_xdp),
    ("wiring::a_pair_is_changed_and_mended", pair_changes),
    ("wiring::a_bridge_in_a_namespace", bridge_in_a_namespace),
    ("wiring::a_bridge_has_addresses", bridge_addresses),
    ("wiring::the_way_out_through_the_host", way_out),
    ("wiring::isolated_ports", isolated_ports),
    ("wiring::the_spanning_tree", spanning_tree),
    ("wiring::routes_onto_a_link", onlink_routes),
    ("wiring::settings_are_put_back", settings),
    ("wiring::interfaces_that_are_down", down),
    ("wiring::namespaces_in_numbers", count),
];

const PEERS: &str = "name: peers\nnamespaces:\n  \
    a: { interfaces: { left: { peer: b/right, mtu: 9000, addresses: [10.0.0.1/24, 'fd00::1/64'] } } }\n  \
    b: { interfaces: { right: { mac: '02:00:00:00:00:0b', addresses: [10.0.0.2/24, 'fd00::2/64'] } } }\n";

fn peers_by(hook: IngressHook, arguments: &[&str]) -> Result<(), Failed> {
    let text = match hook {
        IngressHook::Tc => PEERS.to_owned(),
        // XDP takes no jumbo frames.
        IngressHook::Xdp | IngressHook::XdpGeneric => PEERS.replace("9000", "1400"),
    };
    let peers = lab(&text);
    let up = Up::new(&peers);
    up.converge(&peers, hook);
    assert_eq!(up.converge(&peers, hook).steps, 0);
    let [left, right] = [("a", "left"), ("b", "right")].map(|(netns, link)| {
        ip_json(&["-netns", netns, "-details", "link", "show", link])[0].clone()
    });
    assert_eq!(left["mtu"], right["mtu"]);
    assert_eq!(right["address"], "02:00:00:00:00:0b");
    assert_eq!(left["link_index"], right["ifindex"]);
    assert_eq!(left["ifalias"], "nsbpf:peers/a/left");
    for (from, target) in [("a", "10.0.0.2"), ("b", "10.0.0.1"), ("a", "fd00::2"), ("b", "fd00::1")]
    {
        assert!(reaches(from, target), "{from} does not reach {target}");
    }
    // What one sends the other receives, and each counts for itself.
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(&file, &text)?;
    let path = file.path().to_str().unwrap();
    let done = run(&[&["plan", path], arguments].concat());
    assert_eq!((done.code, done.out.as_str()), (Some(0), "peers: nothing to change\n"));
    let shown: Value = serde_json::from_str(&run(&["show", "peers", "--format", "json"]).out)?;
    assert_eq!(shown["namespaces"][0]["interfaces"][0]["peer"], "b/right");
    assert_eq!(shown["namespaces"][1]["interfaces"][0]["peer"], "a/left");
    let counters = up.stats();
    let [a, b] = [&counters["a/left"], &counters["b/right"]];
    assert!(a.tx.total().packets > 0, "{a:?}");
    assert_eq!((a.tx.total(), a.rx.total()), (b.rx.total(), b.tx.total()));
    up.down();
    Ok(())
}

fn peers() -> Result<(), Failed> {
    peers_by(IngressHook::Tc, &[])
}

fn peers_under_xdp() -> Result<(), Failed> {
    peers_by(IngressHook::Xdp, &["--hook", "xdp"])
}

fn pair_changes() -> Result<(), Failed> {
    let before = lab(PEERS);
    let up = Up::new(&before);
    up.converge(&before, IngressHook::Tc);
    let index = || ip_json(&["-netns", "a", "link", "show", "left"])[0]["ifindex"].clone();
    let born = index();
    // MTU and MAC address change in place, at both ends.
    let after = lab(&PEERS.replace("9000", "1300").replace(":0b", ":0c"));
    // The pair, and what the programs know of its MAC address.
    assert_eq!(up.converge(&after, IngressHook::Tc).steps, 2);
    let right = &ip_json(&["-netns", "b", "link", "show", "right"])[0];
    assert_eq!((&right["mtu"], &right["address"]), (&1300.into(), &"02:00:00:00:00:0c".into()));
    assert_eq!(index(), born);
    // One that is deleted is made anew, with the index that it had.
    ip(&["-netns", "b", "link", "delete", "right"]);
    up.converge(&after, IngressHook::Tc);
    assert_eq!(index(), born);
    assert!(reaches("a", "10.0.0.2"));
    // An end that lost its alias is a stray, and so its pair is made anew.
    ip(&["-netns", "b", "link", "set", "right", "alias", ""]);
    up.converge(&after, IngressHook::Tc);
    assert!(reaches("b", "fd00::1"));
    // The pair becomes two ports of a bridge.
    let bridged = lab("name: peers\nbridges: { br0: {} }\nnamespaces:\n  \
        a: { interfaces: { left: { bridge: br0, addresses: [10.0.0.1/24] } } }\n  \
        b: { interfaces: { right: { bridge: br0, addresses: [10.0.0.2/24] } } }\n");
    up.converge(&bridged, IngressHook::Tc);
    assert!(reaches("a", "10.0.0.2"));
    up.converge(&before, IngressHook::Tc);
    assert!(reaches("a", "10.0.0.2"));
    up.down();
    Ok(())
}

fn bridge_in_a_namespace() -> Result<(), Failed> {
    let text = "name: inside\nbridges: { br0: { namespace: switch, mtu: 1400 } }\nnamespaces:\n  \
        n0: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24] } } }\n  \
        n1: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.2/24] } } }\n";
    let inside = lab(text);
    let up = Up::new(&inside);
    up.converge(&inside, IngressHook::Tc);
    assert_eq!(up.converge(&inside, IngressHook::Tc).steps, 0);
    // Nothing of it is on the host.
    let host: Vec<String> = ip_json(&["link"])
        .as_array()
        .into_iter()
        .flatten()
        .map(|link| link["ifname"].to_string())
        .collect();
    assert_eq!(host, ["\"lo\""]);
    let port = &ip_json(&["-netns", "switch", "link", "show", "n0-eth0"])[0];
    assert_eq!((&port["master"], &port["mtu"]), (&"br0".into(), &1400.into()));
    assert!(reaches("n0", "10.0.0.2"));
    // No firewall is asked there.
    let calls = || {
        netns("switch")
            .run(|| std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables"))
            .and_then(|read| read)
            .unwrap_or_else(|_| "0\n".to_owned())
    };
    assert_eq!(calls(), "0\n");
    // It is moved to the host, and back.
    let outside = lab(&text.replace("namespace: switch, ", ""));
    up.converge(&outside, IngressHook::Tc);
    assert_eq!(ip_json(&["link", "show", "n1-eth0"])[0]["master"], "br0");
    assert!(!ip(&["netns"]).contains("switch"));
    assert!(reaches("n1", "10.0.0.1"));
    up.converge(&inside, IngressHook::Tc);
    assert!(reaches("n1", "10.0.0.1"));
    up.down();
    Ok(())
}

fn bridge_addresses() -> Result<(), Failed> {
    let text = "name: gateway\nbridges: { br0: { addresses: [10.0.0.254/24, 'fd00::fe/64'] } }\n\
        namespaces:\n  \
        n0: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] } } }\n";
    let gateway = lab(text);
    let up = Up::new(&gateway);
    up.converge(&gateway, IngressHook::Tc);
    assert_eq!(up.converge(&gateway, IngressHook::Tc).steps, 0);
    assert!(reaches("n0", "10.0.0.254"));
    assert!(reaches("n0", "fd00::fe"));
    let moved = lab(&text.replace("10.0.0.254/24", "10.0.0.253/24"));
    assert_eq!(up.converge(&moved, IngressHook::Tc).steps, 2);
    assert!(reaches("n0", "10.0.0.253"));
    assert!(!reaches("n0", "10.0.0.254"));
    up.down();
    Ok(())
}

fn way_out() -> Result<(), Failed> {
    let outside = Foreign::new("outside");
    ip(&["link", "add", "wan0", "type", "veth", "peer", "name", "wan1", "netns", "outside"]);
    for (place, link, host) in [(None, "wan0", 1), (Some("outside"), "wan1", 2)] {
        let inside = place.map_or(vec![], |name| vec!["-netns", name]);
        for address in [format!("192.0.2.{host}/24"), format!("2001:db8::{host}/64")] {
            let add = ["address", "add", &address, "dev", link, "nodad"];
            ip(&[inside.as_slice(), &add].concat());
        }
        ip(&[inside.as_slice(), &["link", "set", link, "up"]].concat());
    }
    let text = "name: out\nbridges: { br0: { uplink: true, addresses: [10.0.0.0/24, 'fd00::/64'] } }\n\
        namespaces:\n  \
        n0: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.0/24, 'fd00::/64'] } } }\n";
    let forwarding = || {
        ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]
            .map(|name| std::fs::read_to_string(format!("/proc/sys/net/{name}")).expect("a switch"))
    };
    let before = forwarding();
    let with = lab(text);
    let up = Up::new(&with);
    up.converge(&with, IngressHook::Tc);
    assert_eq!(up.converge(&with, IngressHook::Tc).steps, 0);
    assert!(reaches("n0", "192.0.2.2"));
    assert!(reaches("n0", "2001:db8::2"));
    // A table that somebody emptied is put right.
    let nft = Command::new("nft").args(["flush", "table", "inet", "nsbpf-out"]).status()?;
    assert!(nft.success());
    assert_eq!(up.converge(&with, IngressHook::Tc).steps, 1);
    assert!(reaches("n0", "192.0.2.2"));
    // Without: neither table nor forwarding nor a default route.
    let without = lab(&text.replace("uplink: true, ", ""));
    assert_eq!(up.converge(&without, IngressHook::Tc).steps, 3);
    assert!(!reaches("n0", "192.0.2.2"));
    assert_eq!(forwarding(), before);
    up.converge(&with, IngressHook::Tc);
    up.down();
    assert_eq!(forwarding(), before);
    let tables = Command::new("nft").args(["list", "tables"]).output()?.stdout;
    assert_eq!(String::from_utf8_lossy(&tables), "");
    // Before the namespace, which would take it along some time later.
    ip(&["link", "delete", "wan0"]);
    drop(outside);
    Ok(())
}

fn isolated_ports() -> Result<(), Failed> {
    let text = "name: apart\nbridges: { br0: {} }\nnamespaces:\n  \
        n0: { interfaces: { eth0: { bridge: br0, isolated: true, addresses: [10.0.0.1/24] } } }\n  \
        n1: { interfaces: { eth0: { bridge: br0, isolated: true, addresses: [10.0.0.2/24] } } }\n  \
        n2: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.3/24] } } }\n";
    let apart = lab(text);
    let up = Up::new(&apart);
    up.converge(&apart, IngressHook::Tc);
    assert!(reaches("n0", "10.0.0.3"));
    assert!(reaches("n1", "10.0.0.3"));
    assert!(!reaches("n0", "10.0.0.2"));
    let together = lab(&text.replace("isolated: true, ", ""));
    assert_eq!(up.converge(&together, IngressHook::Tc).steps, 2);
    assert!(reaches("n0", "10.0.0.2"));
    up.down();
    Ok(())
}

fn spanning_tree() -> Result<(), Failed> {
    let text = "name: tree\nbridges: { br0: { stp: true, forward_delay: 2 } }\n\
        namespaces: { n0: { interfaces: { eth0: { bridge: br0 } } } }\n";
    let tree = lab(text);
    let up = Up::new(&tree);
    up.converge(&tree, IngressHook::Tc);
    assert_eq!(up.converge(&tree, IngressHook::Tc).steps, 0);
    let bridge =
        || ip_json(&["-details", "link", "show", "br0"])[0]["linkinfo"]["info_data"].clone();
    assert_eq!((&bridge()["stp_state"], &bridge()["forward_delay"]), (&1.into(), &200.into()));
    let plain = lab(&text.replace("{ stp: true, forward_delay: 2 }", "{}"));
    assert_eq!(up.converge(&plain, IngressHook::Tc).steps, 1);
    assert_eq!((&bridge()["stp_state"], &bridge()["forward_delay"]), (&0.into(), &1500.into()));
    up.down();
    Ok(())
}

fn onlink_routes() -> Result<(), Failed> {
    let text = "name: onlink\nnamespaces:\n  \
        a:\n    interfaces: { e: { peer: b/e, addresses: [10.1.0.1/24, 'fd01::1/64'] } }\n    \
        routes: [{ to: 10.2.0.0/24, dev: e }, { to: 'fd02::/64', dev: e }, { to: 192.0.2.0/24, via: 10.2.0.1, dev: e }]\n  \
        b:\n    interfaces: { e: { addresses: [10.2.0.1/24, 'fd02::1/64'] } }\n    \
        routes: [{ to: 10.1.0.0/24, dev: e }, { to: 'fd01::/64', dev: e }]\n";
    let onlink = lab(text);
    let up = Up::new(&onlink);
    up.converge(&onlink, IngressHook::Tc);
    assert_eq!(up.converge(&onlink, IngressHook::Tc).steps, 0);
    assert!(reaches("a", "10.2.0.1"));
    assert!(reaches("b", "fd01::1"));
    let routes = ip(&["-netns", "a", "route"]);
    assert!(routes.contains("10.2.0.0/24 dev e"), "{routes}");
    assert!(routes.contains("192.0.2.0/24 via 10.2.0.1 dev e"), "{routes}");
    let without = lab(&text.replace("{ to: 10.2.0.0/24, dev: e }, ", ""));
    assert_eq!(up.converge(&without, IngressHook::Tc).steps, 1);
    assert!(!ip(&["-netns", "a", "route"]).contains("10.2.0.0/24 dev e"));
    up.down();
    Ok(())
}

fn settings() -> Result<(), Failed> {
    let text = "name: set\nbridges: { br0: {} }\nnamespaces:\n  n0:\n    \
        sysctls: { net.ipv4.ip_local_port_range: 2000 3000, net.ipv4.conf.eth0.rp_filter: 2 }\n    \
        interfaces: { eth0: { bridge: br0 } }\n";
    let value = |name: &'static str| {
        let read = move || std::fs::read_to_string(format!("/proc/sys/net/{name}"));
        netns("n0").run(read).and_then(|read| read).expect("a setting").trim().replace('\t', " ")
    };
    let without = lab(&text.replacen("    sysctls", "    #", 1));
    let up = Up::new(&without);
    up.converge(&without, IngressHook::Tc);
    let former = [value("ipv4/ip_local_port_range"), value("ipv4/conf/eth0/rp_filter")];
    assert_ne!(former, ["2000 3000", "2"]);
    let set = lab(text);
    assert_eq!(up.converge(&set, IngressHook::Tc).steps, 2);
    assert_eq!(up.converge(&set, IngressHook::Tc).steps, 0);
    assert_eq!(
        [value("ipv4/ip_local_port_range"), value("ipv4/conf/eth0/rp_filter")],
        ["2000 3000", "2"]
    );
    // Somebody changes one, and the interface goes, and its setting with it.
    let change = || std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "4000 5000");
    netns("n0").run(change)??;
    ip(&["link", "delete", "n0-eth0"]);
    up.converge(&set, IngressHook::Tc);
    assert_eq!(
        [value("ipv4/ip_local_port_range"), value("ipv4/conf/eth0/rp_filter")],
        ["2000 3000", "2"]
    );
    assert_eq!(up.converge(&without, IngressHook::Tc).steps, 2);
    assert_eq!([value("ipv4/ip_local_port_range"), value("ipv4/conf/eth0/rp_filter")], former);
    // One that the kernel does not know is told of, and nothing is left changed.
    let unknown = lab(&text.replace("net.ipv4.conf.eth0.rp_filter: 2", "net.ipv4.no_such: 1"));
    let error = up.try_converge(&unknown, IngressHook::Tc).unwrap_err().to_string();
    assert!(error.contains("setting net.ipv4.no_such of n0: this kernel has no such"), "{error}");
    assert_eq!(value("ipv4/ip_local_port_range"), former[0]);
    up.down();
    Ok(())
}

fn down() -> Result<(), Failed> {
    let text = "name: down\nbridges: { br0: {} }\n\
        namespaces: { n0: { interfaces: { eth0: { bridge: br0, up: false, addresses: ['fd00::1/64'] } } } }\n";
    let down = lab(text);
    let up = Up::new(&down);
    up.converge(&down, IngressHook::Tc);
    assert_eq!(up.converge(&down, IngressHook::Tc).steps, 0);
    let is_up = || ip(&["-netns", "n0", "-brief", "link", "show", "eth0"]).contains(",UP");
    assert!(!is_up());
    assert_eq!(up.converge(&lab(&text.replace("false", "true")), IngressHook::Tc).steps, 1);
    assert!(is_up());
    assert_eq!(up.converge(&down, IngressHook::Tc).steps, 1);
    assert!(!is_up());
    assert!(ip(&["-netns", "n0", "address", "show", "eth0"]).contains("fd00::1/64"));
    up.down();
    Ok(())
}

fn count() -> Result<(), Failed> {
    let text = "name: many\nbridges: { br0: { addresses: [10.1.0.0/16] } }\nnamespaces:\n  \
        web: { count: 3, interfaces: { eth0: { bridge: br0, addresses: [10.1.0.0/16, 'fd01::/64'] } } }\n  \
        db: { interfaces: { eth0: { bridge: br0, addresses: [10.1.0.3/16] } } }\n";
    let many = lab(text);
    let up = Up::new(&many);
    up.converge(&many, IngressHook::Tc);
    assert_eq!(up.converge(&many, IngressHook::Tc).steps, 0);
    let addresses = |name: &str| {
        let link = &ip_json(&["-netns", name, "address", "show", "eth0"])[0];
        let infos = link["addr_info"].as_array().into_iter().flatten();
        infos
            .filter(|info| info["scope"] == "global")
            .map(|info| info["local"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    // The bridge has the first one, and 10.1.0.3 is taken.
    assert_eq!(addresses("web1"), ["10.1.0.2", "fd01::1"]);
    assert_eq!(addresses("web2"), ["10.1.0.4", "fd01::2"]);
    assert_eq!(addresses("web3"), ["10.1.0.5", "fd01::3"]);
    assert!(reaches("web3", "10.1.0.3"));
    assert!(reaches("web1", "fd01::3"));
    assert!(reaches("db", "10.1.0.1"));
    // More of them leave the first as they are.
    let more = up.converge(&lab(&text.replace("count: 3", "count: 5")), IngressHook::Tc).steps;
    assert_eq!(addresses("web5"), ["10.1.0.7", "fd01::5"]);
    let fewer = up.converge(&many, IngressHook::Tc).steps;
    assert!(fewer < more, "{fewer} {more}");
    assert!(!ip(&["netns"]).contains("web4"));
    up.down();
    Ok(())
}
