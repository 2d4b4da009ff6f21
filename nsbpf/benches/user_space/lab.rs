//! Reading a lab: YAML, names and addresses, and what goes with what.
//!
//! Every command that takes a lab file begins with it. From ten namespaces to a thousand
//! the time for a byte should not grow: a check of all with all would show.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use nsbpf::lab::Lab;

use crate::bridged;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lab_parse");
    for namespaces in [10, 1000] {
        let source = bridged::source(namespaces);
        group.throughput(Throughput::Bytes(source.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(namespaces), |bencher| {
            bencher.iter(|| Lab::parse(black_box(&source), "bridged.yaml"));
        });
    }
    group.finish();
}
