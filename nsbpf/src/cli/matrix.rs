//! `nsbpf matrix`: who sent how much to whom in a lab that is up.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::counting::counting;
use super::no_lab::no_lab;
use super::privilege;
use super::quantity::{bit_rate, bytes};
use super::view::{Format, Page, View, interval};
use crate::apply::survey;
use crate::lab::Name;
use crate::observe::traffic::{By, PairReport, TrafficReport, TrafficWatch};
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Matrix {
    /// The lab, by its name
    #[arg(value_parser = Name::new)]
    lab: Name,
    /// A row a pair of interfaces, not of namespaces
    #[arg(long)]
    interfaces: bool,
    /// Show it again and again, with rates, until Ctrl-C [default time between: 1s]
    #[arg(long, value_name = "INTERVAL", value_parser = interval, num_args = 0..=1,
        default_missing_value = "1s", require_equals = true)]
    watch: Option<Duration>,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Matrix {
    pub(super) fn run(self) -> anyhow::Result<()> {
        privilege::prepare()?;
        let Self { lab, interfaces, watch: again, format } = self;
        let store = Store::new(&lab);
        let state = survey(&store)?.state;
        if state.objects.is_empty() {
            return Err(no_lab(&lab));
        }
        let datapath = counting(&lab, &state)?;
        let by = if interfaces { By::Interface } else { By::Namespace };
        let mut watch = TrafficWatch::new(&store, &state, datapath, by)?;
        let mut view = View::new(format);
        loop {
            view.show(&Shown { lab: lab.to_string(), traffic: watch.read()? })?;
            match again {
                // Nothing has to be taken back: a signal ends it as it ends anything.
                Some(interval) => std::thread::sleep(interval),
                None => return Ok(()),
            }
        }
    }
}

#[derive(Debug, Serialize)]
struct Shown {
    lab: String,
    #[serde(flatten)]
    traffic: TrafficReport,
}

impl Page for Shown {
    fn text(&self, lines: usize) -> String {
        /// Blank lines, the header, and what is said below.
        const OTHER_LINES: usize = 6;
        let rows = lines.saturating_sub(OTHER_LINES).max(1);
        let TrafficReport { pairs, missed } = &self.traffic;
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["FROM", "TO", "PACKETS", "BYTES", "RATE"]);
        for PairReport { from, to, total, bits_per_second, .. } in pairs.iter().take(rows) {
            table.add_row([
                from.clone().unwrap_or_else(|| "(outside)".to_owned()),
                to.clone(),
                total.packets.to_string(),
                bytes(total.bytes),
                bits_per_second.map_or_else(|| "–".to_owned(), bit_rate),
            ]);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!("\n{}\n\n", table.trim_fmt());
        // Writing to a string does not fail.
        let hidden = pairs.len().saturating_sub(rows);
        if hidden > 0 {
            let _ = writeln!(text, "(and {hidden} more: a higher terminal shows them)");
        }
        if missed.packets > 0 {
            let (packets, bytes) = (missed.packets, bytes(missed.bytes));
            let _ = writeln!(text, "{packets} packets ({bytes}) more found no room in the matrix");
        }
        text + &self.lab + "\n"
    }
}
