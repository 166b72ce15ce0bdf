//! How long a small write takes from one end's stdin to the other end's stdout in charmode, on loopback.
//!
//! Two real processes; each write is awaited before the next. Prints the median, which is to be under 0.5 ms.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

const WRITES: usize = 5000;

fn main() {
    for threads in ["1", "3", "16"] {
        let mut times = measure(threads);
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[(times.len() as f64 * part) as usize];
        println!(
            "charmode, {threads:>2} threads: median {:.3} ms, 10 % {:.3}, 90 % {:.3}, 99 % {:.3}",
            at(0.5),
            at(0.1),
            at(0.9),
            at(0.99)
        );
    }
}

/// Milliseconds of each write.
fn measure(threads: &str) -> Vec<f64> {
    let millipede = env!("CARGO_BIN_EXE_millipede");
    let mut rx = Command::new(millipede);
    let rx = rx.args(["rx", "127.0.0.1", "0"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut rx = rx.stderr(Stdio::piped()).spawn().expect("rx");
    let mut line = String::new();
    let mut said = BufReader::new(rx.stderr.take().expect("piped"));
    said.read_line(&mut line).expect("its port");
    let port = line.split_whitespace().last().expect("its port");
    let mut tx = Command::new(millipede);
    let tx = tx.args(["tx", "127.0.0.1", port, "charmode", "threads", threads]).stdin(Stdio::piped());
    let mut tx = tx.spawn().expect("tx");
    let (mut stdin, mut stdout) = (tx.stdin.take().expect("piped"), rx.stdout.take().expect("piped"));
    let mut times = Vec::with_capacity(WRITES);
    for i in 0..WRITES + 100 {
        let begun = Instant::now();
        stdin.write_all(&[i as u8]).expect("tx reads");
        let mut there = [0];
        stdout.read_exact(&mut there).expect("rx writes");
        assert_eq!(there[0], i as u8);
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    drop(stdin);
    assert!(tx.wait().expect("tx").success() && rx.wait().expect("rx").success());
    times.split_off(100)
}
