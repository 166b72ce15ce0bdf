//! The main job, with real processes on this host: what goes in at one end comes out at the other.

use super::MIB;
use crate::util::{
    Collector, Process, Rx, assert_complete, carry, check, feed, free_port, millipede, pattern, skip, tx,
    until_still,
};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn streams_of_every_size_arrive() {
    for bytes in [0, 1, 4095, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 300_000_001] {
        let rx = Rx::start(&[]);
        carry(&rx, &tx(rx.port, &[]), bytes);
        assert_eq!(
            rx.said(),
            format!("millipede: listening on port {}", rx.port),
            "silent when all goes well"
        );
    }
}

#[test]
fn any_number_of_threads_works() {
    for threads in 1..=16 {
        let rx = Rx::start(&[]);
        carry(&rx, &tx(rx.port, &["threads", &threads.to_string()]), 3 * MIB + 7);
    }
}

/// A pipe of packets loses what a read has no space for. Its reading end looks like that of any pipe.
#[cfg(target_os = "linux")]
#[test]
fn a_pipe_of_packets_loses_nothing() {
    use rustix::pipe::{PipeFlags, pipe_with};
    for packet in [100, 4096, 5000, 60_000] {
        // of no other child's
        let flags = PipeFlags::DIRECT | PipeFlags::CLOEXEC;
        let (input, writer) = pipe_with(flags).unwrap();
        let rx = Rx::start(&[]);
        let port = rx.port.to_string();
        let tx = Process::spawn(millipede(&["tx", "127.0.0.1", &port]).stdin(input).stdout(Stdio::null()));
        let (output, sent) = (rx.collect(), pattern(0, 6_000_000));
        let mut writer = File::from(writer);
        for piece in sent.chunks(packet) {
            writer.write_all(piece).unwrap();
        }
        drop(writer);
        assert_complete(&rx, &tx, output, sent.len() as u64);
    }
}

#[test]
fn the_input_may_be_a_file_and_the_output_another() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let bytes = 10 * MIB + 3;
    feed(&mut File::create(&from).unwrap(), 0, bytes).unwrap();
    let rx = Rx::spawn(millipede(&["rx", "0"]).stdin(Stdio::null()).stdout(File::create(&to).unwrap()));
    let words = ["tx", "127.0.0.1", &rx.port.to_string()];
    let tx = Process::spawn(millipede(&words).stdin(File::open(&from).unwrap()).stdout(Stdio::null()));
    assert_eq!((tx.wait().code(), rx.wait().code()), (Some(0), Some(0)), "{tx}\n{rx}");
    assert_eq!(Collector::of(File::open(&to).unwrap()).join(), bytes);
}

#[test]
fn an_empty_input_is_a_stream_too() {
    let rx = Rx::start(&[]);
    let words = ["tx", "127.0.0.1", &rx.port.to_string()];
    let tx = Process::spawn(millipede(&words).stdin(Stdio::null()).stdout(Stdio::null()));
    assert_complete(&rx, &tx, rx.collect(), 0);
}

/// Each line must come out before the next is written, with and without charmode.
#[test]
fn lines_of_a_slow_producer_come_out_one_by_one() {
    for words in [&[][..], &["charmode"]] {
        let rx = Rx::start(words);
        let tx = tx(rx.port, words);
        let (mut input, mut output) = (tx.stdin(), rx.stdout());
        for number in 0..5 {
            let line = format!("line {number}\n");
            input.write_all(line.as_bytes()).unwrap();
            let mut came = vec![0; line.len()];
            output.read_exact(&mut came).unwrap();
            assert_eq!(came, line.as_bytes());
        }
        drop(input);
        assert_complete(&rx, &tx, Collector::of(output), 0);
    }
}

#[test]
fn tx_may_start_first() {
    let port = free_port();
    let tx = tx(port, &["verbose", "2"]);
    tx.feed(MIB);
    tx.expect("connection refused");
    let rx = Process::start(&["rx", &port.to_string()]);
    assert_complete(&rx, &tx, rx.collect(), MIB);
}

#[test]
fn both_directions_in_one_process_are_a_loop() {
    let port = free_port().to_string();
    for words in [["rx", &port, "tx", "localhost", &port], ["tx", "localhost", &port, "rx", &port]] {
        let both = Process::start(&words);
        let output = both.collect();
        both.feed(5 * MIB);
        assert_eq!(both.end(), (Some(0), String::new()));
        assert_eq!(output.join(), 5 * MIB);
    }
}

#[test]
fn ipv6_works() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip("needs IPv6");
    }
    for words in [&["rx", "0"][..], &["rx", "::1", "0"]] {
        let rx = Rx::start_as(words);
        let tx = Process::start(&["tx", "::1", &rx.port.to_string()]);
        carry(&rx, &tx, MIB);
    }
}

/// A name with two addresses, of which one answers.
#[test]
fn every_address_of_a_name_is_tried() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip("needs IPv6");
    }
    for address in ["127.0.0.1", "::1"] {
        let ip: IpAddr = address.parse().unwrap();
        if !std::net::ToSocketAddrs::to_socket_addrs("localhost:1").unwrap().any(|a| a.ip() == ip) {
            skip(&format!("needs localhost to be {address} too"));
            continue;
        }
        let rx = Rx::start_as(&["rx", address, "0"]);
        let tx = Process::start(&["tx", "localhost", &rx.port.to_string()]);
        carry(&rx, &tx, MIB);
    }
}

#[test]
fn an_address_that_was_given_is_the_only_one() {
    let rx = Rx::start_as(&["rx", "127.0.0.1", "0"]);
    for other in [IpAddr::from(Ipv4Addr::new(127, 0, 0, 2)), Ipv6Addr::LOCALHOST.into()] {
        assert!(TcpStream::connect(SocketAddr::new(other, rx.port)).is_err(), "{other} answers");
    }
    carry(&rx, &tx(rx.port, &[]), 10);
}

#[test]
fn the_same_port_serves_again_at_once() {
    let first = Rx::start(&[]);
    let port = first.port.to_string();
    carry(&first, &tx(first.port, &[]), MIB);
    for _ in 0..3 {
        let rx = Process::start(&["rx", &port]);
        carry(&rx, &tx(first.port, &[]), MIB);
    }
}

#[test]
fn a_taken_port_is_an_error_in_words() {
    let rx = Rx::start(&[]);
    let (code, said) = Process::start(&["rx", &rx.port.to_string()]).end();
    assert_eq!(code, Some(1));
    assert_eq!(said, format!("millipede: cannot listen on port {}: address already in use", rx.port));
}

#[test]
fn an_unknown_host_is_an_error_at_once() {
    // a label has 63 characters at most, so nobody is asked
    let name = "x".repeat(64);
    let (code, said) = Process::start(&["tx", &name, "4", "patience", "0"]).end();
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("{name}:4: cannot resolve the name: ")), "{said}");
}

/// A tree of files of many sizes, and links, through tar at both ends.
#[test]
fn a_tree_goes_through_tar() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    plant(&from);
    fs::create_dir(&to).unwrap();
    let tar = |words: &[&str]| {
        let mut command = Command::new("tar");
        command.args(words);
        command
    };
    let mut unpack = tar(&["-x", "-C", to.to_str().unwrap()]).stdin(Stdio::piped()).spawn().unwrap();
    let into: Stdio = unpack.stdin.take().unwrap().into();
    let rx = Rx::spawn(millipede(&["rx", "0"]).stdin(Stdio::null()).stdout(into));
    let mut pack = tar(&["-c", "-C", from.to_str().unwrap(), "."]).stdout(Stdio::piped()).spawn().unwrap();
    let words = ["tx", "127.0.0.1", &rx.port.to_string()];
    let tx = Process::spawn(millipede(&words).stdin(pack.stdout.take().unwrap()).stdout(Stdio::null()));
    assert_eq!((tx.wait().code(), rx.wait().code()), (Some(0), Some(0)), "{tx}\n{rx}");
    assert!(pack.wait().unwrap().success() && unpack.wait().unwrap().success());
    let same = Command::new("diff").args(["-r", "--no-dereference"]).args([&from, &to]).status();
    assert!(same.unwrap().success());
}

/// About 60 MB in 300 files.
fn plant(root: &Path) {
    for number in 0..300u64 {
        let directory = root.join(format!("{}/{}", number % 7, number % 3));
        fs::create_dir_all(&directory).unwrap();
        let len = (number * number * 2_221 % 400_000) as usize;
        fs::write(directory.join(number.to_string()), pattern(number << 30, len)).unwrap();
    }
    std::os::unix::fs::symlink("0/0/0", root.join("link")).unwrap();
    fs::write(root.join("a name with spaces\nand more"), b"").unwrap();
}

/// With a small buffer and a sink that sleeps until the sender can read no more, both stay small, and go on.
#[cfg(target_os = "linux")]
#[test]
fn memory_stays_within_the_buffer_however_slow_the_sink() {
    const BUFFER: u64 = 4 * MIB;
    const ELSE: u64 = 32 * MIB;
    let total = 80 * MIB;
    let rx = Rx::start(&["buffer", "4M"]);
    let tx = tx(rx.port, &["buffer", "4M"]);
    let mut input = tx.stdin();
    let fed = Arc::new(AtomicU64::new(0));
    let feeder = std::thread::spawn({
        let fed = fed.clone();
        move || {
            for at in (0..total).step_by(MIB as usize) {
                feed(&mut input, at, MIB).unwrap();
                fed.store(at + MIB, Ordering::Relaxed);
            }
            input
        }
    });
    let blocked_at = until_still(|| fed.load(Ordering::Relaxed));
    assert!(blocked_at < total, "nothing holds the sender back");
    // the processes are still there when the last byte has come, as the input has not ended
    let mut output = rx.stdout();
    let mut came = vec![0; MIB as usize];
    for at in (0..total).step_by(came.len()) {
        output.read_exact(&mut came).unwrap();
        check(at, &came);
    }
    let input = feeder.join().unwrap();
    for process in [&*rx, &tx] {
        let peak = process.peak_memory();
        assert!(peak <= BUFFER + ELSE, "{} MiB: {process}", peak / MIB);
    }
    drop(input);
    assert_complete(&rx, &tx, Collector::of(output), 0);
}
