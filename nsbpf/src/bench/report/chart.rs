//! The report as bars: what each path carries, at one look.

use std::fmt;

use super::{ExperimentReport, PathReport, Report};
use crate::bench::statistics::Summary;
use crate::bench::traffic::Quantity;

/// Columns of the longest bar.
const WIDTH: f64 = 40.0;

/// What there is a bar for.
pub(super) struct Bar {
    pub(super) name: &'static str,
    /// What else there is to say about it.
    pub(super) note: String,
    /// Where the middle of the rounds lies: the median, and the quartiles.
    pub(super) summary: Summary,
}

/// What paths are compared by in an experiment.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) quantity: Quantity,
    pub(super) bars: Vec<Bar>,
}

impl Chart {
    /// A chart of each experiment that paths are compared in.
    pub(super) fn all(report: &Report) -> Vec<Self> {
        report.experiments.iter().filter_map(Self::of).collect()
    }

    fn of(experiment: &ExperimentReport) -> Option<Self> {
        let paths = &experiment.paths;
        let metrics = paths.iter().filter_map(|path| Some((path, path.about(experiment)?)));
        let mut quantity = None;
        let bars: Vec<Bar> = metrics
            .map(|(path, metric)| {
                quantity = Some(metric.quantity);
                let note = match path {
                    PathReport { failed: Some(_), .. } => " (failed)".to_owned(),
                    PathReport { void_rounds: 0, .. } => String::new(),
                    PathReport { void_rounds, .. } => format!(" ({void_rounds} rounds void)"),
                };
                Bar { name: path.mode, note, summary: metric.summary.clone() }
            })
            .collect();
        let quantity = quantity?;
        let less = if quantity.more_is_better() { "" } else { ", less is better" };
        let unit = match quantity.unit() {
            "" => String::new(),
            unit => format!(", {unit}"),
        };
        let title = format!("{}: {}{unit}{less}", experiment.title, experiment.about);
        (bars.len() > 1).then_some(Self { title, quantity, bars })
    }

    /// The largest of its values.
    pub(super) fn longest(&self) -> f64 {
        self.bars.iter().map(|bar| bar.summary.median).fold(f64::MIN_POSITIVE, f64::max)
    }
}

/// Indented, so that it is one block in Markdown too.
impl fmt::Display for Chart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { title, quantity, bars } = self;
        let longest = self.longest();
        let names = bars.iter().map(|bar| bar.name.chars().count()).max().unwrap_or(0);
        write!(formatter, "    {title}")?;
        for Bar { name, note, summary } in bars {
            let blocks = blocks(summary.median / longest * WIDTH);
            let shown = quantity.shown(summary.median);
            write!(formatter, "\n    {name:<names$} {blocks} {shown}{note}")?;
        }
        Ok(())
    }
}

/// A bar of so many columns, to the eighth.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to WIDTH")]
fn blocks(columns: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (columns.clamp(0.0, WIDTH) * 8.0).round() as usize;
    let rest = EIGHTHS.get(eighths % 8).copied().unwrap_or_default();
    format!("{}{rest}", "█".repeat(eighths / 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_numbers() {
        let bar = |name, value: f64| Bar {
            name,
            note: String::new(),
            summary: Summary::of(vec![value]).unwrap(),
        };
        let bars = vec![bar("one", 1e6), bar("four", 4e6)];
        let quantity = Quantity::PacketsPerSecond;
        let text = Chart { title: "x".to_owned(), quantity, bars }.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "    x");
        assert_eq!(lines[1], format!("    one  {} 1.000", "█".repeat(10)));
        assert_eq!(lines[2], format!("    four {} 4.000", "█".repeat(40)));
        assert_eq!(blocks(1.5), "█▌");
        assert_eq!(blocks(f64::NAN), "");
    }
}
