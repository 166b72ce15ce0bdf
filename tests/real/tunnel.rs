//! Both directions in one process, and tunnels through them: between real processes.

use crate::util::pair::{Pair, entrance};
use crate::util::{
    DEADLINE, Process, Rx, Signal, check, connect, echo, eventually, feed, free_port, pattern, ping, server,
    there_and_back, tx, until_still,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

// ---- both directions in one process --------------------------------------------------------------------

#[test]
fn both_directions_carry_their_own_stream() {
    let pair = Pair::start(&[], &["charmode"]);
    let (at_a, at_b) = (pair.a.collect(), pair.b.collect());
    pair.a.feed(20_000_000);
    pair.b.feed(7_000_000);
    pair.assert_ended(0, 0);
    assert_eq!((at_a.join(), at_b.join()), (7_000_000, 20_000_000));
}

#[test]
fn one_direction_ending_does_not_end_the_other() {
    let pair = Pair::start(&["charmode"], &["charmode"]);
    let (at_a, at_b) = (pair.a.collect(), pair.b.collect());
    let mut input = pair.b.stdin();
    pair.a.feed(0);
    assert_eq!(at_b.join(), 0);
    for round in 0..10 {
        feed(&mut input, round * 1000, 1000).unwrap();
        at_a.await_bytes((round + 1) * 1000);
    }
    assert!([&pair.a, &pair.b].iter().all(|process| !process.has_ended()));
    drop(input);
    assert_eq!(at_a.join(), 10_000);
    pair.assert_ended(0, 0);
}

#[test]
fn a_taken_port_is_named_with_its_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let process = Process::start(&["rx", "0", "terminate", &address.port().to_string()]);
    let (code, said) = process.end();
    assert_eq!(code, Some(1), "{said}");
    let (ip, port) = (address.ip(), address.port());
    let words = format!("cannot listen on {ip} port {port}: address already in use");
    assert!(said.trim_end().ends_with(&words), "{said}");
}

#[test]
fn the_status_is_that_of_the_first_failure() {
    let pair = Pair::start(&[], &[]);
    let at_a = pair.a.collect();
    drop(pair.b.stdout());
    let mut input = pair.b.stdin();
    pair.a.feed(1_000_000);
    pair.a.expect("has gone");
    pair.b.expect("has gone");
    // the other direction is not disturbed
    feed(&mut input, 0, 3_000_000).unwrap();
    drop(input);
    pair.assert_ended(5, 5);
    assert_eq!(at_a.join(), 3_000_000);
}

// ---- many connections ----------------------------------------------------------------------------------

#[test]
fn connections_come_after_and_beside_each_other() {
    let tunnel = Pair::tunnel(server(echo), &[]);
    let mut open = tunnel.connect();
    ping(&mut open, b'0');
    for byte in b'a'..b'k' {
        ping(&mut tunnel.connect(), byte);
    }
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| there_and_back(tunnel.connect(), 5_000_000));
        }
    });
    ping(&mut open, b'1');
    assert!([&tunnel.pair.a, &tunnel.pair.b].iter().all(|process| !process.has_ended()));
}

#[test]
fn hundreds_at_once_take_turns() {
    let tunnel = Pair::tunnel(server(echo), &[]);
    let mut open: Vec<TcpStream> = (0..300).map(|_| tunnel.connect()).collect();
    for round in 0..3 {
        for stream in &mut open {
            stream.write_all(&[round; 1000]).unwrap();
        }
        for stream in &mut open {
            let mut back = [0; 1000];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(back, [round; 1000]);
        }
    }
}

/// The end that opens them has room for 256, the one that accepts them for 1024.
#[test]
fn no_more_are_accepted_than_the_far_end_has_room_for() {
    let target = server(echo).to_string();
    let pair = Pair::start(&["terminate", "0"], &["buffer", "4M", "initiate", "127.0.0.1", &target]);
    let port = entrance(&pair.a);
    let mut open: Vec<TcpStream> = (0..300).map(|_| connect(port)).collect();
    let mut late = open.split_off(256);
    open.iter_mut().for_each(|stream| ping(stream, b'x'));
    drop(open);
    late.iter_mut().for_each(|stream| ping(stream, b'y'));
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    let greet = |mut stream: TcpStream| {
        stream.write_all(b"220 hello\r\n").unwrap();
        echo(stream);
    };
    let tunnel = Pair::tunnel(server(greet), &[]);
    let mut stream = tunnel.connect();
    let mut greeting = [0; 11];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 hello\r\n");
}

#[test]
fn half_a_close_is_half_a_close_at_the_other_end() {
    let answer_after_the_end = |mut stream: TcpStream| {
        let mut question = Vec::new();
        stream.read_to_end(&mut question).unwrap();
        question.reverse();
        stream.write_all(&question).unwrap();
    };
    let tunnel = Pair::tunnel(server(answer_after_the_end), &[]);
    let mut stream = tunnel.connect();
    stream.write_all(b"question").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "noitseuq");
}

#[test]
fn a_refused_target_closes_that_connection_alone() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = closed.local_addr().unwrap();
    let tunnel = Pair::tunnel(target.port(), &[]);
    drop(closed);
    let mut stream = tunnel.connect();
    let refused = stream.read(&mut [0]);
    assert!(matches!(refused, Ok(0) | Err(_)), "{refused:?}");
    tunnel.pair.b.expect(&format!("cannot connect to {target}: connection refused"));
    // as soon as there is a server, connections go through
    let listener = TcpListener::bind(target).unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(echo));
    ping(&mut tunnel.connect(), b'x');
}

#[test]
fn a_broken_connection_breaks_the_other_half() {
    let hang = |stream: TcpStream| {
        let mut byte = [0];
        (&stream).read_exact(&mut byte).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    };
    let tunnel = Pair::tunnel(server(hang), &[]);
    let mut stream = tunnel.connect();
    stream.write_all(b"x").unwrap();
    let error = stream.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_reader_that_sleeps_holds_up_no_one_else() {
    let tunnel = Pair::tunnel(server(echo), &[]);
    let stalled: Vec<TcpStream> = (0..3).map(|_| tunnel.connect()).collect();
    for stream in &stalled {
        let mut writer = stream.try_clone().unwrap();
        writer.set_write_timeout(None).unwrap();
        // never read: it will be blocked somewhere on the way, until the test ends
        thread::spawn(move || drop(feed(&mut writer, 0, 1 << 30)));
    }
    there_and_back(tunnel.connect(), 20_000_000);
    let total = || tunnel.pair.a.peak_memory() + tunnel.pair.b.peak_memory();
    until_still(total);
    ping(&mut tunnel.connect(), b'x');
    assert!(total() < 300 << 20, "{} MiB", total() >> 20);
}

#[test]
fn a_stalled_connection_goes_on_where_it_was() {
    let tunnel = Pair::tunnel(server(echo), &[]);
    let mut stream = tunnel.connect();
    let mut writer = stream.try_clone().unwrap();
    let feeder = thread::spawn(move || {
        feed(&mut writer, 0, 50_000_000).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    until_still(|| tunnel.pair.a.peak_memory());
    let mut back = Vec::new();
    let read = stream.read_to_end(&mut back);
    assert!(read.is_ok() && back.len() == 50_000_000, "{read:?}, {} bytes", back.len());
    check(0, &back);
    feeder.join().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let tunnel = Pair::tunnel(server(echo), &[]);
    let churn = |count| {
        for byte in 0..count {
            let mut stream = tunnel.connect();
            ping(&mut stream, byte as u8);
        }
    };
    let processes = [&tunnel.pair.a, &tunnel.pair.b];
    let descriptors = |p: &Process| std::fs::read_dir(format!("/proc/{}/fd", p.pid())).unwrap().count();
    churn(100);
    let mut idle = [0, 0];
    // the last connection may not be closed yet
    assert!(eventually(DEADLINE, || {
        let before = std::mem::replace(&mut idle, processes.map(descriptors));
        before == idle
    }));
    let memory = processes.map(Process::peak_memory);
    churn(1000);
    for (i, process) in processes.into_iter().enumerate() {
        assert!(eventually(DEADLINE, || descriptors(process) <= idle[i]), "{process}");
        let grown = process.peak_memory().saturating_sub(memory[i]);
        assert!(grown < 8 << 20, "{} KiB more: {process}", grown >> 10);
    }
}

/// Fewer descriptors than the tunnel counts on, as where the whole system has none left.
#[cfg(target_os = "linux")]
#[test]
fn a_tunnel_that_has_no_descriptor_for_a_client_says_so_and_accepts_it_later() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let tunnel = Pair::tunnel(server(echo), &[]);
    let mut first = tunnel.connect();
    ping(&mut first, b'0');
    let near = &tunnel.pair.a;
    let pid = Pid::from_raw(near.pid() as i32);
    let limit = |current| {
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(current), maximum }).unwrap()
    };
    let before = limit(3).current.unwrap();
    let mut second = tunnel.connect();
    near.expect("cannot accept a connection: too many open files");
    limit(before);
    ping(&mut second, b'1');
    ping(&mut first, b'2');
}

// ---- how it ends ---------------------------------------------------------------------------------------

#[test]
fn oneshot_ends_both_after_the_first_connection() {
    for words in [["oneshot"].as_slice(), &[]] {
        let target = server(echo).to_string();
        let pair = Pair::start(
            &["terminate", "0", "oneshot"],
            &[&["initiate", "127.0.0.1", &target], words].concat(),
        );
        let entrance = entrance(&pair.a);
        there_and_back(connect(entrance), 3_000_000);
        pair.assert_ended(0, 0);
    }
}

#[test]
fn a_signal_ends_both() {
    for signal in [Signal::INT, Signal::TERM] {
        let tunnel = Pair::tunnel(server(echo), &[]);
        let mut stream = tunnel.connect();
        ping(&mut stream, b'x');
        tunnel.pair.a.signal(signal);
        assert_eq!(tunnel.pair.a.end().0, None);
        assert_eq!(tunnel.pair.b.end().0, Some(1), "{}", tunnel.pair.b);
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    }
}

#[test]
fn connections_of_a_tunnel_that_dies_break_and_do_not_end() {
    for signal in [Signal::TERM, Signal::KILL] {
        let (sender, seen) = std::sync::mpsc::channel();
        let report = move |mut stream: TcpStream| {
            let mut byte = [0];
            stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte)).unwrap();
            sender.send(stream.read(&mut byte).map_err(|e| e.kind())).unwrap();
        };
        let tunnel = Pair::tunnel(server(report), &[]);
        let mut stream = tunnel.connect();
        ping(&mut stream, b'x');
        tunnel.pair.a.signal(signal);
        tunnel.pair.b.signal(signal);
        let here = stream.read(&mut [0]).map_err(|e| e.kind());
        let there = seen.recv_timeout(DEADLINE).unwrap();
        assert_eq!([here, there], [Err(ErrorKind::ConnectionReset); 2], "after {signal:?}");
    }
}

#[test]
fn the_one_connection_breaks_and_does_not_end_with_a_receiver_that_is_killed() {
    let (sender, seen) = std::sync::mpsc::channel();
    let sink = server(move |mut stream: TcpStream| {
        let mut came = [0; 1000];
        sender.send(stream.read_exact(&mut came).map(|()| 1000).map_err(|e| e.kind())).unwrap();
        sender.send(stream.read(&mut came).map_err(|e| e.kind())).unwrap();
    });
    let rx = Rx::start(&["initiate", "127.0.0.1", &sink.to_string()]);
    let tx = tx(rx.port, &["charmode"]);
    let mut input = tx.stdin();
    feed(&mut input, 0, 1000).unwrap();
    assert_eq!(seen.recv_timeout(DEADLINE).unwrap(), Ok(1000));
    rx.signal(Signal::KILL);
    assert_eq!(seen.recv_timeout(DEADLINE).unwrap(), Err(ErrorKind::ConnectionReset));
}

#[test]
fn two_that_terminate_say_so_and_end() {
    let pair = Pair::start(&["terminate", "0"], &["terminate", "0"]);
    let _client = connect(entrance(&pair.a));
    pair.b.expect("one of them must initiate");
    let (a, b) = (pair.a.end().0, pair.b.end().0);
    assert!(a.is_some_and(|code| code != 0) && b.is_some_and(|code| code != 0), "{a:?} {b:?}");
}

#[test]
fn two_that_initiate_say_so_and_end() {
    let target = free_port().to_string();
    // the one that is quicker is refused in words; who dials it after that finds nobody
    let initiate = ["initiate", "127.0.0.1", &target, "patience", "5"];
    let pair = Pair::start(&initiate, &initiate);
    let ends = [pair.a.end(), pair.b.end()];
    assert!(ends.iter().all(|(code, _)| matches!(code, Some(1 | 3))), "{ends:?}");
    assert!(ends.iter().any(|(_, said)| said.contains("one of them must terminate")), "{ends:?}");
}

// ---- the far side does not tunnel ----------------------------------------------------------------------

#[test]
fn a_connection_meets_stdio_as_it_is() {
    let pair = Pair::start(&["terminate", "0"], &["charmode"]);
    let at_b = pair.b.collect();
    let mut stream = connect(entrance(&pair.a));
    feed(&mut stream, 0, 1_000_000).unwrap();
    at_b.await_bytes(1_000_000);
    let mut input = pair.b.stdin();
    input.write_all(b"answer").unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(at_b.join(), 1_000_000);
    input.write_all(b"!").unwrap();
    drop(input);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"!");
    drop(stream);
    pair.assert_ended(0, 0);
}

#[test]
fn a_file_goes_to_a_connection_and_comes_from_one() {
    let (sender, received) = std::sync::mpsc::channel();
    let sink = server(move |mut stream: TcpStream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        sender.send(all).unwrap();
    });
    let rx = Rx::start(&["initiate", "127.0.0.1", &sink.to_string()]);
    let tx = tx(rx.port, &["terminate", "0"]);
    let mut stream = connect(entrance(&tx));
    feed(&mut stream, 0, 5_000_000).unwrap();
    drop(stream);
    assert_eq!((tx.end().0, rx.end().0), (Some(0), Some(0)), "{tx}\n{rx}");
    assert!(received.recv_timeout(DEADLINE).unwrap() == pattern(0, 5_000_000));
}

#[test]
fn a_target_that_refuses_the_one_connection_fails_it() {
    let rx = Rx::start(&["initiate", "127.0.0.1", &free_port().to_string()]);
    let tx = tx(rx.port, &[]);
    tx.feed(1000);
    assert_eq!((tx.end().0, rx.end().0), (Some(5), Some(5)), "{tx}\n{rx}");
    rx.expect("connection refused");
}

#[test]
fn a_target_that_refuses_to_be_the_source_fails_it() {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &["initiate", "127.0.0.1", &free_port().to_string()]);
    assert_eq!((tx.end().0, rx.end().0), (Some(4), Some(4)), "{tx}\n{rx}");
    tx.expect("connection refused");
}

// ---- carriers die --------------------------------------------------------------------------------------

#[test]
fn connections_live_on_when_every_carrier_is_killed() {
    let tunnel = Pair::tunnel(server(echo), &[]);
    let mut idle = tunnel.connect();
    ping(&mut idle, b'0');
    let mut stream = tunnel.connect();
    let mut writer = stream.try_clone().unwrap();
    const BYTES: u64 = 60_000_000;
    let feeder = thread::spawn(move || {
        feed(&mut writer, 0, BYTES).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = vec![0; 1 << 20];
    let (mut came, mut kills) = (0, 0);
    loop {
        let n = stream.read(&mut back).unwrap();
        if n == 0 {
            break;
        }
        check(came, &back[..n]);
        came += n as u64;
        if kills < 6 && came > (kills + 1) * BYTES / 8 {
            assert!(tunnel.pair.kill() > 0);
            kills += 1;
        }
    }
    assert_eq!((came, kills), (BYTES, 6));
    feeder.join().unwrap();
    ping(&mut idle, b'1');
}
