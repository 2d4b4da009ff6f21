//! A report beside an older one: what is noise, and what is not.
//!
//! Ratios to the bridge are compared, and not rates: the machine was another one then, if
//! only because of its neighbours. Two medians differ when their confidence intervals do
//! not meet. But rounds of one run are alike in what memory and which neighbours they got,
//! and runs are not, so that a few percent more have to be between them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::experiment::Experiment;
use super::mode::{BRIDGE, Stages, WIRE};
use super::processor::Processors;
use super::report::{ExperimentReport, PathReport, Report, SCHEMA};
use super::statistics::Summary;
use super::traffic::Quantity;
use super::{BenchError, Options, agenda};

/// What medians of two runs of the same programs may differ by, as a share: on a shared
/// machine 3 % was seen.
const BETWEEN_RUNS: f64 = 0.05;

/// What of an older report is compared.
#[derive(Debug, Deserialize)]
pub struct EarlierReport {
    environment: EarlierEnvironment,
    stages: Stages,
    experiments: Vec<EarlierExperiment>,
}

/// What every version has.
#[derive(Debug, Deserialize)]
struct Layout {
    schema: u32,
}

#[derive(Debug, Deserialize)]
struct EarlierEnvironment {
    kernel: String,
    processor: String,
    object: String,
}

#[derive(Debug, Deserialize)]
struct EarlierExperiment {
    id: String,
    paths: Vec<EarlierPath>,
}

#[derive(Debug, Deserialize)]
struct EarlierPath {
    mode: String,
    metrics: BTreeMap<String, EarlierMetric>,
}

#[derive(Debug, Deserialize)]
struct EarlierMetric {
    of_bridge: Option<Summary>,
    of_wire: Option<Summary>,
}

/// Why a file is nothing to compare with.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// No report.
    #[error("it is no report that `nsbpf bench --json` has written: {0}")]
    NoReport(#[from] serde_json::Error),
    /// Another layout.
    #[error("its layout is version {0}, and this nsbpf compares version {SCHEMA}: measure again")]
    Schema(u32),
    /// Of something else.
    #[error("it has nothing of what is to be measured now")]
    Other,
    /// With other stages.
    #[error("other stages of the datapath were on (`--flows`, `--count-only`)")]
    Stages,
    /// The machine does not say what can be measured.
    #[error(transparent)]
    Machine(#[from] BenchError),
}

impl EarlierReport {
    /// Reads a report, to be compared with what such options make.
    ///
    /// # Errors
    /// It is none, or one of another layout, or of something else.
    pub fn read(text: &str, options: &Options) -> Result<Self, CompareError> {
        let Layout { schema } = serde_json::from_str(text)?;
        if schema != SCHEMA {
            return Err(CompareError::Schema(schema));
        }
        let earlier: Self = serde_json::from_str(text)?;
        if earlier.stages != options.stages {
            return Err(CompareError::Stages);
        }
        let on = Processors::choose()?;
        let has = |experiment: &Experiment| {
            let id = experiment.id(on);
            let earlier = earlier.experiments.iter().find(|earlier| earlier.id == id);
            let mut paths = earlier.iter().flat_map(|earlier| &earlier.paths);
            paths.any(|path| experiment.modes.iter().any(|mode| mode.name == path.mode))
        };
        if agenda::experiments(options).iter().any(has) {
            Ok(earlier)
        } else {
            Err(CompareError::Other)
        }
    }
}

/// How a path does, beside before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Better,
    Worse,
    Noise,
    /// It did carry something, and does no more.
    Lost,
}

struct Row {
    what: String,
    old: Summary,
    /// `None` if it is lost.
    new: Option<Summary>,
    change: Change,
}

/// What is in both reports.
pub struct Comparison {
    before: String,
    rows: Vec<Row>,
}

impl Comparison {
    /// Of a report with an older one.
    #[must_use]
    pub fn of(report: &Report, old: &EarlierReport) -> Self {
        let EarlierEnvironment { kernel, processor, object } = &old.environment;
        let object = object.get(..12).unwrap_or(object);
        let rows = |new: &ExperimentReport| -> Vec<Row> {
            let Some(old) = old.experiments.iter().find(|old| old.id == new.id) else {
                return Vec::new();
            };
            new.paths.iter().filter_map(|path| Row::of(new, path, old)).collect()
        };
        Self {
            // A file may say anything, to a terminal too.
            before: format!("object {object}, Linux {kernel}, {processor}")
                .escape_debug()
                .to_string(),
            rows: report.experiments.iter().flat_map(rows).collect(),
        }
    }

    /// How much is slower than it was, and not by chance.
    #[must_use]
    pub fn slower(&self) -> usize {
        let is_slower = |row: &&Row| matches!(row.change, Change::Worse | Change::Lost);
        self.rows.iter().filter(is_slower).count()
    }
}

impl Row {
    fn of(new: &ExperimentReport, path: &PathReport, old: &EarlierExperiment) -> Option<Self> {
        if path.mode == WIRE {
            return None;
        }
        let old = old.paths.iter().find(|old| old.mode == path.mode)?.metrics.get(new.about)?;
        let metric = path.about(new);
        // The bridge itself is compared with the wire.
        let (reference, now, before) = if path.mode == BRIDGE {
            (WIRE, metric.and_then(|it| it.of_wire.clone()), old.of_wire.clone()?)
        } else {
            (BRIDGE, metric.and_then(|it| it.of_bridge.clone()), old.of_bridge.clone()?)
        };
        let change = match (metric, &now) {
            (Some(metric), Some(now)) => change(metric.quantity, &before, now),
            // That there is nothing to compare with says nothing of the path.
            (Some(_), None) => return None,
            (None, _) if !path.available => return None,
            (None, _) => Change::Lost,
        };
        let what = format!("{}: {}, {} of {reference}", new.title, path.mode, new.about);
        Some(Self { what, old: before, new: now, change })
    }
}

/// Whether two medians differ, and not by chance.
fn change(quantity: Quantity, old: &Summary, new: &Summary) -> Change {
    let apart = match (old.confidence, new.confidence) {
        (Some([old_lower, old_upper]), Some([new_lower, new_upper])) => {
            old_upper < new_lower || new_upper < old_lower
        }
        // Too few rounds to tell anything.
        _ => false,
    };
    let difference = new.median - old.median;
    if !apart || difference.abs() <= BETWEEN_RUNS * old.median {
        Change::Noise
    } else if (difference > 0.0) == quantity.more_is_better() {
        Change::Better
    } else {
        Change::Worse
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, rows } = self;
        let mut table = super::report::table(&["", "before", "95 %", "now", "95 %", "change", ""]);
        let range = |summary: &Summary| {
            let range = |[lower, upper]: [f64; 2]| format!("{lower:.3}–{upper:.3}");
            summary.confidence.map(range).unwrap_or_default()
        };
        for Row { what, old, new, change } in rows {
            let verdict = match change {
                Change::Better => "faster",
                Change::Worse => "slower",
                Change::Noise => "",
                Change::Lost => "carries nothing",
            };
            let [now, now_range, percent] = match new {
                Some(new) => [
                    format!("{:.3}", new.median),
                    range(new),
                    format!("{:+.1} %", (new.median / old.median - 1.0) * 100.0),
                ],
                None => Default::default(),
            };
            let before = format!("{:.3}", old.median);
            let verdict = verdict.to_owned();
            table.add_row([what.clone(), before, range(old), now, now_range, percent, verdict]);
        }
        write!(formatter, "before: {before}\n\n{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::MetricReport;

    fn summary(median: f64, spread: f64) -> Summary {
        let samples = (0..=100).map(|number| median + spread * (f64::from(number) / 50.0 - 1.0));
        Summary::of(samples.collect()).unwrap()
    }

    fn rate(old: &Summary, new: &Summary) -> Change {
        change(Quantity::PacketsPerSecond, old, new)
    }

    #[test]
    fn a_difference_within_the_noise_is_none() {
        let old = summary(1.5, 0.2);
        assert_eq!(rate(&old, &summary(1.49, 0.2)), Change::Noise);
        assert_eq!(rate(&old, &summary(1.3, 0.2)), Change::Worse);
        assert_eq!(rate(&old, &summary(1.7, 0.2)), Change::Better);
        assert_eq!(change(Quantity::Nanoseconds, &old, &summary(1.7, 0.2)), Change::Worse);
        // Steady rounds tell what others could not, but for what runs differ by.
        assert_eq!(rate(&summary(1.5, 0.8), &summary(1.4, 0.8)), Change::Noise);
        assert_eq!(rate(&summary(1.5, 0.01), &summary(1.4, 0.01)), Change::Worse);
        assert_eq!(rate(&summary(1.5, 0.01), &summary(1.45, 0.01)), Change::Noise);
        let few = Summary::of(vec![9.0; 5]).unwrap();
        assert_eq!(rate(&old, &few), Change::Noise);
    }

    fn report(schema: u32, experiments: &str) -> String {
        format!(
            r#"{{"schema": {schema}, "experiments": [{experiments}], "stages": {{"flows": null}},
                "environment": {{"kernel": "", "processor": "", "object": ""}}}}"#
        )
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let options = Options::short_frames(&["bridge", "peer"]);
        let read = |text: &str| EarlierReport::read(text, &options);
        assert!(matches!(read("{}"), Err(CompareError::NoReport(_))));
        assert!(matches!(read(&report(2, "")), Err(CompareError::Schema(2))));
        assert!(matches!(read(r#"{"schema": 2}"#), Err(CompareError::Schema(2))));
        assert!(matches!(read(&report(SCHEMA, "")), Err(CompareError::Other)));
        let of = |mode: &str| {
            let path = format!(r#"{{"mode": "{mode}", "metrics": {{}}}}"#);
            report(SCHEMA, &format!(r#"{{"id": "frames/ipv4/64/1/receiver", "paths": [{path}]}}"#))
        };
        assert!(matches!(read(&of("redirect")), Err(CompareError::Other)));
        assert!(read(&of("peer")).is_ok());
        let without = Options { stages: Stages { flows: Some(false) }, ..options.clone() };
        let other = EarlierReport::read(&of("peer"), &without);
        assert!(matches!(other, Err(CompareError::Stages)));
    }

    #[test]
    fn a_path_that_carries_nothing_any_more_is_slower() {
        let metric = |median: f64| MetricReport {
            quantity: Quantity::PacketsPerSecond,
            summary: summary(median, 0.1),
            of_bridge: Some(summary(median, 0.1)),
            of_wire: None,
        };
        let path = |metrics: BTreeMap<&'static str, MetricReport>| PathReport {
            mode: "peer",
            metrics,
            ..PathReport::default()
        };
        let experiment = |path| ExperimentReport {
            id: "x".to_owned(),
            about: "rate",
            paths: vec![path],
            ..ExperimentReport::default()
        };
        let old = summary(1.5, 0.1);
        let old = EarlierExperiment {
            id: "x".to_owned(),
            paths: vec![EarlierPath {
                mode: "peer".to_owned(),
                metrics: BTreeMap::from([(
                    "rate".to_owned(),
                    EarlierMetric { of_bridge: Some(old), of_wire: None },
                )]),
            }],
        };
        let row = |new: &ExperimentReport| Row::of(new, &new.paths[0], &old).map(|row| row.change);
        let same = experiment(path(BTreeMap::from([("rate", metric(1.5))])));
        assert_eq!(row(&same), Some(Change::Noise));
        let gone = experiment(PathReport { available: true, ..path(BTreeMap::new()) });
        assert_eq!(row(&gone), Some(Change::Lost));
        let not_here = experiment(path(BTreeMap::new()));
        assert_eq!(row(&not_here), None);
    }
}
