//! What rules at random are made of, about a small lab: whoever makes them has the same.

pub(crate) const LAB: &str = "
name: small
bridges:
  br0: { namespace: switch, addresses: [10.0.0.254/24, 'fd00::fe/64'] }
  br1: { addresses: [10.1.0.254/24] }
namespaces:
  web: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] } } }
  client:
    count: 3
    interfaces: { eth0: { bridge: br0, addresses: [10.0.0.0/24, 'fd00::/64'] } }
  far: { interfaces: { eth0: { bridge: br1, addresses: [10.1.0.1/24] }, eth1: { bridge: br0 } } }
  gate:
    router: true
    interfaces:
      left: { bridge: br0, addresses: [10.0.0.9/24, 'fd00::9/64'] }
      right: { bridge: br1, addresses: [10.1.0.9/24] }
";

pub(crate) const SETS: &str =
    "{ some: [web, 10.0.0.2, 'fd00::2'], more: [client1, far/eth0, 10.1.0.0/24] }";

/// Ends.
pub(crate) const WORDS: &[&str] = &[
    "web",
    "client",
    "client2",
    "client/eth0",
    "far",
    "far/eth1",
    "gate",
    "gate/left",
    "switch",
    "some",
    "more",
    "10.0.0.0/30",
    "10.0.0.1",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "10.1.0.0/16",
    "fd00::/64",
    "fd00::/63",
    "fd00::1",
    "fd00::/126",
    "fd00::8000:0:0:0/65",
    "fe80::/10",
    "fd00:0:0:1::/64",
];

const PROTOCOLS: &[&str] =
    &["tcp", "udp", "icmp", "icmpv6", "[tcp, udp]", "[tcp, 47]", "any", "1", "[1, 58, 6]", "sctp"];
const PORTS: &[&str] =
    &["80", "[80, 81, 82]", "[80, 90-99, 443]", "0-1023", "'65535'", "[1, 3, 5]"];

/// Other keys, in how many of a hundred rules they are, and what they say there.
pub(crate) const KEYS: [(&str, u8, &[&str]); 11] = [
    ("proto", 35, PROTOCOLS),
    ("ports", 28, PORTS),
    ("source_ports", 11, PORTS),
    ("flags", 8, &["syn", "[syn, ack]", "[fin, '!ack']", "rst"]),
    ("icmp", 8, &["echo-request", "8", "3/1", "[unreachable, echo-reply]", "135", "redirect"]),
    ("dscp", 8, &["ef", "0", "[46, 47, 1]"]),
    ("vlan", 8, &["none", "7", "[1-6, none]"]),
    ("source_mac", 7, &["'02:00:00:00:00:01'"]),
    ("destination_mac", 7, &["['ff:ff:ff:ff:ff:ff', '02:00:00:00:00:01']"]),
    ("ethertype", 13, &["arp", "any", "ipv4", "[ipv6, 0x88cc]", "[arp, ipv4]"]),
    ("fragment", 7, &["true", "false"]),
];
