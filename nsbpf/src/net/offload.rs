//! What an interface's driver does for the kernel's stack: unfinished checksums,
//! tags beside the frame, and putting received packets together. By ethtool's
//! netlink family.

use std::collections::BTreeSet;

use super::attribute::{Attributes, find, read, text};
use super::genetlink::{Generic, Message};
use super::socket::NetlinkError;
use crate::state::{Feature, Features};

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

/// Why offloads could not be looked at or set.
#[derive(Debug, thiserror::Error)]
pub enum OffloadError {
    /// The kernel refused, or could not be asked.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// There is nobody to ask.
    #[error(
        "this kernel tells of no offloads by netlink (it came with Linux 5.6, CONFIG_ETHTOOL_NETLINK), and XDP needs some of them off: take another fast path (`--fastpath peer`)"
    )]
    NoEthtool,
    /// The driver has the last word.
    #[error(
        "its driver keeps `{}` {}, and XDP cannot do with that: take another fast path (`fastpath: peer` of the interface, or `--fastpath peer`)",
        .0.name(), if *.1 { "off" } else { "on" }
    )]
    Kept(Feature, bool),
}

/// How the features of an interface are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Those that this kernel knows.
    known: BTreeSet<Feature>,
    /// Those that are asked for. What that depends on may be off.
    wanted: BTreeSet<Feature>,
    /// Those that are on.
    active: BTreeSet<Feature>,
}

impl Found {
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

    /// Whether a feature is as it is to be. One that is asked for may be off because of
    /// something that it depends on.
    #[must_use]
    pub fn is_so(&self, feature: Feature, on: bool) -> bool {
        if on { self.wants(feature) } else { !self.has(feature) }
    }

    /// Whether a feature is on.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.active.contains(&feature)
    }
}

/// Asks for features and sets them, in the network namespace of the thread that
/// opened it.
pub struct Ethtool {
    generic: Generic,
    family: u16,
}

impl Ethtool {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, OffloadError> {
        let mut generic = Generic::open()?;
        let family = generic.family(FAMILY)?.ok_or(OffloadError::NoEthtool)?;
        Ok(Self { generic, family })
    }

    /// The features of an interface.
    pub fn get(&mut self, ifindex: u32) -> Result<Found, OffloadError> {
        let request = Attributes::new().nested(FEATURES_HEADER, &header(ifindex, 0));
        let answer = self.generic.request(Message::new(self.family, FEATURES_GET, &request))?;
        let answer = answer.ok_or(NetlinkError::Unexpected("list of features"))?;
        let part = |kind| find(answer.attributes(), kind).unwrap_or_default();
        Ok(Found {
            known: named(part(FEATURES_HARDWARE), Which::All),
            wanted: named(part(FEATURES_WANTED), Which::On),
            active: named(part(FEATURES_ACTIVE), Which::On),
        })
    }

    /// Sets features of an interface, all in one.
    ///
    /// # Errors
    /// One of them is not then as it should be.
    pub fn set(&mut self, ifindex: u32, changes: &Features) -> Result<(), OffloadError> {
        let bits = changes.iter().fold(Attributes::new(), |bits, (feature, on)| {
            let bit = Attributes::new().text(BIT_NAME, feature.name());
            bits.nested(BITS_BIT, &if *on { bit.bytes(BIT_VALUE, &[]) } else { bit })
        });
        let request = Attributes::new()
            .nested(FEATURES_HEADER, &header(ifindex, FLAG_OMIT_REPLY))
            .nested(FEATURES_WANTED, &Attributes::new().nested(BITSET_BITS, &bits));
        self.generic.request(Message::new(self.family, FEATURES_SET, &request))?;
        let now = self.get(ifindex)?;
        match changes.iter().find(|(feature, on)| !now.is_so(**feature, **on)) {
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
