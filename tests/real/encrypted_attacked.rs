//! Somebody on the way: whatever he changes, cuts, says himself or says again, the stream is right, and nothing that he
//! says is believed.

use super::MIB;
use crate::util::proxy::proxy;
use crate::util::relay::{Back, Relay, There};
use crate::util::stranger::say;
use crate::util::{
    Collector, Keys, Process, Rx, assert_complete, connect, feed, server, side_by_side, tx, tx_over,
};
use millipede::proto::hello::{Refusal, RefusalCode, Reply};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ChildStdin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

// ---- what he changes -----------------------------------------------------------------------------------

/// Bits flip anywhere: in handshakes, in heads of records, in legs, in the last words.
#[test]
fn a_bit_that_flips_costs_a_connection_and_nothing_else() {
    let keys = Keys::of(&["secret"]);
    let seeds: Vec<u64> = (1..=4).collect();
    side_by_side(seeds, |seed| {
        let mut random = SmallRng::seed_from_u64(seed);
        for run in 0..8 {
            // early ones hit handshakes, later ones the stream
            let most = if run % 2 == 0 { 4000 } else { 6_000_000 };
            let (at, bit) = (random.random_range(0..most), random.random_range(0..8));
            let victim = random.random_range(0..3);
            let way = if random.random_range(0..3) == 0 { Back } else { There };
            let flipped = Arc::new(AtomicUsize::new(0));
            let (rx, count) = (Rx::start(&keys.shared("secret")), flipped.clone());
            let port = proxy(rx.port, move |mut piece| {
                if (piece.connection, piece.way) == (victim, way) && piece.flip(at, bit) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
            let tx = tx(port, &[&keys.shared("secret")[..], &["threads", "3"]].concat());
            let output = rx.collect();
            tx.feed(20 * MIB);
            assert_complete(&rx, &tx, output, 20 * MIB);
            let name =
                format!("seed {seed} run {run}: bit {bit} of byte {at} {way:?} on connection {victim}");
            assert!(flipped.load(Ordering::Relaxed) <= 1, "{name}");
            assert_eq!(tx.said(), "", "{name}: what heals at once is not mentioned");
        }
    });
}

#[test]
fn bits_that_flip_again_and_again_cost_connections_and_nothing_else() {
    let keys = Keys::of(&["secret"]);
    let rx = Rx::start(&keys.shared("secret"));
    let mut random = SmallRng::seed_from_u64(5);
    let (mut left, flipped) = (0, Arc::new(AtomicUsize::new(0)));
    let count = flipped.clone();
    let port = proxy(rx.port, move |piece| {
        if piece.bytes.len() > left {
            piece.bytes[left] ^= 1 << random.random_range(0..8);
            left = random.random_range(0..12_000_000);
            count.fetch_add(1, Ordering::Relaxed);
        } else {
            left -= piece.bytes.len();
        }
    });
    let tx = tx(port, &[&keys.shared("secret")[..], &["threads", "4"]].concat());
    let output = rx.collect();
    tx.feed(100 * MIB);
    assert_complete(&rx, &tx, output, 100 * MIB);
    assert!(flipped.load(Ordering::Relaxed) > 3);
}

// ---- what he says himself ------------------------------------------------------------------------------

/// What somebody on the way may say in a receiver's place.
fn lies() -> Vec<(&'static str, Vec<u8>)> {
    let refusal = |code| Reply::Refusal(Refusal { code, sentence: "go away".into() }).encode();
    vec![
        ("a plain refusal", refusal(RefusalCode::Key)),
        ("another plain refusal", refusal(RefusalCode::Checkphrase)),
        ("access denied", vec![0x15, 3, 3, 0, 2, 2, 49]),
        ("certificate unknown", vec![0x15, 3, 3, 0, 2, 2, 46]),
        ("close notify", vec![0x15, 3, 3, 0, 2, 1, 0]),
        ("nothing", Vec::new()),
        ("garbage", (0..2000u32).map(|at| ((at * 7919) >> 3) as u8).collect()),
    ]
}

/// Answers everybody with this, and ends; with a reset, if there is nothing to say.
fn liar(says: Vec<u8>) -> u16 {
    server(move |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&says);
        if says.is_empty() {
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            return;
        }
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

#[test]
fn a_liar_on_one_of_two_links_ends_nothing() {
    let keys = Keys::of(&["secret"]);
    side_by_side(lies(), |(name, says)| {
        let rx = Rx::start(&keys.shared("secret"));
        let net = Relay::to_nobody();
        let words = [&keys.shared("secret")[..], &["threads", "4", "patience", "60"]].concat();
        let tx = tx_over(&[liar(says), net.port], &words);
        tx.feed(5 * MIB);
        let output = rx.collect();
        // he is believed by nobody, while the other link does not work either
        assert!(!tx.ends_within(Duration::from_secs(3)), "{name}: {tx}");
        net.lead_to(rx.port);
        assert_complete(&rx, &tx, output, 5 * MIB);
    });
}

#[test]
fn a_liar_on_the_only_link_is_a_refusal_when_patience_is_over() {
    let keys = Keys::of(&["secret"]);
    side_by_side(lies(), |(name, says)| {
        let begun = Instant::now();
        let tx = tx(liar(says), &[&keys.shared("secret")[..], &["patience", "3"]].concat());
        let (code, said) = tx.end();
        assert!(begun.elapsed() >= Duration::from_secs(3), "{name}: {tx}");
        assert_eq!((code, said.lines().count()), (Some(3), 1), "{name}: {tx}");
    });
}

/// In mid-session, when all connections are gone and he answers in place of the receiver for a while.
#[test]
fn a_liar_in_mid_session_ends_nothing() {
    let keys = Keys::of(&["secret"]);
    side_by_side(lies(), |(name, says)| {
        let rx = Rx::start(&keys.shared("secret"));
        let net = Relay::to(rx.port);
        let words = [&keys.shared("secret")[..], &["threads", "3", "patience", "60"]].concat();
        let tx = tx_over(&[net.port], &words);
        let (mut input, output) = (tx.stdin(), rx.collect());
        feed(&mut input, 0, MIB).unwrap();
        output.await_bytes(MIB);
        let before = net.accepted();
        net.lead_to(liar(says));
        net.kill_all();
        assert!(!tx.ends_within(Duration::from_secs(2)), "{name}: {tx}");
        assert!(net.accepted() > before, "{name}");
        net.lead_to(rx.port);
        feed(&mut input, MIB, MIB).unwrap();
        drop(input);
        assert_complete(&rx, &tx, output, 2 * MIB);
    });
}

/// The same, where the user says nothing of patience. Without keys the receiver would be gone after 15 s.
#[test]
fn a_liar_in_mid_session_is_not_believed_as_soon_as_a_port_that_refuses() {
    let keys = Keys::of(&["secret"]);
    side_by_side(lies(), |(name, says)| {
        let Interrupted { rx, tx, net, input, output } = interrupted(&keys, says);
        assert!(!tx.ends_within(Duration::from_secs(18)), "{name}: {tx}");
        net.lead_to(rx.port);
        drop(input);
        assert_complete(&rx, &tx, output, MIB);
    });
}

#[test]
#[ignore = "takes five minutes"]
fn a_liar_in_mid_session_is_believed_after_five_minutes() {
    let keys = Keys::of(&["secret"]);
    side_by_side(lies(), |(name, says)| {
        let interrupted = interrupted(&keys, says);
        let tx = &interrupted.tx;
        assert!(!tx.ends_within(Duration::from_secs(290)), "{name}: {tx}");
        assert!(tx.ends_within(Duration::from_secs(30)), "{name}: {tx}");
        let (code, said) = tx.end();
        assert!(code == Some(1) && said.contains("the receiver is gone: "), "{name}: {tx}");
    });
}

/// A session of default patience that has begun, and whose connections all lead to him from now on.
struct Interrupted {
    rx: Rx,
    tx: Process,
    net: Relay,
    input: ChildStdin,
    output: Collector,
}

fn interrupted(keys: &Keys, says: Vec<u8>) -> Interrupted {
    let rx = Rx::start(&keys.shared("secret"));
    let net = Relay::to(rx.port);
    let tx = tx_over(&[net.port], &[&keys.shared("secret")[..], &["threads", "3"]].concat());
    let output = rx.collect();
    let mut input = tx.stdin();
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    net.lead_to(liar(says));
    net.kill_all();
    Interrupted { rx, tx, net, input, output }
}

// ---- what he says again --------------------------------------------------------------------------------

#[test]
fn what_was_recorded_and_is_said_again_does_nothing() {
    let keys = Keys::of(&["secret"]);
    let rx = Rx::start(&keys.shared("secret"));
    let heard = Arc::new(Mutex::new(vec![Vec::new(); 3]));
    let spy = heard.clone();
    let port = proxy(rx.port, move |piece| {
        if let (There, Some(heard)) = (piece.way, spy.lock().unwrap().get_mut(piece.connection)) {
            heard.extend_from_slice(piece.bytes);
        }
    });
    let sender = tx(port, &[&keys.shared("secret")[..], &["threads", "3"]].concat());
    let (mut input, output) = (sender.stdin(), rx.collect());
    let mut again = Vec::new();
    for piece in 0..4 {
        feed(&mut input, piece * MIB, MIB).unwrap();
        output.await_bytes((piece + 1) * MIB);
        let heard = heard.lock().unwrap().clone();
        again.extend(heard.into_iter().map(|bytes| say(rx.port, &bytes[..bytes.len().min(20_000)])));
    }
    drop(input);
    assert_complete(&rx, &sender, output, 4 * MIB);
    assert!(again.iter().all(|(_, reply)| reply.is_none()));
    assert_eq!(sender.said(), "");
    // nor does it begin anything at a receiver that waits
    let fresh = Rx::start(&[&keys.shared("secret")[..], &["verbose", "2"]].concat());
    for bytes in heard.lock().unwrap().iter() {
        let mut stream = connect(fresh.port);
        let (mut reader, bytes) = (stream.try_clone().unwrap(), bytes.clone());
        let writer = thread::spawn(move || drop(stream.write_all(&bytes)));
        let _ = reader.read_to_end(&mut Vec::new());
        writer.join().unwrap();
    }
    assert!(!fresh.said().contains("begins"), "{fresh}");
    crate::util::carry(&fresh, &tx(fresh.port, &keys.shared("secret")), MIB);
}
