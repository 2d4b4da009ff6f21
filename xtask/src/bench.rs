//! `cargo xtask bench`: what nsbpf costs, beside what it would cost without.

mod datapath;
mod environment;
mod nsbpf;
mod process;
mod report;
mod session;
mod shape;
mod topology;
mod world;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Measure nsbpf, beside the tools that would be used without it
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Topology(topology::Arguments),
    Datapath(datapath::Arguments),
    #[command(hide = true)]
    Session(session::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        What::Topology(arguments) => topology::run(arguments),
        What::Datapath(arguments) => datapath::run(arguments),
        What::Session(arguments) => session::run(arguments),
    }
}
