//! `compress`: fewer bytes on the wire, the same ones at the output, whatever happens in between.

use super::{MIB, assert_same, both};
use crate::util::pair::{Duplex, Pair};
use crate::util::relay::{Back, Harm, Relay, There};
use crate::util::stranger::{hello, say};
use crate::util::{
    DEADLINE, Process, Rx, Signal, echo, eventually, pattern, send, server, there_and_back, tx,
};
use millipede::proto::hello::{Features, Hello, Reply};
use millipede::proto::leg::LEG_MAX;
use millipede::proto::wire::{Frame, LegFlags, LegHeader};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines that know their own number, and of which zstd makes a fifth.
fn text(len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 80);
    let mut line = 0u64;
    while text.len() < len {
        let mixed = line.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        writeln!(text, "line {line}: {mixed:x} of the text that this test sends").unwrap();
        line += 1;
    }
    text.truncate(len);
    text
}

#[test]
fn text_takes_fewer_bytes_and_the_receiver_needs_no_word() {
    for (words, len) in [
        (&["compress", "1"][..], 20_000_000),
        (&["compress", "3", "checksum", "threads", "1"], 20_000_000),
        (&["compress", "9", "checksum", "buffer", "4M"], 6_000_000),
        (&["compress", "19", "threads", "3"], 2_000_000),
        (&["compress", "1"], 1),
        (&["compress", "1"], 0),
    ] {
        let input = text(len);
        let rx = Rx::keeping(&[]);
        let relay = Relay::to(rx.port);
        let sent = send(relay.port, words, &input);
        let got = rx.finish();
        assert_eq!((got.code(), sent.code()), (0, 0), "{words:?}: {}{}", got.stderr, sent.stderr);
        assert_same(&got.stdout, &input);
        let passed = relay.passed(There);
        assert!(len < 1000 || passed < len as u64 / 2, "{words:?}: {passed} of {len}");
    }
}

#[test]
fn what_does_not_shrink_is_sent_as_it_is() {
    for words in [&["compress", "1"][..], &["compress"]] {
        let input = pattern(0, 30_000_000);
        let rx = Rx::keeping(&[]);
        // on a busy machine some legs are rescued
        let copies = Arc::new(AtomicU64::new(0));
        let counted = copies.clone();
        let relay = Relay::damaging(rx.port, move |_, before| {
            counted.fetch_add((before > 0).into(), Ordering::Relaxed);
            Harm::None
        });
        let sent = send(relay.port, words, &input);
        let got = rx.finish();
        assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
        assert_same(&got.stdout, &input);
        let (passed, copies) = (relay.passed(There), copies.load(Ordering::Relaxed));
        let most = 30_500_000 + copies * LEG_MAX as u64;
        assert!(passed < most, "{passed} bytes with {copies} copies of legs");
    }
}

#[test]
fn a_damaged_leg_is_never_decompressed_and_is_sent_again() {
    for words in [&["compress", "1"][..], &["compress", "1", "checksum"]] {
        let input = text(5_000_000);
        let rx = Rx::keeping(&[]);
        let relay = Relay::damaging(rx.port, |sequence, before| {
            // a connection with more than 16 complaints at a time is closed, which is another way to mend it
            if sequence % 3 == 1 && before == 0 && sequence < 30 { Harm::Payload } else { Harm::None }
        });
        let sent = send(relay.port, words, &input);
        let got = rx.finish();
        assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
        assert_same(&got.stdout, &input);
    }
    let rx = Rx::keeping(&[]);
    let relay =
        Relay::damaging(rx.port, |sequence, _| if sequence == 2 { Harm::Payload } else { Harm::None });
    let sent = send(relay.port, &["compress", "1"], &text(1_000_000));
    both(&rx.finish(), &sent, 6, "leg 2 arrived damaged");
}

#[test]
fn connections_break_and_the_bytes_are_right() {
    let input = text(40_000_000);
    let rx = Rx::keeping(&["chaos", "61"]);
    let relay = Relay::to(rx.port);
    let sender = tx(relay.port, &["compress", "1", "checksum", "chaos", "47", "threads", "6"]);
    let mut stdin = sender.stdin();
    let feeding = input.clone();
    let feeder = std::thread::spawn(move || stdin.write_all(&feeding));
    for kill in 0..8 {
        assert!(eventually(DEADLINE, || relay.passed(There) > kill * 400_000 || sender.has_ended()));
        relay.kill(kill as usize);
        if kill == 5 {
            relay.kill_all();
        }
    }
    feeder.join().unwrap().unwrap();
    let sent = sender.finish();
    let got = rx.finish();
    assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
    assert_same(&got.stdout, &input);
}

#[test]
fn in_duplex_each_end_compresses_what_it_sends() {
    for (at_l, at_d) in [(true, true), (true, false), (false, true)] {
        let words = |compresses: bool| if compresses { &["compress", "1"][..] } else { &[] };
        let pair = Duplex::start(words(at_l), words(at_d));
        let (to_l, to_d) = (text(3_000_000), text(2_000_000));
        let [got_l, got_d] = pair.exchange(&to_l, &to_d);
        assert_same(&got_l, &to_l);
        assert_same(&got_d, &to_d);
        pair.assert_ended(0, 0);
        assert_eq!(pair.net.passed(There) < 1_500_000, at_d, "{}", pair.net.passed(There));
        assert_eq!(pair.net.passed(Back) < 1_000_000, at_l, "{}", pair.net.passed(Back));
    }
}

#[test]
fn a_tunnel_compresses_small_legs_too() {
    let tunnel = Pair::tunnel(server(echo), &["compress", "3"]);
    let mut stream = tunnel.connect();
    let message = text(3000);
    for _ in 0..200 {
        stream.write_all(&message).unwrap();
        let mut back = vec![0; message.len()];
        stream.read_exact(&mut back).unwrap();
        assert_same(&back, &message);
    }
    let passed: u64 = tunnel.pair.relays.iter().map(|relay| relay.passed(There)).sum();
    assert!(passed < 200 * 2 * 3000 / 2, "{passed}");
    tunnel.pair.kill();
    there_and_back(stream, 2_000_000);
}

#[test]
fn the_report_says_what_it_came_to() {
    let rx = Rx::keeping(&["verbose", "1"]);
    let sender = tx(rx.port, &["compress", "1", "verbose", "1"]);
    let mut stdin = sender.stdin();
    stdin.write_all(&text(8_000_000)).unwrap();
    let reports = |process: &Process, line: &str| {
        eventually(DEADLINE, || {
            process.signal(Signal::USR1);
            process.said().contains(line)
        })
    };
    assert!(reports(&sender, "times smaller; level 1; "), "{sender}");
    assert!(reports(&rx, "  decompressed: "), "{}", rx.said());
    drop(stdin);
    let (sent, got) = (sender.finish(), rx.finish());
    assert_eq!((sent.code(), got.code()), (0, 0));
    for (said, line) in [(sent.stderr, "sent 8000000 bytes"), (got.stderr, "received 8000000 bytes")] {
        assert!(said.contains(line) && said.contains(", as "), "{said}");
    }
}

#[test]
fn memory_stays_within_the_buffer() {
    let input = text(60_000_000);
    let rx = Rx::keeping(&["buffer", "16M"]);
    let sender = tx(rx.port, &["compress", "9", "buffer", "16M"]);
    let mut stdin = sender.stdin();
    stdin.write_all(&input).unwrap();
    let peaks = [sender.peak_memory(), rx.peak_memory()];
    drop(stdin);
    let sent = sender.finish();
    let got = rx.finish();
    assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
    assert_same(&got.stdout, &input);
    // beside the legs there is the program, its threads, and what allocators keep
    assert!(peaks[0] < 36 * MIB && peaks[1] < 36 * MIB, "{peaks:?}");
}

/// A peer that makes up its legs: each loses its connection, and no byte of it comes out.
#[test]
fn what_does_not_decompress_to_what_it_should_is_a_breach() {
    let leg = |raw, payload: &[u8], crc: u32| {
        let (encoded, flags) = (payload.len() as u32, LegFlags::COMPRESSED);
        let mut out = Vec::new();
        Frame::Leg(LegHeader { sequence: 0, offset: 0, raw, encoded, flags, crc }).encode(&mut out);
        out.extend_from_slice(payload);
        out
    };
    // one frame of zstd: a segment of 100 bytes, in one block that repeats a byte
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 100, 0x23, 0x03, 0x00, b'a'];
    let mut lies = frame;
    lies[5] = 99;
    let frames = |raw| leg(raw, &frame, crc32fast::hash(&frame));
    for (bytes, said) in [
        (frames(99), "does not decode"),
        (frames(101), "does not decode"),
        (leg(99, &lies, crc32fast::hash(&lies)), "does not decode"),
        (frames(2 << 20), "longer than was agreed"),
        (leg(40, b"no frame at all", crc32fast::hash(b"no frame at all")), "does not decode"),
        (leg(14, b"no frame at all", crc32fast::hash(b"no frame at all")), "encoding that was not agreed"),
    ] {
        let rx = Rx::keeping(&["verbose", "2"]);
        let hello = Hello { features: Features::COMPRESS, ..hello(1) };
        let (mut stream, reply) = say(rx.port, &hello.encode());
        assert!(matches!(reply, Some(Reply::Welcome(_))), "{reply:?}");
        stream.write_all(&bytes).unwrap();
        // the end of the connection
        let _ = stream.read_to_end(&mut Vec::new());
        rx.signal(Signal::USR1);
        rx.expect(said);
        rx.signal(Signal::TERM);
        assert_eq!(rx.finish().stdout, b"");
    }
}
