//! Measures and sizes: how fast bytes are taken, how large the next legs should be, and how long a
//! connection should need for what it was given.
//!
//! Holds no legs and decides nothing about them; [`super::sender`] asks and acts. All rates are bytes per
//! second of the stream, all times come in as arguments.

use super::leg::{LEG_FIRST, LEG_MAX};
use std::time::{Duration, Instant};

/// A leg should take about this long on its connection: short enough that a slow link delivers steadily
/// and that the last legs of a stream end together, long enough that a fast one is not all bookkeeping.
const LEG_TIME: f64 = 0.1;

/// As [`LEG_TIME`], for a leg that goes through the user's programs: to start one for each may take longer than its work, and many
/// start at once on a busy machine. If a start took more than half of this, short legs would make the stream slow, and a
/// slow stream would keep its legs short.
const THROUGH_TIME: f64 = 16.0;

/// Leg sizes double no more often than this, so that one lucky acknowledgement does not decide.
const GROWTH_PAUSE: Duration = Duration::from_millis(2);

/// As [`GROWTH_PAUSE`], on paths that are near. Many legs are acknowledged there in 2 ms, and a stream that lasts 50 ms
/// would spend a quarter of its time on small legs.
const GROWTH_PAUSE_NEAR: Duration = Duration::from_micros(250);

/// Leg sizes halve no more often than this: a pause in the input is not a slow network.
const SHRINK_PAUSE: Duration = Duration::from_millis(500);

const SLOTS: usize = 10;
const SLOT: Duration = Duration::from_millis(100);

/// Bytes per second over the last second, or another span, in slots of a tenth of it.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Never zero.
    slot: Duration,
    origin: Option<Instant>,
    slots: [u64; SLOTS],
    /// The slot that `slots[current % SLOTS]` counts; slots since `origin`.
    current: u64,
    /// When the slot after that begins.
    until: Option<Instant>,
}

impl Default for Meter {
    fn default() -> Self {
        Meter { slot: SLOT, origin: None, slots: [0; SLOTS], current: 0, until: None }
    }
}

impl Meter {
    /// Looks back as far as `span`, which is not zero.
    pub fn over(span: Duration) -> Self {
        Meter { slot: span / SLOTS as u32, ..Meter::default() }
    }

    /// Counts `bytes` at `now`.
    pub fn add(&mut self, now: Instant, bytes: u64) {
        self.advance(now);
        self.slots[(self.current % SLOTS as u64) as usize] += bytes;
    }

    /// The rate over the last second (or what span it has), or since the first byte if that is less. None before
    /// 1 ms of it.
    pub fn rate(&mut self, now: Instant) -> Option<f64> {
        let origin = self.origin?;
        self.advance(now);
        let seen = now.saturating_duration_since(origin);
        let into_slot = seen.saturating_sub(self.slot * self.current as u32);
        let span = seen.min(self.slot * (SLOTS as u32 - 1) + into_slot);
        (span >= Duration::from_millis(1)).then(|| self.slots.iter().sum::<u64>() as f64 / span.as_secs_f64())
    }

    fn advance(&mut self, now: Instant) {
        if self.until.is_some_and(|until| now < until) {
            return;
        }
        let origin = *self.origin.get_or_insert(now);
        let slot = (now.saturating_duration_since(origin).as_nanos() / self.slot.as_nanos()) as u64;
        for passed in (self.current + 1..=slot).take(SLOTS) {
            self.slots[(passed % SLOTS as u64) as usize] = 0;
        }
        self.current = self.current.max(slot);
        self.until = Some(origin + self.slot * (self.current + 1) as u32);
    }
}

/// How large the next legs are cut: a power of two from [`LEG_FIRST`] to the agreed maximum.
#[derive(Clone, Debug)]
pub struct LegSize {
    size: usize,
    /// Always ≤ [`LEG_MAX`].
    max: usize,
    /// How long a leg should take, in seconds.
    time: f64,
    /// The least time from one doubling to the next.
    pause: Duration,
    changed: Option<Instant>,
}

impl LegSize {
    /// Starts small; `agree` may lower the maximum.
    pub fn new() -> Self {
        LegSize { size: LEG_FIRST, max: LEG_MAX, time: LEG_TIME, pause: GROWTH_PAUSE, changed: None }
    }

    /// As [`LegSize::new`], for legs that go through the user's programs.
    pub fn through() -> Self {
        LegSize { time: THROUGH_TIME, ..Self::new() }
    }

    /// The receiver's word on the largest leg. No honest one says less than [`LEG_FIRST`], and whoever does shall not
    /// have the stream cut into single bytes.
    pub fn agree(&mut self, max: usize) {
        self.max = max.clamp(LEG_FIRST, LEG_MAX);
        self.size = self.size.min(self.max);
    }

    /// Whether every path is near from now on.
    pub fn set_near(&mut self, near: bool) {
        self.pause = if near { GROWTH_PAUSE_NEAR } else { GROWTH_PAUSE };
    }

    /// Bytes of the next leg.
    pub fn get(&self) -> usize {
        self.size
    }

    /// The agreed maximum, in bytes.
    pub fn most(&self) -> usize {
        self.max
    }

    /// Follows a total of `rate` bytes per second over so many `busy` connections.
    pub fn follow(&mut self, now: Instant, rate: f64, busy: usize) {
        let target = rate * self.time / busy.max(1) as f64;
        let since = self.changed.map(|at| now.saturating_duration_since(at));
        let may = |pause| since.is_none_or(|s| s >= pause);
        if target >= 2.0 * self.size as f64 && self.size < self.max && may(self.pause) {
            self.size = (self.size * 2).min(self.max);
            self.changed = Some(now);
        } else if target < self.size as f64 / 2.0 && self.size > LEG_FIRST && may(SHRINK_PAUSE) {
            self.size = (self.size / 2).max(LEG_FIRST.min(self.max));
            self.changed = Some(now);
        }
    }
}

impl Default for LegSize {
    fn default() -> Self {
        Self::new()
    }
}

/// No leg is called late before this: a loaded machine schedules its threads later than a network delivers.
pub const LATE_AT_LEAST: Duration = Duration::from_millis(200);

/// When a leg is late on a connection that nothing is known about yet.
pub const LATE_UNMEASURED: Duration = Duration::from_secs(1);

/// Legs of up to so many bytes in all say nothing about a path's rate: they cross in a round trip, on any but the slowest.
pub const UNRATED_MAX: u64 = 4096;

/// A path is near if its round trip takes no longer.
pub const NEAR: Duration = Duration::from_millis(5);

/// How much of what was measured before still counts at the next measurement of a connection's rate.
const KEPT: f64 = 0.75;

/// What is known about the pace of one connection.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Smoothed round trip of the protocol's own pings; behind a forwarded port the kernel's is a lie.
    rtt: Option<Duration>,
    /// The shortest of them: one that waited behind no leg.
    rtt_min: Option<Duration>,
    /// Bytes confirmed, and the seconds they took while there was something to carry; of both the latest count
    /// most. Kept apart, so that a slow start weighs as much as it lasts: acknowledgements of small legs that
    /// come in one burst say nothing about how fast a large one will be.
    carried: (f64, f64),
    /// Smoothed difference between the time legs took and the time they should have needed, in seconds.
    deviation: f64,
    acked_at: Option<Instant>,
}

impl Pace {
    /// A measured round trip. Smoothed as TCP does (RFC 6298: a gain of 1/8).
    pub fn round_trip(&mut self, sample: Duration) {
        self.rtt = Some(self.rtt.map_or(sample, |old| (old * 7 + sample) / 8));
        self.rtt_min = Some(self.rtt_min.map_or(sample, |shortest| shortest.min(sample)));
    }

    /// The shortest round trip, if any was measured.
    pub fn rtt_min(&self) -> Option<Duration> {
        self.rtt_min
    }

    /// The smoothed round trip, if any was measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// When it was last confirmed that anything was carried.
    pub fn confirmed_at(&self) -> Option<Instant> {
        self.acked_at
    }

    /// The smoothed rate in bytes per second, if any was measured.
    pub fn rate(&self) -> Option<f64> {
        let (bytes, seconds) = self.carried;
        (seconds > 0.0).then(|| bytes / seconds)
    }

    /// `bytes` were confirmed at `now`; the first of them had been given at `sent`, when the connection
    /// should have `needed` so long.
    pub fn confirmed(&mut self, now: Instant, sent: Instant, bytes: u64, needed: Option<Duration>) {
        let from = self.acked_at.map_or(sent, |at| at.max(sent));
        let took = now.saturating_duration_since(from).as_secs_f64().max(1e-5);
        let (before, seconds) = self.carried;
        self.carried = (before * KEPT + bytes as f64, seconds * KEPT + took);
        self.acked_at = Some(now);
        if let Some(needed) = needed {
            let off = (now.saturating_duration_since(sent).as_secs_f64() - needed.as_secs_f64()).abs();
            self.deviation += (off - self.deviation) / 4.0;
        }
    }

    /// How long it should need for `bytes`, all that it was given included. None until measured.
    pub fn need(&self, bytes: u64) -> Option<Duration> {
        let carrying = bytes as f64 / self.rate()?.max(1.0);
        Some(self.rtt.unwrap_or_default() + Duration::from_secs_f64(carrying.min(3600.0)))
    }

    /// How long the connection should need for `bytes`, all that it was given included, and the age at which the last of
    /// them is late. [`UNRATED_MAX`] bytes or fewer say nothing about its rate: they should need a round trip, and are late
    /// after max(200 ms, 3 RTT). Such is a lone keystroke on a connection that died while it rested.
    pub fn expect(&self, bytes: u64) -> (Option<Duration>, Duration) {
        match self.rtt.filter(|_| bytes <= UNRATED_MAX) {
            Some(rtt) => (Some(rtt), LATE_AT_LEAST.max(rtt * 3)),
            None => {
                let need = self.need(bytes);
                (need, self.late_after(need))
            }
        }
    }

    /// The age at which a leg that should have `needed` so long is late: max(2 RTT, 1.5 × need), with four
    /// deviations for a connection that is known to vary.
    pub fn late_after(&self, needed: Option<Duration>) -> Duration {
        let Some(needed) = needed else { return LATE_UNMEASURED.max(self.rtt.unwrap_or_default() * 2) };
        let varied = needed + Duration::from_secs_f64((4.0 * self.deviation).min(3600.0));
        (needed * 3 / 2).max(varied).max(self.rtt.unwrap_or_default() * 2).max(LATE_AT_LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_meter_forgets_after_a_second() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        assert_eq!(meter.rate(start), None);
        for i in 0..20 {
            meter.add(start + ms(i * 50), 1000);
        }
        let rate = meter.rate(start + ms(1000)).unwrap();
        assert!((18_000.0..22_000.0).contains(&rate), "{rate}");
        assert_eq!(meter.rate(start + ms(5000)), Some(0.0));
    }

    #[test]
    fn a_meter_measures_from_its_first_millisecond() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        meter.add(start, 5000);
        assert_eq!(meter.rate(start), None);
        let rate = meter.rate(start + ms(10)).unwrap();
        assert!((rate - 500_000.0).abs() < 1.0, "{rate}");
    }

    #[test]
    fn legs_double_to_the_agreed_size_and_shrink_slowly() {
        let (mut legs, start) = (LegSize::new(), Instant::now());
        legs.agree(128 << 10);
        for i in 0..10 {
            legs.follow(start + ms(i * 2), 1e9, 1);
        }
        assert_eq!(legs.get(), 128 << 10);
        legs.follow(start + ms(30), 1e4, 1);
        assert_eq!(legs.get(), 128 << 10, "a short pause changes nothing");
        for i in 0..10 {
            legs.follow(start + ms(600 * (i + 1)), 1e4, 1);
        }
        assert_eq!(legs.get(), LEG_FIRST);
        let mut near = LegSize::new();
        near.set_near(true);
        let sizes = [0, 100, 250, 500].map(|at| {
            near.follow(start + Duration::from_micros(at), 1e9, 1);
            near.get()
        });
        assert_eq!(sizes, [2, 2, 4, 8].map(|times| times * LEG_FIRST), "sooner where paths are near");
        let mut large = LegSize::through();
        large.follow(start, 1e6, 16);
        legs.follow(start + ms(9000), 1e6, 16);
        assert_eq!((large.get(), legs.get()), (LEG_FIRST * 2, LEG_FIRST), "the start of a program is to pay");
    }

    #[test]
    fn programs_that_take_seconds_to_start_get_the_longest_legs() {
        let (mut legs, start) = (LegSize::through(), Instant::now());
        legs.agree(256 << 10);
        for i in 0..10 {
            legs.follow(start + ms(7000 * i), legs.get() as f64 / 7.0, 1);
        }
        assert_eq!(legs.get(), 256 << 10);
    }

    #[test]
    fn small_legs_confirmed_in_a_burst_promise_nothing_about_a_large_one() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.round_trip(ms(20));
        pace.confirmed(start + ms(20), start, 16 << 10, None);
        pace.confirmed(start + ms(21), start + ms(1), 16 << 10, None);
        let need = pace.need(1 << 20).unwrap();
        assert!(need > ms(500), "it has never carried more than 32 KiB in a round trip: {need:?}");
    }

    #[test]
    fn a_slow_connection_is_given_its_time() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.late_after(None), LATE_UNMEASURED);
        pace.round_trip(ms(400));
        pace.confirmed(start + ms(1400), start, 16 << 10, None);
        let need = pace.need(16 << 10).unwrap();
        assert!(need > ms(1700) && need < ms(1900), "{need:?}");
        assert!(pace.late_after(Some(need)) >= need * 3 / 2);
    }
}
