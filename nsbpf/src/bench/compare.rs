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
use super::mode::{BRIDGE, WIRE};
use super::report::{ExperimentReport, PathReport, Report, SCHEMA};
use super::statistics::Summary;
use super::traffic::Quantity;
use super::{Options, agenda};

/// What medians of two runs of the same programs may differ by, as a share: on a shared
/// machine 3 % was seen.
const BETWEEN_RUNS: f64 = 0.05;

/// What of an older report is compared.
#[derive(Debug, Deserialize)]
pub struct EarlierReport {
    environment: EarlierEnvironment,
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
}

impl EarlierReport {
    /// Reads a report.
    ///
    /// # Errors
    /// It is none, or one of another layout.
    pub fn read(text: &str) -> Result<Self, CompareError> {
        let Layout { schema } = serde_json::from_str(text)?;
        if schema != SCHEMA {
            return Err(CompareError::Schema(schema));
        }
        Ok(serde_json::from_str(text)?)
    }

    /// Whether it has an experiment that such options make.
    #[must_use]
    pub fn has_any_of(&self, options: &Options) -> bool {
        let ids: Vec<String> = agenda::experiments(options).iter().map(Experiment::id).collect();
        self.experiments.iter().any(|experiment| ids.contains(&experiment.id))
    }
}

/// How a path does, beside before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Better,
    Worse,
    Noise,
}

struct Row {
    what: String,
    old: Summary,
    new: Summary,
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
            before: format!("object {object}, Linux {kernel}, {processor}"),
            rows: report.experiments.iter().flat_map(rows).collect(),
        }
    }

    /// How much is slower than it was, and not by chance.
    #[must_use]
    pub fn slower(&self) -> usize {
        self.rows.iter().filter(|row| row.change == Change::Worse).count()
    }
}

impl Row {
    fn of(new: &ExperimentReport, path: &PathReport, old: &EarlierExperiment) -> Option<Self> {
        if path.mode == WIRE {
            return None;
        }
        let old = old.paths.iter().find(|old| old.mode == path.mode)?.metrics.get(new.about)?;
        let metric = path.about(new)?;
        // The bridge itself is compared with the wire.
        let (reference, new_ratio, old_ratio) = if path.mode == BRIDGE {
            (WIRE, &metric.of_wire, &old.of_wire)
        } else {
            (BRIDGE, &metric.of_bridge, &old.of_bridge)
        };
        let (now, before) = (new_ratio.clone()?, old_ratio.clone()?);
        Some(Self {
            what: format!("{}: {}, {} of {reference}", new.title, path.mode, new.about),
            change: change(metric.quantity, &before, &now),
            old: before,
            new: now,
        })
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
            let percent = (new.median / old.median - 1.0) * 100.0;
            let verdict = match change {
                Change::Better => "faster",
                Change::Worse => "slower",
                Change::Noise => "",
            };
            table.add_row([
                what.clone(),
                format!("{:.3}", old.median),
                range(old),
                format!("{:.3}", new.median),
                range(new),
                format!("{percent:+.1} %"),
                verdict.to_owned(),
            ]);
        }
        write!(formatter, "before: {before}\n\n{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_is_no_report_is_refused() {
        assert!(matches!(EarlierReport::read("{}"), Err(CompareError::NoReport(_))));
        let report = |schema: u32| {
            format!(
                r#"{{"schema": {schema}, "experiments": [],
                    "environment": {{"kernel": "", "processor": "", "object": ""}}}}"#
            )
        };
        assert!(matches!(EarlierReport::read(&report(2)), Err(CompareError::Schema(2))));
        assert!(matches!(EarlierReport::read(r#"{"schema": 2}"#), Err(CompareError::Schema(2))));
        assert!(EarlierReport::read(&report(SCHEMA)).is_ok());
    }
}
