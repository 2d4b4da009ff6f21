//! `nsbpf policy set`: other rules, under traffic.

use std::path::PathBuf;

use clap::Args;

use super::{look, say_policy};
use crate::apply::Converged;
use crate::cli::as_it_is::{as_it_is, change};
use crate::cli::exit::Usage;
use crate::cli::say::{count, millis, say, warn_of_filters};
use crate::cli::{lab_file, privilege};
use crate::lab::Name;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Set {
    /// The lab, by its name
    #[arg(value_parser = Name::new)]
    lab: Name,
    /// A YAML file that says what stands under `policy` in a lab's; `-` for standard input
    #[arg(long, value_name = "RULES", required_unless_present = "none")]
    file: Option<PathBuf>,
    /// No policy: every packet passes
    #[arg(long, conflicts_with = "file")]
    none: bool,
}

impl Set {
    /// The lab as it is, with other rules: the same steps as ever lead there.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self { lab: name, file, none: _ } = self;
        // Before the lab is locked: who types it takes their time.
        let rules = file.map(|file| lab_file::read_rules(&file)).transpose()?;
        privilege::prepare()?;
        let store = Store::new(&name);
        let lock = store.lock_in_turn()?;
        let (state, datapath) = look(&name, &store)?;
        let (mut lab, mut settings) = as_it_is(&store, &state, &datapath)?;
        (lab.policy, settings.rules_file) = match rules {
            None => (None, None),
            Some((source, file)) => (Some(lab.read_policy(&source, &file)?), Some(source)),
        };
        if lab.policy.is_some() && datapath.flows == 0 {
            return Err(Usage(format!(
                "a policy needs to know which packets are replies, and `{name}` was brought up with `--flows 0`: `nsbpf up` its file without that first; counters start anew then"
            ))
            .into());
        }
        let has_policy = lab.policy.is_some();
        let Converged { steps, programs, policy, filtering, took, .. } =
            change(store, lock, lab, settings)?;
        let took = millis(took);
        match (steps, policy) {
            (0, _) => say(&format!("{name}: nothing to change ({took})"))?,
            (_, Some(policy)) => {
                say_policy(&name, &policy)?;
                say(&format!("{name}: done after {took} ({})", count(steps, "step")))?;
            }
            (_, None) if has_policy => {
                say(&format!("{name}: the same policy, after {took} ({})", count(steps, "step")))?;
            }
            (_, None) => say(&format!("{name}: no policy any more, after {took}"))?,
        }
        if let Some(programs) = programs {
            say(&format!("{name}: {programs}"))?;
        }
        warn_of_filters(&name, &filtering)?;
        Ok(())
    }
}
