//! Policy: which packets may go from where to where.
//!
//! ```text
//! ends.rs       what a policy has to know of interfaces
//! expand.rs     from rules to boxes, which are conditions
//! compiled.rs   conditions, and trees that find the first one that holds
//! digest.rs     what tells a policy from others
//! source.rs     all that a policy in force comes from
//! tree.rs       how such a tree is made
//! shadow.rs     rules that no packet reaches
//! linear.rs     what one rule asks of a packet, one thing after the other
//! read.rs       from a frame to what it is judged by
//! verdict.rs    what is decided on a packet
//! ```

mod compiled;
mod digest;
mod ends;
mod expand;
mod linear;
mod read;
mod shadow;
mod source;
mod tree;
mod verdict;

pub use compiled::{Compiled, Kind, Ranked};
pub use ends::{End, Ends};
pub use expand::{MAX_CONDITIONS, PolicyError, Ruleset, compile};
pub use linear::{Answer, Looked};
pub use read::Read;
pub use shadow::Shadowed;
pub use source::Source;
pub use tree::TooComplex;
pub use verdict::{By, Judged};

#[cfg(test)]
mod tests;
