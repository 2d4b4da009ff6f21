//! What tells links of labs from others'.
//!
//! A link has four marks: group, interface index of the group's slot, MAC address,
//! and alias with an index of some slot. Two make it a lab's: udev, NetworkManager or
//! a person may have changed one, a lab may say another MAC address, and a run that
//! was killed may not have come to the alias.

use nsbpf_common::port::{MAC_PREFIX, Slot};

use super::alias;
use crate::lab::{LinkId, Name};
use crate::net::link::Link;

/// The marks of a link.
pub(super) struct Marks {
    /// The slot that its group is of.
    pub(super) group: Option<Slot>,
    /// The lab and the identity that its alias tells.
    pub(super) alias: Option<(Name, LinkId)>,
    /// Whether it has an alias, and an index of some slot.
    pub(super) aliased: bool,
    /// Whether its index is of its group's slot.
    indexed: bool,
    /// Whether its MAC address is of our making.
    addressed: bool,
}

impl Marks {
    pub(super) fn of(link: &Link) -> Self {
        let group = Slot::of_group(link.group);
        let alias = alias::parse(&link.alias);
        Self {
            group,
            aliased: alias.is_some() && link.ifindex > u32::from(u16::MAX),
            alias,
            indexed: group.is_some_and(|group| group.number(link.ifindex).is_some()),
            addressed: link.mac.starts_with(&MAC_PREFIX),
        }
    }

    /// Whether it has too few of them to be a lab's for them alone.
    pub(super) fn are_few(&self) -> bool {
        let marks = [self.group.is_some(), self.indexed, self.addressed, self.aliased];
        marks.into_iter().filter(|mark| *mark).count() < 2
    }

    /// The slot of a link that has all that links are born with.
    pub(super) fn birth(&self) -> Option<Slot> {
        self.group.filter(|_| self.indexed && self.addressed)
    }
}
