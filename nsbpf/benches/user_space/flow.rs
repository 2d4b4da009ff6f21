//! The key of the flow that a packet is of, and which of its ends sent it: what is done
//! before any map is asked.
//!
//! Plain packets are looked at without being parsed (`unparsed`), others afterwards
//! (`parsed`, the parser included). Both ways of a connection take turns, because only
//! one of them has its ends swapped.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use nsbpf_common::flow::FlowPacket;
use nsbpf_common::packet::Headers;

use crate::frames;

/// The bridge's number.
const DOMAIN: u16 = 1;
const NO_VLAN: u16 = 0;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow_key");
    group.throughput(Throughput::Elements(2));
    for (family, frames) in
        [("ipv4_tcp", frames::ipv4_tcp_both_ways()), ("ipv6_tcp", frames::ipv6_tcp_both_ways())]
    {
        measure(&mut group, &format!("{family}_unparsed"), &frames, unparsed);
        measure(&mut group, &format!("{family}_parsed"), &frames, parsed);
    }
    group.finish();
}

/// One value takes all packets, as in the kernel half: returning it would copy it.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    frames: &[Vec<u8>; 2],
    look: impl Fn(&mut FlowPacket, &[u8]),
) {
    let [one, other] = frames.each_ref().map(|frame| {
        let mut packet = FlowPacket::default();
        look(&mut packet, frame);
        packet
    });
    assert!(one.has_flow() && one.key == other.key, "{name}");
    assert_ne!(one.direction, other.direction, "{name}");
    let mut packet = FlowPacket::default();
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            for frame in frames {
                look(&mut packet, black_box(frame));
                black_box(&packet);
            }
        });
    });
}

fn unparsed(packet: &mut FlowPacket, frame: &[u8]) {
    assert!(packet.look_first(frame));
    packet.settle(DOMAIN, NO_VLAN);
}

fn parsed(packet: &mut FlowPacket, frame: &[u8]) {
    let mut headers = Headers::EMPTY;
    headers.parse_network(frame);
    packet.look(frame, &headers, false);
    packet.settle(DOMAIN, NO_VLAN);
}
