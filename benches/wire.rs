//! What a leg's header and an ack cost to write and to read: both are paid once per leg.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use millipede::proto::wire::{Ack, FRAME_MAX, Frame, LegFlags, LegHeader, WindowEdge, decode};

fn there_and_back(c: &mut Criterion, name: &str, frame: Frame) {
    let mut out = Vec::with_capacity(FRAME_MAX);
    frame.encode(&mut out);
    let bytes = out.clone();
    c.bench_function(&format!("encode {name}"), |b| {
        b.iter(|| {
            out.clear();
            black_box(&frame).encode(&mut out);
            black_box(out.len())
        });
    });
    c.bench_function(&format!("decode {name}"), |b| b.iter(|| decode(black_box(&bytes))));
}

fn frames(c: &mut Criterion) {
    let raw = 2 << 20;
    let flags = LegFlags::CHECKED;
    let leg = LegHeader { sequence: 1000, offset: 1000 << 21, raw, encoded: raw, flags, crc: 0xdead_beef };
    there_and_back(c, "leg", Frame::Leg(leg));
    let edge = WindowEdge { bytes: 1100 << 21, legs: 5000 };
    let ack = Ack { next: 1000, delivered: 1000 << 21, edge, count: 63, blocked_ms: 0 };
    there_and_back(c, "ack", Frame::Ack(ack));
}

criterion_group!(benches, frames);
criterion_main!(benches);
