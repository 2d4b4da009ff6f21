//! `nsbpf up`: bring the kernel to where a lab wants it, and leave it there.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::interrupt::interruptible;
use super::policy::say_policy;
use super::progress::Progress;
use super::say::{count, millis, say, size, warn_of_filters};
use super::settings::SettingsArgs;
use super::{lab_file, privilege};
use crate::apply::{self, Converged};
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Up {
    /// The lab, a YAML file
    lab: PathBuf,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Up {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.settings.check()?;
        let (lab, source) = lab_file::read_with_source(&self.lab)?;
        self.settings.check_for(&lab)?;
        let store = Store::new(&lab.name);
        privilege::prepare_for(&store, self.settings.hooks(&lab).as_ref())?;
        let lock = store.lock_in_turn()?;
        let settings = match self.settings.settings(&store) {
            Ok(settings) => settings,
            Err(error) => {
                lock.retire();
                return Err(error.into());
            }
        };
        let name = lab.name.clone();
        let what = size(&lab);
        let converged = interruptible(move |wish_to_stop| {
            let progress = Progress::new(wish_to_stop);
            let converged = apply::converge(&store, &lab, &settings, &progress)?;
            store.write_lab_source(&source).context("keep what the lab's file says")?;
            store.keep().context("note that the lab is to stay")?;
            anyhow::Ok(converged)
        })?;
        if converged.is_err() {
            lock.retire();
        }
        let Converged { survey: _, steps, programs, offloading, policy, filtering, took } =
            converged?;
        let took = millis(took);
        if steps == 0 {
            say(&format!("{name} is up already: nothing to change ({took})"))?;
        } else {
            say(&format!("{name} is up after {took}: {what} ({})", count(steps, "step")))?;
        }
        if let Some(programs) = programs {
            say(&format!("{name}: {programs}"))?;
        }
        if let Some(offloading) = offloading {
            say(&format!("{name}: {offloading}"))?;
        }
        if let Some(policy) = policy {
            say_policy(&name, &policy)?;
        }
        warn_of_filters(&name, &filtering)?;
        Ok(())
    }
}
