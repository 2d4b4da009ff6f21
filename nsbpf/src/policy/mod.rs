//! Policy: which packets may go from where to where.
//!
//! ```text
//! compiled.rs   conditions, and trees that find the first one that holds
//! tree.rs       how such a tree is made
//! ```

mod compiled;
mod tree;

pub use compiled::{Compiled, Kind, Ranked};
pub use tree::TooComplex;
