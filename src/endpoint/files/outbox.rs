//! The outbox: records that wait for the stream to take them.

use crate::endpoint::{OnNews, Part, Source, WokenBy};
use crate::store::record::{Down, encode};
use crate::store::summing::WAITING_MAX;
use crate::sync::Unpoisoned;
use crate::sys::bell::Bell;
use crate::sys::pipe::{Interest, wait};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// Bytes that may wait before who fills it waits too: enough to sum up pieces while others are taken.
const FULL: usize = 3 << 20;
/// So much is worth a leg of its own, where more is certain to come: small legs cost more.
const WORTHY: usize = 1 << 20;

/// So many bytes wait at most before more is put in that may as well be left out.
const FEW: usize = 4 << 10;

/// Pieces that were taken and are kept for others: new memory is dear, for the kernel clears it. So many as may wait here
/// and to be summed up.
const SPARE_MAX: usize = FULL / (256 << 10) + WAITING_MAX;

/// Bytes on their way into a stream.
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// There is room, or news, or nobody takes any more.
    room: Condvar,
    /// Rung when there is something to take.
    bell: Bell,
    news: OnceLock<OnNews>,
}

/// What the stream is made of.
enum Piece {
    Bytes(Arc<Vec<u8>>),
    /// Never empty.
    Part(Part),
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Piece>,
    /// Taken of the first piece; less than it has.
    taken: usize,
    bytes: usize,
    /// Pieces that were taken. Some are still summed up.
    spare: Vec<Arc<Vec<u8>>>,
    /// No more come: that was all, or why not.
    end: Option<Result<(), String>>,
    /// Nobody takes any more.
    closed: bool,
    /// There is what whoever waits for room is to hear.
    news: bool,
}

impl Outbox {
    /// With nothing in it.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Outbox {
            state: Mutex::default(),
            room: Condvar::new(),
            bell: Bell::new()?,
            news: OnceLock::new(),
        }))
    }

    /// Puts bytes in, whether there is room or not. For what is small and bounded otherwise.
    pub(crate) fn put(&self, piece: impl Into<Arc<Vec<u8>>>) {
        let mut state = self.lock();
        if !state.closed && state.push(piece.into()) {
            drop(state);
            self.tell();
        }
    }

    /// Puts in what a receiver says of a file, or of the whole session, which has the number 0; whether there is room or not.
    pub(crate) fn say(&self, file: u32, down: &Down) {
        let mut record = Vec::new();
        encode(file, down, &mut record);
        self.put(record);
    }

    /// As [`Outbox::say`], for what is soon out of date: it is left out while [`FEW`] bytes wait already.
    pub(crate) fn say_if_few_wait(&self, file: u32, down: &Down) {
        if self.lock().bytes < FEW {
            self.say(file, down);
        }
    }

    /// Puts in bytes and a part of a file behind them, whether there is room or not.
    pub(crate) fn put_part(&self, bytes: Vec<u8>, part: Part) {
        let mut state = self.lock();
        if !state.closed {
            state.push(Arc::new(bytes));
            state.bytes += part.len;
            state.pieces.push_back(Piece::Part(part));
            drop(state);
            self.tell();
        }
    }

    /// Waits for room, and puts bytes in. False: nobody takes any more.
    pub(crate) fn put_when_room(&self, piece: impl Into<Arc<Vec<u8>>>) -> bool {
        let open = self.await_room();
        self.put(piece);
        open
    }

    /// The same for a piece after which others come at once: nobody is told of it before there is enough for a leg.
    pub(crate) fn put_one_of_many(&self, piece: impl Into<Arc<Vec<u8>>>) -> bool {
        if !self.await_room() {
            return false;
        }
        let mut state = self.lock();
        state.push(piece.into());
        let tells = state.bytes >= WORTHY;
        drop(state);
        if tells {
            self.tell();
        }
        true
    }

    /// Memory for a piece of this size, with anything in it.
    pub(crate) fn space(&self, size: usize) -> Vec<u8> {
        let mut state = self.lock();
        let free = state.spare.iter().rposition(|piece| Arc::strong_count(piece) == 1);
        let spare = free.and_then(|index| Arc::into_inner(state.spare.swap_remove(index)));
        drop(state);
        let mut space = spare.unwrap_or_default();
        space.resize(size, 0);
        space
    }

    /// Waits until what is here is no more than enough. False: nobody takes any more.
    pub(crate) fn await_room(&self) -> bool {
        let mut state = self.lock();
        while state.bytes >= FULL && !state.closed {
            state = self.room.wait(state).unpoisoned();
        }
        !state.closed
    }

    /// Waits until there is room for a part, or news: whether it is room. None: nobody takes any more.
    pub(crate) fn await_room_or_news(&self) -> Option<bool> {
        let mut state = self.lock();
        while state.bytes >= WORTHY && !state.closed && !state.news {
            state = self.room.wait(state).unpoisoned();
        }
        let has_room = state.bytes < WORTHY;
        state.news &= has_room;
        (!state.closed).then_some(has_room)
    }

    /// There is news for whoever waits for room.
    pub(super) fn tell_news(&self) {
        self.lock().news = true;
        self.room.notify_all();
    }

    /// The stream ends behind what is here: in order, or with the reason why it cannot go on.
    pub(crate) fn end(&self, how: Result<(), String>) {
        self.lock().end.get_or_insert(how);
        self.tell();
    }

    /// The one source of this outbox. When it is dropped, nobody waits for room any more. `parts`: parts of files are put
    /// into it, and may be taken as such.
    pub(crate) fn source(self: &Arc<Self>, parts: bool) -> OutboxSource {
        OutboxSource { outbox: self.clone(), parts }
    }

    /// Fills the space as far as there is something, up to where a part begins or ends.
    fn take(&self, space: &mut [u8]) -> Result<Option<usize>, String> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut filled = 0;
        while let Some(piece) = state.pieces.front().filter(|_| filled < space.len()) {
            let rest = match piece {
                Piece::Bytes(bytes) => &bytes[state.taken..],
                Piece::Part(_) => break,
            };
            let here = rest.len().min(space.len() - filled);
            space[filled..filled + here].copy_from_slice(&rest[..here]);
            filled += here;
            state.advance(here);
        }
        if let (0, Some(part)) = (filled, state.part(space.len())) {
            drop(guard);
            // nobody else takes anything meanwhile
            filled = part.read(space)?;
            guard = self.lock();
            guard.advance(filled);
        }
        if filled > 0 {
            drop(guard);
            self.room.notify_all();
            return Ok(Some(filled));
        }
        guard.end.clone().map(|end| end.map(|()| 0)).transpose()
    }

    /// The part that comes next, of so many bytes at most.
    fn take_part(&self, most: usize) -> Option<Part> {
        let mut state = self.lock();
        let part = state.part(most)?;
        state.advance(part.len);
        drop(state);
        self.room.notify_all();
        Some(part)
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().bytes
    }

    fn has_news(&self) -> bool {
        let state = self.lock();
        state.bytes > 0 || state.end.is_some()
    }

    fn tell(&self) {
        self.bell.ring();
        if let Some(call) = self.news.get() {
            call(false);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unpoisoned()
    }
}

impl State {
    /// Puts bytes in; whether there are any.
    fn push(&mut self, piece: Arc<Vec<u8>>) -> bool {
        let some = !piece.is_empty();
        if some {
            self.bytes += piece.len();
            self.pieces.push_back(Piece::Bytes(piece));
        }
        some
    }

    /// What is left of the first piece, if that is a part; so many bytes at most.
    fn part(&self, most: usize) -> Option<Part> {
        match self.pieces.front() {
            Some(Piece::Part(part)) => {
                let left = part.behind(self.taken);
                Some(Part { len: left.len.min(most), ..left })
            }
            _ => None,
        }
    }

    /// So many bytes of the first piece are taken; at most what it has left.
    fn advance(&mut self, bytes: usize) {
        (self.bytes, self.taken) = (self.bytes - bytes, self.taken + bytes);
        let len = self.pieces.front().map_or(0, |piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Part(part) => part.len,
        });
        if self.taken < len {
            return;
        }
        self.taken = 0;
        if let Some(Piece::Bytes(bytes)) = self.pieces.pop_front().filter(|_| len > WORTHY / 8) {
            self.spare.push(bytes);
            self.spare.truncate(SPARE_MAX);
        }
    }
}

/// The stream comes from an outbox.
pub(crate) struct OutboxSource {
    outbox: Arc<Outbox>,
    parts: bool,
}

impl Drop for OutboxSource {
    fn drop(&mut self) {
        self.outbox.lock().closed = true;
        self.outbox.room.notify_all();
    }
}

impl Source for OutboxSource {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, String> {
        loop {
            self.outbox.bell.clear();
            if let Some(taken) = self.outbox.take(space)? {
                return Ok(taken);
            }
            wait(&[Interest::read(&self.outbox.bell)], None).map_err(|e| format!("cannot wait: {e}"))?;
        }
    }

    fn pull(&mut self, space: &mut [u8]) -> Result<Option<usize>, String> {
        self.outbox.take(space)
    }

    fn has_parts(&mut self) -> bool {
        self.parts
    }

    fn mixes(&self) -> bool {
        self.parts
    }

    fn is_at_part(&self) -> bool {
        self.outbox.lock().part(1).is_some()
    }

    fn part(&mut self, most: usize) -> Option<Part> {
        self.outbox.take_part(most)
    }

    fn on_news(&mut self, call: OnNews) {
        let _ = self.outbox.news.set(call);
    }

    fn wait(&self, bell: Option<&Bell>, timeout: Option<Duration>) -> Result<WokenBy, String> {
        let deadline = timeout.map(|time| Instant::now() + time);
        loop {
            self.outbox.bell.clear();
            if self.outbox.has_news() {
                return Ok(WokenBy::Input);
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let news = Interest::read(&self.outbox.bell);
            let ready = match bell {
                Some(bell) => wait(&[news, Interest::read(bell)], left),
                None => wait(&[news], left).map(|[news]| [news, Default::default()]),
            };
            let [news, rung] = ready.map_err(|e| format!("cannot wait: {e}"))?;
            if rung.any() {
                return Ok(WokenBy::Bell);
            }
            if !news.any() && left.is_some_and(|left| left.is_zero()) {
                return Ok(WokenBy::Timeout);
            }
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::NamedFile;
    use proptest::prelude::*;
    use std::fs::File;
    use std::io::Write;

    fn named(bytes: &[u8]) -> Arc<NamedFile> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        NamedFile::new(file, "file".into(), true)
    }

    fn part(file: &Arc<NamedFile>, at: u64, len: usize) -> Part {
        Part { file: file.clone(), at, len }
    }

    #[test]
    fn what_may_be_left_out_does_not_pile_up() {
        let out = Outbox::new().unwrap();
        out.say(0, &Down::Wait(1));
        let record = out.lock().bytes;
        (0..2 * FEW).for_each(|_| out.say_if_few_wait(0, &Down::Wait(2)));
        assert_eq!(out.lock().bytes, FEW.next_multiple_of(record));
        out.say(0, &Down::Wait(3));
        assert_eq!(out.lock().bytes, FEW.next_multiple_of(record) + record, "this may not be left out");
    }

    proptest! {
        #[test]
        fn bytes_and_parts_come_in_order_whether_parts_are_read_or_taken(
            pieces in proptest::collection::vec((1usize..50, proptest::option::of(0u64..50)), 1..20),
            takes in proptest::collection::vec((any::<bool>(), 1usize..60), 1..10),
        ) {
            let bytes: Vec<u8> = (0..100).collect();
            let (file, out, mut whole) = (named(&bytes), Outbox::new().unwrap(), Vec::<u8>::new());
            for (len, at) in pieces {
                let begin = at.unwrap_or(0) as usize;
                match at {
                    None => out.put(bytes[..len].to_vec()),
                    Some(at) => out.put_part(Vec::new(), part(&file, at, len)),
                }
                whole.extend(&bytes[begin..begin + len]);
            }
            out.end(Ok(()));
            let (mut source, mut space, mut came) = (out.source(true), [0; 60], Vec::<u8>::new());
            for (read, most) in takes.into_iter().cycle() {
                let is_at_part = source.is_at_part();
                let taken = if read { None } else { source.part(most) };
                prop_assert_eq!(taken.is_some(), is_at_part && !read);
                let len = match taken {
                    Some(part) => {
                        let len = part.len;
                        prop_assert_eq!(part.read(&mut space), Ok(len));
                        len
                    }
                    None => source.pull(&mut space[..most]).unwrap().unwrap(),
                };
                if len == 0 {
                    break;
                }
                prop_assert!(len <= most);
                came.extend(&space[..len]);
            }
            prop_assert_eq!(came, whole);
            prop_assert_eq!(out.lock().bytes, 0);
        }
    }

    #[test]
    fn zeros_go_in_the_place_of_what_is_not_there_any_more() {
        let file = named(&[7; 10]);
        let mut space = [1; 30];
        assert_eq!(part(&file, 4, 20).read(&mut space), Ok(6));
        assert_eq!(part(&file, 10, 20).read(&mut space), Ok(20));
        assert_eq!(space[..20], [0; 20]);
        // what nobody has summed up has no such place
        let file = File::open("/dev/null").unwrap();
        let file = NamedFile::new(file, "file".into(), false);
        let why = part(&file, 0, 1).read(&mut space);
        assert_eq!(why, Err("cannot read file: it became shorter while it was sent".into()));
    }
}
