//! Witnesses from outside: what iproute2 and plain sockets say.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use nsbpf::net::NetNs;
use nsbpf::net::echo::Echo;
use serde_json::Value;

/// Runs `ip` and returns what it prints.
#[track_caller]
pub(crate) fn ip(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new("ip").args(arguments).output().expect("start ip");
    assert!(status.success(), "ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("ip prints UTF-8")
}

/// Runs `tc` and returns what it prints.
#[track_caller]
pub(crate) fn tc(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new("tc").args(arguments).output().expect("start tc");
    assert!(status.success(), "tc {}: {}", arguments.join(" "), String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("tc prints UTF-8")
}

/// Runs `ip -json` and returns what it prints.
#[track_caller]
pub(crate) fn ip_json(arguments: &[&str]) -> Value {
    let text = ip(&[&["-json"], arguments].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("ip printed {text:?}: {error}"))
}

/// All that iproute2 shows of links and namespaces, without what moves by itself.
pub(crate) fn everything() -> String {
    ["-brief link", "-brief address", "netns list"]
        .map(|command| ip(&command.split(' ').collect::<Vec<_>>()))
        .join("\n")
}

/// The namespace of that name, as `ip netns` would find it.
#[track_caller]
pub(crate) fn netns(name: &str) -> NetNs {
    let path = fs_err(std::fs::canonicalize(Path::new("/run/netns").join(name)), name);
    fs_err(NetNs::open(&path), name).unwrap_or_else(|| panic!("{name} is no namespace"))
}

#[track_caller]
fn fs_err<T>(result: std::io::Result<T>, name: &str) -> T {
    result.unwrap_or_else(|error| panic!("namespace {name}: {error}"))
}

/// A namespace of ip-netns, which goes with this.
pub(crate) struct Foreign(&'static str);

impl Foreign {
    pub(crate) fn new(name: &'static str) -> Self {
        ip(&["netns", "add", name]);
        Self(name)
    }

    pub(crate) fn name(&self) -> &str {
        self.0
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        ip(&["netns", "delete", self.0]);
        // `ip netns add` mounts the folder of names onto itself.
        rustix::mount::unmount("/run/netns", rustix::mount::UnmountFlags::DETACH).expect("unmount");
    }
}

/// Whether an answer comes from that address within some of these times.
#[track_caller]
pub(crate) fn answers(from: &str, target: &str, times: &[Duration]) -> bool {
    let target: IpAddr = target.parse().expect("an address");
    // Where there is no route there is no socket.
    let Ok(mut echo) = Echo::new(&netns(from), target, 7) else { return false };
    times.iter().any(|time| echo.ping(*time).is_ok_and(|time| time.is_some()))
}

/// Whether an address answers pings from a namespace.
#[track_caller]
pub(crate) fn reaches(from: &str, target: &str) -> bool {
    // The first one resolves neighbours all along the way.
    answers(from, target, &[Duration::from_millis(500); 3])
}

/// A UDP socket inside a namespace.
#[track_caller]
pub(crate) fn udp(namespace: &NetNs, address: IpAddr) -> UdpSocket {
    namespace
        .run(|| UdpSocket::bind(SocketAddr::new(address, 0)))
        .and_then(|socket| socket)
        .expect("bind a UDP socket")
}

/// The MAC address of an interface in a namespace.
pub(crate) fn mac_of(namespace: &str, interface: &str) -> [u8; 6] {
    let shown = ip_json(&["-netns", namespace, "link", "show", interface]);
    let text = shown[0]["address"].as_str().expect("an address");
    let octets: Result<Vec<u8>, _> =
        text.split(':').map(|octet| u8::from_str_radix(octet, 16)).collect();
    octets.ok().and_then(|octets| octets.try_into().ok()).expect("six octets")
}
