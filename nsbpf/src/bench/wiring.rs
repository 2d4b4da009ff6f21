//! How the two namespaces of a path are wired, as the text of a lab.

use std::net::Ipv4Addr;

/// The interface of either namespace, and the router's towards the sender.
pub(super) const INTERFACE: &str = "eth0";
/// The sender's address.
pub(super) const SENDER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const RECEIVER_BEYOND: Ipv4Addr = Ipv4Addr::new(10, 9, 1, 2);

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

// In each `@` is the number that tells a lab from others that are up. The sender's
// namespace is the first, the receiver's the second, the router's the third.

const DIRECT: &str = "
name: bench@
namespaces:
  a@: { interfaces: { eth0: { peer: b@/eth0, addresses: [10.9.0.1/24] } } }
  b@: { interfaces: { eth0: { addresses: [10.9.0.2/24] } } }
";

const BRIDGE: &str = "
name: bench@
bridges: { bench@: {} }
namespaces:
  a@: { interfaces: { eth0: { bridge: bench@, addresses: [10.9.0.1/24] } } }
  b@: { interfaces: { eth0: { bridge: bench@, addresses: [10.9.0.2/24] } } }
";

/// Both bridges have the same two MAC addresses, so that frames leave the router with
/// those that they came with: see [`Injector`](super::injector::Injector).
const ROUTER: &str = "
name: bench@
bridges: { bench@: {}, beyond@: {} }
namespaces:
  a@:
    routes: [ { to: default, via: 10.9.0.254 } ]
    interfaces:
      eth0: { bridge: bench@, addresses: [10.9.0.1/24], mac: '02:00:00:00:09:01' }
  b@:
    routes: [ { to: default, via: 10.9.1.254 } ]
    interfaces:
      eth0: { bridge: beyond@, addresses: [10.9.1.2/24], mac: '02:00:00:00:09:02' }
  r@:
    router: true
    interfaces:
      eth0: { bridge: bench@, addresses: [10.9.0.254/24], mac: '02:00:00:00:09:02' }
      eth1: { bridge: beyond@, addresses: [10.9.1.254/24], mac: '02:00:00:00:09:01' }
";

impl Wiring {
    /// The text of a lab.
    pub(super) fn lab(self, number: usize) -> String {
        let text = match self {
            Self::Direct => DIRECT,
            Self::Bridge { .. } => BRIDGE,
            Self::Router => ROUTER,
        };
        text.replace('@', &number.to_string())
    }

    /// The receiver's address.
    pub(super) fn receiver(self) -> Ipv4Addr {
        match self {
            Self::Direct | Self::Bridge { .. } => RECEIVER,
            Self::Router => RECEIVER_BEYOND,
        }
    }

    /// Everybody on the receiver's side.
    pub(super) fn everybody(self) -> Ipv4Addr {
        let [a, b, c, _] = self.receiver().octets();
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
            let lab = Lab::parse(&wiring.lab(7), "test").unwrap();
            assert_eq!((lab.namespaces.len(), lab.bridges.len()), (namespaces, bridges));
            let has = |place: usize, address: Ipv4Addr| {
                let interface = &lab.namespaces[place].interfaces[0];
                assert_eq!(interface.name.as_str(), INTERFACE);
                assert_eq!(interface.addresses[0].addr(), address);
            };
            has(0, SENDER);
            has(1, wiring.receiver());
        }
    }
}
