//! What an interface's driver does for the kernel's stack: unfinished checksums,
//! tags beside the frame, and putting received packets together. By ethtool's
//! netlink family.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::attribute::{Attributes, find, read, text};
use super::genetlink::{Generic, Message};
use super::socket::NetlinkError;

/// `include/uapi/linux/ethtool_netlink.h`, from here on.
const FAMILY: &str = "ethtool";
const FEATURES_GET: u8 = 11;
const FEATURES_SET: u8 = 12;
const FEATURES_HEADER: u16 = 1;
const FEATURES_HARDWARE: u16 = 2;
const FEATURES_WANTED: u16 = 3;
const FEATURES_ACTIVE: u16 = 4;
const HEADER_DEVICE_INDEX: u16 = 1;
const HEADER_FLAGS: u16 = 3;
const FLAG_OMIT_REPLY: u32 = 1 << 1;
const BITSET_NO_MASK: u16 = 1;
const BITSET_BITS: u16 = 3;
const BITS_BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;

/// Something that can be on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Sent packets leave the stack with checksums that are not finished.
    TxChecksum,
    /// Likewise those of SCTP.
    TxChecksumSctp,
    /// Sent frames leave the stack with their VLAN tags beside them.
    TxVlan,
    /// Likewise tags of a provider's bridge.
    TxProviderVlan,
    /// Received packets of a stream are put together. A veth end that has it on
    /// receives by NAPI, without which frames that XDP sends to it are lost
    /// (`veth_xdp_xmit`, Linux 6.18).
    Gro,
}

impl Feature {
    const ALL: [Self; 5] =
        [Self::TxChecksum, Self::TxChecksumSctp, Self::TxVlan, Self::TxProviderVlan, Self::Gro];

    /// Its name, as the kernel and `ethtool -k` call it (`netdev_features_strings`,
    /// Linux 6.18).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TxChecksum => "tx-checksum-ip-generic",
            Self::TxChecksumSctp => "tx-checksum-sctp",
            Self::TxVlan => "tx-vlan-hw-insert",
            Self::TxProviderVlan => "tx-vlan-stag-hw-insert",
            Self::Gro => "rx-gro",
        }
    }
}

/// Why offloads could not be looked at or set.
#[derive(Debug, thiserror::Error)]
pub enum OffloadError {
    /// The kernel refused, or could not be asked.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// There is nobody to ask.
    #[error(
        "this kernel tells of no offloads by netlink (it came with Linux 5.6, CONFIG_ETHTOOL_NETLINK)"
    )]
    NoEthtool,
    /// The driver has the last word.
    #[error("its driver keeps `{}` {}", .0.name(), if *.1 { "off" } else { "on" })]
    Kept(Feature, bool),
}

/// The features of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Those that this kernel knows.
    known: BTreeSet<Feature>,
    /// Those that are asked for. What that depends on may be off.
    wanted: BTreeSet<Feature>,
    /// Those that are on.
    active: BTreeSet<Feature>,
}

impl Features {
    /// Whether this kernel knows a feature.
    #[must_use]
    pub fn knows(&self, feature: Feature) -> bool {
        self.known.contains(&feature)
    }

    /// Whether a feature is asked for.
    #[must_use]
    pub fn wants(&self, feature: Feature) -> bool {
        self.wanted.contains(&feature)
    }

    /// Whether a feature is on.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.active.contains(&feature)
    }
}

/// Features that are to be on or off.
pub type Wishes = BTreeMap<Feature, bool>;

/// Asks for features and sets them, in the network namespace of the thread that
/// opened it.
pub struct Offloads {
    generic: Generic,
    family: u16,
}

impl Offloads {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, OffloadError> {
        let mut generic = Generic::open()?;
        let family = generic.family(FAMILY)?.ok_or(OffloadError::NoEthtool)?;
        Ok(Self { generic, family })
    }

    /// The features of an interface.
    pub fn get(&mut self, ifindex: u32) -> Result<Features, OffloadError> {
        let request = Attributes::new().nested(FEATURES_HEADER, &header(ifindex, 0));
        let answer = self.generic.request(Message::new(self.family, FEATURES_GET, &request))?;
        let answer = answer.ok_or(NetlinkError::Unexpected("list of features"))?;
        let part = |kind| find(answer.attributes(), kind).unwrap_or_default();
        Ok(Features {
            known: named(part(FEATURES_HARDWARE), Which::All),
            wanted: named(part(FEATURES_WANTED), Which::On),
            active: named(part(FEATURES_ACTIVE), Which::On),
        })
    }

    /// Sets features of an interface, all in one.
    ///
    /// # Errors
    /// One of them is not then as it should be.
    pub fn set(&mut self, ifindex: u32, wishes: &Wishes) -> Result<(), OffloadError> {
        let bits = wishes.iter().fold(Attributes::new(), |bits, (feature, on)| {
            let bit = Attributes::new().text(BIT_NAME, feature.name());
            bits.nested(BITS_BIT, &if *on { bit.bytes(BIT_VALUE, &[]) } else { bit })
        });
        let request = Attributes::new()
            .nested(FEATURES_HEADER, &header(ifindex, FLAG_OMIT_REPLY))
            .nested(FEATURES_WANTED, &Attributes::new().nested(BITSET_BITS, &bits));
        self.generic.request(Message::new(self.family, FEATURES_SET, &request))?;
        let now = self.get(ifindex)?;
        // What is asked for may be off because of something that it depends on.
        let kept = |feature, on| if on { !now.wants(feature) } else { now.has(feature) };
        match wishes.iter().find(|(feature, on)| kept(**feature, **on)) {
            Some((feature, on)) => Err(OffloadError::Kept(*feature, *on)),
            None => Ok(()),
        }
    }
}

fn header(ifindex: u32, flags: u32) -> Attributes {
    Attributes::new().native(HEADER_DEVICE_INDEX, ifindex).native(HEADER_FLAGS, flags)
}

/// Which bits of a bitset are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    On,
}

/// The features that a bitset names: where it has no mask, those that are on.
fn named(bitset: &[u8], which: Which) -> BTreeSet<Feature> {
    let no_mask = find(bitset, BITSET_NO_MASK).is_some();
    let bits = read(find(bitset, BITSET_BITS).unwrap_or_default());
    let bits = bits.filter(|(kind, _)| *kind == BITS_BIT).map(|(_, bit)| bit);
    bits.filter(|bit| which == Which::All || no_mask || find(bit, BIT_VALUE).is_some())
        .filter_map(|bit| text(bit, BIT_NAME))
        .filter_map(|name| Feature::ALL.into_iter().find(|feature| feature.name() == name))
        .collect()
}
