use super::*;

const MIB: u64 = 1 << 20;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn connection(number: usize, link: usize) -> Connection {
    Connection {
        number,
        link: Some(link),
        state: State::Up,
        leg: Some(6_000 + number as u64),
        bytes: 794 * MIB,
        rate: 4.13 * MIB as f64,
        kernel: Some(Kernel {
            rtt: Duration::from_micros(51_240),
            window: 123,
            retransmits: 4,
            control: "cubic".into(),
        }),
    }
}

pub(super) fn tx() -> Snapshot {
    let link = |index, name: &str, trouble: &str, up| Link {
        name: name.into(),
        index,
        up,
        rate: 33.0 * MIB as f64,
        trouble: trouble.into(),
    };
    Snapshot {
        side: Side::Tx,
        peer: None,
        phase: Phase::Moving,
        elapsed: secs(192),
        expected: None,
        delivered: 12_700 * MIB,
        rate: 66.1 * MIB as f64,
        held: 111 * MIB,
        buffer: 128 * MIB,
        detail: Detail::Tx {
            read: 12_811 * MIB,
            sent: 12_800 * MIB,
            again: (3, 6 * MIB),
            rescues: 1,
            damaged: 0,
        },
        passage: Passage::Copied,
        compressed: None,
        waited: Waited { network: secs(175), input: secs(6), output: secs(11), ..Waited::default() },
        lost: 1,
        last_loss: Some("10.0.0.2:8834: connection reset".into()),
        links: vec![link(0, "10.0.0.2:8834", "", 2), link(1, "backup.example.org:8834", "no answer", 0)],
        connections: vec![
            connection(0, 0),
            connection(1, 0),
            Connection {
                number: 2,
                link: Some(1),
                state: State::Dialling,
                leg: None,
                bytes: 0,
                rate: 0.0,
                kernel: None,
            },
        ],
    }
}

pub(super) fn rx() -> Snapshot {
    Snapshot {
        side: Side::Rx,
        detail: Detail::Rx {
            received: 12_705 * MIB,
            next: 6352,
            ahead: (3, 6 * MIB),
            copies: 2,
            blocked: Duration::from_millis(312),
            in_doubt: false,
        },
        waited: Waited { network: secs(181), output: secs(11), ..Waited::default() },
        last_loss: Some("connection 1: closed by the sender".into()),
        links: Vec::new(),
        connections: vec![connection(0, 0)],
        ..tx()
    }
}

/// Compares, and holds the margin.
fn shown(snapshot: &Snapshot, golden: &str) {
    let report = render(snapshot);
    assert_eq!(report, golden, "\n{report}");
    assert!(report.lines().all(|line| line.chars().count() <= COLUMNS), "{report}");
}

#[test]
fn the_senders_report() {
    shown(
        &tx(),
        "\
millipede: tx: 12.4 GiB delivered in 0:03:12, 66.1 MiB/s; now 66.1 MiB/s
  held back by: network 91 %, input 3 %, output 6 %
  stream: 12.5 GiB read, 12.5 GiB sent
  buffer: 87 % in use, 111 MiB of 128 MiB
  sent again: 3 legs, 6.00 MiB; 1 rescue; 0 damaged
  connections lost: 1, the last: 10.0.0.2:8834: connection reset
  link    up         rate
     1     2   33.0 MiB/s  10.0.0.2:8834
     2     0            -  backup.example.org:8834: no answer
  conn link  state         leg    bytes       rate      rtt  cwnd resent control
     0    1  up           6000  794 MiB 4.13 MiB/s 51.24 ms   123      4 cubic
     1    1  up           6001  794 MiB 4.13 MiB/s 51.24 ms   123      4 cubic
     2    2  dialling        -      0 B          -
",
    );
}

#[test]
fn the_receivers_report() {
    shown(
        &rx(),
        "\
millipede: rx: 12.4 GiB delivered in 0:03:12, 66.1 MiB/s; now 66.1 MiB/s
  held back by: output 6 %, network or input 94 % (the sender can tell which)
  stream: 12.4 GiB received; wants leg 6352, holds 3 beyond it, 6.00 MiB
  buffer: 87 % in use, 111 MiB of 128 MiB
  output: blocked for 0.3 s now, 11.0 s in all; 2 legs came twice
  connections lost: 1, the last: connection 1: closed by the sender
  conn link  state         leg    bytes       rate      rtt  cwnd resent control
     0    1  up           6000  794 MiB 4.13 MiB/s 51.24 ms   123      4 cubic
",
    );
}

#[test]
fn what_compressing_came_to() {
    let line = |snapshot: &Snapshot| {
        let report = render(snapshot);
        report.lines().find(|line| line.contains("compressed: ")).map(str::to_owned)
    };
    assert_eq!(line(&tx()), None);
    let with = |compressed| line(&Snapshot { compressed: Some(compressed), ..tx() }).unwrap();
    assert_eq!(with(Compressed::default()), "  compressed: nothing yet");
    let some = Compressed { raw: 12_800 * MIB, sent: 5_000 * MIB, as_it_is: 1_500 * MIB, level: Some(3) };
    assert_eq!(with(some), "  compressed: 12.5 GiB to 4.88 GiB, 2.56 times smaller; level 3; 12 % as it is");
    let fixed = Compressed { level: Some(19), as_it_is: 0, ..some };
    assert!(with(fixed).ends_with("; level 19; 0 % as it is"));
    assert!(with(Compressed { level: None, ..some }).ends_with("; not now; 12 % as it is"));
    let far = Snapshot { compressed: Some(some), ..rx() };
    assert_eq!(line(&far).unwrap(), "  decompressed: 12.5 GiB to 4.88 GiB, 2.56 times smaller");
}

#[test]
fn the_peers_key_is_named_where_connections_are_encrypted() {
    let keyed = |name: &str| render(&Snapshot { peer: Some(name.into()), ..tx() });
    let plain = render(&tx());
    let line = |report: String| report.lines().find(|line| !plain.contains(line)).map(str::to_owned);
    assert_eq!(line(keyed("backup@host")).as_deref(), Some("  encrypted; key of the peer: backup@host"));
    let print = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    assert_eq!(line(keyed(print)), Some(format!("  encrypted; key of the peer: {print}")));
}

/// Of a sender that has read something, and has met nobody.
fn nobody_yet() -> Snapshot {
    Snapshot {
        phase: Phase::Waiting,
        elapsed: secs(12),
        delivered: 0,
        rate: 0.0,
        held: 2 * MIB,
        waited: Waited::default(),
        lost: 0,
        last_loss: None,
        connections: Vec::new(),
        ..tx()
    }
}

#[test]
fn a_sender_before_the_first_connection() {
    let mut waiting = Snapshot {
        detail: Detail::Tx { read: 2 * MIB, sent: 0, again: (0, 0), rescues: 0, damaged: 0 },
        ..nobody_yet()
    };
    waiting.links.truncate(1);
    waiting.links[0] = Link { up: 0, trouble: "connection refused".into(), ..waiting.links[0].clone() };
    shown(
        &waiting,
        "\
millipede: tx: no connection yet, after 0:00:12
  stream: 2.00 MiB read, 0 B sent
  buffer: 2 % in use, 2.00 MiB of 128 MiB
  sent again: 0 legs, 0 B; 0 rescues; 0 damaged
  connections lost: 0
  link    up         rate
     1     0            -  10.0.0.2:8834: connection refused
",
    );
}

#[test]
fn a_receiver_before_the_first_connection() {
    shown(
        &Snapshot {
            side: Side::Rx,
            detail: Detail::Rx {
                received: 0,
                next: 0,
                ahead: (0, 0),
                copies: 0,
                blocked: Duration::ZERO,
                in_doubt: true,
            },
            held: 0,
            links: Vec::new(),
            ..nobody_yet()
        },
        "\
millipede: rx: no sender yet, after 0:00:12
  stream: 0 B received; wants leg 0
  buffer: 0 % in use, 0 B of 128 MiB
  output: not blocked now, 0.0 s in all; 0 legs came twice
  connections lost: 0
",
    );
}

#[test]
fn after_the_end() {
    let over = |result| Snapshot { phase: Phase::Over(result), ..rx() };
    let first = |snapshot| render(&snapshot).lines().next().unwrap().to_owned();
    assert_eq!(first(over(Ok(()))), "millipede: rx: complete: 12.4 GiB delivered in 0:03:12, 66.1 MiB/s");
    assert_eq!(
        first(over(Err("the sender is gone".into()))),
        "millipede: rx: ended after 12.4 GiB delivered in 0:03:12: the sender is gone"
    );
}

#[test]
fn sixteen_connections_and_long_names_keep_the_margins() {
    let mut snapshot = Snapshot { expected: Some(25_400 * MIB), ..tx() };
    let busy = |number| Connection {
        leg: Some(12_345_678),
        bytes: 1023 << 40,
        rate: 1023.4 * MIB as f64,
        kernel: Some(Kernel {
            rtt: secs(10),
            window: 999_999,
            retransmits: 12_345_678,
            control: "scalable_bbr".into(),
        }),
        ..connection(number, 15)
    };
    snapshot.connections = (0..16).map(busy).collect();
    snapshot.links.truncate(1);
    snapshot.links[0].name = "a-host-with-a-very-long-name.in.a.very-long.domain.example.org:8834 ".repeat(3);
    snapshot.last_loss = Some("ü".repeat(300));
    let report = render(&snapshot);
    let fits = |report: &str| {
        report.lines().all(|line| line.chars().count() <= COLUMNS) && report.lines().count() < 24
    };
    assert!(fits(&report), "{report}");
    assert!(report.contains("999k    12M scalabl\n"), "{report}");
    assert!(report.ends_with("  and 8 connections, slower ones, at 8.00 GiB/s together\n"), "{report}");
    // as many kinds of lines as there can be
    for (number, state) in [(12, State::Leaving), (13, State::Dialling), (14, State::Down), (15, State::Up)] {
        snapshot.connections[number].state = state;
        snapshot.connections[number].rate = 0.0;
    }
    let report = render(&snapshot);
    assert!(fits(&report), "{report}");
    assert!(report.contains("\n    15   16  up "), "{report}");
}

#[test]
fn connections_of_which_each_would_say_the_same_are_one_line() {
    let mut snapshot = tx();
    let idle = |number| Connection { rate: 0.4, ..connection(number, 0) };
    snapshot.connections = (0..16).map(idle).collect();
    assert!(render(&snapshot).ends_with("example.org:8834: no answer\n  16 connections idle: 0 to 15\n"));
    snapshot.connections[3].rate = 5e6;
    snapshot.connections[5].state = State::Dialling;
    snapshot.connections[7].state = State::Dialling;
    let report = render(&snapshot);
    let table = report.split_once("resent control\n").unwrap().1;
    let expected = "     3    1  up           6003  794 MiB 4.77 MiB/s 51.24 ms   123      4 cubic
  13 connections idle: 0 to 2, 4, 6, 8 to 15
  2 connections dialling: 5, 7
";
    assert_eq!(table, expected, "{report}");
}

#[test]
fn while_nothing_works_it_says_so() {
    let mut snapshot = tx();
    snapshot.connections.iter_mut().for_each(|c| c.state = State::Down);
    assert!(
        render(&snapshot)
            .starts_with("millipede: tx: 12.4 GiB delivered in 0:03:12, 66.1 MiB/s; no connection now\n")
    );
}

#[test]
fn an_end_of_the_input_is_no_arrival_where_nobody_was_met() {
    let closing = Snapshot { phase: Phase::Closing, ..tx() };
    assert!(render(&closing).contains("\n  all of it has arrived; waiting for the receiver's verdict\n"));
    let (waited, delivered, lost) = (Waited::default(), 0, 0);
    let alone = Snapshot { waited, delivered, lost, connections: Vec::new(), ..closing };
    let report = render(&alone);
    assert!(report.starts_with("millipede: tx: no connection yet, after 0:03:12\n"), "{report}");
    assert!(!report.contains("arrived") && !report.contains("held back"), "{report}");
}

#[test]
fn with_a_known_size_it_says_how_long_it_will_take() {
    let snapshot = Snapshot { expected: Some(25_400 * MIB), ..tx() };
    let report = render(&snapshot);
    assert!(report.contains("\n  done: 50 % of 24.8 GiB, 0:03:13 left\n"), "{report}");
    let wrong = Snapshot { expected: Some(100), ..tx() };
    assert_eq!(wrong.fraction(), None, "a size that was wrong is no size");
}

#[test]
fn shares_add_up() {
    for (network, input, pacing, output) in [
        (1, 1, 0, 1),
        (0, 0, 0, 7),
        (0, 5, 0, 5),
        (199, 1, 0, 0),
        (1, 199, 0, 199),
        (0, 1, 1, 1),
        (1, 1, 4, 1),
    ] {
        let waited =
            Waited { network: secs(network), input: secs(input), pacing: secs(pacing), output: secs(output) };
        let line = held_back(&Snapshot { waited, ..tx() });
        let sum: u64 = line.split_whitespace().filter_map(|word| word.parse::<u64>().ok()).sum();
        assert_eq!(sum, 100, "{line}");
        assert_eq!(line.contains("rate limit"), pacing > 0, "{line}");
    }
    assert_eq!(held_back(&Snapshot { waited: Waited::default(), ..tx() }), "nothing yet");
}

#[test]
fn the_pace_that_was_asked_for_is_not_blamed_on_the_input() {
    let waited = Waited { network: secs(2), pacing: secs(97), output: secs(1), ..Waited::default() };
    let line = held_back(&Snapshot { waited, ..tx() });
    assert_eq!(line, "network 2 %, input 0 %, rate limit 97 %, output 1 %");
}

#[test]
fn figures() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (10 * 1024 - 1, "10.0 KiB"),
        (1024 * 1024 - 1, "1.00 MiB"),
        (12_700 * MIB, "12.4 GiB"),
        (u64::MAX, "16.0 EiB"),
    ] {
        assert_eq!(size(bytes), text);
    }
    for (seconds, text) in [(0, "0:00:00"), (59, "0:00:59"), (3600, "1:00:00"), (187_384, "2d 4:03:04")] {
        assert_eq!(time(secs(seconds)), text);
    }
}
