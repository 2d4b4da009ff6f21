//! The report as tables, in the form of Markdown, to be kept.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};

use super::{
    BulkReport, Figure, PathReport, ProgramReport, Report, RoundTripReport, Unit, Verdict, chart,
};
use crate::bench::environment::Environment;
use crate::bench::statistics::Summary;

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { environment, rounds, round_seconds, flows, frame_bytes, processors: on, .. } =
            self;
        let Environment {
            kernel,
            processors,
            processor: model,
            load,
            governor,
            mitigations,
            nsbpf,
            object,
        } = environment;
        let object = object.get(..12).unwrap_or(object);
        writeln!(
            formatter,
            "nsbpf {nsbpf}, object {object}; Linux {kernel}; {processors} × {model}, all on \
             number {}{}; load before {load}; {rounds} rounds of {round_seconds} s; \
             frames of {frame_bytes} bytes, flows: {flows}; \
             frequency governor: {}; mitigations of: {}\n",
            on.one,
            on.other.map(|other| format!(" (TCP on two: {other} too)")).unwrap_or_default(),
            governor.as_deref().unwrap_or("none"),
            if mitigations.is_empty() { "nothing".to_owned() } else { mitigations.join(", ") },
        )?;
        let mut paths =
            table(&["path", "end", "Mpps", "middle half", "of bridge", "", "of wire", "", "void"]);
        for path in &self.paths {
            paths.add_row(path.cells());
        }
        let mut round_trips = table(&[
            "TCP round trip",
            "processors",
            "p50 µs",
            "middle half",
            "of wire",
            "",
            "p99 µs",
            "middle half",
            "a second",
            "middle half",
        ]);
        for path in &self.round_trips {
            round_trips.add_row(path.cells());
        }
        let mut bulk =
            table(&["TCP in bulk", "processors", "Gbit/s", "middle half", "of wire", ""]);
        for path in &self.bulk {
            bulk.add_row(path.cells());
        }
        let mut programs = table(&["program", "ns a frame", "middle half"]);
        for ProgramReport { program, run_ns, .. } in &self.programs {
            let [median, spread] = shown(run_ns.as_ref(), |ns| format!("{ns:.0}"));
            programs.add_row([(*program).to_owned(), median, spread]);
        }
        let mut figures = table(&["", "must", "stretch", "median", ""]);
        for figure in &self.figures {
            figures.add_row(figure.cells());
        }
        write!(formatter, "{paths}\n\n{round_trips}\n\n{bulk}\n\n{programs}\n\n{figures}")?;
        chart::of(self).iter().try_for_each(|chart| write!(formatter, "\n\n{chart}"))
    }
}

pub(in crate::bench) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The median, and where the middle half lies.
fn shown(summary: Option<&Summary>, number: impl Fn(f64) -> String) -> [String; 2] {
    summary.map_or_else(Default::default, |summary| {
        let Summary { median, lower_quartile, upper_quartile, samples: _ } = summary;
        let [lower, upper] = [lower_quartile, upper_quartile].map(|quartile| number(*quartile));
        [number(*median), format!("{lower}–{upper}")]
    })
}

impl PathReport {
    fn cells(&self) -> Vec<String> {
        let Self { mode, end, pps, of_bridge, of_wire, void_rounds, available } = self;
        let rates = shown(pps.as_ref(), |pps| format!("{:.3}", pps / 1e6));
        let [bridge, wire] =
            [of_bridge, of_wire].map(|of| shown(of.as_ref(), |share| format!("{share:.2}")));
        let void = if *available { void_rounds.to_string() } else { "not here".to_owned() };
        let head = [(*mode).to_owned(), end.to_string()];
        [&head[..], &rates, &bridge, &wire, &[void]].concat()
    }
}

impl RoundTripReport {
    fn cells(&self) -> Vec<String> {
        let Self { mode, processors, p50_ns, p99_ns, per_second, p50_of_wire } = self;
        let [p50, p99] =
            [p50_ns, p99_ns].map(|ns| shown(ns.as_ref(), |ns| format!("{:.1}", ns / 1e3)));
        let of_wire = shown(p50_of_wire.as_ref(), |times| format!("{times:.2}"));
        let per_second = shown(per_second.as_ref(), |rate| format!("{rate:.0}"));
        let head = [(*mode).to_owned(), processors.to_string()];
        [&head[..], &p50, &of_wire, &p99, &per_second].concat()
    }
}

impl BulkReport {
    fn cells(&self) -> Vec<String> {
        let Self { mode, processors, bits_per_second, of_wire } = self;
        let rate = shown(bits_per_second.as_ref(), |rate| format!("{:.1}", rate / 1e9));
        let of_wire = shown(of_wire.as_ref(), |share| format!("{share:.2}"));
        let head = [(*mode).to_owned(), processors.to_string()];
        [&head[..], &rate, &of_wire].concat()
    }
}

impl Figure {
    fn cells(&self) -> [String; 5] {
        let Self { what, unit, must, stretch, measured, verdict } = self;
        let bound = if *unit == Unit::Share { "≥" } else { "≤" };
        let target = |target: f64| format!("{bound} {}", unit.shown(target));
        let verdict = match verdict {
            Some(Verdict::Stretch) => "stretch",
            Some(Verdict::Met) => "met",
            Some(Verdict::Missed) => "missed",
            None => "",
        };
        [
            what.clone(),
            target(*must),
            stretch.map(target).unwrap_or_default(),
            measured.map(|measured| unit.shown(measured)).unwrap_or_default(),
            verdict.to_owned(),
        ]
    }
}

impl Unit {
    fn shown(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 0.1 => format!("{:.1} ms", value * 1e3),
            Self::Seconds => format!("{value:.2} s"),
            Self::Share | Self::Multiple => format!("{value:.2}"),
            Self::Bytes => format!("{:.0} MB", value / 1e6),
            Self::Instructions => format!("{value:.0}"),
        }
    }
}
