//! The stages of the pipeline. They know no hook.

pub mod account;
