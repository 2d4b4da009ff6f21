//! A lab as a graph: namespaces and bridges are nodes, veth pairs edges.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::Topology;

/// A node: what it is called in the graph, and what is written in it.
struct Node {
    id: String,
    bridge: bool,
    lines: Vec<String>,
}

/// An edge, with what is written at it.
struct Edge {
    from: String,
    to: String,
    lines: Vec<String>,
}

impl Topology {
    /// As a flowchart of Mermaid.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let (nodes, edges) = self.graph();
        // Writing to a string does not fail.
        let mut text = "flowchart LR\n".to_owned();
        for Node { id, bridge, lines } in nodes {
            let label = lines.join("<br/>");
            let (open, close) = if bridge { ("([", "])") } else { ("[", "]") };
            let _ = writeln!(text, "    {id}{open}\"{label}\"{close}");
        }
        for Edge { from, to, lines } in edges {
            let _ = writeln!(text, "    {from} ---|\"{}\"| {to}", lines.join("<br/>"));
        }
        text
    }

    /// In the language of Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        let (nodes, edges) = self.graph();
        let mut text = format!("graph \"{}\" {{\n    node [shape=box];\n", self.lab);
        for Node { id, bridge, lines } in nodes {
            let shape = if bridge { ", shape=ellipse" } else { "" };
            let _ = writeln!(text, "    {id} [label=\"{}\"{shape}];", lines.join("\\n"));
        }
        for Edge { from, to, lines } in edges {
            let _ = writeln!(text, "    {from} -- {to} [label=\"{}\"];", lines.join("\\n"));
        }
        text.push_str("}\n");
        text
    }

    fn graph(&self) -> (Vec<Node>, Vec<Edge>) {
        let bridge_id = |number: usize| format!("b{number}");
        let namespace_id = |number: usize| format!("n{number}");
        let mut nodes = Vec::new();
        let mut edges = Vec::new();
        for (number, bridge) in self.bridges.iter().enumerate() {
            let mut lines = vec![bridge.name.clone()];
            lines.extend(bridge.namespace.as_ref().map(|name| format!("in {name}")));
            lines.extend(bridge.uplink.then(|| "uplink".to_owned()));
            lines.extend(bridge.addresses.iter().filter_map(written));
            nodes.push(Node { id: bridge_id(number), bridge: true, lines });
        }
        for (number, namespace) in self.namespaces.iter().enumerate() {
            let mut lines = vec![namespace.name.clone()];
            lines.extend(namespace.router.then(|| "router".to_owned()));
            lines.extend(namespace.adopted.then(|| "adopted".to_owned()));
            nodes.push(Node { id: namespace_id(number), bridge: false, lines });
            for interface in &namespace.interfaces {
                let own = format!("{}/{}", namespace.name, interface.name);
                let mut lines = vec![interface.name.clone()];
                lines.extend(interface.addresses.iter().filter_map(written));
                lines.extend(interface.vlans.iter().map(|vlan| format!("VLAN {}", vlan.vlan)));
                let to = if let Some(name) = &interface.bridge {
                    self.bridges.iter().position(|bridge| bridge.name == *name).map(bridge_id)
                } else if let Some(peer) = interface.peer.as_ref().filter(|peer| own < **peer) {
                    // A pair is one edge, which its first end draws.
                    let (name, far) = peer.split_once('/').unwrap_or((peer, ""));
                    lines.push(far.to_owned());
                    let place = self.namespaces.iter().position(|other| other.name == name);
                    let ends = place.and_then(|place| self.namespaces.get(place));
                    let end =
                        ends.and_then(|ends| ends.interfaces.iter().find(|end| end.name == far));
                    lines
                        .extend(end.into_iter().flat_map(|end| &end.addresses).filter_map(written));
                    place.map(namespace_id)
                } else {
                    None
                };
                edges.extend(to.map(|to| Edge { from: namespace_id(number), to, lines }));
            }
        }
        (nodes, edges)
    }
}

/// Addresses that a lab gave: the kernel's own only fill the picture.
fn written(address: &IpNet) -> Option<String> {
    let own = matches!(address, IpNet::V6(net) if net.addr().is_unicast_link_local());
    (!own).then(|| address.to_string())
}
