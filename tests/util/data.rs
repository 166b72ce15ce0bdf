//! Bytes that know their own position: any piece of the stream can be checked anywhere, and a wrong byte is named
//! by its offset.

use super::wait::{DEADLINE, Shared, eventually};
use millipede::prbs::Prbs;
use std::io::{self, Read, Write};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The pattern's unit: pseudorandom bytes that begin with the unit's own number.
const UNIT: usize = 64 << 10;

/// Unit `index` of the pattern. Made and compared at memcpy's speed even without optimisation.
fn unit(index: u64) -> Vec<u8> {
    static BODY: OnceLock<Vec<u8>> = OnceLock::new();
    let mut bytes = BODY
        .get_or_init(|| {
            let mut body = vec![0; UNIT];
            Prbs::new(0x6d6c).fill(0, &mut body);
            body
        })
        .clone();
    bytes[..8].copy_from_slice(&index.to_be_bytes());
    bytes
}

/// The pattern's bytes from `offset` on.
pub fn pattern(offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + UNIT);
    let skip = (offset % UNIT as u64) as usize;
    for index in offset / UNIT as u64.. {
        bytes.extend_from_slice(&unit(index)[if bytes.is_empty() { skip } else { 0 }..]);
        if bytes.len() >= len {
            bytes.truncate(len);
            return bytes;
        }
    }
    unreachable!("offsets do not end")
}

/// Writes `bytes` of the pattern from `offset` on.
pub fn feed(sink: &mut impl Write, offset: u64, bytes: u64) -> io::Result<()> {
    let (mut at, end) = (offset, offset + bytes);
    while at < end {
        let piece = pattern(at, (end - at).min(16 * UNIT as u64) as usize);
        sink.write_all(&piece)?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// Panics unless these are the pattern's bytes from `offset` on; names the first wrong one.
#[track_caller]
pub fn check(offset: u64, bytes: &[u8]) {
    let right = pattern(offset, bytes.len());
    if right != bytes {
        let at = right.iter().zip(bytes).position(|(a, b)| a != b).unwrap();
        panic!("byte {} is {:#04x}, not {:#04x}", offset + at as u64, bytes[at], right[at]);
    }
}

/// Reads an output to its end in the background, and checks it against the pattern.
pub struct Collector {
    thread: JoinHandle<u64>,
    came: Arc<Shared<Came>>,
}

#[derive(Default)]
struct Came {
    bytes: u64,
    last: Option<Instant>,
    longest_gap: Duration,
}

impl Collector {
    /// Of this output.
    pub fn of(mut output: impl Read + Send + 'static) -> Collector {
        let came = Arc::new(Shared::<Came>::default());
        let counter = came.clone();
        let thread = thread::spawn(move || {
            let (mut at, mut chunk) = (0, vec![0; 16 * UNIT]);
            loop {
                let n = output.read(&mut chunk).unwrap();
                if n == 0 {
                    return at;
                }
                check(at, &chunk[..n]);
                at += n as u64;
                counter.change(|came| {
                    let now = Instant::now();
                    let gap = came.last.map_or(Duration::ZERO, |last| now - last);
                    *came = Came { bytes: at, last: Some(now), longest_gap: came.longest_gap.max(gap) };
                });
            }
        });
        Collector { thread, came }
    }

    /// Waits until so many bytes have come.
    pub fn await_bytes(&self, bytes: u64) {
        self.came.wait(DEADLINE, |came| came.bytes >= bytes || self.thread.is_finished());
        let came = self.bytes();
        assert!(came >= bytes, "{came} of {bytes} bytes have come");
    }

    /// Bytes that have come so far.
    pub fn bytes(&self) -> u64 {
        self.came.lock().bytes
    }

    /// The longest time between two pieces that came.
    pub fn longest_gap(&self) -> Duration {
        self.came.lock().longest_gap
    }

    /// Waits for the end of the output; how many bytes came. Panics if one was wrong.
    pub fn join(self) -> u64 {
        let ended = eventually(DEADLINE, || self.thread.is_finished());
        assert!(ended, "the output has not ended after {} bytes", self.bytes());
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
