//! Flows as a table, of which there may be a million: its rows are made twice, once for
//! their widths and once to be shown, and not kept.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cli::quantity::{bit_rate, bytes, duration};
use crate::observe::flows::{EndReport, FlowReport, FlowsReport, IcmpReport, SentReport};

const HEADER: [&str; 13] = [
    "PROTO", "FROM", "TO", "BRIDGE", "SENT", "BYTES", "RECEIVED", "BYTES", "RATE", "STATE", "RTT",
    "AGE", "IDLE",
];

/// Columns that are no numbers.
const WORDS: [usize; 5] = [0, 1, 2, 3, 9];

/// The table in so many lines at most.
pub(super) fn text(lab: &str, report: &FlowsReport<'_>, lines: usize) -> String {
    /// Blank lines, the header, and what is said below.
    const OTHER_LINES: usize = 7;
    let rows = lines.saturating_sub(OTHER_LINES).max(1);
    let wanted = report.flows().len();
    let shown = wanted.min(rows);
    let mut text = table(|| report.flows().take(shown));
    // Writing to a string does not fail.
    let hidden = usize::try_from(report.matching).unwrap_or(usize::MAX).saturating_sub(shown);
    if hidden > 0 {
        let what = if shown < wanted { "a higher terminal" } else { "`--all`, or `--limit`," };
        let _ = writeln!(text, "(and {hidden} more: {what} shows them)");
    }
    let FlowsReport { there, room, begun, settled, failed_packets, gone, .. } = report;
    let _ = writeln!(
        text,
        "{lab}: {} settled flows of {} that there is room for, {} new ones of {}",
        there.settled, room.settled, there.new, room.new,
    );
    let _ = writeln!(
        text,
        "{begun} ever began and {settled} settled; {gone} are gone, evicted by others; {failed_packets} packets found no room",
    );
    text
}

fn table<I: Iterator<Item = FlowReport>>(flows: impl Fn() -> I) -> String {
    let mut widths = HEADER.map(str::len);
    for row in flows().map(|flow| row(&flow)) {
        for (width, cell) in widths.iter_mut().zip(&row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = "\n".to_owned();
    for row in [HEADER.map(str::to_owned)].into_iter().chain(flows().map(|flow| row(&flow))) {
        let mut line = String::new();
        for (place, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Writing to a string does not fail.
            let _ = if WORDS.contains(&place) {
                write!(line, " {cell:<width$} ")
            } else {
                write!(line, " {cell:>width$} ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
    text
}

fn row(flow: &FlowReport) -> [String; 13] {
    let FlowReport { protocol, domain, vlan, from, to, icmp, sent, received, .. } = flow;
    let none = || "–".to_owned();
    let protocol = match icmp {
        Some(IcmpReport::Echo { echo_id }) => format!("{protocol} echo {echo_id}"),
        Some(IcmpReport::Message { r#type, code }) => format!("{protocol} {type}/{code}"),
        None => protocol.clone(),
    };
    let domain = vlan.map_or_else(|| domain.clone(), |vlan| format!("{domain} vlan {vlan}"));
    let state = match flow.tcp_state {
        Some(state) => state.to_owned(),
        None if flow.settled => none(),
        None => "new".to_owned(),
    };
    [
        protocol,
        end(from),
        end(to),
        domain,
        sent.total.packets.to_string(),
        bytes(sent.total.bytes),
        received.total.packets.to_string(),
        bytes(received.total.bytes),
        both_ways(sent, received).map_or_else(none, bit_rate),
        state,
        flow.handshake_us.map_or_else(none, |micros| format!("{:.3} ms", micros / 1000.0)),
        duration(Duration::from_secs_f64(flow.age_seconds)),
        duration(Duration::from_secs_f64(flow.idle_seconds)),
    ]
}

fn both_ways(sent: &SentReport, received: &SentReport) -> Option<f64> {
    Some(sent.bits_per_second? + received.bits_per_second?)
}

/// `10.2.0.1:80 right`, or `10.2.0.1:80 right via router` where that is not its own.
fn end(end: &EndReport) -> String {
    let EndReport { address, port, namespace, interface, via } = end;
    let mut text = match port {
        Some(port) if address.is_ipv6() => format!("[{address}]:{port}"),
        Some(port) => format!("{address}:{port}"),
        None => address.to_string(),
    };
    // A bridge of the host is in no namespace.
    let owner = namespace.as_ref().or(interface.as_ref());
    let via = via.as_ref().map(|via| via.split_once('/').map_or(via.as_str(), |(name, _)| name));
    if let Some(owner) = owner {
        let _ = write!(text, " {owner}");
    }
    if let Some(via) = via.filter(|via| owner.is_none_or(|owner| owner != via)) {
        let _ = write!(text, " via {via}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_named_by_whose_it_is() {
        let owned = |text: &str| Some(text.to_owned());
        let mut one = EndReport {
            address: "10.0.0.1".parse().unwrap(),
            port: Some(80),
            namespace: owned("a"),
            interface: owned("a/eth0"),
            via: owned("a/eth0"),
        };
        assert_eq!(end(&one), "10.0.0.1:80 a");
        one.via = owned("router/left");
        assert_eq!(end(&one), "10.0.0.1:80 a via router");
        (one.namespace, one.interface) = (None, None);
        assert_eq!(end(&one), "10.0.0.1:80 via router");
        (one.interface, one.via) = (owned("br0"), None);
        assert_eq!(end(&one), "10.0.0.1:80 br0");
        (one.address, one.port) = ("fd00::1".parse().unwrap(), None);
        assert_eq!(end(&one), "fd00::1 br0");
        one.port = Some(80);
        assert_eq!(end(&one), "[fd00::1]:80 br0");
    }
}
