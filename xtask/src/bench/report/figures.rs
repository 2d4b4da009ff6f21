//! The rows that have a target, in the form that all benchmarks tell figures in.

use super::rows::{Row, Unit};
use crate::bench::figure::{self, Figure, Verdict};

pub(super) fn of(rows: &[Row]) -> Vec<Figure> {
    let mut about = "";
    let mut figures = Vec::new();
    for row in rows {
        // A row with a dot tells more of the last one without: alone it would say nothing.
        let what = if let Some(more) = row.what.strip_prefix("· ") {
            format!("{about}, {more}")
        } else {
            about = &row.what;
            row.what.clone()
        };
        if let Some(must) = row.target {
            figures.push(of_row(what, must, row));
        }
    }
    figures
}

fn of_row(what: String, must: f64, row: &Row) -> Figure {
    let unit = match row.unit {
        Unit::Seconds => figure::Unit::Seconds,
        // A figure's unit also says which way is better.
        Unit::Share => figure::Unit::Multiple,
        Unit::Times => figure::Unit::Share,
        Unit::Bytes => figure::Unit::Bytes,
    };
    let verdict = row.met.map(|met| if met { Verdict::Met } else { Verdict::Missed });
    Figure { what, unit, must, stretch: None, measured: row.median, verdict }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(what: &str, unit: Unit, target: Option<f64>, met: Option<bool>) -> Row {
        Row {
            what: what.to_owned(),
            unit,
            target,
            samples: vec![0.5],
            median: Some(0.5),
            met,
            script_ratio: None,
            batch_ratio: None,
            note: None,
        }
    }

    #[test]
    fn rows_with_a_target_are_figures() {
        let rows = [
            row("up", Unit::Seconds, Some(3.0), Some(true)),
            row("· softirq", Unit::Share, Some(0.1), Some(false)),
            row("· faster", Unit::Times, Some(10.0), None),
            row("script", Unit::Seconds, None, None),
            row("· softirq", Unit::Share, None, None),
            row("memory", Unit::Bytes, Some(100e6), Some(true)),
        ];
        let figures = of(&rows);
        let told: Vec<_> =
            figures.iter().map(|it| (it.what.as_str(), it.unit, it.verdict)).collect();
        assert_eq!(
            told,
            [
                ("up", figure::Unit::Seconds, Some(Verdict::Met)),
                ("up, softirq", figure::Unit::Multiple, Some(Verdict::Missed)),
                ("up, faster", figure::Unit::Share, None),
                ("memory", figure::Unit::Bytes, Some(Verdict::Met)),
            ]
        );
    }
}
