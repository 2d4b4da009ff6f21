//! `nsbpf policy`: which packets may go from where to where in a lab.

mod log;
mod set;
mod show;
mod test;

use std::io::{self, Write as _};

use clap::{Args, Subcommand};

use super::counting::counting;
use super::no_lab::no_lab;
use super::privilege;
use super::say::say;
use crate::apply::{PolicySwap, survey};
use crate::lab::Name;
use crate::state::{Datapath, State};
use crate::store::Store;

/// Show, change or try which packets may go from where to where in a lab
#[derive(Debug, Args)]
pub(super) struct Policy {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the rules, and how many packets each decided on
    Show(show::Show),
    /// Change the rules, under traffic; `nsbpf up` leads back to what the lab's file says
    Set(set::Set),
    Test(Box<test::Test>),
    Log(log::Log),
}

impl Policy {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Show(show) => show.run(),
            Verb::Set(set) => set.run(),
            Verb::Test(test) => test.run(),
            Verb::Log(log) => log.run(),
        }
    }
}

/// A lab that is up, and its datapath.
fn look(lab: &Name, store: &Store) -> anyhow::Result<(State, Datapath)> {
    privilege::prepare()?;
    let state = survey(store)?.state;
    if state.objects.is_empty() {
        return Err(no_lab(lab));
    }
    let datapath = counting(lab, &state)?.clone();
    Ok((state, datapath))
}

/// Says what became of a lab's policy, and warns of what its rules will not do.
pub(super) fn say_policy(lab: &Name, policy: &PolicySwap) -> io::Result<()> {
    say(&format!("{lab}: {policy}"))?;
    for warning in &policy.warnings {
        writeln!(io::stderr(), "warning: {lab}: {warning}")?;
    }
    Ok(())
}
