//! `nsbpf stats`: the counters of a lab that is up.

use std::time::Duration;

use clap::Args;

use super::counters::Frame;
use super::counting::counting;
use super::no_lab::no_lab;
use super::privilege;
use super::view::{Format, View, interval};
use crate::apply::survey;
use crate::lab::Name;
use crate::observe::stats::Watch;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Stats {
    /// The lab, by its name
    #[arg(value_parser = Name::new)]
    lab: Name,
    /// Show them again and again, with rates, until Ctrl-C [default time between: 1s]
    #[arg(long, value_name = "INTERVAL", value_parser = interval, num_args = 0..=1,
        default_missing_value = "1s", require_equals = true)]
    watch: Option<Duration>,
    /// Show all that is counted of each interface: protocols, sizes, ways, drops
    #[arg(long)]
    detail: bool,
    /// How to show them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Stats {
    pub(super) fn run(self) -> anyhow::Result<()> {
        privilege::prepare()?;
        let Self { lab, watch: again, detail, format } = self;
        let store = Store::new(&lab);
        let state = survey(&store)?.state;
        if state.objects.is_empty() {
            return Err(no_lab(&lab));
        }
        counting(&lab, &state)?;
        let mut watch = Watch::new(&store, &state)?;
        let mut view = View::new(format);
        loop {
            let (lab, interfaces) = (lab.to_string(), watch.read()?);
            view.show(&Frame { lab, elapsed: None, detail, interfaces, pings: Vec::new() })?;
            match again {
                // Nothing has to be taken back: a signal ends it as it ends anything.
                Some(interval) => std::thread::sleep(interval),
                None => return Ok(()),
            }
        }
    }
}
