//! Finding the rule for a packet: the classifier that the kernel half is to run, over so
//! many rules, beside looking at one after the other; and making its tables.
//!
//! Rules are as people write them, those that the tests of the tables have too.

#[path = "../../src/policy/compiled/services.rs"]
mod services;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use nsbpf::policy::{Compiled, Kind, Ranked};
use nsbpf_common::policy::{NONE, Subject};

/// Packets that are looked up in turns.
const PACKETS: usize = 256;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classifier");
    for count in [10, 1_000, 10_000, 65_536] {
        let rules = rules(count);
        let compiled = Compiled::new(&rules).expect("tables");
        let packets = packets(&rules);
        for packet in &packets {
            assert_eq!(compiled.find(Kind::V4, packet).condition, walk(&rules, packet));
        }
        group.throughput(Throughput::Elements(PACKETS as u64));
        group.bench_function(BenchmarkId::new("find", count), |bencher| {
            bencher.iter(|| {
                for packet in &packets {
                    black_box(compiled.find(Kind::V4, black_box(packet)));
                }
            });
        });
        if count <= 1_000 {
            group.bench_function(BenchmarkId::new("walk", count), |bencher| {
                bencher.iter(|| {
                    for packet in &packets {
                        black_box(walk(&rules, black_box(packet)));
                    }
                });
            });
        }
        group.throughput(Throughput::Elements(count.into()));
        group.sample_size(10);
        group.bench_function(BenchmarkId::new("compile", count), |bencher| {
            bencher.iter(|| Compiled::new(black_box(&rules)));
        });
    }
    group.finish();
}

/// One after the other.
fn walk(rules: &[Ranked], packet: &Subject) -> u32 {
    let place = rules.iter().position(|rule| rule.condition.holds(packet));
    place.and_then(|place| u32::try_from(place).ok()).unwrap_or(NONE)
}

fn rules(count: u32) -> Vec<Ranked> {
    let ranked = |condition| Ranked { kind: Kind::V4, condition, rare: None };
    services::conditions(count).map(ranked).collect()
}

/// Packets that some rule is about, spread over all of them.
fn packets(rules: &[Ranked]) -> Vec<Subject> {
    let packet = |number: usize| {
        let Ranked { condition, .. } = rules[number * 7919 % rules.len()];
        let mut subject = Subject::default();
        subject.fields = condition.lows;
        subject
    };
    (0..PACKETS).map(packet).collect()
}
