//! Counters on a screen: redrawn on a terminal, table after table elsewhere, or
//! a JSON object a line.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use crossterm::cursor::MoveToPreviousLine;
use crossterm::queue;
use crossterm::terminal::{self, Clear, ClearType, DisableLineWrap, EnableLineWrap};
use serde::Serialize;

use crate::observe::pings::PingReport;
use crate::observe::stats::{DirectionReport, InterfaceReport};

/// How to show reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: one JSON object a line
    Json,
}

/// All that is shown at one moment.
#[derive(Debug, Serialize)]
pub(super) struct Frame {
    /// The lab.
    pub(super) lab: String,
    /// Since the lab was up, where the command that shows it brought it up.
    #[serde(
        serialize_with = "seconds",
        rename = "elapsed_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) elapsed: Option<Duration>,
    pub(super) interfaces: Vec<InterfaceReport>,
    pub(super) pings: Vec<PingReport>,
}

#[expect(clippy::ref_option, reason = "the shape that serde asks for")]
fn seconds<S: serde::Serializer>(
    elapsed: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let rounded = |elapsed: &Duration| (elapsed.as_secs_f64() * 1000.0).round() / 1000.0;
    elapsed.as_ref().map(rounded).serialize(serializer)
}

/// Reads the time from one frame to the next.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(10) {
        return Err("at least 10ms".to_owned());
    }
    Ok(interval)
}

/// Shows frames on standard output, and what is said besides where it does not
/// disturb them.
pub(super) struct View {
    format: Format,
    redraw: bool,
    drawn_lines: u16,
}

impl View {
    pub(super) fn new(format: Format) -> Self {
        let redraw = format == Format::Table && io::stdout().is_terminal();
        Self { format, redraw, drawn_lines: 0 }
    }

    /// Says a line: on standard output, unless that is for programs.
    pub(super) fn say(&self, line: &str) -> io::Result<()> {
        match self.format {
            Format::Table => writeln!(io::stdout(), "{line}"),
            // What it says besides is no reason to stop for a program.
            Format::Json => {
                let _ = writeln!(io::stderr(), "{line}");
                Ok(())
            }
        }
    }

    /// Shows a frame, in place of the one before where that is possible.
    pub(super) fn show(&mut self, frame: &Frame) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => {
                serde_json::to_writer(&mut out, frame)?;
                writeln!(out)?;
            }
            Format::Table if self.redraw => {
                let text = text(frame, rows_that_fit(frame));
                if self.drawn_lines > 0 {
                    queue!(out, MoveToPreviousLine(self.drawn_lines))?;
                    queue!(out, Clear(ClearType::FromCursorDown))?;
                }
                // A wrapped line would be two, and the next frame off by one.
                queue!(out, DisableLineWrap)?;
                write!(out, "{text}")?;
                queue!(out, EnableLineWrap)?;
                self.drawn_lines = u16::try_from(text.lines().count()).unwrap_or(u16::MAX);
            }
            Format::Table => write!(out, "{}", text(frame, usize::MAX))?,
        }
        out.flush()
    }
}

/// Interfaces that the terminal has room for: a frame that scrolls cannot be
/// redrawn.
fn rows_that_fit(frame: &Frame) -> usize {
    /// Blank lines, the header, what is said below, and the cursor's line.
    const OTHER_LINES: usize = 7;
    const FALLBACK: (u16, u16) = (80, 24);
    let (_, lines) = terminal::size().unwrap_or(FALLBACK);
    usize::from(lines).saturating_sub(OTHER_LINES + frame.pings.len()).max(1)
}

fn text(frame: &Frame, rows: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "INTERFACE",
        "TX PACKETS",
        "BYTES",
        "RATE",
        "RX PACKETS",
        "BYTES",
        "RATE",
        "ARP",
        "IPV4",
        "IPV6",
        "OTHER",
    ]);
    for InterfaceReport { interface, tx, rx } in frame.interfaces.iter().take(rows) {
        let families: [fn(&DirectionReport) -> u64; 4] = [
            |direction| direction.arp.packets,
            |direction| direction.ipv4.packets,
            |direction| direction.ipv6.packets,
            |direction| direction.other.packets,
        ];
        let mut row = vec![interface.clone()];
        for direction in [tx, rx] {
            row.push(direction.total.packets.to_string());
            row.push(bytes(direction.total.bytes));
            row.push(direction.bits_per_second.map_or_else(|| "–".to_owned(), bit_rate));
        }
        row.extend(families.map(|family| format!("{}/{}", family(tx), family(rx))));
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("\n{}\n\n", table.trim_fmt());
    let hidden = frame.interfaces.len().saturating_sub(rows);
    if hidden > 0 {
        let _ = writeln!(text, "(and {hidden} more: a higher terminal shows them)");
    }
    for ping in &frame.pings {
        text.push_str(&ping_line(ping));
        text.push('\n');
    }
    let lab = &frame.lab;
    // Writing to a string does not fail.
    let _ = match frame.elapsed {
        Some(elapsed) => {
            let elapsed = humantime::format_duration(Duration::from_secs(elapsed.as_secs()));
            writeln!(text, "{lab}, up for {elapsed} (tx/rx by family; Ctrl-C takes it down)")
        }
        None => writeln!(text, "{lab} (tx/rx by family)"),
    };
    text
}

/// `vnet0 → vnet1 (10.0.0.2): 0.052 ms; 5 of 5 replies, 0.040 to 0.090 ms`
pub(super) fn ping_line(ping: &PingReport) -> String {
    let PingReport { from, to, target, sent, received, last_us, min_us, mean_us: _, max_us } = ping;
    let last = last_us.map_or_else(|| "no reply".to_owned(), millis);
    let mut line = format!("{from} → {to} ({target}): {last}");
    if let (Some(min), Some(max)) = (min_us, max_us)
        && *sent > 1
    {
        let (min, max) = (millis(*min), millis(*max));
        let _ = write!(line, "; {received} of {sent} replies, {min} to {max}");
    }
    line
}

fn millis(micros: f64) -> String {
    format!("{:.3} ms", micros / 1000.0)
}

/// Bytes in powers of 1,000, as `ip -s -h` shows them.
fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded to three digits")]
    let value = count as f64;
    if count < 1000 { format!("{count} B") } else { scaled(value, "B") }
}

fn bit_rate(bits_per_second: f64) -> String {
    scaled(bits_per_second, "bit/s")
}

fn scaled(mut value: f64, unit: &str) -> String {
    for prefix in ["", "k", "M", "G", "T"] {
        if value < 999.5 {
            let digits = usize::from(value < 99.95) * usize::from(!prefix.is_empty());
            return format!("{value:.digits$} {prefix}{unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.0} P{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_three_digits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1234), "1.2 kB");
        assert_eq!(bytes(123_456), "123 kB");
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(bytes(u64::MAX), "18447 PB");
        assert_eq!(bit_rate(0.0), "0 bit/s");
        assert_eq!(bit_rate(10_400_000_000.0), "10.4 Gbit/s");
    }
}
