//! `nsbpf show`: what a lab is made of now, as the kernel tells it.

use clap::Args;

use super::no_lab::no_lab;
use super::privilege;
use super::say::say;
use super::view::Format;
use crate::apply::survey;
use crate::lab::Name;
use crate::observe::topology::Topology;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The lab, by its name
    #[arg(value_parser = Name::new)]
    lab: Name,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Show {
    pub(super) fn run(self) -> anyhow::Result<()> {
        privilege::prepare()?;
        let Self { lab, format } = self;
        let state = survey(&Store::new(&lab))?.state;
        if state.objects.is_empty() {
            return Err(no_lab(&lab));
        }
        let topology = Topology::new(&lab, &state);
        let text = match format {
            Format::Table => topology.text().trim_end().to_owned(),
            Format::Json => serde_json::to_string(&topology)?,
        };
        Ok(say(&text)?)
    }
}
