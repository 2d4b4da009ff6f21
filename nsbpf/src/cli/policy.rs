//! `nsbpf policy`: which packets may go from where to where in a lab.

mod test;

use clap::{Args, Subcommand};

/// Ask what the rules of a lab's policy do
#[derive(Debug, Args)]
pub(super) struct Policy {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Test(Box<test::Test>),
}

impl Policy {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Test(test) => test.run(),
        }
    }
}
