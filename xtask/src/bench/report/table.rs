//! The report as tables, in the form of Markdown, to be kept.

use std::fmt;

use super::rows::{Row, Unit};
use super::{Growth, Report};
use crate::bench::markdown::table;

/// The last but one say how many times as long iproute2 takes.
const HEADER: [&str; 9] = ["", "target", "median", "from", "to", "", "× script", "× batches", ""];

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            environment,
            rounds,
            namespaces: _,
            script_namespaces: _,
            rows,
            growth,
            figures: _,
        } = self;
        writeln!(formatter, "{environment}; medians of {rounds}\n")?;
        let mut measured = table(&HEADER, 1);
        for row in rows {
            measured.add_row(row.cells());
        }
        writeln!(formatter, "{measured}\n")?;
        let mut sizes = table(&["namespaces", "up with the datapath", "of each"], 1);
        for Growth { namespaces, up_seconds, seconds_per_namespace } in growth {
            sizes.add_row([
                namespaces.to_string(),
                Unit::Seconds.shown(*up_seconds),
                format!("{:.2} ms", seconds_per_namespace * 1000.0),
            ]);
        }
        write!(formatter, "{sizes}")
    }
}

impl Row {
    fn cells(&self) -> [String; 9] {
        let shown = |value: Option<f64>| value.map(|value| self.unit.shown(value));
        let times = |ratio: Option<f64>| ratio.map(|ratio| Unit::Times.shown(ratio));
        let bound = if self.unit == Unit::Times { "≥" } else { "≤" };
        let spread = |pick: fn(f64, f64) -> f64| self.samples.iter().copied().reduce(pick);
        [
            Some(self.what.clone()),
            shown(self.target).map(|target| format!("{bound} {target}")),
            shown(self.median),
            shown(spread(f64::min)),
            shown(spread(f64::max)),
            self.met.map(|met| if met { "met" } else { "missed" }.to_owned()),
            times(self.script_ratio),
            times(self.batch_ratio),
            self.note.clone(),
        ]
        .map(Option::unwrap_or_default)
    }
}

impl Unit {
    pub(super) fn shown(self, value: f64) -> String {
        match self {
            Self::Seconds => format!("{value:.2} s"),
            Self::Share => format!("{:.1} %", value * 100.0),
            Self::Bytes => format!("{:.0} MB", value / 1e6),
            Self::Times => format!("{value:.1}×"),
        }
    }
}
