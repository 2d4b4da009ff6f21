//! A host with a bridge that has two namespaces behind it, one that has one, and a
//! veth to the one outside.

use std::path::Path;
use std::process::Command;

use nsbpf::net::NetNs;
use rustix::mount::{UnmountFlags, unmount};

use crate::forwarding::write;
use crate::world::{ip, netns};

const NAMESPACES: [&str; 4] = ["first", "beside", "second", "outside"];

/// Two bridges on the host, namespaces behind them, and one outside.
pub(super) struct Ground {
    pub(super) first: NetNs,
    pub(super) beside: NetNs,
    pub(super) second: NetNs,
    pub(super) outside: NetNs,
}

impl Ground {
    pub(super) fn new() -> Self {
        for bridge in ["br1", "br2"] {
            words(&format!("link add {bridge} type bridge"));
        }
        for (namespace, host_end, bridge, subnet, host) in [
            ("first", "port1", Some("br1"), "1", "2"),
            ("beside", "port3", Some("br1"), "1", "3"),
            ("second", "port2", Some("br2"), "2", "2"),
            ("outside", "out", None, "9", "2"),
        ] {
            let on_host = bridge.unwrap_or(host_end);
            for command in [
                format!("netns add {namespace}"),
                format!("link add {host_end} type veth peer name eth0 netns {namespace}"),
            ] {
                words(&command);
            }
            if let Some(bridge) = bridge {
                words(&format!("link set {host_end} master {bridge}"));
                words(&format!("link set {host_end} up"));
            }
            for command in [
                format!("link set {on_host} up"),
                format!("address replace 10.{subnet}.0.1/24 dev {on_host}"),
                format!("address replace fd0{subnet}::1/64 dev {on_host} nodad"),
                format!("-n {namespace} link set lo up"),
                format!("-n {namespace} link set eth0 up"),
                format!("-n {namespace} address add 10.{subnet}.0.{host}/24 dev eth0"),
                format!("-n {namespace} address add fd0{subnet}::{host}/64 dev eth0 nodad"),
                format!("-n {namespace} route add default via 10.{subnet}.0.1"),
                format!("-n {namespace} route add default via fd0{subnet}::1"),
            ] {
                words(&command);
            }
        }
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            write(switch, "1");
        }
        // Where the kernel has it, frames that are only bridged pass the tables too.
        for switch in ["iptables", "ip6tables"] {
            let file = format!("bridge/bridge-nf-call-{switch}");
            if Path::new("/proc/sys/net").join(&file).exists() {
                write(&file, "1");
            }
        }
        let [first, beside, second, outside] = NAMESPACES.map(netns);
        Self { first, beside, second, outside }
    }

    pub(super) fn down(self) {
        drop(self);
        for namespace in NAMESPACES {
            words(&format!("netns delete {namespace}"));
        }
        // The other ends go with the namespaces, some time after.
        for link in ["port1", "port2", "port3", "out", "br1", "br2"] {
            let _ = Command::new("ip").args(["link", "delete", link]).output();
        }
        // `ip netns` made it a mount.
        unmount("/run/netns", UnmountFlags::DETACH).expect("unmount /run/netns");
    }
}

#[track_caller]
pub(super) fn words(command: &str) {
    ip(&command.split(' ').collect::<Vec<_>>());
}
