//! Legs that were encoded on their way.

use super::*;

#[test]
fn golden_leg_compressed() {
    frame(
        &[
            &[0x11],                                           // type: leg
            &[0x02],                                           // flags: compressed
            &[0x00, 0x1c],                                     // length of the body: 28
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07], // sequence
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00], // offset in the stream
            &[0x00, 0x00, 0x10, 0x00],                         // length in the stream
            &[0x00, 0x00, 0x00, 0x07],                         // bytes that follow
            &[0xa5, 0x2c, 0x38, 0xf6],                         // crc of these, "(frame)"
            &[0xfe, 0xf9, 0x42, 0x8d],                         // CRC-32 of the frame
        ],
        Frame::Leg(LegHeader {
            sequence: 7,
            offset: 0x100,
            raw: 0x1000,
            encoded: 7,
            flags: LegFlags::COMPRESSED,
            crc: crc32fast::hash(b"(frame)"),
        }),
    );
}

#[test]
fn golden_leg_compressed_and_checked() {
    frame(
        &[
            &[0x11],                                           // type: leg
            &[0x03],                                           // flags: checked, compressed
            &[0x00, 0x1c],                                     // length of the body: 28
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07], // sequence
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00], // offset in the stream
            &[0x00, 0x00, 0x10, 0x00],                         // length in the stream
            &[0x00, 0x00, 0x00, 0x0b], // bytes that follow, the crc at their end included
            &[0xde, 0xad, 0xbe, 0xef], // crc of these
            &[0x60, 0x95, 0x86, 0x7a], // CRC-32 of the frame
        ],
        Frame::Leg(LegHeader {
            sequence: 7,
            offset: 0x100,
            raw: 0x1000,
            encoded: 11,
            flags: LegFlags::COMPRESSED | LegFlags::CHECKED,
            crc: 0xdead_beef,
        }),
    );
}

#[test]
fn golden_leg_through_and_compressed() {
    frame(
        &[
            &[0x11],                                           // type: leg
            &[0x06],                                           // flags: compressed, through
            &[0x00, 0x1c],                                     // length of the body: 28
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07], // sequence
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00], // offset in the stream
            &[0x00, 0x00, 0x10, 0x00],                         // length in the stream
            &[0x00, 0x08, 0x00, 0x00],                         // bytes that follow: more than in the stream
            &[0xde, 0xad, 0xbe, 0xef],                         // crc of these
            &[0x11, 0xd2, 0xb2, 0x99],                         // CRC-32 of the frame
        ],
        Frame::Leg(LegHeader {
            sequence: 7,
            offset: 0x100,
            raw: 0x1000,
            encoded: 0x8_0000,
            flags: LegFlags::COMPRESSED | LegFlags::THROUGH,
            crc: 0xdead_beef,
        }),
    );
}

#[test]
fn an_encoded_leg_that_is_checked_has_more_than_its_crc() {
    for (encoded, fits) in [(1, false), (4, false), (5, true)] {
        let flags = LegFlags::COMPRESSED | LegFlags::CHECKED;
        let mut out = Vec::new();
        Frame::Leg(LegHeader { sequence: 0, offset: 0, raw: 9, encoded, flags, crc: 1 }).encode(&mut out);
        assert_eq!(decode(&out).is_ok(), fits, "{encoded}");
    }
}

#[test]
fn a_welcome_that_is_said_ahead_is_option_1_with_the_body_of_the_golden_one() {
    let edge = WindowEdge { bytes: 0x0102_0304, legs: 0x1000 };
    let features = Features::CHECKSUM | Features::ENOUGH;
    let (instance, next, leg_max, buffer) = (Id::new([7; 16]), 0, 0x20_0000, 128 << 20);
    let welcome = Welcome { instance, next, edge, leg_max, features, buffer };
    let HelloOption { id, mandatory, value } = HelloOption::welcome(&welcome);
    let whole = Reply::Welcome(welcome).encode();
    // envelope and CRC-32 are those of the hello
    assert_eq!((id, mandatory, &value[..]), (1, false, &whole[12..whole.len() - 4]));
}
