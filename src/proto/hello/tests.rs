use super::*;

fn hello() -> Hello {
    let features = Features::CHECKSUM;
    Hello { checkphrase: Some(*b"OURS"), features, ..sample::hello() }
}

fn option(mandatory: bool, length: usize) -> HelloOption {
    HelloOption { id: 77, mandatory, value: vec![7; length] }
}

/// A hello with a right CRC-32 and one byte of the body changed.
fn forged(at: usize, byte: u8) -> Result<Option<(Hello, usize)>, HelloError> {
    let mut out = hello().encode();
    out.truncate(out.len() - CRC);
    out[ENVELOPE + at] = byte;
    codec::seal(&mut out, 0, ENVELOPE);
    Hello::decode(&out)
}

#[test]
fn ids_are_never_printed() {
    assert_eq!(format!("{:?}", Id([0x5e; 16])), "Id(..)");
    let hello = format!("{:?}", hello());
    assert!(!hello.contains("94, 94") && !hello.contains("5e5e"), "{hello}");
}

#[test]
fn fields_out_of_range_are_malformed() {
    assert!(matches!(forged(38, 15), Ok(Some((Hello { link: 15, .. }, _)))));
    for (at, byte) in [
        (16, 1),  // an instance without its flag
        (32, 8),  // an unknown flag
        (32, 0),  // a checkphrase without its flag
        (33, 0),  // no direction
        (33, 3),  // an unknown direction
        (38, 16), // link
        (39, 16), // connection
    ] {
        assert!(matches!(forged(at, byte), Err(HelloError::Malformed(_))), "byte {at}");
    }
}

#[test]
fn strangers_and_other_versions_are_told_at_once() {
    assert_eq!(Hello::decode(b"G"), Err(HelloError::NotMillipede));
    assert_eq!(Reply::decode(b"HTTP/1.1 400"), Err(HelloError::NotMillipede));
    assert_eq!(Hello::decode(&MAGIC), Ok(None));
    let other = [&MAGIC[..], &[3]].concat();
    assert_eq!(Hello::decode(&other), Err(HelloError::Version(3)));
    assert_eq!(Reply::decode(&other), Ok(None), "it may be a refusal");
    let welcome = [&other[..], &[kind::WELCOME]].concat();
    assert_eq!(Reply::decode(&welcome), Err(HelloError::Version(3)));
    assert_eq!(Hello::decode(&[&MAGIC[..], &[2, 2]].concat()), Err(HelloError::Malformed("not a hello")));
    assert_eq!(Reply::decode(&[&MAGIC[..], &[2, 1]].concat()), Err(HelloError::Malformed("not a reply")));
}

#[test]
fn a_refusal_of_any_version_is_understood() {
    for (code, read) in [(1, RefusalCode::Busy), (200, RefusalCode::Version)] {
        let mut out = [&MAGIC[..], &[9, kind::REFUSAL, 0, 0, code, 0, 2], b"no"].concat();
        codec::seal(&mut out, 0, ENVELOPE);
        let refusal = Refusal { code: read, sentence: "no".into() };
        assert_eq!(Reply::decode(&out), Ok(Some((Reply::Refusal(refusal), out.len()))));
    }
}

#[test]
fn errors_are_answered_in_words_but_not_to_strangers() {
    assert_eq!(HelloError::NotMillipede.refusal(), None);
    let version = HelloError::Version(3).refusal().expect("an answer");
    assert_eq!(version.code, RefusalCode::Version);
    assert_eq!(version.sentence, "version 2, not 3: install the same release");
    let malformed = HelloError::Malformed("why").refusal().expect("an answer");
    assert_eq!(malformed.code, RefusalCode::Malformed);
}

#[test]
fn the_longest_hello_has_the_length_promised() {
    let hello = Hello { options: vec![option(true, OPTIONS_MAX - 5)], ..hello() };
    let out = hello.encode();
    assert_eq!(out.len(), HELLO_MAX);
    assert_eq!(Hello::decode(&out), Ok(Some((hello, HELLO_MAX))));
}

#[test]
fn a_welcome_that_is_said_ahead_is_an_offer_and_is_what_it_would_be() {
    let edge = WindowEdge { bytes: 1 << 30, legs: 4096 };
    let (next, leg_max, buffer) = (0, 2 << 20, 128 << 20);
    let welcome = Welcome { instance: Id([9; 16]), next, edge, leg_max, features: Features::ENOUGH, buffer };
    let said = HelloOption::welcome(&welcome);
    assert!(!said.mandatory);
    let hello = Hello { options: vec![option(false, 3), said.clone()], ..hello() };
    let (heard, _) = Hello::decode(&hello.encode()).unwrap().unwrap();
    assert_eq!(heard.welcome(), Some(welcome));
    let saying = |value: Vec<u8>| {
        let option = HelloOption { value, ..said.clone() };
        Hello { options: vec![option], ..hello.clone() }.welcome()
    };
    assert_eq!(saying(said.value.clone()), Some(welcome));
    assert_eq!(saying([&said.value[..], &[0]].concat()), None);
    assert_eq!((0..said.value.len()).find_map(|length| saying(said.value[..length].to_vec())), None);
    let nothing = Welcome { leg_max: 0, ..welcome };
    assert_eq!(saying(HelloOption::welcome(&nothing).value), None);
}
