//! `nsbpf plan`: what `up` would do, without doing it.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::exit::PlannedChanges;
use super::say::say;
use super::settings::SettingsArgs;
use super::view::Format;
use super::{lab_file, privilege};
use crate::apply::survey_for;
use crate::plan::{Step, desired, diff};
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Plan {
    /// The lab, a YAML file
    lab: PathBuf,
    #[command(flatten)]
    settings: SettingsArgs,
    /// How to show the steps
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct Report<'a> {
    lab: &'a str,
    steps: Vec<StepReport>,
}

#[derive(Serialize)]
struct StepReport {
    action: &'static str,
    object: String,
}

impl Plan {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.settings.check()?;
        let lab = lab_file::read(&self.lab)?;
        self.settings.check_for(&lab)?;
        privilege::prepare()?;
        let store = Store::new(&lab.name);
        let state = survey_for(&store, &lab)?.state;
        let steps = diff(&desired(&lab, &self.settings.settings(&store)?, &state)?, &state)?;
        let lab = lab.name.as_str();
        match self.format {
            Format::Json => {
                let steps = steps
                    .iter()
                    .map(|step| StepReport { action: step.verb(), object: step.key().to_string() })
                    .collect();
                say(&serde_json::to_string(&Report { lab, steps })?)?;
            }
            Format::Table if steps.is_empty() => say(&format!("{lab}: nothing to change"))?,
            Format::Table => {
                for step in &steps {
                    let sign = match step {
                        Step::Add(_) => '+',
                        Step::Change { .. } => '~',
                        Step::Remove(_) | Step::Retire(_) => '-',
                    };
                    say(&format!("{sign} {}", step.key()))?;
                }
            }
        }
        if steps.is_empty() { Ok(()) } else { Err(PlannedChanges.into()) }
    }
}
