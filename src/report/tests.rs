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

fn tx() -> Snapshot {
    let link = |index, name: &str, trouble: &str, up| Link {
        name: name.into(),
        index,
        up,
        rate: 33.0 * MIB as f64,
        trouble: trouble.into(),
    };
    Snapshot {
        side: Side::Tx,
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
        waited: Waited { network: secs(175), input: secs(6), output: secs(11) },
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

fn rx() -> Snapshot {
    Snapshot {
        side: Side::Rx,
        detail: Detail::Rx {
            received: 12_705 * MIB,
            next: 6352,
            ahead: (3, 6 * MIB),
            copies: 2,
            blocked: Duration::from_millis(312),
        },
        waited: Waited { network: secs(181), input: secs(0), output: secs(11) },
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
millipede: tx: 12.4 GiB delivered in 0:03:12, 66.1 MiB/s now, 66.1 MiB/s overall
  held back by: network 91 %, input 3 %, output 6 %
  stream: 12.5 GiB read, 12.5 GiB sent
  buffer: 87 % in use, 111 MiB of 128 MiB
  sent again: 3 legs, 6.00 MiB; 1 rescue; 0 damaged
  connections lost: 1, the last: 10.0.0.2:8834: connection reset
  link    up         rate
     1     2   33.0 MiB/s  10.0.0.2:8834
     2     0            -  backup.example.org:8834: no answer
  conn  link  state         leg      bytes         rate       rtt   cwnd  retrans  control
     0     1  up           6000    794 MiB   4.13 MiB/s  51.24 ms    123        4  cubic
     1     1  up           6001    794 MiB   4.13 MiB/s  51.24 ms    123        4  cubic
     2     2  dialling        -        0 B            -
",
    );
}

#[test]
fn the_receivers_report() {
    shown(
        &rx(),
        "\
millipede: rx: 12.4 GiB delivered in 0:03:12, 66.1 MiB/s now, 66.1 MiB/s overall
  held back by: output 6 %, network or input 94 % (the sender can tell which)
  stream: 12.4 GiB received; next leg wanted 6352, 3 legs held beyond it, 6.00 MiB
  buffer: 87 % in use, 111 MiB of 128 MiB
  output: blocked for 0.3 s now, 11.0 s in all; 2 legs came twice
  connections lost: 1, the last: connection 1: closed by the sender
  conn  link  state         leg      bytes         rate       rtt   cwnd  retrans  control
     0     1  up           6000    794 MiB   4.13 MiB/s  51.24 ms    123        4  cubic
",
    );
}

#[test]
fn before_the_first_connection() {
    let nothing = Snapshot {
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
    };
    let mut waiting = Snapshot {
        detail: Detail::Tx { read: 2 * MIB, sent: 0, again: (0, 0), rescues: 0, damaged: 0 },
        ..nothing.clone()
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
    shown(
        &Snapshot {
            side: Side::Rx,
            detail: Detail::Rx { received: 0, next: 0, ahead: (0, 0), copies: 0, blocked: Duration::ZERO },
            held: 0,
            links: Vec::new(),
            ..nothing
        },
        "\
millipede: rx: no sender yet, after 0:00:12
  stream: 0 B received; next leg wanted 0
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
fn sixteen_connections_and_long_names_keep_the_margin() {
    let mut snapshot = tx();
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
    snapshot.links[1].name = "a-host-with-a-very-long-name.in.a.very-long.domain.example.org:8834 ".repeat(3);
    snapshot.last_loss = Some("ü".repeat(300));
    let report = render(&snapshot);
    assert!(report.lines().all(|line| line.chars().count() <= COLUMNS), "{report}");
    assert_eq!(report.lines().count(), 6 + 3 + 17, "{report}");
    assert!(report.lines().count() <= 40, "a screen");
    assert!(report.contains(" scalable_bbr\n"), "{report}");
}

#[test]
fn while_nothing_works_it_says_so() {
    let mut snapshot = tx();
    snapshot.connections.iter_mut().for_each(|c| c.state = State::Down);
    assert!(render(&snapshot).starts_with(
        "millipede: tx: 12.4 GiB delivered in 0:03:12, 66.1 MiB/s overall; no connection now\n"
    ));
}

#[test]
fn with_a_known_size_it_says_how_long_it_will_take() {
    let snapshot = Snapshot { expected: Some(25_400 * MIB), ..tx() };
    let report = render(&snapshot);
    assert!(report.contains("\n  done: 50 % of 24.8 GiB, 0:03:13 left\n"), "{report}");
    assert_eq!(live(&snapshot), "tx  12.4 GiB  66.1 MiB/s  0:03:12  buffer  87 %");
    assert_eq!(rest(&snapshot).unwrap(), " 50 %  0:03:13 left");
    assert_eq!(summary(&snapshot), "tx: 12.4 GiB delivered in 0:03:12, 66.1 MiB/s");
    let wrong = Snapshot { expected: Some(100), ..tx() };
    assert_eq!((rest(&wrong), wrong.fraction()), (None, None), "a size that was wrong is no size");
}

#[test]
fn shares_add_up() {
    for (network, input, output) in [(1, 1, 1), (0, 0, 7), (0, 5, 5), (199, 1, 0), (1, 199, 199)] {
        let waited = Waited { network: secs(network), input: secs(input), output: secs(output) };
        let line = held_back(&Snapshot { waited, ..tx() });
        let sum: u64 = line.split_whitespace().filter_map(|word| word.parse::<u64>().ok()).sum();
        assert_eq!(sum, 100, "{line}");
    }
    assert_eq!(held_back(&Snapshot { waited: Waited::default(), ..tx() }), "nothing yet");
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
