//! Compresses the legs that go out, in the threads of their connections.
//!
//! ```text
//!  leg ─▶ which level? ─▶ wait for an encoder ─▶ worth while? ─▶ compress ─▶ measure ─▶ judge the level
//!           └ none ─────────────────────────────────┴ no ─▶ the leg as it is
//! ```
//!
//! As many legs are compressed at once as there are cores, each with one of the [`Encoders`]; more would only take
//! turns. What always holds: encoders and compressed legs stay within [`Compressing::reserve`], which is a part of
//! `buffer`. A leg for which there is no memory goes out as it is, so that nothing waits for memory here. A leg that is
//! sent again is compressed again.

use super::encoders::Encoders;
use super::pool::{Buffer, Pool};
use crate::plan::Compress;
use crate::proto::leg::{Leg, encoded_max};
use crate::proto::wire::LegHeader;
use crate::report::Compressed;
use crate::stage::adapt::{Adaptive, Interval, Look, RUNGS};
use crate::stage::compress::{Encoder, worth};
use crate::stage::{COMPRESSED, TRAILER, encoded, plain};
use crate::sync::Unpoisoned;
use crate::sys::cpu::{idle_time, thread_time};
use mio::Waker;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Compressing takes this part of `buffer`: half of that for encoders, half for compressed legs.
const SHARE: u64 = 4;

/// The bytes of a leg that are compressed to see whether that pays.
const PIECE: usize = 64 << 10;

/// How often it is asked at most whether an interval is over.
const ASK: Duration = Duration::from_millis(50);

/// What the level follows, beside what is measured here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Path {
    /// The time that the stream has waited for the network, in all.
    pub(crate) network: Duration,
    /// The round trip of the connection.
    pub(crate) round_trip: Duration,
}

/// The compressing of one stream.
pub(crate) struct Compressing {
    /// The level that the user wants; None for one that adapts.
    fixed: Option<i32>,
    /// For encoders and compressed legs.
    pool: Pool,
    encoders: Encoders,
    state: Mutex<State>,
}

struct State {
    level: Adaptive,
    /// Of the interval under way: its beginning, and the totals as they were then.
    since: Instant,
    network: Duration,
    idle: Option<Duration>,
    so_far: Interval,
    asked: Instant,
    /// Legs until the next look.
    to_look: u64,
    totals: Compressed,
}

/// What is to be done with a leg.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    level: Option<i32>,
    /// The level that a look compares with that one.
    look: Option<i32>,
}

impl Wish {
    /// Whether the leg's bytes must be in memory.
    pub(crate) fn sees_bytes(self) -> bool {
        self.level.is_some() || self.look.is_some()
    }
}

/// What became of a leg.
struct Done {
    header: LegHeader,
    payload: Leg,
    wall: Duration,
    cpu: Duration,
    looks: Option<(Look, Look)>,
}

impl Compressing {
    /// For a stream with this much memory in all.
    ///
    /// # Errors
    /// There is no memory for an encoder.
    pub(crate) fn new(compress: Compress, buffer: u64) -> io::Result<Arc<Self>> {
        let fixed = match compress {
            Compress::Level(level) => Some(level),
            Compress::Adaptive => None,
        };
        let strongest = fixed.or(RUNGS[RUNGS.len() - 1]).unwrap_or_default();
        let budget = Self::reserve(buffer) / 2;
        let pool = Pool::new(Self::reserve(buffer));
        let encoders = Encoders::new(strongest, encoded_max(buffer, buffer), pool.clone(), budget)?;
        let now = Instant::now();
        let state = State {
            level: Adaptive::new(),
            since: now,
            network: Duration::ZERO,
            idle: idle_time(),
            so_far: Interval::default(),
            asked: now,
            to_look: 0,
            totals: Compressed { level: fixed, ..Compressed::default() },
        };
        Ok(Arc::new(Compressing { fixed, pool, encoders, state: Mutex::new(state) }))
    }

    /// Bytes of this much memory that are not for legs as they are in the stream.
    pub(crate) fn reserve(buffer: u64) -> u64 {
        buffer / SHARE
    }

    /// Bytes in use.
    pub(crate) fn held(&self) -> u64 {
        self.pool.in_use()
    }

    /// How it goes, for a report.
    pub(crate) fn report(&self) -> Compressed {
        self.state.lock().unpoisoned().totals
    }

    /// Whether a connection may ask for a leg now. If not, it is woken when it may.
    pub(crate) fn admit(&self, connection: usize, waker: &Arc<Waker>) -> bool {
        !self.compresses() || self.encoders.admit(connection, waker)
    }

    /// A connection has ended.
    pub(crate) fn leave(&self, connection: usize) {
        self.encoders.leave(connection);
    }

    /// Whether legs are compressed at present, and not only looked at now and then.
    pub(crate) fn compresses(&self) -> bool {
        self.fixed.is_some() || self.state.lock().unpoisoned().level.level().is_some()
    }

    /// A leg as it is to be sent, and its header, by a wish for this leg; `crc` is there if legs are checked. May wait for
    /// other legs to be compressed, but for nothing else.
    pub(crate) fn encode(&self, wish: Wish, leg: Leg, crc: Option<u32>) -> (LegHeader, Leg) {
        let done = if wish.sees_bytes() {
            self.encoders.with(|encoder| self.work(encoder, wish, &leg, crc))
        } else {
            None
        };
        let done = done.unwrap_or_else(|| {
            let (header, payload) = (plain(&leg, crc), leg);
            Done { header, payload, wall: Duration::ZERO, cpu: Duration::ZERO, looks: None }
        });
        self.state.lock().unpoisoned().count(wish.level, &done);
        (done.header, done.payload)
    }

    /// Judges the level, if it is time; `path` is asked for what is known elsewhere.
    pub(crate) fn judge(&self, path: impl FnOnce() -> Option<Path>) {
        if self.fixed.is_some() {
            return;
        }
        let now = Instant::now();
        let mut state = self.state.lock().unpoisoned();
        if now.saturating_duration_since(state.asked) < ASK {
            return;
        }
        state.asked = now;
        // no lock is held while another one is taken
        drop(state);
        if let Some(path) = path() {
            self.state.lock().unpoisoned().judge(now, path, self.encoders.most());
        }
    }

    /// What is to be done with the next leg; to be asked once for each.
    pub(crate) fn wish(&self) -> Wish {
        if self.fixed.is_some() {
            return Wish { level: self.fixed, look: None };
        }
        let mut state = self.state.lock().unpoisoned();
        let look = state.level.looks().and_then(|(next, every)| {
            state.to_look = state.to_look.min(every).saturating_sub(1);
            (state.to_look == 0).then(|| {
                state.to_look = every;
                next
            })
        });
        Wish { level: state.level.level(), look }
    }

    fn work(&self, encoder: &mut Encoder, wish: Wish, leg: &Leg, crc: Option<u32>) -> Done {
        let (begun, cpu) = (Instant::now(), thread_time());
        let worth_while = encoder.is_worth_while(leg.bytes());
        let level = wish.level.filter(|_| worth_while);
        let compressed = level.and_then(|level| self.compress(encoder, level, leg, crc));
        let (wall, cpu) = (begun.elapsed(), thread_time().saturating_sub(cpu));
        let looks = wish.look.and_then(|next| self.look(encoder, wish.level, next, leg, worth_while));
        let (header, payload) = compressed.unwrap_or_else(|| (plain(leg, crc), leg.clone()));
        Done { header, payload, wall, cpu, looks }
    }

    fn compress(
        &self,
        encoder: &mut Encoder,
        level: i32,
        leg: &Leg,
        crc: Option<u32>,
    ) -> Option<(LegHeader, Leg)> {
        let (trailer, bytes) = (crc.map_or(0, |_| TRAILER), leg.bytes());
        let most = worth(bytes.len()).checked_sub(trailer).filter(|most| *most > 0)?;
        let mut buffer: Buffer = self.pool.try_take(most + trailer)?;
        let len = encoder.encode(level, bytes, &mut buffer.space()[..most])?;
        let header = encoded(leg, COMPRESSED, buffer.space(), len, crc);
        let buffer = self.pool.shrink(buffer, header.encoded as usize);
        Some((header, Leg { payload: Arc::new(buffer), ..leg.clone() }))
    }

    /// Compresses a piece of a leg with the level in use and with the next one.
    fn look(
        &self,
        encoder: &mut Encoder,
        here: Option<i32>,
        next: i32,
        leg: &Leg,
        worth_while: bool,
    ) -> Option<(Look, Look)> {
        let len = leg.bytes().len().min(PIECE);
        let start = (leg.offset % (leg.len() - len as u64 + 1)) as usize;
        let piece = &leg.bytes()[start..start + len];
        let as_it_is = Look { raw: len as u64, encoded: len as u64, cpu: Duration::ZERO };
        if !worth_while {
            return Some((as_it_is, as_it_is));
        }
        let mut space = self.pool.try_take(len)?;
        let mut look = |level| {
            let before = thread_time();
            let size = encoder.encode(level, piece, space.space()).unwrap_or(len);
            Look { encoded: size as u64, cpu: thread_time().saturating_sub(before), ..as_it_is }
        };
        Some((here.map_or(as_it_is, &mut look), look(next)))
    }
}

impl State {
    fn count(&mut self, level: Option<i32>, done: &Done) {
        let LegHeader { raw, encoded, .. } = done.header;
        let (raw, sent) = (u64::from(raw), u64::from(encoded));
        self.so_far.legs += 1;
        self.so_far.raw += raw;
        self.so_far.sent += sent;
        self.so_far.encoding += done.wall;
        self.so_far.cpu += done.cpu;
        self.totals.raw += raw;
        self.totals.sent += sent;
        self.totals.as_it_is += if done.header.is_encoded() { 0 } else { raw };
        self.totals.level = level;
        if let Some((here, next)) = done.looks {
            self.level.looked(here, next);
        }
    }

    fn judge(&mut self, now: Instant, path: Path, encoders: usize) {
        let idle = idle_time();
        let time = now.saturating_duration_since(self.since);
        let rested = idle.zip(self.idle).map(|(now, then)| now.saturating_sub(then));
        let interval = Interval {
            time,
            network: path.network.saturating_sub(self.network).min(time),
            encoders,
            idle: rested.map(|rested| rested.as_secs_f64() / time.as_secs_f64().max(0.001)),
            ..self.so_far
        };
        if self.level.is_due(&interval, path.round_trip) {
            self.level.judge(now, &interval);
            (self.since, self.network, self.idle) = (now, path.network, idle);
            self.so_far = Interval::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::compress::Decoder;
    use crate::stage::{opened, verify};

    fn leg(len: usize, step: u64) -> Leg {
        let bytes: Vec<u8> = (0..len as u64).map(|i| ((i / 7 * step) >> 3) as u8 & 0x3f).collect();
        Leg::new(3, 1000, Arc::new(bytes))
    }

    fn mixed(i: u64) -> u64 {
        let one = (i ^ (i >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (one ^ (one >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    }

    fn noise(len: usize) -> Leg {
        let bytes: Vec<u8> = (1..=len as u64).map(|i| (mixed(i) >> 32) as u8).collect();
        Leg::new(4, 0, Arc::new(bytes))
    }

    #[test]
    fn a_compressed_leg_opens_to_what_it_was() {
        for buffer in [4 << 20, 128 << 20] {
            for level in [1, 3, 9, 19] {
                let compressing = Compressing::new(Compress::Level(level), buffer).unwrap();
                for crc in [false, true] {
                    let leg = leg(encoded_max(buffer, buffer), 5);
                    let crc = crc.then(|| crate::stage::checksum(leg.bytes()));
                    let (header, payload) = compressing.encode(compressing.wish(), leg.clone(), crc);
                    assert!(header.is_encoded() && header.encoded < header.raw / 2);
                    assert_eq!(verify(&header, payload.bytes()), Ok(Some(header.crc)));
                    let (frame, said) = opened(&header, payload.bytes());
                    let mut back = vec![0; header.raw as usize];
                    Decoder::new().unwrap().decode(frame, &mut back).unwrap();
                    assert!(back == leg.bytes());
                    assert_eq!(said, crc);
                }
                let held = compressing.held();
                assert!(held <= Compressing::reserve(buffer), "{held} of {buffer}, level {level}");
            }
        }
    }

    #[test]
    fn what_does_not_shrink_goes_as_it_is() {
        let compressing = Compressing::new(Compress::Level(3), 32 << 20).unwrap();
        for len in [1, 2, 33, 1000, 300_000] {
            let leg = noise(len);
            let (header, payload) = compressing.encode(compressing.wish(), leg.clone(), None);
            assert_eq!(header, plain(&leg, None));
            assert!(payload.bytes() == leg.bytes());
        }
        let Compressed { raw, sent, as_it_is, .. } = compressing.report();
        assert_eq!((raw, sent, as_it_is), (301_036, 301_036, 301_036));
    }

    #[test]
    fn without_memory_a_leg_goes_as_it_is() {
        let compressing = Compressing::new(Compress::Level(1), 8 << 20).unwrap();
        let mut taken = Vec::new();
        while let Some(buffer) = compressing.pool.try_take(64 << 10) {
            taken.push(buffer);
        }
        let (header, _) = compressing.encode(compressing.wish(), leg(100_000, 5), None);
        assert!(!header.is_encoded());
        drop(taken);
        let (header, _) = compressing.encode(compressing.wish(), leg(100_000, 5), None);
        assert!(header.is_encoded());
    }

    #[test]
    fn a_stream_that_waits_for_the_network_is_compressed_by_itself() {
        let compressing = Compressing::new(Compress::Adaptive, 128 << 20).unwrap();
        let begun = Instant::now();
        let mut legs = 0;
        // the level that a busy machine finds too dear may go down again: one leg is enough
        while !compressing.encode(compressing.wish(), leg(100_000, 5), None).0.is_encoded() {
            assert!(begun.elapsed() < Duration::from_secs(60), "after {legs} legs");
            legs += 1;
            // a stream that the processor does not hold back
            std::thread::sleep(Duration::from_millis(5));
            compressing.judge(|| Some(Path { network: begun.elapsed(), round_trip: Duration::ZERO }));
        }
        assert!(legs > 32);
    }
}
