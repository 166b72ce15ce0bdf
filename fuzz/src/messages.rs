//! One message after another: hello, reply, frames, and the words of a command line.
//!
//! The first byte of most scripts says whether the bytes are taken as they are or as a body in a sound envelope: no
//! fuzzer guesses a CRC-32.

use super::script::Script;
use millipede::proto::check::{Expectations, check};
use millipede::proto::handshake::{CHUNK, HELLO_TIME, Heard, Hearing};
use millipede::proto::hello::{Features, HELLO_MAX, Hello, MAGIC, Refusal, Reply, VERSION};
use millipede::proto::leg::{CONNECTIONS_MAX, LEG_MAX, LINKS_MAX};
use millipede::proto::wire::{self, ENCODE_SLACK, FRAME_MAX, Frame, SENTENCE_MAX, WireError};
use std::fmt::Debug;
use std::time::Instant;

// ---- the handshake ------------------------------------------------------------------------------------------

/// Bytes where a hello is expected.
pub fn hello(data: &[u8]) {
    let mut script = Script::new(data);
    let ours = expectations(&mut script);
    let bytes = envelope(&mut script, 1);
    let whole = Hello::decode(&bytes);
    prefixes(&bytes, &whole, Hello::decode);
    match whole {
        Ok(None) => assert!(bytes.len() < HELLO_MAX, "{} bytes and no end", bytes.len()),
        Ok(Some((hello, length))) => {
            assert!(usize::from(hello.link) < LINKS_MAX && usize::from(hello.connection) < CONNECTIONS_MAX);
            assert_eq!(hello.encode(), bytes[..length], "it stands on the wire in one way");
            if let Err(refusal) = check(&hello, &ours) {
                may_be_said(&refusal);
            }
        }
        Err(error) => error.refusal().iter().for_each(may_be_said),
    }
}

/// Bytes where a welcome or a refusal is expected.
pub fn reply(data: &[u8]) {
    let mut script = Script::new(data);
    let kind = 2 + script.byte() % 2;
    let bytes = envelope(&mut script, kind);
    let whole = Reply::decode(&bytes);
    prefixes(&bytes, &whole, Reply::decode);
    match whole {
        Ok(None) => assert!(bytes.len() < SENTENCE_MAX + 19, "{} bytes and no end", bytes.len()),
        Ok(Some((Reply::Welcome(welcome), length))) => {
            assert!((1..=LEG_MAX as u32).contains(&welcome.leg_max));
            assert_eq!(Reply::Welcome(welcome).encode(), bytes[..length]);
        }
        Ok(Some((Reply::Refusal(refusal), _))) => may_be_said(&refusal),
        Err(error) => assert!(error.to_string().len() < 200),
    }
}

/// Messages of a handshake as they come: in pieces.
pub fn hearing(data: &[u8]) {
    let mut script = Script::new(data);
    let ours = expectations(&mut script);
    let (listens, piece, count) = (script.odd(), 1 + script.below(300), 1 + script.below(3));
    let mut bytes = Vec::new();
    for _ in 0..count {
        let kind = if listens { 1 } else { 2 + script.byte() % 2 };
        let most = script.byte().into();
        bytes.extend(envelope(&mut Script::new(script.take(most)), kind));
    }
    bytes.extend(script.rest());
    match listens {
        true => hear_hello(&bytes, piece, &ours),
        false => hear_replies(&bytes, piece),
    }
}

fn hear_hello(bytes: &[u8], piece: usize, ours: &Expectations) {
    let mut hearing = Hearing::new(Instant::now(), HELLO_TIME);
    for (index, part) in bytes.chunks(piece).enumerate() {
        hearing.push(part);
        let come = (index * piece + part.len()).min(bytes.len());
        match hearing.hello(ours) {
            Heard::More => assert!(come <= HELLO_MAX, "{come} bytes are kept of a hello"),
            Heard::Hello(hello) => return assert_eq!(hello.encode(), bytes[..come]),
            Heard::Refused(refusal) => return may_be_said(&refusal),
            Heard::Foreign => return,
        }
    }
}

fn hear_replies(bytes: &[u8], piece: usize) {
    assert!(piece <= CHUNK);
    let mut at_once = Hearing::new(Instant::now(), HELLO_TIME);
    at_once.push(bytes);
    let mut hearing = Hearing::new(Instant::now(), HELLO_TIME);
    let mut parts = bytes.chunks(piece);
    loop {
        let mut reply = hearing.reply();
        while let Ok(None) = reply
            && let Some(part) = parts.next()
        {
            hearing.push(part);
            reply = hearing.reply();
        }
        assert_eq!(reply, at_once.reply(), "pieces are heard otherwise than the whole");
        if !matches!(reply, Ok(Some(_))) {
            break;
        }
    }
    let left: Vec<u8> = parts.flatten().copied().collect();
    assert_eq!([hearing.rest(), left].concat(), at_once.rest(), "what follows is not lost");
}

fn expectations(script: &mut Script) -> Expectations {
    let choice = script.byte();
    Expectations {
        checkphrase: (choice & 1 != 0).then_some(*b"ours"),
        features: Features(u64::from(choice >> 4)),
        duplex: choice & 2 != 0,
        initiates: choice & 4 != 0,
        through: false,
        compresses: choice & 8 != 0,
    }
}

/// The script's rest as it is, or as the body of a message of this kind.
fn envelope(script: &mut Script, kind: u8) -> Vec<u8> {
    let choice = script.byte();
    if choice == 1 {
        return script.rest().to_vec();
    }
    let version = if choice == 2 { script.byte() } else { VERSION };
    let body = script.take(HELLO_MAX);
    let mut out = [&MAGIC[..], &[version, kind], &(body.len() as u16).to_be_bytes(), body].concat();
    out.extend(crc32fast::hash(&out).to_be_bytes());
    if choice == 3 {
        out.extend(script.rest());
    }
    out
}

/// What is answered to a stranger and shown to a user.
fn may_be_said(refusal: &Refusal) {
    assert!(refusal.sentence.len() <= SENTENCE_MAX, "{refusal:?}");
    assert!(!refusal.sentence.chars().any(char::is_control), "{refusal:?}");
    let bytes = Reply::Refusal(refusal.clone()).encode();
    assert_eq!(Reply::decode(&bytes), Ok(Some((Reply::Refusal(refusal.clone()), bytes.len()))));
}

/// A part of a message is no other message: it is the same, the same error or not enough.
fn prefixes<T: PartialEq + Debug, E: PartialEq + Debug>(
    bytes: &[u8],
    whole: &Result<Option<(T, usize)>, E>,
    decode: impl Fn(&[u8]) -> Result<Option<(T, usize)>, E>,
) {
    for cut in (0..bytes.len()).step_by(1 + bytes.len() / 50) {
        let part = decode(&bytes[..cut]);
        assert!(part == Ok(None) || part == *whole, "{cut} of {}: {part:?}, {whole:?}", bytes.len());
    }
}

// ---- frames -------------------------------------------------------------------------------------------------

/// Bytes where frames are expected: as they are, or each with a sound length and CRC-32.
pub fn frames(data: &[u8]) {
    let mut script = Script::new(data);
    let bytes = if script.odd() { script.rest().to_vec() } else { sealed_frames(&mut script) };
    let mut rest = &bytes[..];
    loop {
        let whole = wire::decode(rest);
        prefixes(&rest[..rest.len().min(FRAME_MAX)], &whole, wire::decode);
        match whole {
            Ok(None) => return assert!(rest.len() < FRAME_MAX, "{} bytes and no end", rest.len()),
            Err(error) => return assert!(error.to_string().len() < 80),
            Ok(Some((frame, length))) => {
                comes_back(&frame);
                rest = &rest[length..];
                if let Frame::Leg(header) = frame {
                    assert!((1..=LEG_MAX + ENCODE_SLACK).contains(&(header.encoded as usize)));
                    assert!(header.offset.checked_add(header.raw.into()).is_some());
                    rest = &rest[rest.len().min(header.encoded as usize)..];
                }
            }
        }
    }
}

fn comes_back(frame: &Frame) {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    assert!(bytes.len() <= FRAME_MAX);
    let back: Result<Option<(Frame, usize)>, WireError> = wire::decode(&bytes);
    assert_eq!(back, Ok(Some((frame.clone(), bytes.len()))));
}

fn sealed_frames(script: &mut Script) -> Vec<u8> {
    const KINDS: [u8; 10] = [0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24, 0x31, 0];
    let mut out = Vec::new();
    while let Some(kind) = script.next() {
        let start = out.len();
        let (flags, most) = (script.byte(), script.byte().into());
        let body = script.take(most);
        out.extend([KINDS[usize::from(kind) % KINDS.len()], flags]);
        out.extend((body.len() as u16).to_be_bytes());
        out.extend(body);
        let crc = crc32fast::hash(&out[start..]);
        out.extend(crc.to_be_bytes());
    }
    out
}

// ---- the command line ---------------------------------------------------------------------------------------

/// A command line; its words end in a zero byte.
pub fn words(data: &[u8]) {
    use millipede::cli::{Stop, parse};
    let text = String::from_utf8_lossy(&data[..data.len().min(2000)]);
    match parse(text.split('\0').map(Into::into)) {
        Ok(_) => {}
        Err(Stop::Print(text) | Stop::Usage(text)) => assert!(!text.is_empty()),
    }
}
