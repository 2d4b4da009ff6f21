//! `nsbpf show`: what a lab is made of now, as the kernel tells it.

mod datapath;

use std::time::Duration;

use clap::Args;

use super::no_lab::no_lab;
use super::privilege;
use super::say::say;
use super::view::Format;
use crate::apply::{Survey, survey};
use crate::lab::Name;
use crate::observe::datapath::{DatapathReport, Measurement};
use crate::observe::topology::Topology;
use crate::store::Store;

/// How long `--measure` measures.
const MEASURED: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The lab, by its name
    #[arg(value_parser = Name::new)]
    lab: Name,
    /// Show its programs: where they are attached, what of others is around them, maps
    #[arg(long)]
    datapath: bool,
    /// Have the kernel measure for a second how long the programs take for a packet
    #[arg(long, requires = "datapath")]
    measure: bool,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Show {
    pub(super) fn run(self) -> anyhow::Result<()> {
        privilege::prepare()?;
        let store = Store::new(&self.lab);
        let found = survey(&store)?;
        if found.state.objects.is_empty() {
            return Err(no_lab(&self.lab));
        }
        let text = if self.datapath {
            self.programs(&store, &found)?
        } else {
            let topology = Topology::new(&self.lab, &found.state);
            match self.format {
                Format::Table => topology.text().trim_end().to_owned(),
                Format::Json => serde_json::to_string(&topology)?,
            }
        };
        Ok(say(&text)?)
    }

    fn programs(&self, store: &Store, found: &Survey) -> anyhow::Result<String> {
        let Survey { state, namespaces, found: _ } = found;
        let measurement = if self.measure {
            let measurement = Measurement::start(store, state)?;
            std::thread::sleep(MEASURED);
            Some(measurement)
        } else {
            None
        };
        let netns = |name: &Name| namespaces.get(name).map(|opened| &opened.netns);
        let report = DatapathReport::new(store, state, netns, measurement.as_ref())?;
        Ok(match self.format {
            Format::Table => datapath::text(&report),
            Format::Json => serde_json::to_string(&report)?,
        })
    }
}
