//! A report beside an older one: what is noise, and what is not.
//!
//! Ratios to the bridge are compared, and not rates: the machine was another one then, if
//! only because of its neighbours. Two medians differ when their notches do not meet,
//! each 1.57 times the middle half over the square root of the samples: McGill, Tukey and
//! Larsen, *Variations of Box Plots* (1978), about 95 of 100 times. But rounds of one run
//! are alike in what memory and which neighbours they got, and runs are not, so that a few
//! percent more have to be between them.

use std::fmt;

use serde::Deserialize;

use super::arrivals::End;
use super::mode::{BRIDGE, WIRE};
use super::report::{PathReport, Report, SCHEMA};
use super::statistics::Summary;

/// What medians of two runs of the same programs may differ by, as a share: on a shared
/// machine 3 % was seen.
const BETWEEN_RUNS: f64 = 0.05;

/// What of an older report is compared.
#[derive(Debug, Deserialize)]
pub struct EarlierReport {
    schema: u32,
    flows: u16,
    frame_bytes: usize,
    environment: EarlierEnvironment,
    paths: Vec<EarlierPath>,
}

#[derive(Debug, Deserialize)]
struct EarlierEnvironment {
    kernel: String,
    processor: String,
    object: String,
}

#[derive(Debug, Deserialize)]
struct EarlierPath {
    mode: String,
    end: End,
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
    /// Other frames.
    #[error(
        "its frames were of {flows} flows and {frame_bytes} bytes: compare with as many (`--flows {flows}`)"
    )]
    Frames {
        /// Flows.
        flows: u16,
        /// Bytes of a frame.
        frame_bytes: usize,
    },
}

impl EarlierReport {
    /// Reads a report, to be compared with one of so many flows.
    ///
    /// # Errors
    /// It is none, or of something else.
    pub fn read(text: &str, of_flows: u16) -> Result<Self, CompareError> {
        let old: Self = serde_json::from_str(text)?;
        let Self { schema, flows, frame_bytes, .. } = old;
        if schema != SCHEMA {
            return Err(CompareError::Schema(schema));
        }
        if flows != of_flows || frame_bytes != super::frame::FRAME_BYTES {
            return Err(CompareError::Frames { flows, frame_bytes });
        }
        Ok(old)
    }
}

/// How a path does, beside before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Faster,
    Slower,
    Noise,
}

struct Row {
    what: String,
    old: Summary,
    new: Summary,
    change: Change,
}

/// The paths that are in both reports.
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
        let rows = report.paths.iter().filter_map(|path| Row::of(path, old));
        Self {
            before: format!("object {object}, Linux {kernel}, {processor}"),
            rows: rows.collect(),
        }
    }

    /// How many paths are slower than they were, and not by chance.
    #[must_use]
    pub fn slower(&self) -> usize {
        self.rows.iter().filter(|row| row.change == Change::Slower).count()
    }
}

impl Row {
    fn of(path: &PathReport, old: &EarlierReport) -> Option<Self> {
        if path.mode == WIRE {
            return None;
        }
        let same = |old: &&EarlierPath| old.mode == path.mode && old.end == path.end;
        let old = old.paths.iter().find(same)?;
        // The bridge itself is compared with the wire.
        let (reference, new, old) = if path.mode == BRIDGE {
            ("wire", &path.of_wire, &old.of_wire)
        } else {
            ("bridge", &path.of_bridge, &old.of_bridge)
        };
        let (new, old) = (new.clone()?, old.clone()?);
        let change = change(&old, &new);
        Some(Self {
            what: format!("{}, {}, of {reference}", path.mode, path.end),
            old,
            new,
            change,
        })
    }
}

fn change(old: &Summary, new: &Summary) -> Change {
    let difference = new.median - old.median;
    let by_chance = (old.notch() + new.notch()).max(BETWEEN_RUNS * old.median);
    if difference.abs() <= by_chance {
        Change::Noise
    } else if difference > 0.0 {
        Change::Faster
    } else {
        Change::Slower
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, rows } = self;
        let mut table = super::report::table(&["", "before", "±", "now", "±", "change", ""]);
        for Row { what, old, new, change } in rows {
            let percent = (new.median / old.median - 1.0) * 100.0;
            let verdict = match change {
                Change::Faster => "faster",
                Change::Slower => "slower",
                Change::Noise => "",
            };
            table.add_row([
                what.clone(),
                format!("{:.3}", old.median),
                format!("{:.3}", old.notch()),
                format!("{:.3}", new.median),
                format!("{:.3}", new.notch()),
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

    #[test]
    fn a_difference_within_the_noise_is_none() {
        let old = summary(1.5, 0.2);
        assert_eq!(change(&old, &summary(1.49, 0.2)), Change::Noise);
        assert_eq!(change(&old, &summary(1.3, 0.2)), Change::Slower);
        assert_eq!(change(&old, &summary(1.7, 0.2)), Change::Faster);
        // Steady rounds tell what others could not, but for what runs differ by.
        assert_eq!(change(&summary(1.5, 0.8), &summary(1.4, 0.8)), Change::Noise);
        assert_eq!(change(&summary(1.5, 0.01), &summary(1.4, 0.01)), Change::Slower);
        assert_eq!(change(&summary(1.5, 0.01), &summary(1.45, 0.01)), Change::Noise);
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert!(matches!(EarlierReport::read("{}", 1), Err(CompareError::NoReport(_))));
        let report = |schema: u32, flows: u16| {
            format!(
                r#"{{"schema": {schema}, "flows": {flows}, "frame_bytes": 64, "paths": [],
                    "environment": {{"kernel": "", "processor": "", "object": ""}}}}"#
            )
        };
        assert!(matches!(EarlierReport::read(&report(1, 1), 1), Err(CompareError::Schema(1))));
        let other = EarlierReport::read(&report(SCHEMA, 7), 1);
        assert!(matches!(other, Err(CompareError::Frames { flows: 7, .. })));
        assert!(EarlierReport::read(&report(SCHEMA, 1), 1).is_ok());
    }
}
