//! Policy: which packets may go from where to where.
//!
//! ```text
//! ends.rs       what a policy has to know of interfaces
//! expand.rs     from rules to boxes, which are conditions
//! compiled.rs   conditions, and trees that find the first one that holds
//! tree.rs       how such a tree is made
//! shadow.rs     rules that no packet reaches
//! linear.rs     what one rule asks of a packet, one thing after the other
//! ```

mod compiled;
mod ends;
mod expand;
mod linear;
mod shadow;
mod tree;

pub use compiled::{Compiled, Kind, Ranked};
pub use ends::{End, Ends};
pub use expand::{MAX_CONDITIONS, PolicyError, Ruleset, compile};
pub use linear::{Answer, Looked};
pub use shadow::Shadowed;
pub use tree::TooComplex;

#[cfg(test)]
mod tests;
