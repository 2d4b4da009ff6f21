//! The report as tables, in the form of Markdown, to be kept.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};

use super::chart::Chart;
use super::conditions::Conditions;
use super::{
    ExperimentReport, Figure, MetricReport, PathReport, ProgramReport, Report, Unit, Verdict,
    growth,
};
use crate::bench::ProgramRun;
use crate::bench::statistics::Summary;

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Conditions(self).fmt(formatter)?;
        for experiment in &self.experiments {
            write!(formatter, "\n\n{experiment}")?;
        }
        for growth in growth::tables(self) {
            write!(formatter, "\n\n{growth}")?;
        }
        if !self.programs.is_empty() {
            write!(formatter, "\n\n{}", programs(&self.programs))?;
        }
        if !self.program_runs.is_empty() {
            write!(formatter, "\n\n{}", program_runs(&self.program_runs))?;
        }
        if !self.figures.is_empty() {
            let mut figures = table(&["", "must", "stretch", "median", "95 %", ""]);
            for figure in &self.figures {
                figures.add_row(figure.cells());
            }
            write!(formatter, "\n\n{figures}")?;
        }
        Chart::all(self).iter().try_for_each(|chart| write!(formatter, "\n\n{chart}"))
    }
}

impl fmt::Display for ExperimentReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { title, rounds, sure, about, paths, .. } = self;
        let others: Vec<&str> = paths
            .iter()
            .max_by_key(|path| path.metrics.len())
            .map(|path| path.metrics.keys().copied().filter(|name| name != about).collect())
            .unwrap_or_default();
        let unit = |name: &str| {
            let metric = paths.iter().find_map(|path| path.metrics.get(name));
            match metric.map_or("", |metric| metric.quantity.unit()) {
                "" => name.to_owned(),
                unit => format!("{name}, {unit}"),
            }
        };
        let with_cpu = paths.iter().any(|path| path.process_ns.is_some());
        let mut header = vec![
            "path".to_owned(),
            unit(about),
            "middle half".to_owned(),
            "of bridge".to_owned(),
            "95 %".to_owned(),
            "of wire".to_owned(),
            "95 %".to_owned(),
        ];
        header.extend(others.iter().map(|name| unit(name)));
        if with_cpu {
            header.extend(["softirq ns".to_owned(), "process ns".to_owned()]);
        }
        header.push("void".to_owned());
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let mut table = table(&header);
        for path in paths {
            table.add_row(path.cells(about, &others, with_cpu));
        }
        let so_sure = if *sure { "" } else { ", as many as are allowed" };
        write!(formatter, "{title} ({rounds} rounds{so_sure})\n\n{table}")?;
        for PathReport { mode, failed, .. } in paths {
            if let Some(why) = failed {
                write!(formatter, "\n\n{mode} failed: {why}")?;
            }
        }
        paths.iter().filter(|path| path.lost() > 0 || !path.losses.is_empty()).try_for_each(
            |path| {
                let places: Vec<String> =
                    path.losses.iter().map(|(place, count)| format!("{place} {count}")).collect();
                let places = if places.is_empty() {
                    "no counter tells where".to_owned()
                } else {
                    places.join("; ")
                };
                let PathReport { mode, sent, .. } = path;
                write!(formatter, "\n\n{mode}: {} of {sent} lost; {places}", path.lost())
            },
        )
    }
}

impl PathReport {
    fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.delivered)
    }

    fn cells(&self, about: &str, others: &[&str], with_cpu: bool) -> Vec<String> {
        let metric = self.metrics.get(about);
        let [median, spread] = match metric {
            Some(MetricReport { quantity, summary, .. }) => {
                shown(Some(summary), |value| quantity.shown(value))
            }
            None => Default::default(),
        };
        let ratio = |of: fn(&MetricReport) -> Option<&Summary>| {
            let Some(summary) = metric.and_then(of) else { return <[String; 2]>::default() };
            let range = summary
                .confidence
                .map(|[lower, upper]| format!("{lower:.2}–{upper:.2}"))
                .unwrap_or_default();
            [format!("{:.2}", summary.median), range]
        };
        let mut cells = vec![self.mode.to_owned(), median, spread];
        cells.extend(ratio(|metric| metric.of_bridge.as_ref()));
        cells.extend(ratio(|metric| metric.of_wire.as_ref()));
        cells.extend(others.iter().map(|name| {
            let metric = self.metrics.get(name);
            metric.map(|of| of.quantity.shown(of.summary.median)).unwrap_or_default()
        }));
        if with_cpu {
            let ns = |ns: Option<f64>| match ns {
                Some(ns) if ns < 10.0 => format!("{ns:.2}"),
                Some(ns) => format!("{ns:.0}"),
                None => String::new(),
            };
            cells.extend([ns(self.softirq_ns), ns(self.process_ns)]);
        }
        cells.push(match self {
            Self { available: false, .. } => "not here".to_owned(),
            Self { failed: Some(_), .. } => "failed".to_owned(),
            Self { void_rounds, .. } => void_rounds.to_string(),
        });
        cells
    }
}

fn programs(all: &[ProgramReport]) -> Table {
    let mut table = table(&["program", "ns a frame, in a test run", "middle half"]);
    for ProgramReport { program, run_ns, .. } in all {
        let [median, spread] = shown(run_ns.as_ref(), |ns| format!("{ns:.0}"));
        table.add_row([(*program).to_owned(), median, spread]);
    }
    table
}

fn program_runs(all: &[ProgramRun]) -> Table {
    let mut table = table(&["programs on a path", "program", "runs a frame", "ns a run"]);
    for ProgramRun { mode, program, runs_per_frame, run_ns } in all {
        table.add_row([
            (*mode).to_owned(),
            program.clone(),
            format!("{runs_per_frame:.2}"),
            format!("{run_ns:.0}"),
        ]);
    }
    table
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
        let Summary { median, lower_quartile, upper_quartile, .. } = summary;
        let [lower, upper] = [lower_quartile, upper_quartile].map(|quartile| number(*quartile));
        [number(*median), format!("{lower}–{upper}")]
    })
}

impl Figure {
    fn cells(&self) -> [String; 6] {
        let Self { what, unit, must, stretch, measured, confidence, verdict } = self;
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
            confidence.map(|it| it.map(|bound| unit.shown(bound)).join("–")).unwrap_or_default(),
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
