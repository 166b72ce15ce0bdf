//! How fast position-determined data is made and checked: it must not be what limits a test of a link.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millipede::prbs::Prbs;
use millipede::proto::leg::LEG_MAX;
use std::hint::black_box;

fn prbs(c: &mut Criterion) {
    let prbs = Prbs::new(1);
    let mut leg = vec![0; LEG_MAX];
    let mut group = c.benchmark_group("prbs");
    group.throughput(Throughput::Bytes(LEG_MAX as u64));
    group.bench_function("fill", |b| b.iter(|| prbs.fill(black_box(1 << 33), &mut leg)));
    prbs.fill(1 << 33, &mut leg);
    group.bench_function("check", |b| b.iter(|| prbs.check(black_box(1 << 33), &leg)));
    leg.pop();
    prbs.fill(3, &mut leg);
    group.bench_function("check at an odd offset", |b| b.iter(|| prbs.check(black_box(3), &leg)));
}

criterion_group!(benches, prbs);
criterion_main!(benches);
