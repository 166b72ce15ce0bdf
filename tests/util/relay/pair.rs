//! One connection through the relay, and what is under way on it in each direction.

use super::damage::{Damage, Frames};
use super::{Rules, There, Way};
use rustix::event::PollFlags;
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

/// Bytes that one direction holds at most: more only where they are delayed, so that the delay costs no rate.
const CHUNK: usize = 128 << 10;
const DELAYED: usize = 64 * CHUNK;

/// A connection. Reset at both sides when dropped, unless it ended in order.
pub struct Pair {
    /// The side that dialled, and the one that listens: the source of each [`Way`].
    sides: [TcpStream; 2],
    flows: [Flow; 2],
    /// Where frames are told apart, on the way there.
    frames: Option<Frames>,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// What is held until its time has come.
    delayed: VecDeque<(Instant, Vec<u8>)>,
    /// What can be written.
    waiting: Vec<u8>,
    held: usize,
    ended: bool,
    shut: bool,
}

impl Pair {
    pub fn new(near: TcpStream, far: TcpStream, with_frames: bool) -> Pair {
        let frames = with_frames.then(Frames::default);
        Pair { sides: [near, far], flows: Default::default(), frames }
    }

    /// What each side is to be asked for.
    pub fn awaits(&self, rules: &Rules) -> [(&TcpStream, PollFlags); 2] {
        [0, 1].map(|side| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !rules.silent[side] && self.flows[side].wants_input(rules));
            flags.set(PollFlags::OUT, !rules.silent[1 - side] && !self.flows[1 - side].waiting.is_empty());
            (&self.sides[side], flags)
        })
    }

    /// When the next delayed bytes may pass.
    pub fn due(&self, rules: &Rules) -> Option<Instant> {
        let heard = (0..2).filter(|way| !rules.silent[*way]);
        heard.filter_map(|way| self.flows[way].delayed.front().map(|(due, _)| *due)).min()
    }

    /// Moves what can be moved in one direction; false if the connection is over.
    pub fn pass(
        &mut self,
        way: Way,
        now: Instant,
        rules: &mut Rules,
        damage: &mut Option<Damage>,
        passed: &mut [u64; 2],
    ) -> bool {
        let index = way as usize;
        if rules.silent[index] {
            return true;
        }
        self.read(way, now, rules, damage)
            && self.write(index, now, rules, &mut passed[index])
            && self.goes_on()
    }

    fn read(&mut self, way: Way, now: Instant, rules: &mut Rules, damage: &mut Option<Damage>) -> bool {
        let flow = &mut self.flows[way as usize];
        if !flow.wants_input(rules) {
            return true;
        }
        let mut chunk = [0; CHUNK];
        match (&self.sides[way as usize]).read(&mut chunk) {
            Ok(0) => flow.ended = true,
            Ok(n) => {
                chunk[n - 1] ^= u8::from(std::mem::take(&mut rules.corrupt[way as usize]));
                let frames = self.frames.as_mut().filter(|_| way == There);
                let bytes = match (frames, damage) {
                    (Some(frames), Some(damage)) => frames.pass(&chunk[..n], damage),
                    _ => chunk[..n].to_vec(),
                };
                flow.held += bytes.len();
                flow.delayed.push_back((now + rules.delay, bytes));
            }
            Err(e) => return e.kind() == ErrorKind::WouldBlock,
        }
        true
    }

    fn write(&mut self, index: usize, now: Instant, rules: &mut Rules, passed: &mut u64) -> bool {
        let (to, flow) = (&self.sides[1 - index], &mut self.flows[index]);
        let due = flow.delayed.iter().take_while(|(due, _)| *due <= now).count();
        flow.waiting.extend(flow.delayed.drain(..due).flat_map(|(_, bytes)| bytes));
        let allowed = rules.cut[index].map_or(usize::MAX, |left| left.try_into().unwrap_or(usize::MAX));
        let piece = &flow.waiting[..flow.waiting.len().min(allowed)];
        let written = match (&mut &*to).write(piece) {
            _ if piece.is_empty() => 0,
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return false,
        };
        let is_cut = written == allowed && flow.waiting.len() > allowed;
        flow.waiting.drain(..written);
        flow.held -= written;
        *passed += written as u64;
        rules.cut[index] = rules.cut[index].map(|left| left - written as u64).filter(|_| !is_cut);
        if flow.ended && flow.held == 0 && !flow.shut {
            flow.shut = true;
            return !is_cut && to.shutdown(Shutdown::Write).is_ok();
        }
        !is_cut
    }

    /// False when it has ended in order at both sides; then it is closed in order.
    fn goes_on(&self) -> bool {
        let over = self.flows.iter().all(|flow| flow.shut);
        if over {
            self.sides.iter().for_each(|side| drop(SockRef::from(side).set_linger(None)));
        }
        !over
    }
}

impl Flow {
    fn wants_input(&self, rules: &Rules) -> bool {
        let most = if rules.delay.is_zero() { CHUNK } else { DELAYED };
        !self.ended && self.held < most
    }
}
