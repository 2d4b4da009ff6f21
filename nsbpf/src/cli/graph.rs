//! `nsbpf graph`: a picture of a lab that is up, for other programs to draw.

use clap::Args;

use super::no_lab::no_lab;
use super::privilege;
use super::say::say;
use crate::apply::survey;
use crate::lab::Name;
use crate::observe::topology::Topology;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Graph {
    /// The lab, by its name
    #[arg(value_parser = Name::new)]
    lab: Name,
    /// In which language
    #[arg(long, value_enum, default_value_t)]
    format: Language,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    /// Mermaid's, which many pages with Markdown draw
    #[default]
    Mermaid,
    /// Graphviz's: `nsbpf graph LAB --format dot | dot -Tsvg`
    Dot,
}

impl Graph {
    pub(super) fn run(self) -> anyhow::Result<()> {
        privilege::prepare()?;
        let Self { lab, format } = self;
        let state = survey(&Store::new(&lab))?.state;
        if state.objects.is_empty() {
            return Err(no_lab(&lab));
        }
        let topology = Topology::new(&lab, &state);
        let text = match format {
            Language::Mermaid => topology.mermaid(),
            Language::Dot => topology.dot(),
        };
        Ok(say(text.trim_end())?)
    }
}
