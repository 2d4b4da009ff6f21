//! What an interface leaves to its driver, and what of that XDP behind it cannot have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Device, Place};
use crate::lab::InterfaceId;

/// Something that a driver does for the kernel's stack, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Sent packets leave the stack with checksums that are not finished.
    TxChecksum,
    /// Likewise those of SCTP.
    TxChecksumSctp,
    /// Sent frames leave the stack with their VLAN tags beside them.
    TxVlan,
    /// Likewise the outer tags of frames that have two.
    TxOuterVlan,
    /// Received packets of a stream are put together. A veth end that has it on
    /// receives by NAPI, without which frames that XDP sends to it are lost
    /// (`veth_xdp_xmit`, Linux 6.18).
    Gro,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::TxChecksum, Self::TxChecksumSctp, Self::TxVlan, Self::TxOuterVlan, Self::Gro];
    /// What is left undone about a frame that is sent.
    pub const OF_SENDING: [Self; 4] =
        [Self::TxChecksum, Self::TxChecksumSctp, Self::TxVlan, Self::TxOuterVlan];
    /// What is done with a packet that is received.
    pub const OF_RECEIVING: [Self; 1] = [Self::Gro];

    /// Its name, as the kernel and `ethtool -k` call it (`netdev_features_strings`,
    /// Linux 6.18).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TxChecksum => "tx-checksum-ip-generic",
            Self::TxChecksumSctp => "tx-checksum-sctp",
            Self::TxVlan => "tx-vlan-hw-insert",
            Self::TxOuterVlan => "tx-vlan-stag-hw-insert",
            Self::Gro => "rx-gro",
        }
    }
}

/// Whether features are on, or were, or are to be.
pub type Features = BTreeMap<Feature, bool>;

/// How an interface sends and receives where XDP sends its frames on, or others' frames
/// to it. It is there if the lab changed anything about that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// The interface.
    pub id: InterfaceId,
    /// The device that it is.
    pub device: Device,
    /// Where the port is that is its other end.
    pub port: Place,
    /// The lab has its frames leave it finished: XDP takes them as they are.
    pub sends_finished: bool,
    /// The lab has it receive by NAPI.
    pub receives_by_napi: bool,
}

impl Offloads {
    /// What that means for its features; those that it says nothing of are as they were
    /// before.
    #[must_use]
    pub fn features(&self) -> Features {
        let sending = Feature::OF_SENDING.into_iter().filter(|_| self.sends_finished);
        let receiving = Feature::OF_RECEIVING.into_iter().filter(|_| self.receives_by_napi);
        sending.map(|one| (one, false)).chain(receiving.map(|one| (one, true))).collect()
    }
}
