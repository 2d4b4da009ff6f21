//! `cargo xtask bench datapath`: what the datapath costs a packet. nsbpf measures
//! itself.

use anyhow::Result;
use clap::Args;

use super::itself;

/// Measure what the datapath costs a packet
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    itself: itself::Arguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    itself::run(&arguments.itself, &[])
}
