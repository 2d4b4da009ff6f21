//! Planning a lab of 1,000 namespaces: which objects it is of, and the steps to them from
//! a machine that has none (`create`) and from one that has them all (`unchanged`).
//!
//! The latter is what `nsbpf up` does when there is nothing to do, and again after it did
//! anything, to see whether all is there.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use nsbpf::plan::diff;
use nsbpf::state::State;

use crate::bridged;

pub(crate) fn bench(criterion: &mut Criterion) {
    let lab = bridged::lab(1000);
    let objects = bridged::objects(&lab);
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(objects.len() as u64));
    group.bench_function("desired", |bencher| bencher.iter(|| bridged::objects(black_box(&lab))));
    let (nothing, everything) = (State::default(), bridged::up(&objects));
    for (name, state, steps) in [("create", nothing, objects.len()), ("unchanged", everything, 0)] {
        let plan = diff(&objects, &state).expect("nothing is in its way");
        assert_eq!(plan.len(), steps, "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| diff(black_box(&objects), black_box(&state)));
        });
    }
    group.finish();
}
