//! The one lock of a session: whoever has news takes it, tells the core, posts what follows, and lets go.
//!
//! ```text
//!   news ─▶ lock ─▶ core ─▶ post ─▶ unlock ─▶ follow: wake, write small things, ring, say
//! ```
//!
//! Posted under the lock is everything whose order counts: legs for the output, orders for connections, and (in the
//! core's mailboxes) what is to be written. Were it carried out after the lock, two threads could swap two legs on a
//! connection, whose acknowledgements are counted in the order of sending, or let an acknowledgement overtake the
//! complaint about a leg that it counts. After the lock comes everything that takes time: waking threads, writing to
//! sockets, feeding the output, lines for the user.
//!
//! Under the lock never: I/O, waiting, a line, a bell. Lock order: the lease of a source or sink, then a connection's
//! writer, then the desk. Something small is written by whoever posted it; a connection that is busy with something
//! large, or whoever has a writer already, leaves it to the thread that owns the connection, and wakes that.

use super::orders::{Audience, Core, Delivery, Hunger, News, Order, Standing, Ticket};
use super::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use crate::proto::leg::{CONNECTIONS_MAX, Leg};
use crate::proto::life::Steady;
use crate::proto::outcome::Outcome;
use crate::proto::session::Action;
use crate::proto::set::ConnectionSet;
use crate::proto::way::Way;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// While things happen the clock looks at least this often. A deadline that comes to lie a little earlier than the
/// clock expects does not wake it then: that would cost every keystroke a thread's wake-up.
const GRAIN: Duration = Duration::from_millis(20);

/// How long the clock waits where nothing is due: for ever, in words that no time overflows.
const NEVER: Duration = Duration::from_secs(3600);

/// One connection's place: the thread that owns it, and its socket for whoever has something small to write.
pub trait Line<C>: Sized {
    /// Wakes the thread that owns it.
    fn wake(&self);
    /// Writes what waits, if that is small; otherwise wakes the owner. The caller has no writer.
    fn nudge(&self, desk: &Desk<C, Self>);
}

struct Slot<L> {
    line: Option<Arc<L>>,
    /// Counts the connections of this place; a ticket with another number is over.
    epoch: u64,
    order: Option<Order>,
    leaving: bool,
    /// It has a connection, whose last words may still be on their way.
    open: bool,
}

#[derive(Default)]
struct Output {
    legs: VecDeque<Leg>,
    close: bool,
    asleep: bool,
}

/// What is behind the lock.
struct State<C, L> {
    core: C,
    slots: [Slot<L>; CONNECTIONS_MAX],
    output: Output,
    /// The input waits until the hunger is more than this, or until a far end was met.
    input_awaits: Option<Hunger>,
    /// A far end has been met.
    met: bool,
    steady: Steady,
    /// The time that the clock's thread waits for.
    armed: Option<Instant>,
    /// Whether anything happened since the clock looked last.
    stirred: bool,
    over: bool,
    /// How streams were judged, in that order.
    settled: Vec<(Way, Outcome)>,
    /// The peer was seen to close a connection in order after the session was over.
    heard_out: bool,
}

/// What is to be done after the lock.
struct Todo<L> {
    /// Connections to write for, or to wake, if that is true.
    lines: Vec<(Arc<L>, bool)>,
    output: bool,
    input: bool,
    clock: bool,
    news: Vec<News>,
}

/// The lock, and the clock's bell.
pub struct Desk<C, L> {
    state: Mutex<State<C, L>>,
    clock: Condvar,
    audience: Box<dyn Audience>,
}

impl<C: Core, L: Line<C>> Desk<C, L> {
    /// A desk at which nothing has happened yet.
    pub fn new(core: C, audience: Box<dyn Audience>) -> Self {
        let slot = || Slot { line: None, epoch: 0, order: None, leaving: false, open: false };
        let state = State {
            core,
            slots: std::array::from_fn(|_| slot()),
            output: Output::default(),
            input_awaits: None,
            met: false,
            steady: Steady::new(),
            armed: None,
            stirred: false,
            over: false,
            settled: Vec::new(),
            heard_out: false,
        };
        Desk { state: Mutex::new(state), clock: Condvar::new(), audience }
    }

    // ---- news -----------------------------------------------------------------------------------------

    /// Tells the core something, and carries out what follows.
    pub fn tell<R>(&self, news: impl FnOnce(&mut C, Instant) -> R) -> R {
        self.carry_out(self.lock(), None, news)
    }

    /// The same from the thread that owns a connection, which writes what is posted for that itself afterwards. None
    /// if the connection is over: then nothing has been told.
    pub fn tell_as<R>(&self, ticket: Ticket, news: impl FnOnce(&mut C, Instant) -> R) -> Option<R> {
        let state = self.lock();
        let current = state.is_current(ticket);
        current.then(|| self.carry_out(state, Some(ticket.place), news))
    }

    /// The same while the connection is being written: others are only woken, because whoever waited for the writer of
    /// one connection while it has that of another could wait for ever.
    pub fn tell_writing<R>(&self, ticket: Ticket, news: impl FnOnce(&mut C, Instant) -> R) -> Option<R> {
        let state = self.lock();
        if !state.is_current(ticket) {
            return None;
        }
        let (result, mut todo) = self.decide(state, Some(ticket.place), news);
        todo.lines.iter_mut().for_each(|(_, wake)| *wake = true);
        self.follow(todo, false);
        Some(result)
    }

    /// Looks at the core, and changes nothing that anything follows from.
    pub fn peek<R>(&self, look: impl FnOnce(&mut C) -> R) -> R {
        look(&mut self.lock().core)
    }

    /// The same from a connection's thread; None if the connection is over.
    pub fn peek_as<R>(&self, ticket: Ticket, look: impl FnOnce(&mut C) -> R) -> Option<R> {
        let mut state = self.lock();
        state.is_current(ticket).then(|| look(&mut state.core))
    }

    /// The time as all deadlines see it: without the gaps in which this process did not run.
    pub fn now(&self) -> Instant {
        self.lock().now()
    }

    /// How streams were judged, in that order.
    pub fn settled(&self) -> Vec<(Way, Outcome)> {
        self.lock().settled.clone()
    }

    /// Whether the session is over.
    pub fn is_over(&self) -> bool {
        self.lock().over
    }

    /// News, core, post, unlock, follow. `own` is the connection whose thread this is.
    fn carry_out<R>(
        &self,
        state: MutexGuard<'_, State<C, L>>,
        own: Option<usize>,
        news: impl FnOnce(&mut C, Instant) -> R,
    ) -> R {
        let (result, todo) = self.decide(state, own, news);
        self.follow(todo, true);
        result
    }

    /// News, core, post, unlock.
    fn decide<R>(
        &self,
        mut state: MutexGuard<'_, State<C, L>>,
        own: Option<usize>,
        news: impl FnOnce(&mut C, Instant) -> R,
    ) -> (R, Todo<L>) {
        state.stirred = true;
        let now = state.enter();
        let result = news(&mut state.core, now);
        let todo = state.post_all(now, own);
        (result, todo)
    }

    /// After the lock: whoever is concerned learns of it. `here`: this thread has no writer, and may write.
    fn follow(&self, todo: Todo<L>, here: bool) {
        if todo.clock {
            self.clock.notify_all();
        }
        for (line, wake) in todo.lines {
            if wake { line.wake() } else { line.nudge(self) }
        }
        if todo.output {
            self.audience.rouse_output(here);
        }
        if todo.input {
            self.audience.rouse_input();
        }
        todo.news.into_iter().for_each(|news| self.audience.hear(news));
    }

    // ---- connections ----------------------------------------------------------------------------------

    /// The thread that dials for this place is there.
    pub fn seat(&self, place: usize, line: Arc<L>) {
        self.lock().slots[place].line = Some(line);
    }

    /// A peer is let in, if the core agrees: the ticket of its connection, which takes the place of an older one.
    ///
    /// # Errors
    /// What the core answers.
    pub fn admit<E>(
        &self,
        line: Arc<L>,
        news: impl FnOnce(&mut C, Instant) -> Result<usize, E>,
    ) -> Result<Ticket, E> {
        let mut state = self.lock();
        state.stirred = true;
        let now = state.enter();
        let place = news(&mut state.core, now)?;
        let slot = &mut state.slots[place];
        let old = slot.line.replace(line);
        (slot.epoch, slot.leaving, slot.open) = (slot.epoch + 1, false, true);
        let ticket = Ticket { place, epoch: slot.epoch };
        let todo = state.post_all(now, Some(place));
        drop(state);
        self.follow(todo, true);
        old.iter().for_each(|old| old.wake());
        Ok(ticket)
    }

    /// What the thread that dials for this place shall do while it has no connection.
    pub fn take_order(&self, place: usize) -> Option<Order> {
        let mut state = self.lock();
        let over = state.over.then_some(Order::Finish);
        over.or_else(|| state.slots[place].order.take())
    }

    /// The seat of a place, if somebody has it.
    pub fn line(&self, place: usize) -> Option<Arc<L>> {
        self.lock().slots[place].line.clone()
    }

    /// How a connection stands.
    pub fn standing(&self, ticket: Ticket) -> Standing {
        let state = self.lock();
        match () {
            () if !state.is_current(ticket) => Standing::Over,
            () if state.over => Standing::Finishing,
            () if state.slots[ticket.place].leaving => Standing::Leaving,
            () => Standing::Wanted,
        }
    }

    /// A connection has ended, and the core is told so by `news`; nothing more is heard of it.
    pub fn lose(&self, ticket: Ticket, news: impl FnOnce(&mut C, Instant)) {
        let mut state = self.lock();
        if state.is_current(ticket) {
            let slot = &mut state.slots[ticket.place];
            (slot.epoch, slot.leaving) = (slot.epoch + 1, false);
            self.carry_out(state, Some(ticket.place), news);
        }
    }

    /// The thread of this line works a connection from now on.
    pub fn opened(&self, ticket: Ticket) {
        let mut state = self.lock();
        if state.is_current(ticket) {
            state.slots[ticket.place].open = true;
        }
    }

    /// It does not any more. `heard`: the session was over, and the peer has closed in order.
    pub fn closed(&self, place: usize, line: &Arc<L>, heard: bool) {
        let mut state = self.lock();
        let slot = &mut state.slots[place];
        if slot.line.as_ref().is_some_and(|current| Arc::ptr_eq(current, line)) {
            slot.open = false;
            state.heard_out |= heard;
            drop(state);
            self.clock.notify_all();
        }
    }

    // ---- the ends of the streams ----------------------------------------------------------------------

    /// What the output shall do: write at most `max` legs, if there are any.
    pub fn take_output(&self, max: usize) -> Delivery {
        let mut state = self.lock();
        let over = state.over;
        let Output { legs, close, asleep } = &mut state.output;
        let count = legs.len().min(max);
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

    /// How much a leg is wanted; None when the session is over. The input is roused when it is more.
    pub fn hunger(&self) -> Option<Hunger> {
        let mut state = self.lock();
        let hunger = state.core.hunger();
        state.input_awaits = Some(hunger);
        (!state.over).then_some(hunger)
    }

    /// Whether a far end has been met; None when the session is over. If not, the input is roused when one is.
    pub fn has_met(&self) -> Option<bool> {
        let mut state = self.lock();
        if !state.met {
            state.input_awaits = Some(Hunger::Idle);
        }
        (!state.over).then_some(state.met)
    }

    // ---- the clock ------------------------------------------------------------------------------------

    /// Ticks until the session is over.
    pub fn keep_time(&self) {
        self.tell(|_, _| ());
        loop {
            let mut state = self.lock();
            if state.over {
                return;
            }
            let now = state.now();
            if state.armed.is_some_and(|at| at <= now) {
                let now = state.enter();
                let todo = state.post_all(now, None);
                drop(state);
                self.follow(todo, true);
                continue;
            }
            // while things happen it looks often
            let soon = std::mem::take(&mut state.stirred).then(|| now + GRAIN);
            state.armed = state.core.deadline(now).into_iter().chain(soon).min();
            let wait = state.armed.map_or(NEVER, |at| at.saturating_duration_since(now));
            drop(self.clock.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Waits until `enough` says so of how many connections are open and whether the peer was seen to close one in
    /// order, at most for `time`.
    pub fn see_off(&self, time: Duration, enough: impl Fn(usize, bool) -> bool) {
        let until = Instant::now() + time;
        let mut state = self.lock();
        loop {
            let open = state.slots.iter().filter(|slot| slot.open).count();
            let left = until.saturating_duration_since(Instant::now());
            if enough(open, state.heard_out) || left.is_zero() {
                return;
            }
            let waited = self.clock.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Nothing panics half-way while it holds the lock without ending the process.
    fn lock(&self) -> MutexGuard<'_, State<C, L>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Core, L> State<C, L> {
    /// Somebody comes in with news: the time, and what has fallen due before it.
    fn enter(&mut self) -> Instant {
        let now = self.now();
        self.core.enter(now);
        if self.armed.is_some_and(|at| at <= now) {
            self.armed = None;
            self.core.tick(now);
        }
        now
    }

    fn now(&mut self) -> Instant {
        self.steady.now(Instant::now(), self.armed)
    }

    fn is_current(&self, ticket: Ticket) -> bool {
        self.slots[ticket.place].epoch == ticket.epoch
    }

    /// Everything that the core wants done, for everybody but the thread that owns connection `own`.
    fn post_all(&mut self, now: Instant, own: Option<usize>) -> Todo<L> {
        let mut todo =
            Todo { lines: Vec::new(), output: false, input: false, clock: false, news: Vec::new() };
        let mut wake = ConnectionSet::EMPTY;
        while let Some(action) = self.core.poll() {
            self.post(action, &mut wake, &mut todo);
        }
        let mail = self.core.take_posted();
        for place in (0..CONNECTIONS_MAX).filter(|place| wake.contains(*place) || mail.contains(*place)) {
            let line = self.slots[place].line.clone().filter(|_| Some(place) != own);
            todo.lines.extend(line.map(|line| (line, wake.contains(place))));
        }
        let something = self.output.close || !self.output.legs.is_empty() || self.over;
        todo.output = something && std::mem::take(&mut self.output.asleep);
        if self.input_awaits.is_some_and(|before| self.core.hunger() > before) {
            todo.input = true;
        }
        if todo.input {
            self.input_awaits = None;
        }
        todo.clock |= self.rearm(now);
        todo
    }

    fn post(&mut self, action: Action, wake: &mut ConnectionSet, todo: &mut Todo<L>) {
        match action {
            Action::Dial { connection, link, hello, timeout, segment } => {
                let slot = &mut self.slots[connection];
                slot.epoch += 1;
                let ticket = Ticket { place: connection, epoch: slot.epoch };
                slot.order = Some(Order::Dial { ticket, link, hello, timeout, segment });
                wake.insert(connection);
            }
            Action::Drop(connection, _why) => {
                let slot = &mut self.slots[connection];
                (slot.epoch, slot.leaving) = (slot.epoch + 1, false);
                wake.insert(connection);
            }
            Action::Leave(connection) => {
                self.slots[connection].leaving = true;
                wake.insert(connection);
            }
            Action::Deliver(leg) => self.output.legs.push_back(leg),
            Action::CloseOutput => self.output.close = true,
            Action::Met(way, features) => {
                self.met = true;
                todo.input |= self.input_awaits.is_some();
                todo.news.push(News::Met(way, features));
            }
            Action::Settled(way, outcome) => {
                self.settled.push((way, outcome.clone()));
                todo.news.push(News::Settled(way, outcome));
            }
            Action::Tell(event) => todo.news.push(News::Tell(event)),
            Action::Over => {
                self.over = true;
                *wake = (0..CONNECTIONS_MAX).collect();
                (todo.clock, todo.input) = (true, true);
            }
        }
    }

    /// Sees to it that the clock looks in time; whether it must be woken for that.
    fn rearm(&mut self, now: Instant) -> bool {
        let Some(next) = self.core.deadline(now) else { return false };
        let earlier = self.armed.is_none_or(|armed| next + GRAIN < armed);
        if earlier {
            self.armed = Some(next);
        }
        earlier
    }
}
