use super::*;

const HEADER: LegHeader = LegHeader { sequence: 5, offset: 7, raw: 9, encoded: 9, flags: 0, crc: 0 };

fn back(frame: Frame) -> Result<Frame, WireError> {
    let mut out = Vec::new();
    frame.encode(&mut out);
    decode(&out).map(|whole| {
        let (frame, length) = whole.expect("the whole frame is there");
        assert_eq!(length, out.len());
        frame
    })
}

/// A frame with a right CRC-32, whatever its body.
fn forged(kind: u8, flags: u8, body: &[u8]) -> Result<Option<(Frame, usize)>, WireError> {
    let mut out = vec![kind, flags, 0, 0];
    out.extend_from_slice(body);
    codec::seal(&mut out, 0, PREFIX);
    decode(&out)
}

#[test]
fn a_legs_numbers_stay_in_their_ranges() {
    let most = (LEG_MAX + ENCODE_SLACK) as u32;
    for (leg, wrong) in [
        (LegHeader { raw: 0, ..HEADER }, WireError::Raw(0)),
        (LegHeader { raw: LEG_MAX as u32 + 1, ..HEADER }, WireError::Raw(LEG_MAX as u32 + 1)),
        (LegHeader { encoded: 0, ..HEADER }, WireError::Encoded(0)),
        (LegHeader { encoded: most + 1, ..HEADER }, WireError::Encoded(most + 1)),
        (LegHeader { sequence: u64::MAX, ..HEADER }, WireError::Overflow),
        (LegHeader { offset: u64::MAX - 8, ..HEADER }, WireError::Overflow),
        (LegHeader { flags: 9, ..HEADER }, WireError::Flags { kind: kind::LEG, flags: 9 }),
    ] {
        assert_eq!(back(Frame::Leg(leg)), Err(wrong));
    }
    for leg in [
        LegHeader { raw: LEG_MAX as u32, encoded: most, ..HEADER },
        LegHeader { sequence: u64::MAX - 1, offset: u64::MAX - 9, ..HEADER },
        LegHeader { flags: LegFlags::CHECKED, crc: 0, ..HEADER },
    ] {
        assert_eq!(back(Frame::Leg(leg)), Ok(Frame::Leg(leg)));
    }
}

#[test]
fn a_crc_without_its_flag_is_neither_sent_nor_taken() {
    assert_eq!(back(Frame::Leg(LegHeader { crc: 1, ..HEADER })), Ok(Frame::Leg(HEADER)));
    let mut fin = [0; FIN.fixed];
    fin[FIN.fixed - 1] = 1;
    assert_eq!(forged(kind::FIN, 0, &fin), Err(WireError::StrayCrc));
    assert!(forged(kind::FIN, STREAM_CHECKED, &fin).is_ok());
}

#[test]
fn the_prefix_alone_tells_what_cannot_be() {
    assert_eq!(decode(&[0, 0, 0, 0]), Err(WireError::Type(0)));
    assert_eq!(decode(&[kind::BYE, 1, 0, 0]), Err(WireError::Flags { kind: kind::BYE, flags: 1 }));
    assert_eq!(decode(&[kind::ACK, 0, 0, 45]), Err(WireError::Length { kind: kind::ACK, length: 45 }));
    let long = (ABORT.fixed + SENTENCE_MAX + 1) as u16;
    let [high, low] = long.to_be_bytes();
    assert_eq!(
        decode(&[kind::ABORT, 0, high, low]),
        Err(WireError::Length { kind: kind::ABORT, length: long })
    );
}

#[test]
fn outcomes_are_the_exit_statuses() {
    for code in [
        Status::Complete,
        Status::Incomplete,
        Status::Refused,
        Status::Input,
        Status::Output,
        Status::Corrupt,
    ] {
        assert_eq!(Status::from_wire(code.code()), Some(code));
    }
    assert_eq!(forged(kind::ABORT, 0, &[2, 0, 0]), Err(WireError::Status(2)));
    assert_eq!(forged(kind::ABORT, 0, &[7, 0, 0]), Err(WireError::Status(7)));
    assert_eq!(forged(kind::ABORT, 0, &[0, 0, 0]), Err(WireError::AbortComplete));
    assert_eq!(forged(kind::ABORT, 0, &[5, 0, 1, 0xff]), Err(WireError::Sentence));
}

#[test]
fn a_command_ends_as_processes_do_and_only_where_all_is_well() {
    let verdict = |status: Status, kind, number| {
        forged(kind::VERDICT, 0, &[&[0; 12][..], &[status.code(), kind, number, 0, 0]].concat())
    };
    for (kind, number) in [(0, 1), (2, 0), (2, 128), (2, 255), (3, 0), (255, 1)] {
        assert_eq!(verdict(Status::Complete, kind, number), Err(WireError::Command { kind, number }));
    }
    for (kind, number) in [(0, 0), (1, 0), (1, 255), (2, 1), (2, 127)] {
        assert!(verdict(Status::Complete, kind, number).is_ok(), "{kind} {number}");
        assert_eq!(verdict(Status::Output, kind, number).is_ok(), kind == 0, "{kind} {number}");
    }
}

#[test]
fn the_longest_frame_has_the_length_promised() {
    let sentence = "x".repeat(SENTENCE_MAX + 1);
    let mut out = Vec::new();
    Frame::Verdict(Verdict { bytes: 0, crc: None, status: Status::Output, command: None, sentence })
        .encode(&mut out);
    assert_eq!(out.len(), FRAME_MAX);
    assert!(matches!(decode(&out), Ok(Some((_, FRAME_MAX)))));
}

#[test]
fn a_payload_behind_the_frame_is_left_alone() {
    let mut out = vec![0xaa];
    Frame::Leg(HEADER).encode(&mut out);
    out.extend_from_slice(b"123456789");
    assert_eq!(decode(&out[1..]), Ok(Some((Frame::Leg(HEADER), 36))));
}
