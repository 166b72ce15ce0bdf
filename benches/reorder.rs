//! What putting a leg in its place costs, in order and out of it.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use millipede::proto::leg::Leg;
use millipede::proto::receiver::Receiver;
use std::hint::black_box;
use std::sync::Arc;

const LEGS: u64 = 512;
const LEN: u64 = 1000;

fn legs(order: impl Iterator<Item = u64>) -> Vec<Leg> {
    let payload: millipede::proto::leg::Payload = Arc::new(vec![0; LEN as usize]);
    order.map(|sequence| Leg::new(sequence, sequence * LEN, payload.clone())).collect()
}

fn receive(legs: Vec<Leg>) -> u64 {
    let mut receiver = Receiver::new(LEGS * LEN);
    for leg in legs {
        let _ = black_box(receiver.leg(leg));
        while let Some(leg) = receiver.next_ready() {
            receiver.delivered(1, leg.len());
        }
    }
    assert_eq!(receiver.delivered_bytes(), LEGS * LEN);
    receiver.next()
}

fn reorder(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("{LEGS} legs"));
    let in_order = legs(0..LEGS);
    group.bench_function("in order", |b| b.iter_batched(|| in_order.clone(), receive, BatchSize::SmallInput));
    // sixteen connections, each a little ahead of or behind the others
    let sprayed =
        legs((0..LEGS / 16).flat_map(|round| (0..16).map(move |i| round * 16 + (i * 7 + round) % 16)));
    group.bench_function("sprayed", |b| b.iter_batched(|| sprayed.clone(), receive, BatchSize::SmallInput));
    // the head comes last: the worst case
    let reversed = legs((0..LEGS).rev());
    group.bench_function("reversed", |b| b.iter_batched(|| reversed.clone(), receive, BatchSize::SmallInput));
    group.finish();
}

criterion_group!(benches, reorder);
criterion_main!(benches);
