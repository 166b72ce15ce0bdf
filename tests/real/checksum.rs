//! What `checksum` is for: bits that flip on the way.

use super::assert_same;
use super::instruments::count;
use crate::util::relay::{Harm, Relay};
use crate::util::{Rx, pattern, send, tx, tx_over};
use std::collections::HashSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

#[test]
fn a_damaged_leg_is_sent_again() {
    let input = pattern(0, 3_000_000);
    let rx = Rx::keeping(&["verbose", "1"]);
    let damaged: Arc<Mutex<HashSet<u64>>> = Arc::default();
    let seen = damaged.clone();
    let relay = Relay::damaging(rx.port, move |sequence, before| {
        let mut seen = seen.lock().unwrap();
        // a connection with more than 16 complaints at a time is closed, which is another way to mend it
        if sequence % 3 == 1 && before == 0 && seen.len() < 12 {
            seen.insert(sequence);
            return Harm::Payload;
        }
        Harm::None
    });
    let sent = send(relay.port, &["checksum", "verbose", "1"], &input);
    let got = rx.finish();
    assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
    assert_same(&got.stdout, &input);
    let damaged = damaged.lock().unwrap().len() as u64;
    let again = count(&sent.stderr, " leg");
    assert!(damaged > 3 && again >= damaged, "{damaged} damaged: {}", sent.stderr);
}

#[test]
fn without_checksum_damage_passes_and_prbs_names_the_connection() {
    let rx = Rx::keeping(&[]);
    let relay =
        Relay::damaging(rx.port, |sequence, _| if sequence == 2 { Harm::Payload } else { Harm::None });
    let input = pattern(0, 300_000);
    assert_eq!(send(relay.port, &[], &input).code(), 0);
    assert_ne!(rx.finish().stdout, input, "this is what checksum is for");

    let rx = Rx::keeping(&["prbs", "9"]);
    let relay =
        Relay::damaging(rx.port, |sequence, _| if sequence == 2 { Harm::Payload } else { Harm::None });
    let sent = tx(relay.port, &["prbs", "9", "leglimit", "4"]).finish();
    let got = rx.finish();
    assert_eq!((got.code(), sent.code()), (6, 6), "{}{}", got.stderr, sent.stderr);
    assert!(got.stderr.contains("in leg 2 by connection "), "{}", got.stderr);
}

#[test]
fn a_damaged_header_closes_the_connection_and_the_stream_is_right() {
    for checksum in [&["checksum"][..], &[]] {
        let input = pattern(0, 2_000_000);
        let rx = Rx::keeping(&[]);
        let relay = Relay::damaging(rx.port, |sequence, before| {
            if sequence % 7 == 3 && before == 0 { Harm::Header } else { Harm::None }
        });
        let sent = send(relay.port, checksum, &input);
        let got = rx.finish();
        assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
        assert_same(&got.stdout, &input);
    }
}

#[test]
fn a_leg_that_always_fails_ends_both() {
    let rx = Rx::keeping(&[]);
    let relay =
        Relay::damaging(rx.port, |sequence, _| if sequence == 2 { Harm::Payload } else { Harm::None });
    let sent = send(relay.port, &["checksum"], &pattern(0, 1_000_000));
    let got = rx.finish();
    assert_eq!((got.code(), sent.code()), (6, 6), "{}{}", got.stderr, sent.stderr);
    assert!(sent.stderr.contains("leg 2 arrived damaged"), "{}", sent.stderr);
    assert!(got.stderr.contains("leg 2 arrived damaged"), "{}", got.stderr);
}

#[test]
fn a_link_that_damages_every_leg_is_got_round() {
    let input = pattern(0, 500_000);
    let rx = Rx::keeping(&[]);
    let bad = Relay::damaging(rx.port, |_, _| Harm::Payload);
    let tx = tx_over(&[bad.port, rx.port], &["threads", "2", "checksum", "verbose", "2"]);
    // a leg that fails four times before the good link is there would end both
    for connection in 0..2 {
        tx.expect(&format!("connection {connection} is up"));
    }
    tx.stdin().write_all(&input).unwrap();
    let sent = tx.finish();
    let got = rx.finish();
    assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
    assert_same(&got.stdout, &input);
}
