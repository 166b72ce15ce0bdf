//! The ladder against paths that are made up: for each the best rung is known, and the level must find it and stay.

use super::*;

const RATES: f64 = 1e6;

/// How a kind of data takes to compressing, by rung: the ratio, and core seconds for a MB.
#[derive(Clone, Copy)]
struct Data {
    ratio: [f64; 6],
    cost: [f64; 6],
}

const TEXT: Data =
    Data { ratio: [1.0, 1.9, 2.3, 2.8, 3.2, 3.35], cost: [0.0, 0.0016, 0.0025, 0.004, 0.015, 0.026] };
/// What does not shrink is found out by a sample, which costs little.
const NOISE: Data = Data { ratio: [1.0; 6], cost: [0.0, 0.00002, 0.00002, 0.00002, 0.00002, 0.00002] };
const POOR: Data =
    Data { ratio: [1.0, 1.02, 1.06, 1.08, 1.1, 1.11], cost: [0.0, 0.0014, 0.002, 0.003, 0.012, 0.02] };

/// Few repetitions, and few letters: the fast levels make nothing of it.
const LETTERS: Data =
    Data { ratio: [1.0, 1.04, 1.85, 1.95, 2.1, 2.2], cost: [0.0, 0.0016, 0.0028, 0.005, 0.015, 0.026] };

/// Half text and half noise, in runs of so many bytes.
fn mixed(at: f64) -> Data {
    if ((at / 67e6) as u64).is_multiple_of(2) { NOISE } else { TEXT }
}

/// A path: MB a second of the wire, cores, and MB a second of the input and of the output.
#[derive(Clone, Copy)]
struct Path {
    wire: f64,
    cores: usize,
    ends: f64,
    output: bool,
}

impl Path {
    fn new(wire: f64, cores: usize) -> Path {
        Path { wire, cores, ends: 3000.0, output: false }
    }

    /// MB a second with this rung. Moving the bytes takes 0.0004 s of a core for each MB at this end.
    fn rate(self, data: Data, rung: usize) -> f64 {
        let moving = 0.0004;
        let cpu = self.cores as f64 / (moving + data.cost[rung]);
        (self.wire * data.ratio[rung]).min(cpu).min(self.ends)
    }

    fn busy(self, data: Data, rung: usize) -> f64 {
        self.rate(data, rung) * data.cost[rung] / self.cores as f64
    }

    fn interval(self, data: Data, rung: usize, time: f64, noise: f64) -> Interval {
        let rate = self.rate(data, rung) * noise;
        let busy = self.busy(data, rung) * noise;
        let held_by_ends = self.rate(data, rung) >= self.ends * 0.999;
        let secs = |s: f64| Duration::from_secs_f64(s * time);
        let used = rate * 0.0004 + busy * self.cores as f64;
        Interval {
            time: secs(1.0),
            legs: 1000,
            raw: (rate * time * RATES) as u64,
            sent: (rate * time * RATES / data.ratio[rung]) as u64,
            network: secs(if held_by_ends { 0.02 } else { 0.98 }),
            encoding: secs(busy * self.cores as f64),
            cpu: secs(busy * self.cores as f64),
            encoders: self.cores,
            idle: Some((self.cores as f64 - used).max(0.0)),
        }
    }

    /// The best rate that a rung brings which the processor can bear.
    fn best(self, data: Data) -> f64 {
        let bearable = |rung: &usize| *rung == 0 || self.busy(data, *rung) <= BUSY_AFTER;
        (0..RUNGS.len()).filter(bearable).map(|rung| self.rate(data, rung)).fold(0.0, f64::max)
    }
}

/// A run of so many seconds: MB in all, MB in the last half, and the rungs at each second.
struct Run {
    half: f64,
    rungs: Vec<usize>,
    moved: f64,
}

fn play(path: Path, seconds: u64, data: impl Fn(f64) -> Data, seed: u64) -> Run {
    let (mut ladder, start) = (Adaptive::new(), Instant::now());
    let (mut random, mut moved, mut half, mut rungs) = (seed, 0.0, 0.0, Vec::new());
    let mut at = 0.0;
    while at < seconds as f64 {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let noise = 0.97 + 0.06 * (random >> 33) as f64 / (1u64 << 31) as f64;
        let (now, rung) = (data(moved * RATES), ladder.rung);
        let time = if ladder.stepped { 1.0 } else { 0.25 };
        if let Some((_, _)) = ladder.looks() {
            let look = |rung: usize| Look {
                raw: 1 << 20,
                encoded: ((1 << 20) as f64 / now.ratio[rung]) as u64,
                cpu: Duration::from_secs_f64(now.cost[rung] * 1.048 * 0.8),
            };
            ladder.looked(look(rung), look(rung + ladder.ahead));
        }
        let interval = path.interval(now, rung, time, noise);
        moved += interval.raw as f64 / RATES;
        if at >= seconds as f64 / 2.0 {
            half += interval.raw as f64 / RATES;
        }
        at += time;
        assert!(ladder.is_due(&interval, Duration::from_millis(20)));
        ladder.judge(start + Duration::from_secs_f64(at), &interval);
        rungs.push(ladder.rung);
    }
    Run { half, rungs, moved }
}

const WIRES: [f64; 7] = [1.0, 12.5, 25.0, 125.0, 310.0, 1200.0, 2800.0];
const CORES: [usize; 5] = [1, 2, 4, 8, 16];

fn paths() -> impl Iterator<Item = Path> {
    WIRES.into_iter().flat_map(|wire| CORES.into_iter().map(move |cores| Path::new(wire, cores)))
}

#[test]
fn the_best_rung_is_found_on_every_path() {
    for (name, data) in [("text", TEXT), ("noise", NOISE), ("poor", POOR), ("letters", LETTERS)] {
        for path in paths() {
            let run = play(path, 240, |_| data, 7);
            let (rate, best) = (run.half / 120.0, path.best(data));
            let where_ = format!("{name}, {} MB/s, {} cores: {:?}", path.wire, path.cores, run.rungs);
            // a gain of less than a tenth is not worth a step
            assert!(
                rate >= best * 0.95 / if path.busy_steps(data) { GAIN } else { 1.0 },
                "{rate} of {best}: {where_}"
            );
        }
    }
}

impl Path {
    /// Whether the best rung is out of reach because a step on the way to it promises less than [`GAIN`].
    fn busy_steps(self, data: Data) -> bool {
        (0..RUNGS.len() - 1).any(|rung| {
            let more = self.rate(data, rung + 1) / self.rate(data, rung);
            more > 1.0 && more <= GAIN * 1.03
        })
    }
}

#[test]
fn it_is_never_slower_than_without() {
    for data in [TEXT, NOISE, POOR, LETTERS] {
        for path in paths() {
            let run = play(path, 120, |_| data, 3);
            let without = path.rate(data, 0) * 120.0;
            assert!(run.moved >= without * 0.97, "{} of {without}: {} MB/s", run.moved, path.wire);
        }
    }
}

#[test]
fn it_never_swings() {
    for data in [TEXT, NOISE, POOR, LETTERS] {
        for path in paths() {
            for seed in 0..20 {
                let run = play(path, 600, |_| data, seed);
                let falls = run.rungs.windows(2).filter(|pair| pair[1] < pair[0]).count();
                // held for 30, 60, 120, 240 s: a rung can fail five times in 600 s, where it fails at all
                assert!(falls <= 5, "{falls} falls: {} MB/s, {} cores", path.wire, path.cores);
            }
        }
    }
}

#[test]
fn a_mixture_is_no_slower_than_the_better_fixed_choice() {
    for path in paths().filter(|path| path.wire <= 310.0) {
        let run = play(path, 400, mixed, 5);
        let fixed = |rung: usize| {
            let halves = 1.0 / path.rate(NOISE, rung) + 1.0 / path.rate(TEXT, rung);
            400.0 * 2.0 / halves
        };
        let better = fixed(0).max(fixed(2));
        // a rung that gains less than a tenth is not climbed
        let least = better.max(fixed(0)) * 0.95 / if better > fixed(1) { GAIN } else { 1.0 };
        assert!(run.moved >= least, "{} of {better}: {} MB/s, {} cores", run.moved, path.wire, path.cores);
        println!("{:.3} {} {}: {:?}", run.moved / better, path.wire, path.cores, &run.rungs[..30]);
    }
}

#[test]
fn waiting_for_an_end_is_not_waiting_for_the_network() {
    for output in [false, true] {
        let slow_end = Path { ends: 20.0, output, ..Path::new(25.0, 4) };
        let run = play(slow_end, 60, |_| TEXT, 1);
        assert!(run.rungs.iter().all(|rung| *rung == 0), "{:?}: {}", run.rungs, slow_end.output);
    }
}

fn calm() -> Interval {
    Path::new(25.0, 4).interval(TEXT, 0, 1.0, 1.0)
}

/// A ladder at a rung, with looks that promise a lot.
fn at(rung: usize) -> Adaptive {
    let mut ladder = Adaptive { rung, stepped: true, ..Adaptive::new() };
    let look = |encoded| Look { raw: 1000, encoded, cpu: Duration::from_nanos(100) };
    ladder.looked(look(500), look(250));
    ladder
}

#[test]
fn three_intervals_ask_for_a_step_and_no_fewer() {
    let (mut ladder, now) = (at(1), Instant::now());
    let interval = Path::new(25.0, 4).interval(TEXT, 1, 1.0, 1.0);
    assert!(!ladder.judge(now, &interval) && !ladder.judge(now, &interval));
    let busy_with_input = Interval { network: Duration::from_millis(500), ..interval };
    assert!(!ladder.judge(now, &busy_with_input), "the row is broken");
    assert!(!ladder.judge(now, &interval) && !ladder.judge(now, &interval));
    assert!(ladder.judge(now, &interval));
    assert_eq!(ladder.level(), Some(1));
}

#[test]
fn a_step_that_does_not_keep_its_promise_is_undone_and_held_for_longer_each_time() {
    let (mut ladder, start) = (at(1), Instant::now());
    let interval = Path::new(25.0, 4).interval(TEXT, 1, 1.0, 1.0);
    // the wire carries half of what it did: the receiver cannot keep up, say
    let worse = Interval { sent: interval.sent / 2, raw: interval.raw, ..interval };
    let mut second = 0;
    let mut steps = Vec::new();
    while second < 400 {
        let now = start + Duration::from_secs(second);
        let measured = if ladder.rung == 2 { worse } else { interval };
        if ladder.judge(now, &measured) && ladder.rung == 2 {
            steps.push(second);
        }
        second += 1;
    }
    let pauses: Vec<u64> = steps.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [32, 62, 122], "{steps:?}");
}

#[test]
fn what_is_too_much_ends_at_once() {
    let (mut ladder, now) = (at(3), Instant::now());
    let busy = Interval { encoding: Duration::from_millis(3700), cpu: Duration::from_millis(3700), ..calm() };
    let soon = Interval { time: ALARM, encoding: busy.encoding / 4, cpu: busy.cpu / 4, ..busy };
    assert!(ladder.is_due(&soon, Duration::from_secs(9)));
    assert!(ladder.judge(now, &soon));
    assert_eq!(ladder.level(), Some(1));
    let starved =
        Interval { encoding: Duration::from_millis(2000), cpu: Duration::from_millis(700), ..calm() };
    assert!(ladder.judge(now, &starved));
    let fine = Interval { encoding: Duration::from_millis(2000), cpu: Duration::from_millis(1900), ..calm() };
    assert!(!ladder.judge(now, &fine));
    let soon = Interval { time: ALARM, encoding: fine.encoding / 4, cpu: fine.cpu / 4, ..fine };
    assert!(!ladder.is_due(&soon, Duration::ZERO));
}

#[test]
fn a_fast_start_is_looked_at_less_and_less() {
    let mut ladder = Adaptive::new();
    let look = Look { raw: 1000, encoded: 1000, cpu: Duration::from_nanos(100) };
    let mut between = Vec::new();
    for _ in 0..LOOKS + 4 {
        between.push(ladder.looks().unwrap().1);
        ladder.looked(look, look);
    }
    assert_eq!(between, [1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 8, 16]);
    let interval = Interval { legs: 800, ..calm() };
    ladder.judge(Instant::now(), &interval);
    (0..9).for_each(|_| ladder.looked(look, look));
    assert_eq!(ladder.looks().unwrap().1, 100, "an eighth of the legs of the interval before");
}

#[test]
fn nothing_divides_by_zero() {
    let (mut ladder, now) = (Adaptive::new(), Instant::now());
    for rung in 0..RUNGS.len() {
        ladder.rung = rung;
        ladder.judge(now, &Interval::default());
        ladder.looked(Look::default(), Look::default());
        ladder.judge(now, &Interval { network: INTERVAL, time: INTERVAL, ..Interval::default() });
    }
    assert!(ladder.looks().is_none_or(|(_, every)| every > 0));
}
