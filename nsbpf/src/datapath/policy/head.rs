//! What is in force.

use nsbpf_common::policy::{PolicyHead, half};

use super::maps::{POLICY_HEADS, POLICY_NOW, pin_in};
use crate::datapath::DatapathError;
use crate::datapath::mapped::Mapped;
use crate::state::{Datapath, PolicyRoom};
use crate::store::Store;

/// What a kernel judges packets by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Which policy since there was none: it grows with each.
    pub generation: u64,
    /// Tells it from others.
    pub digest: [u8; 16],
}

/// The policy that is in force in a lab's maps; `None` when there is none.
///
/// # Errors
/// A map is not there, or is another one.
pub fn in_force(store: &Store, datapath: &Datapath) -> Result<Option<InForce>, DatapathError> {
    datapath.policy.map_or(Ok(None), |room| in_room(store, room))
}

pub(super) fn in_room(store: &Store, room: PolicyRoom) -> Result<Option<InForce>, DatapathError> {
    let now = Mapped::<u64>::open_pin(store, &pin_in(room, POLICY_NOW), POLICY_NOW)?;
    let heads = Mapped::<PolicyHead>::open_pin(store, &pin_in(room, POLICY_HEADS), POLICY_HEADS)?;
    let generation = now.at(0);
    let digest = heads.at(half(generation) as usize).digest;
    Ok((generation != 0).then_some(InForce { generation, digest }))
}
