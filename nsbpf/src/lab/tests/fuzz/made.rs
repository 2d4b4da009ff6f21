//! Labs by their choices, each of them right.

use std::fmt::Write as _;

use proptest::prelude::*;

/// A bridge.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
struct Bridge {
    /// Whether it is in the namespace `switch`.
    inside: bool,
    vlans: bool,
    stp: bool,
    jumbo: bool,
    uplink: bool,
}

/// A namespace, or a row of them.
#[derive(Clone, Debug)]
struct Namespace {
    count: Option<usize>,
    /// How it is on each of the bridges.
    ports: Vec<Option<Port>>,
    /// A pair to the one after it, where neither has a count.
    pair: bool,
    router: bool,
    adopted: bool,
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
struct Port {
    ipv6: bool,
    vlan: Option<u16>,
    trunk: bool,
    isolated: bool,
    up: bool,
}

const BRIDGES: usize = 3;

/// The text of a lab.
pub(super) fn lab() -> impl Strategy<Value = String> {
    let bridge = any::<[bool; 5]>().prop_map(|[inside, vlans, stp, jumbo, uplink]| Bridge {
        inside,
        vlans,
        stp,
        jumbo,
        uplink,
    });
    let port = (any::<[bool; 4]>(), prop::option::of(1..4095_u16))
        .prop_map(|([ipv6, trunk, isolated, up], vlan)| Port { ipv6, vlan, trunk, isolated, up });
    let namespace = (
        prop::option::weighted(0.3, 1..20_usize),
        prop::collection::vec(prop::option::of(port), BRIDGES),
        any::<[bool; 3]>(),
    )
        .prop_map(|(count, ports, [pair, router, adopted])| Namespace {
            count,
            ports,
            pair,
            router,
            adopted,
        });
    let bridges = prop::collection::vec(bridge, 0..=BRIDGES);
    (bridges, prop::collection::vec(namespace, 1..6))
        .prop_map(|(bridges, namespaces)| text(&bridges, &namespaces))
}

fn text(bridges: &[Bridge], namespaces: &[Namespace]) -> String {
    let mut text = "name: made\nbridges:\n".to_owned();
    let mut say = |line: String| writeln!(text, "{line}").unwrap();
    for (number, bridge) in bridges.iter().enumerate() {
        say(format!("  br{number}:\n    addresses: [10.{number}.0.0/16, 'fd0{number}::/64']"));
        for (key, said) in [
            ("namespace: switch", bridge.inside),
            ("vlan_filtering: true", bridge.vlans),
            ("stp: true", bridge.stp),
            ("forward_delay: 2", bridge.stp),
            ("mtu: 9000", bridge.jumbo),
            ("uplink: true", bridge.uplink && !bridge.inside),
        ] {
            if said {
                say(format!("    {key}"));
            }
        }
    }
    say("namespaces:".to_owned());
    for (number, namespace) in namespaces.iter().enumerate() {
        let adopted = namespace.adopted && namespace.count.is_none();
        say(format!("  n{number}-:"));
        if let Some(count) = namespace.count {
            say(format!("    count: {count}"));
        }
        if adopted {
            say(format!("    netns: theirs{number}"));
        } else if namespace.router {
            say("    router: true".to_owned());
        }
        say("    interfaces:".to_owned());
        for (on, port) in namespace.ports.iter().enumerate() {
            if let (Some(bridge), Some(port)) = (bridges.get(on), port) {
                say(format!("      on{on}: {{ {} }}", port.text(on, bridge)));
            }
        }
        let single = |number: usize| namespaces.get(number).is_some_and(|one| one.count.is_none());
        if namespace.pair && single(number) && single(number + 1) {
            let peer = format!("n{}-/back", number + 1);
            say(format!("      next: {{ peer: {peer}, addresses: [10.9.{number}.0/24] }}"));
        }
        if number > 0 && namespaces[number - 1].pair && single(number) && single(number - 1) {
            say(format!("      back: {{ addresses: [10.9.{}.0/24] }}", number - 1));
        }
    }
    text
}

impl Port {
    fn text(&self, on: usize, bridge: &Bridge) -> String {
        let Self { ipv6, vlan, trunk, isolated, up } = self;
        let mut text = format!("bridge: br{on}, up: {up}, isolated: {isolated}");
        // Each VLAN has subnets of its own, so what is on one of several takes none.
        if !bridge.vlans {
            write!(text, ", addresses: [10.{on}.0.0/16").unwrap();
            if *ipv6 {
                write!(text, ", 'fd0{on}::/64'").unwrap();
            }
            text.push(']');
        } else if let Some(vlan) = vlan {
            write!(text, ", vlan: {vlan}").unwrap();
        } else if *trunk {
            text.push_str(", trunk: [10, 20-29]");
        }
        text
    }
}
