//! Floods at the receiver's port: honest senders get through, and what strangers cost is bounded.

use super::MIB;
use crate::util::pair::entrance;
use crate::util::relay::Relay;
use crate::util::stranger::{hello, say};
use crate::util::{
    DEADLINE, Process, Rx, assert_complete, connect, echo, eventually, feed, ping, server, side_by_side, tx,
    until_still,
};
use millipede::proto::hello::{Direction, Features, Hello, Id, Refusal, RefusalCode, Reply, Welcome};
use millipede::proto::wire::WindowEdge;
use socket2::{Domain, Socket, Type};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What strangers may cost at a time: handshakes, and farewells.
#[cfg(target_os = "linux")]
const DESCRIPTORS: usize = 64 + 16;

/// Connects to a port some thousand times a second and says nothing, until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Flood {
    fn at(port: u16) -> Flood {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut there = VecDeque::new();
            while !stopped.load(Ordering::Relaxed) {
                there.extend((0..6).filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok()));
                while there.len() > 300 {
                    there.pop_front();
                }
                // the rate of the flood
                thread::sleep(Duration::from_millis(1));
            }
        });
        Flood { stop, thread: Some(thread) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(thread::JoinHandle::join);
    }
}

/// The sender's hello comes a while after its connection, from the address of the flood.
#[test]
fn a_silent_flood_keeps_no_sender_out_and_ends_no_session() {
    let rx = Rx::start(&[]);
    let _flood = Flood::at(rx.port);
    let net = Relay::to(rx.port);
    net.delay(Duration::from_millis(25));
    let tx = tx(net.port, &[]);
    let (mut input, output) = (tx.stdin(), rx.collect());
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    assert!(net.kill_all() > 0);
    feed(&mut input, MIB, MIB).unwrap();
    drop(input);
    assert_complete(&rx, &tx, output, 2 * MIB);
}

#[cfg(target_os = "linux")]
#[test]
fn the_descriptors_of_strangers_are_bounded() {
    let rx = Rx::start(&["checkphrase", "good"]);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", rx.pid())).unwrap().count();
    // its own are all there when somebody was met
    drop(say(rx.port, &hello(1000).encode()));
    let before = until_still(|| descriptors() as u64) as usize;
    let mut there = Vec::new();
    for session in 0..150 {
        let mut stream = connect(rx.port);
        // one that was sent away already cannot
        let _ = stream.write_all(b"\xb2mil");
        there.push(stream);
        let (stream, reply) = say(rx.port, &hello(session).encode());
        let refused = matches!(reply, Some(Reply::Refusal(Refusal { code: RefusalCode::Checkphrase, .. })));
        assert!(refused, "{reply:?}");
        there.push(stream);
        assert!(descriptors() <= before + DESCRIPTORS, "{} and {before}", descriptors());
    }
    drop(there);
    assert!(eventually(DEADLINE, || descriptors() <= before));
}

#[test]
fn thousands_of_refused_hellos_are_a_few_lines() {
    let rx = Rx::start(&[]);
    for session in 0..2000 {
        let (_, reply) = say(rx.port, &Hello { begun: true, ..hello(session) }.encode());
        assert!(matches!(reply, Some(Reply::Refusal(_))), "{reply:?}");
    }
    let lines = rx.said().lines().count();
    assert!((2..=20).contains(&lines), "{rx}");
}

#[test]
fn sessions_that_come_and_go_are_a_few_lines_at_any_verbosity() {
    let rx = Rx::start(&["verbose", "2"]);
    for session in 0..20 {
        let served = || matches!(say(rx.port, &hello(session).encode()).1, Some(Reply::Welcome(_)));
        // the one before gives way when it has had its time
        assert!(eventually(DEADLINE, served), "{rx}");
    }
    let lines = rx.said().lines().count();
    assert!((5..=25).contains(&lines), "{lines}: {rx}");
}

// ---- strangers at a tunnel -----------------------------------------------------------------------------

/// A stranger that says hello with these features, welcomes what comes back, and leaves; until it is forgotten.
fn stranger(at: &Rx, features: Features) {
    let mut stream = met(at, features);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // until it is heard out
    let _ = stream.read_to_end(&mut Vec::new());
    drop(stream);
    at.expect("never began is forgotten");
}

/// A stranger that says hello with these features, welcomes what comes back, and stays.
fn met(at: &Rx, features: Features) -> TcpStream {
    let duplex = Hello { direction: Direction::Duplex, features: Features::DUPLEX | features, ..hello(1) };
    let (mut stream, reply) = say(at.port, &duplex.encode());
    assert!(matches!(reply, Some(Reply::Welcome(_))), "{reply:?}");
    let welcome = Welcome {
        instance: Id::new([3; 16]),
        next: 0,
        edge: WindowEdge { bytes: 1 << 20, legs: 100 },
        leg_max: 64 << 10,
        features: Features::DUPLEX | features,
        buffer: 8 << 20,
    };
    stream.write_all(&Reply::Welcome(welcome).encode()).unwrap();
    stream
}

#[test]
fn what_a_stranger_says_of_a_tunnel_decides_nothing() {
    let target = server(echo).to_string();
    side_by_side([Features::NONE, Features::TUNNEL], |features| {
        let terminate = Rx::start(&["duplex", "verbose", "2", "terminate", "0"]);
        stranger(&terminate, features);
        let far = tx(terminate.port, &["duplex", "initiate", "127.0.0.1", &target]);
        carries(&terminate, &far, entrance(&terminate));

        let initiate = Rx::start(&["duplex", "verbose", "2", "initiate", "127.0.0.1", &target]);
        stranger(&initiate, features);
        let far = tx(initiate.port, &["duplex", "terminate", "0"]);
        carries(&initiate, &far, entrance(&far));
    });
}

/// What it says is for the far end that comes, and not for the stranger that is there.
#[test]
fn a_client_that_comes_early_waits_for_its_far_end() {
    let terminate = Rx::start(&["duplex", "verbose", "2", "terminate", "0"]);
    let there = met(&terminate, Features::NONE);
    let mut client = connect(entrance(&terminate));
    client.write_all(b"x").unwrap();
    let far = tx(terminate.port, &["duplex", "initiate", "127.0.0.1", &server(echo).to_string()]);
    let mut back = [0];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"x");
    carries(&terminate, &far, entrance(&terminate));
    drop(there);
}

/// Connections go through, two at a time.
#[track_caller]
fn carries(tunnel: &Process, far: &Process, entrance: u16) {
    let (mut one, mut other) = (connect(entrance), connect(entrance));
    ping(&mut one, b'1');
    ping(&mut other, b'2');
    ping(&mut one, b'3');
    assert!(!tunnel.has_ended() && !far.has_ended(), "{tunnel}\n{far}");
}

/// The target hangs up on a stranger at once, or is away: for the far end that comes after it nothing has ended.
#[test]
fn a_target_that_hangs_up_on_a_stranger_ends_nothing() {
    let (sender, greeted) = std::sync::mpsc::channel();
    let target = server(move |stream: TcpStream| {
        drop(stream);
        sender.send(()).unwrap();
    });
    // bound, so that nobody else gets it, and not listening
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let away = bound.local_addr().unwrap().as_socket().unwrap().port();
    for target in [target, away] {
        let rx = Rx::start(&["duplex", "verbose", "2", "initiate", "127.0.0.1", &target.to_string()]);
        stranger(&rx, Features::NONE);
        if target != away {
            greeted.recv_timeout(DEADLINE).unwrap();
        }
        let far = tx(rx.port, &["duplex", "verbose", "2", "terminate", "0"]);
        let mut stream = connect(entrance(&far));
        // closed again, as that target does; the tunnel stays
        let closed = stream.read(&mut [0]);
        assert!(
            closed.as_ref().map_or_else(|e| e.kind() == ErrorKind::ConnectionReset, |n| *n == 0),
            "{closed:?}\n{rx}\n{far}"
        );
        assert!(!rx.has_ended() && !far.has_ended(), "{rx}\n{far}");
    }
}
