//! `nsbpf gc`: take away what killed commands left.

use anyhow::bail;
use clap::Args;

use super::privilege;
use super::say::{say, say_down};
use crate::apply::{self, Leftovers, leftovers, take_down};
use crate::lab::Name;
use crate::store::{Store, StoreError};

#[derive(Debug, Args)]
pub(super) struct Gc {
    /// Only say what there is
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        privilege::prepare()?;
        if !self.dry_run {
            apply::recover_grace_periods();
        }
        let Leftovers { labs, strays } = leftovers()?;
        let mut found = false;
        let mut failures = Vec::new();
        for lab in &labs {
            match self.one(lab) {
                Ok(done) => found |= done,
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        for stray in &strays {
            found = true;
            let name = &stray.name;
            if self.dry_run {
                say(&format!("link {name}: left by a lab that nobody knows"))?;
            } else if let Err(error) = apply::delete_stray(stray) {
                failures.push(error.to_string());
            } else {
                say(&format!("link {name}, left by a lab that nobody knows, is removed"))?;
            }
        }
        if !failures.is_empty() {
            bail!("{}", failures.join("\n"));
        }
        if !found {
            say("nothing is left of killed commands")?;
        }
        Ok(())
    }

    /// Takes a lab down that nobody works on and that is not to stay. Returns
    /// whether there was anything of it.
    fn one(&self, lab: &Name) -> anyhow::Result<bool> {
        let store = Store::new(lab);
        let lock = match store.lock() {
            // Who holds it is alive.
            Err(StoreError::Locked(_)) => return Ok(false),
            lock => lock?,
        };
        // Somebody may have finished it meanwhile.
        if store.is_kept() {
            return Ok(false);
        }
        if self.dry_run {
            let objects = apply::survey(&store)?.state.objects.len();
            let found = objects > 0 || store.has_folder()?;
            if found {
                say(&format!("{lab}: {objects} objects, left by a command that was killed"))?;
            } else {
                lock.retire();
            }
            return Ok(found);
        }
        let taken = take_down(&store);
        lock.retire();
        let taken = taken?;
        if taken.objects == 0 {
            return Ok(false);
        }
        say_down(lab, &taken, say)?;
        Ok(true)
    }
}
