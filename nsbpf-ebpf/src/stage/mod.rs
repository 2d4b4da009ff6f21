//! The stages of the pipeline. They know no hook.

pub mod account;
mod clock;
mod guard;
mod parse;
pub mod pipeline;
