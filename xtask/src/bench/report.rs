//! What was measured, beside what it should be.

mod table;

use serde::Serialize;

use super::environment::Environment;
use super::session::{Figures, Outcome};

/// What the targets are for.
const TARGET_NAMESPACES: usize = 1000;

/// Outcomes of all rounds.
pub(super) struct Measured {
    pub(super) namespaces: usize,
    pub(super) datapath: Vec<Outcome>,
    pub(super) plain: Vec<Outcome>,
    pub(super) pairs: Vec<Outcome>,
    pub(super) batch: Vec<Outcome>,
    pub(super) script: Vec<Outcome>,
    pub(super) script_namespaces: usize,
    /// With the datapath, fewer namespaces.
    pub(super) fewer: Vec<(usize, Vec<Outcome>)>,
}

impl Measured {
    pub(super) fn new(namespaces: usize, script_namespaces: usize) -> Self {
        let mut fewer: Vec<usize> = [10, 4, 2].map(|part| (namespaces / part).max(1)).into();
        fewer.dedup();
        Self {
            namespaces,
            script_namespaces,
            datapath: Vec::new(),
            plain: Vec::new(),
            pairs: Vec::new(),
            batch: Vec::new(),
            script: Vec::new(),
            fewer: fewer.into_iter().map(|namespaces| (namespaces, Vec::new())).collect(),
        }
    }
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Seconds,
    Share,
    Bytes,
    Times,
}

/// One line: something that was measured as often as there were rounds.
#[derive(Debug, Serialize)]
struct Row {
    what: String,
    unit: Unit,
    /// What the median should be at most; at least for [`Unit::Times`].
    target: Option<f64>,
    samples: Vec<f64>,
    median: Option<f64>,
    /// Whether the median is as it should be; not said for other sizes.
    met: Option<bool>,
    /// How many times as long the iproute2 script takes.
    script_ratio: Option<f64>,
    /// How many times as long iproute2's batches take.
    batch_ratio: Option<f64>,
    /// Why there are no samples, or what was wrong besides.
    note: Option<String>,
}

/// How the time of `up` grows.
#[derive(Debug, Serialize)]
struct Growth {
    namespaces: usize,
    up_seconds: f64,
    seconds_per_namespace: f64,
}

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    environment: Environment,
    rounds: u8,
    namespaces: usize,
    script_namespaces: usize,
    rows: Vec<Row>,
    growth: Vec<Growth>,
}

impl Report {
    pub(super) fn new(environment: Environment, rounds: u8, measured: &Measured) -> Self {
        let Measured { namespaces, script_namespaces, datapath, plain, pairs, batch, .. } =
            measured;
        let rows = Rows { measured, of_target: *namespaces == TARGET_NAMESPACES };
        let rows = vec![
            rows.up(&format!("up, {namespaces} namespaces on a bridge"), plain, 3.0),
            rows.softirq("· softirq in the 2 s after", plain),
            rows.faster("· faster than the iproute2 script", plain),
            rows.up("up with the datapath, both directions", datapath, 3.8),
            rows.softirq("· softirq in the 2 s after", datapath),
            rows.seconds("up again, nothing to change", datapath, Some(0.5), |figures| {
                figures.again
            }),
            rows.down("down, complete", datapath),
            rows.seconds(
                &format!("up, {} direct links", namespaces / 2),
                pairs,
                Some(2.5),
                |figures| Some(figures.up),
            ),
            rows.memory("memory of nsbpf", datapath),
            rows.script(),
            reference("iproute2 batches", batch, |figures| Some(figures.up)),
            softirq("· softirq in the 2 s after", batch),
        ];
        let sizes = measured.fewer.iter().map(|(size, outcomes)| (*size, outcomes));
        let growth = sizes.chain([(*namespaces, datapath)]).filter_map(|(size, outcomes)| {
            let up = median(&samples(outcomes, |figures| Some(figures.up)))?;
            #[expect(clippy::cast_precision_loss, reason = "thousands at most")]
            let each = up / size as f64;
            Some(Growth { namespaces: size, up_seconds: up, seconds_per_namespace: each })
        });
        Self {
            growth: growth.collect(),
            environment,
            rounds,
            namespaces: *namespaces,
            script_namespaces: *script_namespaces,
            rows,
        }
    }
}

struct Rows<'a> {
    measured: &'a Measured,
    /// Whether it was measured at the size that the targets are for.
    of_target: bool,
}

impl Rows<'_> {
    /// Of something that iproute2 builds too.
    fn up(&self, what: &str, outcomes: &[Outcome], target: f64) -> Row {
        let row = self.seconds(what, outcomes, Some(target), |figures| Some(figures.up));
        let times = |other: Option<f64>| Some(other? / row.median?);
        Row {
            script_ratio: times(self.script_seconds()),
            batch_ratio: times(median(&samples(&self.measured.batch, |figures| Some(figures.up)))),
            ..row
        }
    }

    fn seconds(
        &self,
        what: &str,
        outcomes: &[Outcome],
        target: Option<f64>,
        figure: fn(&Figures) -> Option<f64>,
    ) -> Row {
        let row = reference(what, outcomes, figure);
        self.judged(Row { target, ..row })
    }

    fn softirq(&self, what: &str, outcomes: &[Outcome]) -> Row {
        self.judged(Row { target: Some(0.1), ..softirq(what, outcomes) })
    }

    fn faster(&self, what: &str, outcomes: &[Outcome]) -> Row {
        let row = reference(what, outcomes, |figures| Some(figures.up));
        let script = self.script_seconds();
        let samples: Vec<f64> = script
            .iter()
            .flat_map(|script| row.samples.iter().map(move |up| script / up))
            .collect();
        let median = median(&samples);
        self.judged(Row { unit: Unit::Times, target: Some(10.0), samples, median, ..row })
    }

    fn down(&self, what: &str, outcomes: &[Outcome]) -> Row {
        let mut row = self.seconds(what, outcomes, Some(2.0), |figures| figures.down);
        let left: Vec<&String> = figures(outcomes).flat_map(|figures| &figures.left).collect();
        if let Some(first) = left.first() {
            row.met = Some(false);
            row.note = Some(format!("{} things were left: {first}", left.len()));
        }
        row
    }

    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    fn memory(&self, what: &str, outcomes: &[Outcome]) -> Row {
        let row = reference(what, outcomes, |figures| Some(figures.max_rss as f64));
        self.judged(Row { unit: Unit::Bytes, target: Some(100e6), ..row })
    }

    fn script(&self) -> Row {
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
fn reference(what: &str, outcomes: &[Outcome], figure: fn(&Figures) -> Option<f64>) -> Row {
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
fn softirq(what: &str, outcomes: &[Outcome]) -> Row {
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

fn samples(outcomes: &[Outcome], figure: fn(&Figures) -> Option<f64>) -> Vec<f64> {
    figures(outcomes).filter_map(figure).collect()
}

/// The middle one, of two the mean.
fn median(samples: &[f64]) -> Option<f64> {
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
