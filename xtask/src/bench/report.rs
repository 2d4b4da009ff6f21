//! What was measured, beside what it should be.

mod figures;
mod rows;
mod table;

use serde::Serialize;

use super::environment::Environment;
use super::figure::Figure;
use super::session::Outcome;
use rows::{Row, Rows, median, reference, samples, softirq};

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
    /// What there are targets for.
    figures: Vec<Figure>,
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
            figures: figures::of(&rows),
            rows,
        }
    }
}
