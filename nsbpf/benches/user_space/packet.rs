//! The packet parser, over what it meets and over what is made to keep it busy.
//!
//! The kernel half compiles the same code for every packet that is no plain one. Here it
//! reads slices, so what counts is how these frames compare, and whether one of them
//! takes longer than before.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use nsbpf_common::packet::Headers;
use nsbpf_common::packet::protocol::{TCP, UDP, UNKNOWN};

use crate::frames;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packet_parser");
    group.throughput(Throughput::Elements(1));
    for (name, frame, protocol) in [
        ("ipv4_udp", frames::ipv4_udp(), UDP),
        ("ipv6_extension_udp", frames::ipv6_extension_udp(), UDP),
        ("vlan_ipv4_tcp", frames::vlan_ipv4_tcp(), TCP),
        ("ipv4_fragment", frames::ipv4_fragment(), UDP),
        ("truncated", frames::truncated(), UNKNOWN),
    ] {
        let mut headers = Headers::EMPTY;
        headers.parse(frame.as_slice());
        assert_eq!(headers.protocol, protocol, "{name}");
        assert_eq!(headers.source_port != 0, protocol != UNKNOWN, "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                headers.parse(black_box(frame.as_slice()));
                black_box(&headers);
            });
        });
    }
    group.finish();
}
