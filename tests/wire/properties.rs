//! Whatever is encoded comes back, and no bytes at all make a decoder panic.

use millipede::proto::hello::*;
use millipede::proto::leg::{CONNECTIONS_MAX, LEG_MAX, LINKS_MAX};
use millipede::proto::outcome::{CommandEnd, Status};
use millipede::proto::wire::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Sentences as they come out of a decoder: no control characters, within the limit.
fn sentence() -> impl Strategy<Value = String> {
    "\\PC{0,100}"
}

fn leg() -> impl Strategy<Value = Frame> {
    let raw = 1..=LEG_MAX as u32;
    let encoded = 1..=(LEG_MAX + ENCODE_SLACK) as u32;
    (0..u64::MAX, any::<u64>(), raw, encoded, option::of(any::<u32>())).prop_map(
        |(sequence, offset, raw, encoded, crc)| {
            let offset = offset.min(u64::MAX - u64::from(raw));
            let flags = if crc.is_some() { LegFlags::CHECKED } else { 0 };
            Frame::Leg(LegHeader { sequence, offset, raw, encoded, flags, crc: crc.unwrap_or(0) })
        },
    )
}

fn ack() -> impl Strategy<Value = Frame> {
    (any::<[u64; 5]>(), any::<u32>()).prop_map(|([next, delivered, bytes, legs, count], blocked_ms)| {
        Frame::Ack(Ack { next, delivered, edge: WindowEdge { bytes, legs }, count, blocked_ms })
    })
}

fn code() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![
        Status::Incomplete,
        Status::Refused,
        Status::Input,
        Status::Output,
        Status::Corrupt,
        Status::Complete,
    ])
}

fn command() -> impl Strategy<Value = Option<CommandEnd>> {
    let signal = (1..=CommandEnd::SIGNAL_MAX).prop_map(CommandEnd::Signal);
    option::of(prop_oneof![any::<u8>().prop_map(CommandEnd::Exit), signal])
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let crc = || option::of(any::<u32>());
    prop_oneof![
        leg(),
        ack(),
        Just(Frame::Bye),
        Just(Frame::Enough),
        any::<u64>().prop_map(|token| Frame::Ping { token }),
        any::<u64>().prop_map(|token| Frame::Pong { token }),
        any::<u64>().prop_map(|sequence| Frame::Nack { sequence }),
        (any::<[u64; 2]>(), crc()).prop_map(|([legs, bytes], crc)| Frame::Fin(Fin { legs, bytes, crc })),
        (any::<u64>(), crc(), code(), command(), sentence()).prop_map(
            |(bytes, crc, status, command, sentence)| {
                let command = command.filter(|_| status == Status::Complete);
                Frame::Verdict(Verdict { bytes, crc, status, command, sentence })
            }
        ),
        (code().prop_filter("an abort fails", |code| *code != Status::Complete), sentence())
            .prop_map(|(code, sentence)| Frame::Abort(Abort { status: code, sentence })),
    ]
}

fn any_hello() -> impl Strategy<Value = Hello> {
    let option = (any::<u16>(), any::<bool>(), vec(any::<u8>(), 0..50))
        .prop_map(|(id, mandatory, value)| HelloOption { id, mandatory, value });
    let names = (any::<[u8; 16]>(), option::of(any::<[u8; 16]>()), option::of(any::<[u8; 4]>()));
    let numbers = (0..LINKS_MAX as u8, 0..CONNECTIONS_MAX as u8, any::<u32>(), any::<u64>(), any::<u64>());
    (names, any::<[bool; 2]>(), numbers, vec(option, 0..10)).prop_map(
        |((session, instance, checkphrase), [duplex, begun], numbers, options)| Hello {
            session: Id::new(session),
            instance: instance.map(Id::new),
            direction: if duplex { Direction::Duplex } else { Direction::Transmit },
            begun,
            checkphrase,
            link: numbers.0,
            connection: numbers.1,
            attempt: numbers.2,
            features: Features(numbers.3),
            buffer: numbers.4,
            options,
        },
    )
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let code = prop::sample::select(vec![
        RefusalCode::Busy,
        RefusalCode::Checkphrase,
        RefusalCode::Version,
        RefusalCode::Feature,
        RefusalCode::Option,
        RefusalCode::NotThatReceiver,
        RefusalCode::Finished,
        RefusalCode::Stale,
        RefusalCode::TooMany,
        RefusalCode::Malformed,
        RefusalCode::Direction,
    ]);
    let welcome = (any::<[u8; 16]>(), any::<[u64; 5]>(), 1..=LEG_MAX as u32).prop_map(
        |(instance, [next, bytes, legs, features, buffer], leg_max)| {
            Reply::Welcome(Welcome {
                instance: Id::new(instance),
                next,
                edge: WindowEdge { bytes, legs },
                leg_max,
                features: Features(features),
                buffer,
            })
        },
    );
    prop_oneof![
        welcome,
        (code, sentence()).prop_map(|(code, sentence)| Reply::Refusal(Refusal { code, sentence })),
    ]
}

/// A head, a body that may be anything, with its right length, and the right CRC-32: what gets past the
/// first checks to the fields.
fn sealed(head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = [head, &(body.len() as u16).to_be_bytes(), body].concat();
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

/// Body lengths around those that exist.
fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..420),
        // Mostly zeros, so that lengths inside often fit.
        (prop::sample::select(vec![3usize, 8, 15, 20, 28, 44, 60, 62]), vec(any::<u8>(), 4), any::<u64>())
            .prop_map(|(length, values, places)| {
                let mut body = vec![0; length];
                for (n, value) in values.into_iter().enumerate() {
                    body[(places >> (8 * n)) as usize % length] = value;
                }
                body
            }),
        // An option area of the length that the hello announces.
        (vec(0u8..3, 60), vec(0u8..6, 0..60)).prop_map(|(mut fixed, options)| {
            fixed.extend_from_slice(&(options.len() as u16).to_be_bytes());
            fixed.extend(options);
            fixed
        }),
    ]
}

fn decode_all(bytes: &[u8]) {
    let _ = decode(bytes);
    let _ = Hello::decode(bytes);
    let _ = Reply::decode(bytes);
}

proptest! {
    #[test]
    fn frames_come_back(frame in any_frame(), before in vec(any::<u8>(), 0..4), after in vec(any::<u8>(), 0..4)) {
        let mut out = before.clone();
        frame.encode(&mut out);
        let length = out.len() - before.len();
        prop_assert!(length <= FRAME_MAX);
        out.extend_from_slice(&after);
        prop_assert_eq!(decode(&out[before.len()..]), Ok(Some((frame, length))));
    }

    #[test]
    fn hellos_come_back(hello in any_hello(), after in vec(any::<u8>(), 0..4)) {
        let mut out = hello.encode();
        let length = out.len();
        prop_assert!(length <= HELLO_MAX);
        out.extend_from_slice(&after);
        prop_assert_eq!(Hello::decode(&out), Ok(Some((hello, length))));
    }

    #[test]
    fn replies_come_back(reply in any_reply(), after in vec(any::<u8>(), 0..4)) {
        let mut out = reply.encode();
        let length = out.len();
        out.extend_from_slice(&after);
        prop_assert_eq!(Reply::decode(&out), Ok(Some((reply, length))));
    }

    #[test]
    fn sentences_arrive_short_and_harmless(text in any::<String>(), times in 1usize..40) {
        let mut out = Vec::new();
        Frame::Abort(Abort { status: Status::Input, sentence: text.repeat(times) }).encode(&mut out);
        prop_assert!(out.len() <= FRAME_MAX);
        match decode(&out) {
            Ok(Some((Frame::Abort(abort), _))) => {
                prop_assert!(abort.sentence.len() <= SENTENCE_MAX);
                prop_assert!(!abort.sentence.chars().any(char::is_control));
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..600)) {
        decode_all(&bytes);
        decode_all(&[&MAGIC[..], &bytes].concat());
        decode_all(&[&MAGIC[..], &[VERSION], &bytes].concat());
    }

    #[test]
    fn sealed_nonsense_never_panics(
        kind in prop::sample::select(vec![0x11u8, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24, 0x25, 0x31]),
        flags in 0u8..3,
        hello_kind in 1u8..4,
        version in 1u8..3,
        body in body(),
    ) {
        decode_all(&sealed(&[kind, flags], &body));
        decode_all(&sealed(&[&MAGIC[..], &[version, hello_kind]].concat(), &body));
    }
}
