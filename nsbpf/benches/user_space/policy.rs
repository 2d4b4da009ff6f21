//! Reading a policy and compiling it, over so many rules: what a change of rules takes
//! before the kernel hears of it.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use nsbpf::policy::{Ends, compile};

use crate::bridged;

const NAMESPACES: u16 = 100;

pub(crate) fn bench(criterion: &mut Criterion) {
    let lab = bridged::lab(NAMESPACES);
    let ends = Ends::of_lab(&lab);
    let names: Vec<String> = lab.namespaces.iter().map(|one| one.name.to_string()).collect();
    let mut group = criterion.benchmark_group("policy");
    group.sample_size(10);
    for count in [100, 10_000, 65_536] {
        let source = source(&names, count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("read", count), |bencher| {
            bencher.iter(|| lab.read_policy(black_box(&source), "rules.yaml"));
        });
        let Ok(policy) = lab.read_policy(&source, "rules.yaml") else { panic!("no rules") };
        group.bench_function(BenchmarkId::new("compile", count), |bencher| {
            bencher.iter(|| compile(black_box(&policy), &ends));
        });
    }
    group.finish();
}

/// Rules as people write them: hosts, networks and namespaces to services.
fn source(names: &[String], count: usize) -> String {
    let mut source = "default: deny\nrules:\n".to_owned();
    for number in 0..count {
        let mixed = number.wrapping_mul(0x9e37_79b9);
        let name = |by: usize| names.get((mixed >> by) % names.len()).map_or("any", String::as_str);
        let byte = |by: usize| (mixed >> by) & 0xff;
        let from = match number % 4 {
            0 => format!("10.{}.{}.0/24", byte(8), byte(16)),
            1 => format!("10.{}.{}.{}", byte(8), byte(16), byte(24)),
            2 => name(8).to_owned(),
            _ => "any".to_owned(),
        };
        let to = match number % 5 {
            0 => "any".to_owned(),
            1 => name(20).to_owned(),
            _ => format!("10.{}.{}.{}", byte(12), byte(20), byte(4)),
        };
        let port = number % 1024;
        let _ = writeln!(
            source,
            "- {{ name: r{number}, from: {from}, to: {to}, proto: tcp, ports: {port}-{}, action: allow }}",
            port + number % 3 * 100,
        );
    }
    source
}
