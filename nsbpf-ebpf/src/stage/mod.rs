//! The stages of the pipeline. They know no hook.

pub mod account;
mod atomic;
mod clock;
mod flow;
mod forward;
mod guard;
mod host;
mod parse;
pub mod pipeline;
pub mod policy;
mod recent;
pub mod route;
