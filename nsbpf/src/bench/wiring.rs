//! How the two namespaces of a path are wired, as the text of a lab.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ip::Ip;

/// The interface of either namespace, and the router's towards the sender.
pub(super) const INTERFACE: &str = "eth0";
/// The sender's addresses.
pub(super) const SENDER: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(10, 9, 0, 1), Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1));
const RECEIVER: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(10, 9, 0, 2), Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2));
const RECEIVER_BEYOND: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(10, 9, 1, 2), Ipv6Addr::new(0xfd09, 1, 0, 0, 0, 0, 0, 2));

/// The sender's address of a version.
pub(super) fn sender_by(ip: Ip) -> IpAddr {
    pick(SENDER, ip)
}

fn pick((v4, v6): (Ipv4Addr, Ipv6Addr), ip: Ip) -> IpAddr {
    match ip {
        Ip::V4 => v4.into(),
        Ip::V6 => v6.into(),
    }
}

/// What is between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wiring {
    /// One veth pair.
    Direct,
    /// A veth pair each, whose other ends are ports of a bridge.
    Bridge {
        /// Whether the bridge hands packets to the firewall (`br_netfilter`).
        netfilter: bool,
    },
    /// A bridge each, which hand nothing to the firewall, and a namespace between the
    /// bridges that forwards.
    Router,
}

/// What labs differ in besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Bytes of a packet at most.
    pub(super) mtu: u16,
    /// Ports of the bridge that the sender is at, at least 2: what is more is there and
    /// says nothing.
    pub(super) ports: u16,
}

impl Size {
    /// What most is measured with.
    pub(super) const USUAL: Self = Self { mtu: 1500, ports: 2 };

    /// Its MTU, if that is another.
    pub(super) fn unusual_mtu(self) -> Option<u16> {
        (self.mtu != Self::USUAL.mtu).then_some(self.mtu)
    }

    /// Its number of ports, if that is another.
    pub(super) fn unusual_ports(self) -> Option<u16> {
        (self.ports != Self::USUAL.ports).then_some(self.ports)
    }
}

// In each `@` is the number that tells a lab from others that are up, and `#` the MTU.
// The sender's namespace is the first, the receiver's the second, the router's the third.

const DIRECT: &str = "
name: bench@
namespaces:
  a@:
    interfaces:
      eth0: { peer: b@/eth0, mtu: #, addresses: [10.9.0.1/24, 'fd09::1/64'] }
  b@: { interfaces: { eth0: { mtu: #, addresses: [10.9.0.2/24, 'fd09::2/64'] } } }
";

const BRIDGE: &str = "
name: bench@
bridges: { bench@: { mtu: # } }
namespaces:
  a@: { interfaces: { eth0: { bridge: bench@, mtu: #, addresses: [10.9.0.1/24, 'fd09::1/64'] } } }
  b@: { interfaces: { eth0: { bridge: bench@, mtu: #, addresses: [10.9.0.2/24, 'fd09::2/64'] } } }
";

/// Both bridges have the same two MAC addresses, so that frames leave the router with
/// those that they came with: see [`Injector`](super::traffic::Injector).
const ROUTER: &str = "
name: bench@
bridges: { bench@: { mtu: # }, beyond@: { mtu: # } }
namespaces:
  a@:
    routes: [ { to: default, via: 10.9.0.254 }, { to: default, via: 'fd09::fe' } ]
    interfaces:
      eth0:
        bridge: bench@
        mtu: #
        addresses: [10.9.0.1/24, 'fd09::1/64']
        mac: '02:00:00:00:09:01'
  b@:
    routes: [ { to: default, via: 10.9.1.254 }, { to: default, via: 'fd09:1::fe' } ]
    interfaces:
      eth0:
        bridge: beyond@
        mtu: #
        addresses: [10.9.1.2/24, 'fd09:1::2/64']
        mac: '02:00:00:00:09:02'
  r@:
    router: true
    interfaces:
      eth0:
        bridge: bench@
        mtu: #
        addresses: [10.9.0.254/24, 'fd09::fe/64']
        mac: '02:00:00:00:09:02'
      eth1:
        bridge: beyond@
        mtu: #
        addresses: [10.9.1.254/24, 'fd09:1::fe/64']
        mac: '02:00:00:00:09:01'
";

impl Wiring {
    /// The text of a lab.
    pub(super) fn lab(self, number: usize, size: Size) -> String {
        let text = match self {
            Self::Direct => DIRECT,
            Self::Bridge { .. } => BRIDGE,
            Self::Router => ROUTER,
        };
        let mut text = text.replace('@', &number.to_string()).replace('#', &size.mtu.to_string());
        if self != Self::Direct {
            for other in 2..size.ports {
                let interface = format!("eth0: {{ bridge: bench{number}, mtu: {} }}", size.mtu);
                writeln!(text, "  o{number}x{other}: {{ interfaces: {{ {interface} }} }}")
                    .expect("writing to a string");
            }
        }
        text
    }

    /// The receiver's addresses.
    pub(super) fn receiver(self) -> (Ipv4Addr, Ipv6Addr) {
        match self {
            Self::Direct | Self::Bridge { .. } => RECEIVER,
            Self::Router => RECEIVER_BEYOND,
        }
    }

    /// The receiver's address of a version.
    pub(super) fn receiver_by(self, ip: Ip) -> IpAddr {
        pick(self.receiver(), ip)
    }

    /// Everybody on the receiver's side.
    pub(super) fn everybody(self) -> Ipv4Addr {
        let [a, b, c, _] = self.receiver().0.octets();
        Ipv4Addr::new(a, b, c, 255)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Lab;

    #[test]
    fn every_wiring_is_a_lab() {
        let bridge = Wiring::Bridge { netfilter: false };
        for (wiring, namespaces, bridges) in
            [(Wiring::Direct, 2, 0), (bridge, 2, 1), (Wiring::Router, 3, 2)]
        {
            let lab = Lab::parse(&wiring.lab(7, Size { mtu: 3000, ports: 2 }), "test").unwrap();
            assert_eq!((lab.namespaces.len(), lab.bridges.len()), (namespaces, bridges));
            let has = |place: usize, (v4, v6): (Ipv4Addr, Ipv6Addr)| {
                let interface = &lab.namespaces[place].interfaces[0];
                assert_eq!(interface.name.as_str(), INTERFACE);
                assert_eq!(interface.addresses[0].addr(), v4);
                assert_eq!(interface.addresses[1].addr(), v6);
            };
            has(0, SENDER);
            has(1, wiring.receiver());
        }
        let lab = Lab::parse(&bridge.lab(7, Size { mtu: 1500, ports: 1000 }), "test").unwrap();
        assert_eq!(lab.namespaces.len(), 1000);
        assert_eq!(lab.interfaces().count(), 1000);
    }
}
