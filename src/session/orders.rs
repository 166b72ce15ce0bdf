//! What the desk, the threads around it and the core say to each other.

use crate::proto::event::Event;
use crate::proto::hello::{FarEnd, Hello};
use crate::proto::leg::{Leg, Payload};
use crate::proto::outcome::Outcome;
use crate::proto::session::Action;
use crate::proto::set::ConnectionSet;
use crate::proto::way::Way;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The core, as the desk sees it.
pub(crate) trait Core {
    /// Called before every event: brings in what the core cannot measure itself.
    fn enter(&mut self, now: Instant);
    /// Time has passed.
    fn tick(&mut self, now: Instant);
    /// The next thing to do.
    fn poll(&mut self) -> Option<Action>;
    /// Connections for which there is something to write.
    fn take_posted(&mut self) -> ConnectionSet;
    /// What nobody needs any more, to be dropped without the lock.
    fn take_freed(&mut self) -> Vec<Payload>;
    /// When the next tick is due.
    fn deadline(&self, now: Instant) -> Option<Instant>;
    /// How much the next leg of the input is wanted.
    fn hunger(&self) -> Hunger;
}

/// The rest of the process, as the desk sees it. Called without the desk's lock; the caller may hold a lease of a source
/// or sink, or a connection's writer.
pub(crate) trait Audience: Send + Sync {
    /// The output slept, and there is something for it. `here`: the calling thread may do it.
    fn rouse_output(&self, here: bool);
    /// What the input has waited for has come.
    fn rouse_input(&self);
    /// Something happened.
    fn hear(&self, news: News);
}

/// An audience that does nothing.
#[cfg(test)]
pub(crate) struct Nobody;

#[cfg(test)]
impl Audience for Nobody {
    fn rouse_output(&self, _: bool) {}
    fn rouse_input(&self) {}
    fn hear(&self, _: News) {}
}

/// What the rest of the process is told.
#[derive(Debug)]
pub(crate) enum News {
    /// The far end of a stream was met.
    Met(Way, FarEnd),
    /// A stream was judged.
    Settled(Way, Outcome),
    /// Something for the user.
    Tell(Event),
}

/// How much a leg is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hunger {
    /// No connection waits for a leg, and as many bytes wait for connections as should.
    Sated,
    /// No connection waits for a leg.
    None,
    /// A connection waits, and there is no leg for it.
    Free,
    /// A connection waits, there is no leg for it, and none is on its way anywhere.
    Idle,
}

/// One TCP connection. When it is over, and another one has its number, news under its ticket is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The connection's number in the session.
    pub(crate) connection: usize,
    pub(super) epoch: u64,
}

/// What the owner of a connection shall do while that is not up.
#[derive(Debug)]
pub(crate) enum Order {
    /// Get a connection, which will be known by this ticket.
    Dial {
        /// The new connection.
        ticket: Ticket,
        /// On which link.
        link: usize,
        /// What to say.
        hello: Box<Hello>,
        /// How long it may take in all.
        timeout: Duration,
        /// The largest segments of TCP that it may use; None for what the path says it can.
        segment: Option<u16>,
    },
    /// The session is over: there is nothing to dial for.
    Finish,
}

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The connection is wanted.
    Wanted,
    /// The connection is wanted, and its signs of life are to be told when there is nothing to read.
    Examined,
    /// The connection is to be closed in order: it has nothing on the way.
    Leaving,
    /// The session is over: write what there is, then close in order.
    Finishing,
    /// The connection is not known any more: close it at once.
    Over,
}

/// What waits for the output.
#[derive(Default)]
pub(crate) struct OutputQueue {
    /// In the order of the stream.
    pub(crate) legs: VecDeque<Leg>,
    /// The output is to be closed behind the last leg.
    pub(crate) close: bool,
    /// Its thread waits, and is to be woken.
    pub(crate) asleep: bool,
}

impl OutputQueue {
    /// What it shall do: write legs until it has so many `bytes`, at most `max` legs, if there are any. `over`: the
    /// session is.
    pub(crate) fn take(&mut self, max: usize, bytes: u64, over: bool) -> Delivery {
        let OutputQueue { legs, close, asleep } = self;
        let before = legs.iter().scan(0, |sum, leg| Some(std::mem::replace(sum, *sum + leg.len())));
        let count = before.take(max).take_while(|before| *before < bytes).count();
        let legs: Vec<Leg> = legs.drain(..count).collect();
        match () {
            () if !legs.is_empty() => Delivery::Legs(legs),
            () if over => Delivery::Over,
            () if *close => Delivery::Close,
            () => {
                *asleep = true;
                Delivery::Nothing
            }
        }
    }
}

/// What the output shall do.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// Write these, the next ones in order.
    Legs(Vec<Leg>),
    /// Sleep: it is roused when there is something to do.
    Nothing,
    /// Close the sink: that was all.
    Close,
    /// The session is over: end, without closing the sink.
    Over,
}
