use super::outlet::Outward;
use super::*;
use crate::endpoint::{NamedFile, Part};
use crate::proto::leg::Leg;
use crate::session::part::PartContent;
use crate::session::pool::Pool;
use crate::stage;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Gives and takes a few bytes at a time, in a fixed irregular rhythm, and blocks now and then.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    read: usize,
    step: usize,
    /// How often what was held back was to be sent.
    pushed: usize,
}

impl Wire {
    fn next(&mut self) -> io::Result<usize> {
        self.step += 1;
        if self.step.is_multiple_of(5) {
            Err(ErrorKind::WouldBlock.into())
        } else {
            Ok(1 + self.step * 7 % 50)
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.next()?.min(buf.len());
        self.bytes.extend_from_slice(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Outward for Wire {
    fn push(&mut self) {
        self.pushed += 1;
    }
}

impl Outward for Vec<u8> {}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.next()?.min(buf.len()).min(self.bytes.len() - self.read);
        buf[..n].copy_from_slice(&self.bytes[self.read..self.read + n]);
        self.read += n;
        Ok(n)
    }
}

struct Log {
    pool: Pool,
    skip: u64,
    seen: Vec<(u64, Option<Vec<u8>>)>,
    frames: Vec<Frame>,
    /// What it says of a socket that gave less than there was space for.
    emptied: bool,
}

impl Intake for Log {
    fn is_emptied(&self) -> bool {
        self.emptied
    }

    fn place(&mut self, header: &LegHeader, _: bool) -> Result<Room, Stop> {
        let wanted = header.sequence != self.skip;
        let buffer = wanted.then(|| self.pool.take(header.encoded as usize)).flatten();
        Ok(buffer.map_or(Room::Nowhere, Room::Memory))
    }

    fn leg(&mut self, header: LegHeader, room: Room) -> Result<(), Stop> {
        let bytes = if let Room::Memory(buffer) = room { Some(buffer.to_vec()) } else { None };
        self.seen.push((header.sequence, bytes));
        Ok(())
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Stop> {
        self.frames.push(frame);
        Ok(())
    }
}

fn leg(sequence: u64, len: usize) -> (LegHeader, Leg) {
    let bytes: Vec<u8> = (0..len).map(|i| (i as u64 * 31 + sequence) as u8).collect();
    let header = LegHeader { sequence, offset: 0, raw: len as u32, encoded: len as u32, flags: 0, crc: 0 };
    (header, Leg::new(sequence, 0, Arc::new(bytes)))
}

#[test]
fn legs_and_frames_cross_in_order_whatever_the_socket_takes() {
    let mut wire = Wire::default();
    let mut outlet = Outlet::new();
    let legs: Vec<_> = (0..6).map(|s| leg(s, 1 + s as usize * 9000)).collect();
    for (header, leg) in legs.clone() {
        outlet.frame(&Frame::Ping { token: leg.sequence });
        outlet.leg(header, leg).unwrap();
        let _ = outlet.write(&mut wire).unwrap();
        outlet.frame(&Frame::Ping { token: 100 });
        while outlet.write(&mut wire).unwrap() == Wrote::Blocked {}
    }
    assert_eq!(outlet.bytes(), wire.bytes.len() as u64);
    let mut log =
        Log { pool: Pool::new(1 << 20), skip: 4, seen: Vec::new(), frames: Vec::new(), emptied: false };
    let mut inlet = Inlet::new();
    while inlet.read(&mut wire, &mut log).unwrap() != ReadEnd::Eof {}
    for ((header, leg), (sequence, bytes)) in legs.iter().zip(&log.seen) {
        assert_eq!(header.sequence, *sequence);
        assert_eq!(bytes.is_none(), *sequence == 4);
        assert!(bytes.as_ref().is_none_or(|b| b == leg.bytes()), "leg {sequence}");
    }
    assert_eq!((log.seen.len(), log.frames.len()), (6, 12));
}

/// Gives one piece for each read, and counts them; then it has nothing.
struct Pieces(Vec<Vec<u8>>, usize);

impl Read for Pieces {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.0.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let piece = self.0.remove(0);
        space[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

#[test]
fn a_socket_that_gave_little_is_not_asked_again_before_its_next_edge() {
    let small = [[Frame::Ping { token: 7 }], [Frame::Ping { token: 8 }]].map(|frames| encoded(&frames));
    let many: Vec<Frame> = (0..FEW as u64).map(|token| Frame::Ping { token }).collect();
    let large = encoded(&many)[..INLET - 1].to_vec();
    for (emptied, pieces, turns) in [
        (true, small.to_vec(), vec![(1, 1), (2, 2), (3, 2)]),
        (false, small.to_vec(), vec![(3, 2)]),
        // while much is copied, more may come
        (true, vec![large], vec![(2, (INLET - 1) / encoded(&many[..1]).len())]),
    ] {
        let mut socket = Pieces(pieces, 0);
        let mut log =
            Log { pool: Pool::new(1 << 20), skip: 9, seen: Vec::new(), frames: Vec::new(), emptied };
        let mut inlet = Inlet::new();
        for (reads, frames) in turns {
            assert_eq!(inlet.read(&mut socket, &mut log).unwrap(), ReadEnd::Blocked);
            assert_eq!((socket.1, log.frames.len()), (reads, frames));
        }
    }
}

fn encoded(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut bytes));
    bytes
}

#[test]
fn a_cut_leaves_a_part() {
    let mut wire = Vec::new();
    let mut outlet = Outlet::new();
    outlet.frame(&Frame::Ping { token: 1 });
    let (header, leg) = leg(0, 1000);
    outlet.leg(header, leg).unwrap();
    outlet.cut();
    outlet.write(&mut wire).unwrap();
    let mut log =
        Log { pool: Pool::new(1 << 20), skip: 9, seen: Vec::new(), frames: Vec::new(), emptied: false };
    let read = Inlet::new().read(&mut wire.as_slice(), &mut log);
    assert!(matches!(read, Ok(ReadEnd::Eof)));
    assert_eq!((log.seen.len(), log.frames.len(), wire.len()), (0, 1, 16 + 36 + 500));
    outlet.frame(&Frame::Ping { token: 1 });
    outlet.cut();
    outlet.write(&mut wire).unwrap();
    assert_eq!(wire.len(), 16 + 36 + 500 + 15);
    outlet.cut();
    assert!(outlet.is_empty());
}

#[test]
fn damage_is_a_breach() {
    let mut outlet = Outlet::new();
    outlet.frame(&Frame::Bye);
    let mut bytes = Vec::new();
    outlet.write(&mut bytes).unwrap();
    bytes[1] ^= 1;
    let mut log =
        Log { pool: Pool::new(1 << 20), skip: 0, seen: Vec::new(), frames: Vec::new(), emptied: false };
    let read = Inlet::new().read(&mut bytes.as_slice(), &mut log);
    assert!(matches!(read, Err(Stop::Lost(LossReason::Breach(_)))));
}

/// Bytes of a file, by their position.
fn content(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// A file with such bytes, and two legs that are parts of it, from byte 1000 on.
fn parts(len: usize) -> (Arc<NamedFile>, [(LegHeader, Leg); 2]) {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&content(len), 0).unwrap();
    let file = NamedFile::new(file, "stdin".into(), false);
    let pool = Pool::new(1 << 20);
    let half = (len - 1000) / 2;
    let leg = |sequence: u64| {
        let at = 1000 + sequence * half as u64;
        let part = Part { file: file.clone(), at, len: half };
        let payload = Arc::new(PartContent::new(part, pool.reserve(half).unwrap()));
        let leg = Leg::new(sequence, at, payload);
        (stage::plain(&leg, None), leg)
    };
    (file.clone(), [leg(0), leg(1)])
}

#[test]
fn a_part_of_a_file_goes_out_like_any_leg() {
    let (_, legs) = parts(101_000);
    let (mut wire, mut outlet) = (Wire::default(), Outlet::new());
    for (header, leg) in legs {
        outlet.frame(&Frame::Ping { token: 1 });
        outlet.leg(header, leg).unwrap();
        let _ = outlet.write(&mut wire).unwrap();
        outlet.frame(&Frame::Ping { token: 2 });
        while outlet.write(&mut wire).unwrap() == Wrote::Blocked {}
    }
    assert_eq!(outlet.bytes(), wire.bytes.len() as u64);
    let mut log =
        Log { pool: Pool::new(1 << 20), skip: 9, seen: Vec::new(), frames: Vec::new(), emptied: false };
    let mut inlet = Inlet::new();
    while inlet.read(&mut wire, &mut log).unwrap() != ReadEnd::Eof {}
    let came: Vec<u8> = log.seen.iter().flat_map(|(_, bytes)| bytes.clone().unwrap()).collect();
    assert_eq!((came.len(), log.frames.len()), (100_000, 4));
    let wrong = came.iter().zip(&content(101_000)[1000..]).position(|(found, wanted)| found != wanted);
    assert_eq!(wrong, None, "the first wrong byte");
}

#[test]
fn what_the_kernel_holds_back_for_the_rest_of_a_leg_is_pushed_when_it_takes_no_more() {
    let (_, [(header, leg), _]) = parts(101_000);
    let (mut wire, mut outlet) = (Wire::default(), Outlet::new());
    outlet.leg(header, leg).unwrap();
    // the fourth turn is cut off by a full socket, inside the leg
    assert_eq!(outlet.write(&mut wire).unwrap(), Wrote::Blocked);
    assert_eq!((wire.bytes.is_empty(), wire.pushed), (false, 1));
    let (mut wire, mut outlet) = (Wire::default(), Outlet::new());
    for token in 0..10 {
        outlet.frame(&Frame::Ping { token });
    }
    assert_eq!(outlet.write(&mut wire).unwrap(), Wrote::Blocked);
    assert_eq!(wire.pushed, 0, "nothing was said to follow");
}

#[test]
fn a_file_that_became_shorter_stops_the_connection_and_no_byte_is_made_up() {
    let (file, [_, (header, leg)]) = parts(101_000);
    file.file.set_len(60_000).unwrap();
    let (mut wire, mut outlet) = (Vec::new(), Outlet::new());
    outlet.leg(header, leg).unwrap();
    let why = outlet.write(&mut wire).unwrap_err();
    assert!(matches!(why, WriteError::Unreadable(why) if why.contains("stdin: it became shorter")));
    assert_eq!(wire[36..], content(60_000)[51_000..]);
}
