//! How fast it is, beside ssh: `cargo test --release --test remote measures -- --ignored --nocapture --test-threads 1`,
//! on an idle machine.

use crate::server::Server;
use crate::util::has;
use std::process::Command;
use std::time::{Duration, Instant};

fn timed(line: &str) -> Duration {
    let began = Instant::now();
    let status = Command::new("bash").args(["-o", "pipefail", "-c", line]).status().unwrap();
    assert!(status.success(), "{line}");
    began.elapsed()
}

/// The median of several runs of each, interleaved.
fn medians<const N: usize>(runs: usize, lines: [String; N]) -> [Duration; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..runs {
        for (times, line) in times.iter_mut().zip(&lines) {
            times.push(timed(line));
        }
    }
    times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

#[test]
#[ignore = "measures: wants a release build and an idle machine"]
fn a_large_stream() {
    let Some(server) = Server::start() else { return };
    let config = server.path("ssh_config");
    let ssh = format!("ssh -F {config} -c aes128-gcm@openssh.com");
    let far = "'cat > /dev/null'";
    let source = "head -c 2000000000 /dev/zero";
    let lines =
        [format!("{source} | {} server {far}", server.shell()), format!("{source} | {ssh} server {far}")];
    let [ours, theirs] = medians(5, lines);
    println!(
        "2 GB there: millipede {ours:?}, ssh {theirs:?}: {:.2}",
        theirs.as_secs_f64() / ours.as_secs_f64()
    );
    let lines = [
        format!("{} server '{source}' > /dev/null", server.shell()),
        format!("{ssh} server '{source}' > /dev/null"),
    ];
    let [ours, theirs] = medians(5, lines);
    println!(
        "2 GB back: millipede {ours:?}, ssh {theirs:?}: {:.2}",
        theirs.as_secs_f64() / ours.as_secs_f64()
    );
}

#[test]
#[ignore = "measures: wants a release build and an idle machine"]
fn a_short_command() {
    let Some(server) = Server::start() else { return };
    let ssh = format!("ssh -F {} server", server.path("ssh_config"));
    let [ours, theirs] = medians(
        21,
        [
            format!("{} server echo x | head -c 1 > /dev/null", server.shell()),
            format!("{ssh} echo x | head -c 1 > /dev/null"),
        ],
    );
    println!("to the end of a short command: millipede {ours:?}, ssh {theirs:?}");
}

#[test]
#[ignore = "measures: wants a release build and an idle machine"]
fn many_small_files() {
    let Some(server) = Server::start() else { return };
    if !has("rsync") {
        return;
    }
    let from = server.path("from");
    for n in 0..5000 {
        let dir = format!("{from}/{}", n % 50);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(format!("{dir}/{n}"), [n as u8; 4096]).unwrap();
    }
    let line = |shell: &str| {
        let to = server.path("to");
        format!("rm -rf {to}; rsync -a -e '{shell}' {from}/ server:{to}/")
    };
    let [ours, theirs] =
        medians(7, [line(&server.shell()), line(&format!("ssh -F {}", server.path("ssh_config")))]);
    println!(
        "rsync of 5000 files: millipede {ours:?}, ssh {theirs:?}: {:.2}",
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
}
