//! JSON as programs get it: `stats`, `flows` and `show` with `--format json`, of a lab of
//! 1,000 namespaces, and the schema of labs.
//!
//! `nsbpf stats --watch` writes such a report as often as it is asked to. Reading the
//! kernel is not in it; making the report is, for `show` and the schema.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use nsbpf::lab::schema;
use nsbpf::observe::flows::{EndReport, FlowReport, SentReport};
use nsbpf::observe::stats::{DirectionReport, InterfaceReport, SizeReport, Tally};
use nsbpf::observe::topology::Topology;
use nsbpf_common::packet::protocol::TCP;
use nsbpf_common::stats::{Size, Way};
use nsbpf_common::verdict::Reason;
use serde::Serialize;

use crate::bridged;

const ROWS: u16 = 1000;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("json");
    let stats: Vec<_> = (1..=ROWS).map(interface).collect();
    measure(&mut group, "stats", || &stats);
    let flows: Vec<_> = (1..=ROWS).map(flow).collect();
    measure(&mut group, "flows", || &flows);
    measure(&mut group, "schema", schema);
    let lab = bridged::lab(ROWS);
    let up = bridged::up(&bridged::objects(&lab));
    // Fifty samples of a tenth of a second.
    group.measurement_time(Duration::from_secs(8));
    measure(&mut group, "show", || Topology::new(black_box(&lab.name), black_box(&up)));
    group.finish();
}

/// Measures how long it takes to make a report and to write it to memory.
fn measure<T: Serialize>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    report: impl Fn() -> T,
) {
    let write = |out: &mut Vec<u8>| {
        out.clear();
        serde_json::to_writer(out, black_box(&report())).expect("a report is JSON");
    };
    let mut out = Vec::new();
    write(&mut out);
    group.throughput(Throughput::Bytes(out.len() as u64));
    group.bench_function(name, |bencher| bencher.iter(|| write(&mut out)));
}

fn interface(number: u16) -> InterfaceReport {
    let direction = direction(number);
    InterfaceReport { interface: format!("ns{number}/eth0"), tx: direction.clone(), rx: direction }
}

/// One that has been read before, so that it has rates: they are most of the digits.
fn direction(number: u16) -> DirectionReport {
    let total = tally(number);
    DirectionReport {
        total,
        packets_per_second: Some(f64::from(number) / 3.0),
        bits_per_second: Some(f64::from(number) * 4000.0 / 3.0),
        ipv4: total,
        tcp: total,
        unicast: total,
        sizes: Size::ALL
            .map(|size| SizeReport { octets: size.octets(), packets: total.packets })
            .to_vec(),
        ways: Way::ALL.map(|way| (way.name(), total)).into(),
        drops: Reason::ALL.map(|reason| (reason.name(), Tally::default())).into(),
        last_seen_seconds_ago: Some(f64::from(number) / 7000.0),
        ..DirectionReport::default()
    }
}

fn flow(number: u16) -> FlowReport {
    let sent = SentReport {
        total: tally(number),
        packets_per_second: Some(f64::from(number) / 3.0),
        bits_per_second: Some(f64::from(number) * 4000.0 / 3.0),
    };
    FlowReport {
        protocol: "tcp".to_owned(),
        protocol_number: TCP,
        domain: "br0".to_owned(),
        vlan: None,
        from: end(number, 49152),
        to: end(number + 1, 443),
        icmp: None,
        sent,
        received: sent,
        tcp_state: Some("established"),
        handshake_us: Some(f64::from(number) / 7.0),
        age_seconds: f64::from(number) / 11.0,
        idle_seconds: f64::from(number) / 7000.0,
        settled: true,
    }
}

fn end(number: u16, port: u16) -> EndReport {
    let [high, low] = number.to_be_bytes();
    EndReport {
        address: IpAddr::from([10, 0, high, low]),
        port: Some(port),
        namespace: Some(format!("ns{number}")),
        interface: Some("eth0".to_owned()),
        via: Some(format!("ns{number}/eth0")),
    }
}

fn tally(number: u16) -> Tally {
    let packets = u64::from(number) * 1_000;
    Tally { packets, bytes: packets * 500 }
}
