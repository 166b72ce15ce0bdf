//! What ends say to each other in these tests, and the values in it.

use super::super::super::hello::{Features, Hello, Id, Refusal, RefusalCode, Welcome, sample};
use super::super::super::leg::Leg;
use super::super::super::outcome::Status;
use super::super::super::waiting::Patience;
use super::super::super::wire::{Abort, Ack, Fin, Frame, Verdict, WindowEdge};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of every leg here.
pub(super) const LEN: u64 = 1000;
pub(super) const RTT: Duration = Duration::from_millis(10);
/// The instances of the receiving ends: the one that the dialler meets, and the dialler itself.
pub(super) const LISTENER: u8 = 7;
pub(super) const DIALLER: u8 = 9;

pub(super) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn id(n: u8) -> Id {
    Id::new([n; 16])
}

/// This many seconds; zero is for ever.
pub(super) fn patience(seconds: u64) -> Option<Patience> {
    Some(if seconds == 0 { Patience::ForEver } else { Patience::For(secs(seconds)) })
}

pub(super) fn edge(bytes: u64) -> WindowEdge {
    WindowEdge { bytes, legs: 4096 }
}

pub(super) fn welcome(instance: u8, next: u64) -> Welcome {
    let features = Features::NONE;
    Welcome { instance: id(instance), next, edge: edge(1 << 30), leg_max: 2 << 20, features, buffer: 1 << 30 }
}

pub(super) fn refusal(code: RefusalCode) -> Refusal {
    Refusal { code, sentence: format!("{code:?} it says") }
}

pub(super) fn ack(next: u64, count: u64) -> Frame {
    Frame::Ack(Ack { next, delivered: 0, edge: edge(1 << 30), count, blocked_ms: 0 })
}

pub(super) fn verdict(status: Status, bytes: u64) -> Frame {
    Frame::Verdict(Verdict { bytes, crc: None, status, command: None, sentence: "so it is".into() })
}

pub(super) fn abort(status: Status, sentence: &str) -> Frame {
    Frame::Abort(Abort { status, sentence: sentence.into() })
}

pub(super) fn fin(legs: u64) -> Frame {
    Frame::Fin(Fin { legs, bytes: legs * LEN, crc: None })
}

pub(super) fn leg(sequence: u64) -> Leg {
    Leg::new(sequence, sequence * LEN, Arc::new(vec![sequence as u8; LEN as usize]))
}

/// The hello of session 1's connection, at this attempt.
pub(super) fn hello(connection: u8, attempt: u32) -> Hello {
    Hello { session: id(1), connection, attempt, buffer: 32 << 20, ..sample::hello() }
}

pub(super) fn other_session() -> Hello {
    Hello { session: id(2), ..hello(0, 1) }
}

pub(super) fn begun_hello(connection: u8, attempt: u32) -> Hello {
    Hello { begun: true, instance: Some(id(LISTENER)), ..hello(connection, attempt) }
}

pub(super) fn is_fin(frame: &Frame) -> bool {
    matches!(frame, Frame::Fin(_))
}

pub(super) fn is_abort(frame: &Frame) -> bool {
    matches!(frame, Frame::Abort(_))
}

pub(super) fn is_bye(frame: &Frame) -> bool {
    *frame == Frame::Bye
}
