//! The counters of a lab's interfaces as text: a line each, or all that there is.

mod detail;

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::quantity::{bit_rate, bytes};
use super::view::Page;
use crate::observe::pings::PingReport;
use crate::observe::stats::{DirectionReport, InterfaceReport};

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
    /// Whether the text is to tell all that there is.
    #[serde(skip)]
    pub(super) detail: bool,
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

impl Page for Frame {
    fn text(&self, lines: usize) -> String {
        if self.detail { detail::text(&self.interfaces) } else { summary(self, lines) }
    }
}

fn summary(frame: &Frame, lines: usize) -> String {
    /// Blank lines, the header, and what is said below.
    const OTHER_LINES: usize = 6;
    let rows = lines.saturating_sub(OTHER_LINES + frame.pings.len()).max(1);
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
        "DROPPED",
    ]);
    for InterfaceReport { interface, tx, rx } in frame.interfaces.iter().take(rows) {
        let families: [fn(&DirectionReport) -> u64; 5] = [
            |direction| direction.arp.packets,
            |direction| direction.ipv4.packets,
            |direction| direction.ipv6.packets,
            |direction| direction.other.packets,
            |direction| direction.dropped.packets,
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
