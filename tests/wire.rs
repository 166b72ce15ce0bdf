//! The wire format, pinned byte by byte: who changes one of these breaks every peer in the field.
//!
//! Each golden has a comment per field. No truncation and no change of one byte of any of them may be taken
//! for something else. That what is encoded comes back, and no bytes make a decoder panic: `wire/properties.rs`.

#[path = "wire/encoded.rs"]
mod encoded;
#[path = "wire/properties.rs"]
mod properties;

use std::fmt::Debug;

use millipede::proto::hello::*;
use millipede::proto::outcome::{CommandEnd, Status};
use millipede::proto::wire::*;

/// A decoder of one of the three kinds, and what it says.
type Decoded<T, E> = Result<Option<(T, usize)>, E>;

/// The golden decodes to the value; every truncation needs more; every change of one byte is an error.
fn hold<T: PartialEq + Debug, E: PartialEq + Debug>(
    golden: &[u8],
    value: T,
    decode: impl Fn(&[u8]) -> Decoded<T, E>,
) {
    assert_eq!(decode(golden), Ok(Some((value, golden.len()))));
    for end in 0..golden.len() {
        assert_eq!(decode(&golden[..end]), Ok(None), "the first {end} bytes of {golden:02x?}");
    }
    let mut changed = golden.to_vec();
    for at in 0..golden.len() {
        for byte in (0..=255).filter(|byte| *byte != golden[at]) {
            changed[at] = byte;
            let decoded = decode(&changed);
            assert!(decoded.is_err(), "byte {at} of {golden:02x?} as {byte:02x}: {decoded:?}");
        }
        changed[at] = golden[at];
    }
}

fn frame(golden: &[&[u8]], frame: Frame) {
    let golden = golden.concat();
    let mut out = Vec::new();
    frame.encode(&mut out);
    assert_eq!(out, golden, "{out:02x?}");
    hold(&golden, frame, decode);
}

fn reply(golden: &[&[u8]], reply: Reply) {
    let golden = golden.concat();
    assert_eq!(reply.encode(), golden, "{:02x?}", reply.encode());
    hold(&golden, reply, Reply::decode);
}

fn hello(golden: &[&[u8]], hello: Hello) {
    let golden = golden.concat();
    assert_eq!(hello.encode(), golden, "{:02x?}", hello.encode());
    hold(&golden, hello, Hello::decode);
}

#[test]
fn golden_leg() {
    frame(
        &[
            &[0x11],                                           // type: leg
            &[0x01],                                           // flags: checked
            &[0x00, 0x1c],                                     // length of the body: 28
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02], // sequence
            &[0x00, 0x00, 0x00, 0x00, 0x20, 0x40, 0x00, 0x03], // offset in the stream
            &[0x00, 0x20, 0x00, 0x00],                         // length in the stream: 2 MiB, the most
            &[0x00, 0x21, 0x00, 0x00],                         // bytes that follow: 64 KiB more, the most
            &[0xde, 0xad, 0xbe, 0xef],                         // crc of the leg
            &[0xa5, 0x78, 0x34, 0x83],                         // CRC-32 of the frame
        ],
        Frame::Leg(LegHeader {
            sequence: 0x102,
            offset: 0x2040_0003,
            raw: 0x20_0000,
            encoded: 0x21_0000,
            flags: LegFlags::CHECKED,
            crc: 0xdead_beef,
        }),
    );
}

#[test]
fn golden_leg_unchecked() {
    frame(
        &[
            &[0x11],                                           // type: leg
            &[0x00],                                           // flags: none
            &[0x00, 0x1c],                                     // length of the body: 28
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // sequence: the first
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // offset in the stream
            &[0x00, 0x00, 0x00, 0x01],                         // length in the stream
            &[0x00, 0x00, 0x00, 0x01],                         // bytes that follow
            &[0x00, 0x00, 0x00, 0x00],                         // no crc
            &[0xa0, 0xe8, 0x29, 0x6b],                         // CRC-32 of the frame
        ],
        Frame::Leg(LegHeader { sequence: 0, offset: 0, raw: 1, encoded: 1, flags: 0, crc: 0 }),
    );
}

/// The payload of a compressed leg follows: one frame of zstd, `28 b5 2f fd …`.
/// As the one before; the last four bytes of the payload are the crc of the leg as it is in the stream.
/// What the program made of the leg was compressed as well.
#[test]
fn golden_fin() {
    frame(
        &[
            &[0x12],                                           // type: fin
            &[0x01],                                           // flags: checked
            &[0x00, 0x14],                                     // length of the body: 20
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x03], // legs
            &[0x00, 0x00, 0x00, 0x00, 0x20, 0x60, 0x00, 0x03], // bytes
            &[0xca, 0xfe, 0xf0, 0x0d],                         // crc of the stream
            &[0x1e, 0xfd, 0x91, 0xf2],                         // CRC-32 of the frame
        ],
        Frame::Fin(Fin { legs: 0x103, bytes: 0x2060_0003, crc: Some(0xcafe_f00d) }),
    );
}

#[test]
fn golden_fin_unchecked() {
    frame(
        &[
            &[0x12],                                           // type: fin
            &[0x00],                                           // flags: none
            &[0x00, 0x14],                                     // length of the body: 20
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // legs: an empty stream
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // bytes
            &[0x00, 0x00, 0x00, 0x00],                         // no crc
            &[0x5c, 0x8c, 0x6f, 0x45],                         // CRC-32 of the frame
        ],
        Frame::Fin(Fin { legs: 0, bytes: 0, crc: None }),
    );
}

#[test]
fn golden_ping() {
    frame(
        &[
            &[0x13],                                           // type: ping
            &[0x00],                                           // flags: none
            &[0x00, 0x08],                                     // length of the body: 8
            &[0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08], // token
            &[0xe1, 0x63, 0x0c, 0xd7],                         // CRC-32 of the frame
        ],
        Frame::Ping { token: 0x0102_0304_0506_0708 },
    );
}

#[test]
fn golden_bye() {
    frame(
        &[
            &[0x14],                   // type: bye
            &[0x00],                   // flags: none
            &[0x00, 0x00],             // length of the body: none
            &[0xfe, 0x3f, 0x1f, 0xd4], // CRC-32 of the frame
        ],
        Frame::Bye,
    );
}

#[test]
fn golden_ack() {
    frame(
        &[
            &[0x21],                                           // type: ack
            &[0x00],                                           // flags: none
            &[0x00, 0x2c],                                     // length of the body: 44
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x11], // next leg wanted
            &[0x00, 0x00, 0x00, 0x00, 0x01, 0xe0, 0x00, 0x00], // bytes delivered
            &[0x00, 0x00, 0x00, 0x00, 0x07, 0xe0, 0x00, 0x00], // edge: bytes
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0f], // edge: legs
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05], // legs taken whole on this connection
            &[0x00, 0x00, 0x05, 0xdc],                         // output blocked for 1500 ms
            &[0xdb, 0x55, 0x66, 0x06],                         // CRC-32 of the frame
        ],
        Frame::Ack(Ack {
            next: 0x11,
            delivered: 0x1e0_0000,
            edge: WindowEdge { bytes: 0x7e0_0000, legs: 0x100f },
            count: 5,
            blocked_ms: 1500,
        }),
    );
}

#[test]
fn golden_nack() {
    frame(
        &[
            &[0x22],                                           // type: nack
            &[0x00],                                           // flags: none
            &[0x00, 0x08],                                     // length of the body: 8
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02], // sequence
            &[0xc3, 0x12, 0x71, 0x7d],                         // CRC-32 of the frame
        ],
        Frame::Nack { sequence: 0x102 },
    );
}

#[test]
fn golden_pong() {
    frame(
        &[
            &[0x23],                                           // type: pong
            &[0x00],                                           // flags: none
            &[0x00, 0x08],                                     // length of the body: 8
            &[0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08], // token
            &[0xf5, 0x4a, 0x3a, 0xd3],                         // CRC-32 of the frame
        ],
        Frame::Pong { token: 0x0102_0304_0506_0708 },
    );
}

#[test]
fn golden_enough() {
    frame(
        &[
            &[0x25],                   // type: enough
            &[0x00],                   // flags: none
            &[0x00, 0x00],             // length of the body: none
            &[0xb6, 0xa8, 0x80, 0x10], // CRC-32 of the frame
        ],
        Frame::Enough,
    );
}

#[test]
fn golden_verdict() {
    frame(
        &[
            &[0x24],                                           // type: verdict
            &[0x01],                                           // flags: checked
            &[0x00, 0x11],                                     // length of the body: 17 + 0
            &[0x00, 0x00, 0x00, 0x00, 0x20, 0x60, 0x00, 0x03], // bytes delivered
            &[0xca, 0xfe, 0xf0, 0x0d],                         // crc of the stream
            &[0x00],                                           // outcome: complete
            &[0x00, 0x00],                                     // end of a command: none
            &[0x00, 0x00],                                     // length of the sentence: none
            &[0x0f, 0x50, 0x0f, 0x00],                         // CRC-32 of the frame
        ],
        Frame::Verdict(Verdict {
            bytes: 0x2060_0003,
            crc: Some(0xcafe_f00d),
            status: Status::Complete,
            command: None,
            sentence: String::new(),
        }),
    );
}

#[test]
fn golden_verdict_of_a_command_that_exited() {
    frame(
        &[
            &[0x24],                                           // type: verdict
            &[0x00],                                           // flags: none
            &[0x00, 0x11],                                     // length of the body: 17 + 0
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a], // bytes delivered
            &[0x00, 0x00, 0x00, 0x00],                         // no crc
            &[0x00],                                           // outcome: complete
            &[0x01],                                           // end of the command: exit
            &[0x07],                                           // its status
            &[0x00, 0x00],                                     // length of the sentence: none
            &[0xaf, 0x15, 0xef, 0x38],                         // CRC-32 of the frame
        ],
        Frame::Verdict(Verdict {
            bytes: 10,
            crc: None,
            status: Status::Complete,
            command: Some(CommandEnd::Exit(7)),
            sentence: String::new(),
        }),
    );
}

#[test]
fn golden_verdict_of_a_command_that_was_killed() {
    frame(
        &[
            &[0x24],                                           // type: verdict
            &[0x01],                                           // flags: checked
            &[0x00, 0x15],                                     // length of the body: 17 + 4
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // bytes delivered
            &[0x00, 0x00, 0x00, 0x01],                         // crc of the stream
            &[0x00],                                           // outcome: complete
            &[0x02],                                           // end of the command: signal
            &[0x0f],                                           // SIGTERM
            &[0x00, 0x04],                                     // length of the sentence
            b"late",                                           // sentence
            &[0x21, 0x46, 0xa8, 0xed],                         // CRC-32 of the frame
        ],
        Frame::Verdict(Verdict {
            bytes: 0,
            crc: Some(1),
            status: Status::Complete,
            command: Some(CommandEnd::Signal(15)),
            sentence: "late".into(),
        }),
    );
}

#[test]
fn golden_verdict_of_a_failure() {
    frame(
        &[
            &[0x24],                                           // type: verdict
            &[0x00],                                           // flags: none
            &[0x00, 0x1a],                                     // length of the body: 17 + 9
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00], // bytes delivered
            &[0x00, 0x00, 0x00, 0x00],                         // no crc
            &[0x05],                                           // outcome: the output failed
            &[0x00, 0x00],                                     // end of a command: none
            &[0x00, 0x09],                                     // length of the sentence
            b"disk full",                                      // sentence
            &[0xc7, 0xbf, 0x3d, 0x5a],                         // CRC-32 of the frame
        ],
        Frame::Verdict(Verdict {
            bytes: 0x1_0000,
            crc: None,
            status: Status::Output,
            command: None,
            sentence: "disk full".into(),
        }),
    );
}

#[test]
fn golden_abort() {
    frame(
        &[
            &[0x31],                   // type: abort
            &[0x00],                   // flags: none
            &[0x00, 0x0f],             // length of the body: 3 + 12
            &[0x01],                   // outcome: incomplete
            &[0x00, 0x0c],             // length of the sentence
            "arrêté là".as_bytes(),    // sentence, UTF-8
            &[0xed, 0xd7, 0x84, 0xe3], // CRC-32 of the frame
        ],
        Frame::Abort(Abort { status: Status::Incomplete, sentence: "arrêté là".into() }),
    );
}

const SESSION: [u8; 16] = *b"\x01a session's id\xfe";
const INSTANCE: [u8; 16] = *b"\x02a receiver's i\xfd";

#[test]
fn golden_first_hello() {
    hello(
        &[
            &[0xb2, b'm', b'i', b'l', b'l', b'\r', b'\n', b'\n'], // magic
            &[0x02],                                              // version
            &[0x01],                                              // kind: hello
            &[0x00, 0x3e],                                        // length of the body: 62 + 0
            &SESSION,                                             // session
            &[0x00; 16],                                          // no instance yet
            &[0x00],                                              // flags: none
            &[0x01],                                              // direction: transmit
            &[0x00; 4],                                           // no checkphrase
            &[0x00],                                              // link
            &[0x0f],                                              // connection
            &[0x00, 0x00, 0x00, 0x01],                            // attempt
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],    // features: none
            &[0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00],    // buffer: 128 MiB
            &[0x00, 0x00],                                        // length of the options: none
            &[0x41, 0x70, 0x4a, 0xa4],                            // CRC-32 of all before
        ],
        Hello {
            session: Id::new(SESSION),
            instance: None,
            direction: Direction::Transmit,
            begun: false,
            checkphrase: None,
            link: 0,
            connection: 15,
            attempt: 1,
            features: Features::NONE,
            buffer: 128 << 20,
            options: vec![],
        },
    );
}

#[test]
fn golden_full_hello() {
    hello(
        &[
            &[0xb2, b'm', b'i', b'l', b'l', b'\r', b'\n', b'\n'], // magic
            &[0x02],                                              // version
            &[0x01],                                              // kind: hello
            &[0x00, 0x4b],                                        // length of the body: 62 + 13
            &SESSION,                                             // session
            &INSTANCE,                                            // instance
            &[0x07],                                              // flags: begun, instance, checkphrase
            &[0x02],                                              // direction: duplex
            b"BEEF",                                              // checkphrase
            &[0x01],                                              // link
            &[0x02],                                              // connection
            &[0x00, 0x00, 0x01, 0x03],                            // attempt
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07],    // features: checksum, tunnel, duplex
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00],    // buffer: 4 MiB
            &[0x00, 0x0d],                                        // length of the options: 13
            &[0x01, 0x02],                                        // first option: id
            &[0x01],                                              // mandatory
            &[0x00, 0x03],                                        // length of its value
            b"abc",                                               // its value
            &[0x00, 0x03],                                        // second option: id
            &[0x00],                                              // not mandatory
            &[0x00, 0x00],                                        // no value
            &[0x61, 0x9d, 0x36, 0x01],                            // CRC-32 of all before
        ],
        Hello {
            session: Id::new(SESSION),
            instance: Some(Id::new(INSTANCE)),
            direction: Direction::Duplex,
            begun: true,
            checkphrase: Some(*b"BEEF"),
            link: 1,
            connection: 2,
            attempt: 0x103,
            features: Features::CHECKSUM | Features::TUNNEL | Features::DUPLEX,
            buffer: 4 << 20,
            options: vec![
                HelloOption { id: 0x102, mandatory: true, value: b"abc".to_vec() },
                HelloOption { id: 3, mandatory: false, value: vec![] },
            ],
        },
    );
}

#[test]
fn golden_welcome() {
    reply(
        &[
            &[0xb2, b'm', b'i', b'l', b'l', b'\r', b'\n', b'\n'], // magic
            &[0x02],                                              // version
            &[0x02],                                              // kind: welcome
            &[0x00, 0x3c],                                        // length of the body: 60
            &INSTANCE,                                            // instance
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x11],    // next leg wanted
            &[0x00, 0x00, 0x00, 0x00, 0x07, 0xe0, 0x00, 0x00],    // edge: bytes
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0f],    // edge: legs
            &[0x00, 0x20, 0x00, 0x00],                            // longest leg: 2 MiB
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01],    // features: checksum
            &[0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00],    // buffer: 128 MiB
            &[0x17, 0xec, 0x82, 0xf5],                            // CRC-32 of all before
        ],
        Reply::Welcome(Welcome {
            instance: Id::new(INSTANCE),
            next: 0x11,
            edge: WindowEdge { bytes: 0x7e0_0000, legs: 0x100f },
            leg_max: 0x20_0000,
            features: Features::CHECKSUM,
            buffer: 128 << 20,
        }),
    );
}

#[test]
fn golden_refusal() {
    reply(
        &[
            &[0xb2, b'm', b'i', b'l', b'l', b'\r', b'\n', b'\n'], // magic
            &[0x02],                                              // version
            &[0x03],                                              // kind: refusal
            &[0x00, 0x07],                                        // length of the body: 3 + 4
            &[0x01],                                              // code: busy
            &[0x00, 0x04],                                        // length of the sentence
            b"busy",                                              // sentence
            &[0xfd, 0xd5, 0x12, 0xdd],                            // CRC-32 of all before
        ],
        Reply::Refusal(Refusal { code: RefusalCode::Busy, sentence: "busy".into() }),
    );
}

#[test]
fn golden_refusal_of_a_key() {
    reply(
        &[
            &[0xb2, b'm', b'i', b'l', b'l', b'\r', b'\n', b'\n'], // magic
            &[0x02],                                              // version
            &[0x03],                                              // kind: refusal
            &[0x00, 0x09],                                        // length of the body: 3 + 6
            &[0x0c],                                              // code: key
            &[0x00, 0x06],                                        // length of the sentence
            b"no key",                                            // sentence
            &[0x54, 0x34, 0x2d, 0x8d],                            // CRC-32 of all before
        ],
        Reply::Refusal(Refusal { code: RefusalCode::Key, sentence: "no key".into() }),
    );
}
