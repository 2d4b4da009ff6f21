//! All that is counted of each interface, a block an interface.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::cli::quantity::{bit_rate, bytes, packet_rate};
use crate::observe::stats::{DirectionReport, InterfaceReport, Tally};

/// A part of the total.
type Part = fn(&DirectionReport) -> Tally;

/// What there is nothing of is left out.
pub(super) fn text(interfaces: &[InterfaceReport]) -> String {
    let mut text = String::new();
    for InterfaceReport { interface, tx, rx } in interfaces {
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{interface}\n{}", block(tx, rx));
    }
    text
}

fn block(tx: &DirectionReport, rx: &DirectionReport) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["", "TX PACKETS", "BYTES", "RX PACKETS", "BYTES"]);
    let mut row = |name: &str, [tx, rx]: [Tally; 2]| {
        if name != "total" && tx.packets + rx.packets == 0 {
            return;
        }
        let [tx_packets, rx_packets] = [tx, rx].map(|tally| tally.packets.to_string());
        table.add_row([
            format!("  {name}"),
            tx_packets,
            bytes(tx.bytes),
            rx_packets,
            bytes(rx.bytes),
        ]);
    };
    row("total", [tx.total, rx.total]);
    let kinds: [(&str, Part); 11] = [
        ("unicast", |one| one.unicast),
        ("multicast", |one| one.multicast),
        ("broadcast", |one| one.broadcast),
        ("ARP", |one| one.arp),
        ("IPv4", |one| one.ipv4),
        ("IPv6", |one| one.ipv6),
        ("other than IP", |one| one.other),
        ("TCP", |one| one.tcp),
        ("UDP", |one| one.udp),
        ("ICMP", |one| one.icmp),
        ("other over IP", |one| one.other_ip),
    ];
    for (name, of) in kinds {
        row(name, [of(tx), of(rx)]);
    }
    for way in tx.ways.keys() {
        let of = |one: &DirectionReport| one.ways.get(way).copied().unwrap_or_default();
        row(&format!("by {way}"), [of(tx), of(rx)]);
    }
    for reason in tx.drops.keys() {
        let of = |one: &DirectionReport| one.drops.get(reason).copied().unwrap_or_default();
        row(&format!("dropped: {reason}"), [of(tx), of(rx)]);
    }
    for (size, rx_size) in tx.sizes.iter().zip(&rx.sizes) {
        if size.packets + rx_size.packets == 0 {
            continue;
        }
        let [tx, rx] = [size, rx_size].map(|size| size.packets.to_string());
        table.add_row([format!("  {} octets", size.octets), tx, String::new(), rx, String::new()]);
    }
    let [tx_seen, rx_seen] = [tx, rx].map(|one| match one.last_seen_seconds_ago {
        Some(ago) => format!("{ago:.1} s ago"),
        None => "never".to_owned(),
    });
    table.add_row(["  last seen".to_owned(), tx_seen, String::new(), rx_seen, String::new()]);
    if tx.packets_per_second.is_some() {
        let packets =
            [tx, rx].map(|one| one.packets_per_second.map_or_else(String::new, packet_rate));
        let bits = [tx, rx].map(|one| one.bits_per_second.map_or_else(String::new, bit_rate));
        let ([tx_packets, rx_packets], [tx_bits, rx_bits]) = (packets, bits);
        table.add_row(["  rate".to_owned(), tx_packets, tx_bits, rx_packets, rx_bits]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
