use super::*;

const OURS: Expectations = Expectations {
    checkphrase: Some(*b"OURS"),
    features: Features::CHECKSUM,
    duplex: false,
    initiates: false,
};

fn hello() -> Hello {
    Hello {
        session: Id([0x5e; 16]),
        instance: None,
        direction: Direction::Transmit,
        begun: false,
        checkphrase: Some(*b"OURS"),
        link: 0,
        connection: 0,
        attempt: 1,
        features: Features::CHECKSUM,
        buffer: 128 << 20,
        options: Vec::new(),
    }
}

fn refused(hello: Hello, ours: Expectations) -> (RefusalCode, String) {
    let refusal = check(&hello, &ours).expect_err("a refusal");
    assert!(!refusal.sentence.contains("OURS") && !refusal.sentence.contains('\n'));
    assert!(refusal.sentence.len() <= SENTENCE_MAX);
    (refusal.code, refusal.sentence)
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
fn a_fitting_hello_passes() {
    assert_eq!(check(&hello(), &OURS), Ok(()));
    let none = Hello { checkphrase: None, ..hello() };
    assert_eq!(check(&none, &Expectations { checkphrase: None, ..OURS }), Ok(()));
    let duplex = Hello { direction: Direction::Duplex, ..hello() };
    assert_eq!(check(&duplex, &Expectations { duplex: true, ..OURS }), Ok(()));
}

#[test]
fn checkphrases_must_match_and_absent_matches_only_absent() {
    for (theirs, ours) in [
        (Some(*b"ELSE"), Some(*b"OURS")),
        (None, Some(*b"OURS")),
        (Some(*b"ELSE"), None),
        (Some([0; 4]), None),
    ] {
        let hello = Hello { checkphrase: theirs, ..hello() };
        let ours = Expectations { checkphrase: ours, ..OURS };
        assert_eq!(refused(hello, ours).0, RefusalCode::Checkphrase);
    }
}

#[test]
fn unknown_features_are_refused_if_mandatory() {
    let features = Features::CHECKSUM | Features::TUNNEL | Features(1 << 31);
    let (code, sentence) = refused(Hello { features, ..hello() }, OURS);
    assert_eq!(code, RefusalCode::Feature);
    assert!(sentence.ends_with(": tunnel, 0x80000000"), "{sentence}");
    let offer = Hello { features: Features(1 << 32 | 1 << 63), ..hello() };
    assert_eq!(check(&offer, &OURS), Ok(()));
}

#[test]
fn unknown_options_are_refused_if_mandatory() {
    let passed_over = Hello { options: vec![option(false, 3)], ..hello() };
    assert_eq!(check(&passed_over, &OURS), Ok(()));
    let insisted = Hello { options: vec![option(false, 0), option(true, 0)], ..hello() };
    assert_eq!(refused(insisted, OURS).0, RefusalCode::Option);
}

#[test]
fn duplex_is_wanted_by_both_or_by_neither() {
    let duplex = Hello { direction: Direction::Duplex, ..hello() };
    let (code, sentence) = refused(duplex, OURS);
    assert_eq!(code, RefusalCode::Direction);
    assert!(sentence.starts_with("the sender says duplex"), "{sentence}");
    let (code, sentence) = refused(hello(), Expectations { duplex: true, ..OURS });
    assert_eq!(code, RefusalCode::Direction);
    assert!(sentence.starts_with("the receiver says duplex"), "{sentence}");
}

#[test]
fn two_ends_that_initiate_would_wait_for_ever() {
    let initiates = Hello { features: Features::INITIATES, ..hello() };
    assert_eq!(check(&initiates, &OURS), Ok(()), "the other one accepts, or does not know of it");
    let ours = Expectations { initiates: true, ..OURS };
    assert_eq!(check(&hello(), &ours), Ok(()));
    assert_eq!(refused(initiates, ours).0, RefusalCode::Feature);
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
    let other = [&MAGIC[..], &[2]].concat();
    assert_eq!(Hello::decode(&other), Err(HelloError::Version(2)));
    assert_eq!(Reply::decode(&other), Ok(None), "it may be a refusal");
    let welcome = [&other[..], &[kind::WELCOME]].concat();
    assert_eq!(Reply::decode(&welcome), Err(HelloError::Version(2)));
    assert_eq!(Hello::decode(&[&MAGIC[..], &[1, 2]].concat()), Err(HelloError::Malformed("not a hello")));
    assert_eq!(Reply::decode(&[&MAGIC[..], &[1, 1]].concat()), Err(HelloError::Malformed("not a reply")));
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
    let version = HelloError::Version(2).refusal().expect("an answer");
    assert_eq!(version.code, RefusalCode::Version);
    assert!(version.sentence.contains("version 1 ") && version.sentence.contains("version 2:"));
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
