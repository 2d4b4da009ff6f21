//! `cargo xtask bench datapath`: what the datapath costs a packet. nsbpf measures
//! itself.

use anyhow::Result;
use clap::Args;

use super::itself::{self, Itself};

/// Measure what the datapath costs a packet
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    itself: Itself,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    itself::run(&arguments.itself, &[])
}
