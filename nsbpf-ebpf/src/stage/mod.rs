//! The stages of the pipeline. They know no hook.

pub mod account;
mod clock;
mod guard;
pub mod pipeline;
