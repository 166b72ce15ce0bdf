//! Harm to chosen legs: frames are told apart on the way to the receiver, and passed on whole.

use millipede::proto::hello::Hello;
use millipede::proto::wire::{Frame, decode};
use std::collections::HashMap;

/// What is done to a leg's frame on its way to the receiver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Harm {
    None,
    /// A bit of the payload flips.
    Payload,
    /// A bit of the header flips.
    Header,
}

/// Who decides, and how often each leg has passed.
pub struct Damage {
    decide: Box<dyn Fn(u64, usize) -> Harm + Send>,
    passed: HashMap<u64, usize>,
}

impl Damage {
    pub fn new(decide: impl Fn(u64, usize) -> Harm + Send + 'static) -> Damage {
        Damage { decide: Box::new(decide), passed: HashMap::new() }
    }

    fn harm(&mut self, sequence: u64) -> Harm {
        let before = self.passed.entry(sequence).or_default();
        *before += 1;
        (self.decide)(sequence, *before - 1)
    }
}

/// The frames of one connection.
#[derive(Default)]
pub struct Frames {
    /// The beginning of one that is not whole yet.
    held: Vec<u8>,
    greeted: bool,
}

impl Frames {
    /// Takes what has come; what is whole by now, harmed as it shall be.
    pub fn pass(&mut self, bytes: &[u8], damage: &mut Damage) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut at = 0;
        if !self.greeted {
            let Some((_, len)) = Hello::decode(&self.held).expect("a hello") else { return Vec::new() };
            (self.greeted, at) = (true, len);
        }
        while let Some((frame, header)) = decode(&self.held[at..]).expect("a frame") {
            let (payload, sequence) = match frame {
                Frame::Leg(leg) => (leg.encoded as usize, Some(leg.sequence)),
                _ => (0, None),
            };
            if self.held.len() < at + header + payload {
                break;
            }
            match sequence.map_or(Harm::None, |sequence| damage.harm(sequence)) {
                Harm::None => {}
                Harm::Payload => self.held[at + header + payload / 2] ^= 0x20,
                Harm::Header => self.held[at + header / 2] ^= 0x01,
            }
            at += header + payload;
        }
        self.held.drain(..at).collect()
    }
}
