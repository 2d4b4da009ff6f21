//! The lines of a report, each judged by its target.

use serde::Serialize;

use super::Measured;
use crate::bench::session::{Figures, Outcome};

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    Seconds,
    Share,
    Bytes,
    Times,
}

/// One line: something that was measured as often as there were rounds.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) unit: Unit,
    /// What the median should be at most; at least for [`Unit::Times`].
    pub(super) target: Option<f64>,
    pub(super) samples: Vec<f64>,
    pub(super) median: Option<f64>,
    /// Whether the median is as it should be; not said for other sizes.
    pub(super) met: Option<bool>,
    /// How many times as long the iproute2 script takes.
    pub(super) script_ratio: Option<f64>,
    /// How many times as long iproute2's batches take.
    pub(super) batch_ratio: Option<f64>,
    /// Why there are no samples, or what was wrong besides.
    pub(super) note: Option<String>,
}

/// Makes rows of what was measured.
pub(super) struct Rows<'a> {
    pub(super) measured: &'a Measured,
    /// Whether it was measured at the size that the targets are for.
    pub(super) of_target: bool,
}

impl Rows<'_> {
    /// Of something that iproute2 builds too.
    pub(super) fn up(&self, what: &str, outcomes: &[Outcome], target: f64) -> Row {
        let row = self.seconds(what, outcomes, Some(target), |figures| Some(figures.up));
        let times = |other: Option<f64>| Some(other? / row.median?);
        Row {
            script_ratio: times(self.script_seconds()),
            batch_ratio: times(median(&samples(&self.measured.batch, |figures| Some(figures.up)))),
            ..row
        }
    }

    pub(super) fn seconds(
        &self,
        what: &str,
        outcomes: &[Outcome],
        target: Option<f64>,
        figure: fn(&Figures) -> Option<f64>,
    ) -> Row {
        let row = reference(what, outcomes, figure);
        self.judged(Row { target, ..row })
    }

    pub(super) fn softirq(&self, what: &str, outcomes: &[Outcome]) -> Row {
        self.judged(Row { target: Some(0.1), ..softirq(what, outcomes) })
    }

    pub(super) fn faster(&self, what: &str, outcomes: &[Outcome]) -> Row {
        let row = reference(what, outcomes, |figures| Some(figures.up));
        let script = self.script_seconds();
        let samples: Vec<f64> = script
            .iter()
            .flat_map(|script| row.samples.iter().map(move |up| script / up))
            .collect();
        let median = median(&samples);
        self.judged(Row { unit: Unit::Times, target: Some(10.0), samples, median, ..row })
    }

    pub(super) fn down(&self, what: &str, outcomes: &[Outcome]) -> Row {
        let mut row = self.seconds(what, outcomes, Some(2.0), |figures| figures.down);
        let left: Vec<&String> = figures(outcomes).flat_map(|figures| &figures.left).collect();
        if let Some(first) = left.first() {
            row.met = Some(false);
            row.note = Some(format!("{} things were left: {first}", left.len()));
        }
        row
    }

    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    pub(super) fn memory(&self, what: &str, outcomes: &[Outcome]) -> Row {
        let row = reference(what, outcomes, |figures| Some(figures.max_rss as f64));
        self.judged(Row { unit: Unit::Bytes, target: Some(100e6), ..row })
    }

    pub(super) fn script(&self) -> Row {
        let Measured { namespaces, script_namespaces, script, .. } = self.measured;
        let row = reference("iproute2 script, once", script, |figures| Some(figures.up));
        let Some(seconds) = self.script_seconds() else { return row };
        if namespaces == script_namespaces {
            return row;
        }
        Row {
            samples: vec![seconds],
            median: Some(seconds),
            note: Some(format!("scaled from {script_namespaces} namespaces")),
            ..row
        }
    }

    /// Of the script, for as many namespaces as all else.
    #[expect(clippy::cast_precision_loss, reason = "thousands at most")]
    fn script_seconds(&self) -> Option<f64> {
        let Measured { namespaces, script_namespaces, script, .. } = self.measured;
        let seconds = median(&samples(script, |figures| Some(figures.up)))?;
        Some(seconds * *namespaces as f64 / *script_namespaces as f64)
    }

    fn judged(&self, row: Row) -> Row {
        let met = match (row.target, row.median) {
            (Some(target), Some(median)) if row.unit == Unit::Times => Some(median >= target),
            (Some(target), Some(median)) => Some(median <= target),
            _ => None,
        };
        Row { met: met.filter(|_| self.of_target), ..row }
    }
}

/// A row that nothing is asked of.
pub(super) fn reference(
    what: &str,
    outcomes: &[Outcome],
    figure: fn(&Figures) -> Option<f64>,
) -> Row {
    let samples = samples(outcomes, figure);
    let refused = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Refused(why) => Some(format!("not available: {why}")),
        Outcome::Built(_) => None,
    });
    Row {
        what: what.to_owned(),
        unit: Unit::Seconds,
        target: None,
        median: median(&samples),
        samples,
        met: None,
        script_ratio: None,
        batch_ratio: None,
        note: refused,
    }
}

/// Of the whole machine: what others cause is in it, so it is told as well.
pub(super) fn softirq(what: &str, outcomes: &[Outcome]) -> Row {
    let row = reference(what, outcomes, |figures| Some(figures.softirq));
    let before = median(&samples(outcomes, |figures| Some(figures.softirq_before)));
    let before = before.map(|before| format!("{} before", Unit::Share.shown(before)));
    Row { unit: Unit::Share, note: row.note.or(before), ..row }
}

fn figures(outcomes: &[Outcome]) -> impl Iterator<Item = &Figures> {
    outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Built(figures) => Some(figures),
        Outcome::Refused(_) => None,
    })
}

pub(super) fn samples(outcomes: &[Outcome], figure: fn(&Figures) -> Option<f64>) -> Vec<f64> {
    figures(outcomes).filter_map(figure).collect()
}

/// The middle one, of two the mean.
pub(super) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(up: f64) -> Outcome {
        Outcome::Built(Figures { up, down: Some(1.0), ..Figures::default() })
    }

    fn rows(measured: &Measured) -> Rows<'_> {
        Rows { measured, of_target: true }
    }

    #[test]
    fn the_median_decides() {
        let measured = Measured::new(1000, 1000);
        let row = rows(&measured).up("up", &[built(9.0), built(1.0), built(2.0)], 2.5);
        assert_eq!((row.median, row.met), (Some(2.0), Some(true)));
        let row = rows(&measured).up("up", &[built(2.0), built(4.0)], 2.5);
        assert_eq!((row.median, row.met), (Some(3.0), Some(false)));
    }

    #[test]
    fn what_nsbpf_refuses_is_neither_met_nor_missed() {
        let measured = Measured::new(1000, 1000);
        let row = rows(&measured).up("up", &[Outcome::Refused("unknown".to_owned())], 2.5);
        assert_eq!((row.median, row.met), (None, None));
        assert_eq!(row.note.as_deref(), Some("not available: unknown"));
    }

    #[test]
    fn a_smaller_script_is_scaled() {
        let mut measured = Measured::new(1000, 100);
        measured.script.push(built(3.5));
        let row = rows(&measured).faster("faster", &[built(7.0), built(1.0), built(3.5)]);
        assert_eq!((row.median, row.met), (Some(10.0), Some(true)));
        assert_eq!(rows(&measured).script().median, Some(35.0));
    }

    #[test]
    fn what_is_left_is_not_complete() {
        let measured = Measured::new(1000, 1000);
        assert_eq!(rows(&measured).down("down", &[built(3.0)]).met, Some(true));
        let left = vec!["br0".to_owned()];
        let down = Figures { down: Some(1.0), left, ..Figures::default() };
        assert_eq!(rows(&measured).down("down", &[Outcome::Built(down)]).met, Some(false));
    }
}
