//! A lab as a person reads it.

use std::fmt::Write as _;

use super::{
    BridgeReport, InterfaceReport, NamespaceReport, RouteReport, SysctlReport, Topology, VlanReport,
};
use crate::state::IngressHook;

impl Topology {
    /// The report as a person reads it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.lab.clone();
        // Writing to a string does not fail.
        let hooks = self.ingress.iter().map(|hook| match hook {
            IngressHook::Tc => "tc",
            IngressHook::Xdp => "XDP",
            IngressHook::XdpGeneric => "generic XDP",
        });
        let hooks: Vec<&str> = hooks.collect();
        if !hooks.is_empty() {
            let _ = write!(text, ", counted at {} ingress and tc egress", hooks.join(" and "));
        }
        text.push('\n');
        for bridge in &self.bridges {
            let _ = writeln!(text, "  {}", bridge.line());
            for interface in &bridge.interfaces {
                let _ = writeln!(text, "    {interface}");
            }
        }
        for namespace in &self.namespaces {
            let _ = writeln!(text, "  {}", namespace.line());
            for SysctlReport { name, value } in &namespace.sysctls {
                let _ = writeln!(text, "    {name} = {value}");
            }
            for interface in &namespace.interfaces {
                let _ = writeln!(text, "    {}", interface.line(!self.ingress.is_empty()));
            }
            for RouteReport { to, via, interface } in &namespace.routes {
                let via = via.map_or_else(String::new, |via| format!(" via {via}"));
                let _ = writeln!(text, "    route to {to}{via} ({interface})");
            }
        }
        text
    }
}

impl BridgeReport {
    fn line(&self) -> String {
        let Self { name, namespace, mtu, up, stp, vlan_filtering, uplink, addresses, .. } = self;
        let place = namespace.as_ref().map_or_else(String::new, |name| format!(" in {name}"));
        let mut line = format!("bridge {name}{place}, MTU {mtu}");
        for (is, what) in
            [(*stp, "STP"), (*vlan_filtering, "VLANs"), (*uplink, "uplink"), (!up, "down")]
        {
            if is {
                line = format!("{line}, {what}");
            }
        }
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        if addresses.is_empty() { line } else { format!("{line}: {}", addresses.join(" ")) }
    }
}

impl NamespaceReport {
    fn line(&self) -> String {
        let Self { name, adopted, router, .. } = self;
        let mut line = format!("namespace {name}");
        for (is, what) in [(*adopted, "adopted"), (*router, "router")] {
            if is {
                line = format!("{line}, {what}");
            }
        }
        line
    }
}

impl InterfaceReport {
    fn line(&self, counted: bool) -> String {
        let Self {
            name, far_end, bridge, peer, vlans, isolated, mac, up, addresses, hooks, ..
        } = self;
        let attached = match (bridge, peer) {
            (Some(bridge), _) => format!("on {bridge} by {far_end}"),
            (None, Some(peer)) => format!("joined to {peer}"),
            (None, None) => format!("on nothing by {far_end}"),
        };
        let mut line = format!("{name} {attached}, {}", mac.as_deref().unwrap_or("not there"));
        let vlan = |VlanReport { vlan, pvid, untagged }: &VlanReport| match (pvid, untagged) {
            (true, true) => format!("VLAN {vlan}"),
            (false, false) => format!("VLAN {vlan} tagged"),
            (true, false) => format!("VLAN {vlan} untagged in, tagged out"),
            (false, true) => format!("VLAN {vlan} tagged in, untagged out"),
        };
        for vlan in vlans.iter().map(vlan) {
            line = format!("{line}, {vlan}");
        }
        let missing = counted && hooks.is_empty();
        for (is, what) in [(*isolated, "isolated"), (!up, "down"), (missing, "not counted")] {
            if is {
                line = format!("{line}, {what}");
            }
        }
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        if addresses.is_empty() { line } else { format!("{line}: {}", addresses.join(" ")) }
    }
}
