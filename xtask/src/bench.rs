//! `cargo xtask bench`: what nsbpf costs, beside what it would cost without.

mod all;
mod datapath;
mod environment;
mod figure;
mod itself;
mod markdown;
mod nsbpf;
mod policy;
mod process;
mod report;
mod session;
mod shape;
mod topology;
mod world;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Measure nsbpf, beside the tools that would be used without it: all of it, or one thing
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    all: all::Options,
}

#[derive(Subcommand)]
enum What {
    Topology(topology::Arguments),
    Datapath(datapath::Arguments),
    Policy(policy::Arguments),
    #[command(hide = true)]
    Session(session::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        None => all::run(&arguments.all),
        Some(What::Topology(arguments)) => topology::run(arguments),
        Some(What::Datapath(arguments)) => datapath::run(arguments),
        Some(What::Policy(arguments)) => policy::run(arguments),
        Some(What::Session(arguments)) => session::run(arguments),
    }
}
