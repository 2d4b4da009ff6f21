//! The report as bars: what each path carries, at one look.

use std::fmt;

use super::Report;
use crate::bench::arrivals::ENDS;
use crate::bench::statistics::Summary;

/// Columns of the longest bar.
const WIDTH: f64 = 40.0;

/// What there is a bar for: a name, a number, and how that is written.
type Bar = (String, f64, String);

/// Bars of one kind, told by their title.
pub(super) struct Chart {
    title: String,
    bars: Vec<Bar>,
}

/// A chart for each thing that paths are compared by.
pub(super) fn of(report: &Report) -> Vec<Chart> {
    let bar = |name: &str, summary: Option<&Summary>, scale: f64, digits: usize| {
        let value = summary?.median * scale;
        Some((name.to_owned(), value, format!("{value:.digits$}")))
    };
    let rates = ENDS.map(|end| {
        let paths = report.paths.iter().filter(|path| path.end == end);
        let bars = paths.filter_map(|path| bar(path.mode, path.pps.as_ref(), 1e-6, 2));
        Chart { title: format!("Mpps, {end}"), bars: bars.collect() }
    });
    let on_one = report.round_trips.iter().filter(|path| path.processors == 1);
    let round_trips = on_one.filter_map(|path| bar(path.mode, path.p50_ns.as_ref(), 1e-3, 1));
    let bulk = report
        .bulk
        .iter()
        .filter_map(|path| bar(path.mode, path.bits_per_second.as_ref(), 1e-9, 1));
    let tcp = [
        Chart {
            title: "TCP round trip, p50, one processor, µs (less is better)".to_owned(),
            bars: round_trips.collect(),
        },
        Chart { title: "TCP in bulk, Gbit/s".to_owned(), bars: bulk.collect() },
    ];
    rates.into_iter().chain(tcp).filter(|chart| !chart.bars.is_empty()).collect()
}

/// Indented, so that it is one block in Markdown too.
impl fmt::Display for Chart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { title, bars } = self;
        let longest = bars.iter().map(|(_, value, _)| *value).fold(f64::MIN_POSITIVE, f64::max);
        let names = bars.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        write!(formatter, "    {title}")?;
        for (name, value, shown) in bars {
            let bar = blocks(value / longest * WIDTH);
            write!(formatter, "\n    {name:<names$} {bar} {shown}")?;
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
        let bar = |name: &str, value: f64| (name.to_owned(), value, format!("{value:.1}"));
        let chart = Chart { title: "x".to_owned(), bars: vec![bar("one", 1.0), bar("four", 4.0)] };
        let text = chart.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "    x");
        assert_eq!(lines[1], format!("    one  {} 1.0", "█".repeat(10)));
        assert_eq!(lines[2], format!("    four {} 4.0", "█".repeat(40)));
        assert_eq!(blocks(1.5), "█▌");
        assert_eq!(blocks(f64::NAN), "");
    }
}
