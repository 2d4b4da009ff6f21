//! How the cost of a packet grows with what there is more of: flows, bytes, ports.

use super::{ExperimentReport, PathReport, Report, table};
use crate::bench::experiment::Settings;
use crate::bench::traffic::Quantity;

/// What experiments differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dimension {
    Flows,
    Bytes,
    Ports,
}

impl Dimension {
    const ALL: [Self; 3] = [Self::Flows, Self::Bytes, Self::Ports];

    fn name(self) -> &'static str {
        match self {
            Self::Flows => "flows",
            Self::Bytes => "bytes",
            Self::Ports => "ports",
        }
    }

    /// Its value in an experiment, and all else that there is in that one.
    fn split(self, settings: &Settings) -> (u32, Settings) {
        let mut rest = settings.clone();
        let value = match self {
            Self::Flows => rest.flows.take().unwrap_or_default(),
            Self::Bytes => {
                // Those that are longer need it larger.
                rest.mtu = 0;
                rest.frame_bytes.take().unwrap_or_default().into()
            }
            Self::Ports => std::mem::take(&mut rest.ports).into(),
        };
        (value, rest)
    }
}

/// Tables of nanoseconds a frame, one for each thing that frames to an end have more than
/// one of: a line for each number of it, a column for each path, beside it how many times
/// as long as with the fewest.
pub(super) fn tables(report: &Report) -> Vec<String> {
    let of_frames: Vec<&ExperimentReport> =
        report.experiments.iter().filter(|experiment| experiment.settings.end.is_some()).collect();
    let mut tables = Vec::new();
    for dimension in Dimension::ALL {
        let mut seen: Vec<Settings> = Vec::new();
        for experiment in &of_frames {
            let (_, rest) = dimension.split(&experiment.settings);
            if seen.contains(&rest) {
                continue;
            }
            let mut alike: Vec<(u32, &ExperimentReport)> = of_frames
                .iter()
                .map(|other| (dimension.split(&other.settings), *other))
                .filter(|((_, others), _)| *others == rest)
                .map(|((value, _), other)| (value, other))
                .collect();
            alike.sort_by_key(|(value, _)| *value);
            if alike.len() > 1 {
                tables.push(render(dimension, &rest, &alike));
            }
            seen.push(rest);
        }
    }
    tables
}

fn render(dimension: Dimension, rest: &Settings, alike: &[(u32, &ExperimentReport)]) -> String {
    let is_in_all = |mode: &&'static str| alike.iter().all(|(_, of)| ns(of, mode).is_some());
    let modes = alike.iter().flat_map(|(_, of)| of.paths.iter().map(|path| path.mode));
    let mut unique: Vec<&'static str> = Vec::new();
    for mode in modes.filter(is_in_all) {
        if !unique.contains(&mode) {
            unique.push(mode);
        }
    }
    let end = rest.end.map(|end| end.to_string()).unwrap_or_default();
    let head = format!("ns a frame to the {end}, by {}", dimension.name());
    let columns = unique.iter().flat_map(|mode| [*mode, ""]);
    let header: Vec<&str> = [head.as_str()].into_iter().chain(columns).collect();
    let mut table = table(&header);
    for (value, of) in alike {
        let mut row = vec![value.to_string()];
        for mode in &unique {
            let here = ns(of, mode).unwrap_or_default();
            let least = alike.first().and_then(|(_, of)| ns(of, mode)).unwrap_or(here);
            row.extend([format!("{here:.0}"), format!("×{:.2}", here / least)]);
        }
        table.add_row(row);
    }
    table.to_string()
}

/// Nanoseconds between two frames of a path.
fn ns(of: &ExperimentReport, mode: &str) -> Option<f64> {
    let path: &PathReport = of.paths.iter().find(|path| path.mode == mode)?;
    let about = path.about(of)?;
    (about.quantity == Quantity::PacketsPerSecond).then(|| 1e9 / about.summary.median)
}
