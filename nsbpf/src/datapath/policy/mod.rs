//! A compiled policy in the kernel: written, put in force, read back.
//!
//! ```text
//! maps.rs    which maps there are, how large, and where they are pinned
//! layout.rs  tables, as they are in one half of the maps
//! slots.rs   which rule has which counters
//! place.rs   into the half that is not in force, and in force
//! head.rs    what is in force
//! counts.rs  what rules counted
//! log.rs     packets that are logged
//! ```
//!
//! Tables are there twice. One half is what the programs judge by; another policy is
//! written into the other, and one store of the generation, whose lowest bit tells the
//! halves apart, makes that the one in force: for a packet there is all of one policy or
//! all of the other. Before a half is written again, no program is on its way that may
//! read it.
//!
//! Maps that became too small are made anew beside those that are there, with programs
//! of their own, which find the new policy in force before they are at any hook. What
//! the old programs judge meanwhile, they judge by the old policy.

mod counts;
mod head;
mod layout;
mod log;
mod maps;
mod place;
mod slots;

pub use counts::{RuleCounts, policy_events, rule_counts};
pub use head::{InForce, in_force};
pub use log::PolicyLog;
pub use maps::policy_memory;
pub(super) use maps::{maps, prune, stale};
pub use place::{Draft, Placing, suspend};
