//! What the receiver lacks of a file goes out: all of it, or what is behind a beginning that it has.
//!
//! Every byte is read here once, for the sum. A long file is sent in parts, which go from it to the network without coming
//! through here; anything else is sent as it was read.

use super::super::matter::{CHANGED, Opened};
use super::{Ending, Fate, Halt, Sending, Sent};
use crate::endpoint::{NamedFile, Part};
use crate::store::name::Name;
use crate::store::record::{DATA_MAX, HEADER, Up, encode};
use crate::store::sum::{Mark, Running};
use crate::store::summing::{Shared, Summing};
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::time::Instant;

/// Bytes that are read and summed up at once: so many are cheap, and still in the cache when they are needed again.
const READ: usize = 256 << 10;

impl<F: FnMut(&Name, Fate)> Sending<F> {
    /// There is a file of this size: it may be the same.
    pub(super) fn compare(&mut self, file: u32, opened: &mut Opened, mark: Mark) -> Result<(), Halt> {
        let known = [mark];
        let (running, found) = self.sum_up(file, opened, &known)?;
        drop(running);
        if opened.matter.has_changed() {
            return Err(Halt::Here(CHANGED.into()));
        }
        if found == mark.length {
            return self.speak(file, &Up::Same);
        }
        opened.matter.rewind_to(0)?;
        self.send(file, opened, Running::new(u64::MAX), 0)
    }

    /// Some beginnings are there: goes on behind the longest that is this file's.
    pub(super) fn go_on(&mut self, file: u32, opened: &mut Opened, marks: &[Mark]) -> Result<(), Halt> {
        // what can be read only once is sent from its beginning
        let marks = if opened.size.is_some() { marks } else { &[] };
        let (running, from) = self.sum_up(file, opened, marks)?;
        opened.matter.rewind_to(from)?;
        self.send(file, opened, running, from)
    }

    /// The sum of the longest of these beginnings that is this file's, and its length.
    fn sum_up(&mut self, file: u32, opened: &mut Opened, marks: &[Mark]) -> Result<(Running, u64), Halt> {
        let mut running = Running::new(u64::MAX);
        let mut best = (running.clone(), 0);
        let mut space = vec![0; READ];
        let size = opened.size.unwrap_or(0);
        let mut told = Instant::now();
        for mark in marks.iter().filter(|mark| mark.length <= size) {
            while running.length() < mark.length {
                let next = mark.length.min(running.length() + READ as u64);
                add_up_to(next, opened, &mut running, &mut space)?;
                self.attend(file)?;
                if told.elapsed() >= self.reads {
                    self.speak(file, &Up::Reads)?;
                    told = Instant::now();
                }
            }
            // a file that differs early may still be the same as a shorter beginning of what is there, not a longer one
            if running.sum() != mark.sum {
                break;
            }
            best = (running.clone(), mark.length);
        }
        Ok(best)
    }

    /// Sends what is behind the sum.
    fn send(&mut self, file: u32, opened: &mut Opened, running: Running, from: u64) -> Result<(), Halt> {
        self.speak(file, &Up::From(from))?;
        if let Some(Sent { name, size, .. }) = self.unjudged.get(&file) {
            self.ledger.begin(file, name.as_str(), *size, from);
        }
        match (opened.matter.in_parts().cloned(), opened.size) {
            (Some(named), Some(size)) => self.send_parts(file, opened, &named, size, running),
            _ => self.send_bytes(file, opened, Summing::new(running)),
        }
    }

    /// Reads what there is, and sends it.
    fn send_bytes(&mut self, file: u32, opened: &mut Opened, mut summing: Summing) -> Result<(), Halt> {
        loop {
            let mut piece = self.out.space(HEADER + READ);
            match opened.matter.read(&mut piece[HEADER..]) {
                Ok(0) => break,
                Ok(read) => {
                    piece.truncate(HEADER + read);
                    if opened.size.is_some_and(|size| summing.length() + read as u64 > size) {
                        return Err(Halt::Here(CHANGED.into()));
                    }
                    let mut header = Vec::with_capacity(HEADER);
                    encode(file, &Up::Data(read as u32), &mut header);
                    piece[..HEADER].copy_from_slice(&header);
                    let piece = Arc::new(piece);
                    let shared: Shared = piece.clone();
                    summing.add_shared(&shared, HEADER..HEADER + read);
                    // of what is read once, nobody knows when more of it comes
                    let open = match opened.size {
                        Some(_) => self.out.put_one_of_many(piece),
                        None => self.out.put_when_room(piece),
                    };
                    if !open {
                        return Err(Halt::Over(Ending::Broken));
                    }
                    self.ledger.advance(file, read as u64);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
            self.attend(file)?;
        }
        let length = summing.length();
        if opened.matter.has_changed() || opened.size.is_some_and(|size| size != length) {
            return Err(Halt::Here(CHANGED.into()));
        }
        self.speak(file, &Up::End(Mark { length, sum: summing.settled().sum() }))
    }

    /// Sends the file in parts: each is summed up here, and read by whoever sends it. So what goes may be other than what was
    /// summed up, if somebody writes to the file meanwhile or it cannot be read again; then the receiver finds out.
    fn send_parts(
        &mut self,
        file: u32,
        opened: &mut Opened,
        named: &Arc<NamedFile>,
        size: u64,
        mut running: Running,
    ) -> Result<(), Halt> {
        let mut space = vec![0; READ];
        while running.length() < size {
            let at = running.length();
            let len = (size - at).min(DATA_MAX as u64);
            add_up_to(at + len, opened, &mut running, &mut space)?;
            let mut header = Vec::with_capacity(HEADER);
            encode(file, &Up::Data(len as u32), &mut header);
            // it may have to wait for long; what the receiver says has not
            while !self.out.await_room_or_news().ok_or(Halt::Over(Ending::Broken))? {
                self.attend(file)?;
            }
            self.out.put_part(header, Part { file: named.clone(), at, len: len as usize });
            self.ledger.advance(file, len);
            self.attend(file)?;
            if let Some(why) = named.unread.get() {
                return Err(Halt::Here(why.clone()));
            }
        }
        if let Some(why) = opened.matter.fault() {
            return Err(Halt::Here(why));
        }
        self.speak(file, &Up::End(Mark { length: size, sum: running.sum() }))
    }
}

/// Reads on from where the sum ends, up to there.
fn add_up_to(length: u64, opened: &mut Opened, running: &mut Running, space: &mut [u8]) -> Result<(), Halt> {
    while running.length() < length {
        let most = (length - running.length()).min(space.len() as u64) as usize;
        match opened.matter.read(&mut space[..most]) {
            Ok(0) => return Err(Halt::Here(CHANGED.into())),
            Ok(read) => running.add(&space[..read]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
