//! `nsbpf down`: take labs down, whatever is left of them.

use std::collections::BTreeSet;

use anyhow::bail;
use clap::Args;

use super::no_lab::no_lab;
use super::privilege;
use super::say::{say, say_down};
use crate::apply::{leftovers, take_down};
use crate::lab::Name;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Down {
    /// Labs, by their names
    #[arg(required_unless_present = "all", conflicts_with = "all", value_parser = Name::new)]
    labs: Vec<Name>,
    /// Every lab of this host
    #[arg(long)]
    all: bool,
}

impl Down {
    pub(super) fn run(self) -> anyhow::Result<()> {
        privilege::prepare()?;
        let labs: BTreeSet<Name> = if self.all {
            // Also of those that have no folder any more.
            Store::labs()?.into_iter().chain(leftovers()?.labs).collect()
        } else {
            self.labs.into_iter().collect()
        };
        if labs.is_empty() {
            say("no lab is up")?;
        }
        let mut failures = Vec::new();
        for lab in &labs {
            if let Err(error) = down(lab, self.all) {
                failures.push(format!("{error:#}"));
            }
        }
        if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("\n")) }
    }
}

/// `any`: one of which there is nothing is fine.
fn down(lab: &Name, any: bool) -> anyhow::Result<()> {
    let store = Store::new(lab);
    let lock = store.lock_in_turn()?;
    // Also one that was never finished, and has nothing in it yet.
    let has_folder = store.folder().exists();
    let taken = take_down(&store);
    // Also of a lab that stayed, for part of it did: a lock's file is made anew
    // whenever it is needed.
    lock.retire();
    let taken = taken?;
    if taken.objects == 0 && !has_folder {
        if any {
            return Ok(());
        }
        return Err(no_lab(lab));
    }
    say_down(lab, &taken, say)?;
    Ok(())
}
