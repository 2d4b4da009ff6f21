//! Bridges and veth pairs, and where they are.

use std::fmt;

use crate::lab::{InterfaceId, InterfaceName, LinkId, Name};

/// Where a link is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In the namespace that nsbpf runs in.
    Host,
    /// In a namespace of the lab.
    Netns(Name),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => formatter.write_str("the host"),
            Self::Netns(name) => write!(formatter, "namespace {name}"),
        }
    }
}

/// A network device: one end of a veth pair, or a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The link that it is, or is one end of: when that goes, it goes.
    pub link: LinkId,
    /// Where it is.
    pub place: Place,
    /// Its number in the lab's slot, from which its interface index follows.
    pub number: u16,
}

/// One end of a veth pair, or a bridge: what links have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Interface name.
    pub name: String,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Largest packet, in bytes, Ethernet header not counted.
    pub mtu: u32,
    /// Link group, part of the birth mark.
    pub group: u32,
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its name, in the lab and in the kernel.
    pub name: InterfaceName,
    /// Where it is.
    pub place: Place,
    /// Its number in the lab's slot.
    pub number: u16,
    /// What the kernel has.
    pub end: End,
    /// Whether it is up.
    pub up: bool,
    /// How it switches.
    pub options: BridgeOptions,
    /// Whether its packets pass the namespace's firewall (`br_netfilter`). Looked
    /// at only in namespaces that the lab made: elsewhere it is their owner's, and
    /// `false` here.
    pub netfilter: bool,
}

/// How a bridge switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeOptions {
    /// Whether it takes part in the spanning tree protocol.
    pub stp: bool,
    /// Time that a port listens, and then learns, in hundredths of a second.
    pub forward_delay: u32,
    /// Whether it looks at VLANs.
    pub vlan_filtering: bool,
}

/// A veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veth {
    /// The interface of the lab that its near end is.
    pub id: InterfaceId,
    /// The port number of that interface in the lab's slot.
    pub number: u16,
    /// Queues for sending, and as many for receiving, at each end.
    pub queues: u32,
    /// The end in the namespace; `None` when it is not there.
    pub near: Option<End>,
    /// The other end.
    pub far: Far,
}

/// The other end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Far {
    /// A port of a bridge. Its interface index is that of the near end.
    Port(BridgePort),
    /// An interface of another namespace. Each end has the interface index of the
    /// other's port number: so the number behind an index is everywhere that of
    /// the interface on the other side, whose packets come in there.
    Peer(Peer),
}

/// A veth end that is a port of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgePort {
    /// Where it is.
    pub place: Place,
    /// What the kernel has.
    pub end: End,
    /// The bridge; `None` when it is no port of one of the lab's bridges.
    pub bridge: Option<InterfaceName>,
    /// Whether it reaches only ports that are not isolated.
    pub isolated: bool,
    /// Whether it is up.
    pub up: bool,
}

/// A veth end that is an interface as the near one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The interface of the lab that it is.
    pub id: InterfaceId,
    /// The port number of that interface.
    pub number: u16,
    /// What the kernel has.
    pub end: End,
}

impl Veth {
    /// The interfaces that the pair makes, with their port numbers.
    pub fn ports(&self) -> impl Iterator<Item = (&InterfaceId, u16)> {
        let far = match &self.far {
            Far::Port(_) => None,
            Far::Peer(peer) => Some((&peer.id, peer.number)),
        };
        [(&self.id, self.number)].into_iter().chain(far)
    }

    /// The device that an interface of the pair is.
    #[must_use]
    pub fn device_of(&self, id: &InterfaceId) -> Device {
        let number = match &self.far {
            Far::Peer(peer) if *id == self.id => peer.number,
            Far::Port(_) | Far::Peer(_) => self.number,
        };
        let (link, place) = (self.link(), Place::Netns(id.namespace.clone()));
        Device { link, place, number }
    }

    /// The device on the other side of an interface of the pair, where its packets
    /// come out.
    #[must_use]
    pub fn device_behind(&self, id: &InterfaceId) -> Device {
        let (place, number) = match &self.far {
            Far::Port(port) => (port.place.clone(), self.number),
            Far::Peer(peer) if *id == self.id => {
                (Place::Netns(peer.id.namespace.clone()), self.number)
            }
            Far::Peer(peer) => (Place::Netns(self.id.namespace.clone()), peer.number),
        };
        Device { link: self.link(), place, number }
    }

    fn link(&self) -> LinkId {
        LinkId::Interface(self.id.clone())
    }
}

impl Bridge {
    /// The device that it is.
    #[must_use]
    pub fn device(&self) -> Device {
        let (link, place) = (LinkId::Bridge(self.name.clone()), self.place.clone());
        Device { link, place, number: self.number }
    }
}
