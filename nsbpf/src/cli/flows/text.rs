//! Flows as a table.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::cli::quantity::{bit_rate, bytes, duration};
use crate::observe::flows::{EndReport, FlowReport, FlowsReport, IcmpReport, SentReport};

const HEADER: [&str; 13] = [
    "PROTO", "FROM", "TO", "BRIDGE", "SENT", "BYTES", "RECEIVED", "BYTES", "RATE", "STATE", "RTT",
    "AGE", "IDLE",
];

/// The table in so many lines at most.
pub(super) fn text(lab: &str, report: &FlowsReport<'_>, lines: usize) -> String {
    /// Blank lines, the header, and what is said below.
    const OTHER_LINES: usize = 7;
    let rows = lines.saturating_sub(OTHER_LINES).max(1);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(HEADER);
    let flows = report.flows();
    let shown = flows.len().min(rows);
    let wanted = flows.len();
    for flow in flows.take(rows) {
        table.add_row(row(&flow));
    }
    for (column, name) in table.column_iter_mut().zip(HEADER) {
        if !["PROTO", "FROM", "TO", "BRIDGE", "STATE"].contains(&name) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!("\n{}\n\n", table.trim_fmt());
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
