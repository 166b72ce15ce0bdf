//! How fast the transport is on loopback, process to process, and how fast prbs is made and verified on this
//! machine: the instrument is to be at least twice as fast as what it measures.

use millipede::prbs::Prbs;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

const UNIT: usize = 2 << 20;
const UNITS: usize = 1500;

fn main() {
    let plain = (0..3).map(|_| transport(&[], &[])).fold(0.0, f64::max);
    println!("transport, /dev/zero to /dev/null:      {plain:6.0} MB/s");
    let checked = transport(&["checksum"], &[]);
    println!("transport with checksum:                {checked:6.0} MB/s");
    let both = transport(&["prbs", "1"], &["prbs", "1"]);
    println!("transport of prbs, verified:            {both:6.0} MB/s");
    let (prbs, mut unit) = (Prbs::new(1), vec![0; UNIT]);
    let fill = rate(|at| prbs.fill(at, black_box(&mut unit)));
    println!("prbs made:     {fill:6.0} MB/s, {:.1} times the transport", fill / plain);
    prbs.fill(0, &mut unit);
    let check = rate(|_| prbs.check(0, black_box(&unit)).expect("right"));
    println!("prbs verified: {check:6.0} MB/s, {:.1} times the transport", check / plain);
}

/// MB/s of something that is done to one unit at a time: the best of many short runs, since others use this
/// machine too.
fn rate(mut act: impl FnMut(u64)) -> f64 {
    const SAMPLE: usize = 20;
    let sample = |from: usize| {
        let begun = Instant::now();
        (from..from + SAMPLE).for_each(|i| act((i * UNIT) as u64));
        (SAMPLE * UNIT) as f64 / 1e6 / begun.elapsed().as_secs_f64()
    };
    (0..UNITS).step_by(SAMPLE).map(sample).fold(0.0, f64::max)
}

/// MB/s between two processes with these words more.
fn transport(tx_words: &[&str], rx_words: &[&str]) -> f64 {
    let millipede = env!("CARGO_BIN_EXE_millipede");
    let mut rx = Command::new(millipede);
    let rx = rx.args(["rx", "127.0.0.1", "0"]).args(rx_words).stdin(Stdio::null()).stdout(Stdio::null());
    let mut rx = rx.stderr(Stdio::piped()).spawn().expect("rx");
    let mut line = String::new();
    let mut said = BufReader::new(rx.stderr.take().expect("piped"));
    said.read_line(&mut line).expect("its port");
    let port = line.split_whitespace().last().expect("its port");
    let zero = std::fs::File::open("/dev/zero").expect("/dev/zero");
    let begun = Instant::now();
    let mut tx = Command::new(millipede);
    let tx = tx.args(["tx", "127.0.0.1", port, "leglimit", &UNITS.to_string()]).args(tx_words).stdin(zero);
    let sent = tx.status().expect("tx");
    let took = begun.elapsed().as_secs_f64();
    assert!(sent.success() && rx.wait().expect("rx").success());
    (UNITS * UNIT) as f64 / 1e6 / took
}
