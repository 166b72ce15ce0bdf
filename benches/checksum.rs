//! How fast legs are checked, and the stream's CRC-32 combined from theirs.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millipede::proto::leg::LEG_MAX;
use millipede::stage;
use std::hint::black_box;

fn checksum(c: &mut Criterion) {
    let leg = vec![0x5a; LEG_MAX];
    let mut group = c.benchmark_group("checksum");
    group.throughput(Throughput::Bytes(LEG_MAX as u64));
    group.bench_function("a leg of 2 MiB", |b| b.iter(|| stage::checksum(black_box(&leg))));
    group.finish();
    let crc = stage::checksum(&leg);
    c.bench_function("combine a leg's", |b| {
        b.iter(|| {
            let mut stream = crc32fast::Hasher::new_with_initial_len(black_box(crc), LEG_MAX as u64);
            stream.combine(&crc32fast::Hasher::new_with_initial_len(black_box(crc), LEG_MAX as u64));
            stream.finalize()
        });
    });
}

criterion_group!(benches, checksum);
criterion_main!(benches);
