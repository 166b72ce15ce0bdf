//! The one lock of a session: whoever has news takes it, tells the core, posts what follows, and lets go.
//!
//! ```text
//!   news ─▶ lock ─▶ core ─▶ post ─▶ unlock ─▶ follow: wake, write small things, ring, say
//! ```
//!
//! Everything whose order counts is posted under the lock: legs for the output, orders for connections, and, in the
//! core's mailboxes, what is to be written. If it were carried out after the lock, two threads could swap two legs on a
//! connection, though acknowledgements count legs in the order of sending. Or an acknowledgement could overtake the
//! complaint about a leg that it counts.
//!
//! Everything that takes time comes after the lock: waking threads, writing to sockets, feeding the output, lines for
//! the user. Under the lock there is no I/O, no waiting, no line and no bell. News for the audience are heard after the
//! lock, and in the order in which they were posted (`hearing`).
//!
//! There are three verbs. Whoever shows a ticket gets None if its TCP connection is over.
//!
//! ```text
//!  tell     news: the core's event, then post and follow
//!  note     something that counts at the next event; nothing follows from it now, but that the input may be woken
//!  peek     a question
//! ```
//!
//! What is measured elsewhere is read by the core before each event: see `waits`.
//!
//! Lock order: a poll that was lent ([`Lookout`](crate::endpoint::Lookout)), the lease of a source or sink, a
//! connection's writer, the desk, the count of how long the output has been blocked.
//!
//! The thread that posted something small writes it itself. It wakes the owner of the connection instead if the
//! connection is busy with a large leg, or if the thread holds another connection's writer.

use super::orders::{Audience, Core, Hunger, News, Order, OutputQueue, Standing, Ticket};
use crate::proto::leg::{CONNECTIONS_MAX, Payload};
use crate::proto::life::Steady;
use crate::proto::outcome::Outcome;
use crate::proto::session::Action;
use crate::proto::set::ConnectionSet;
use crate::proto::way::Way;
use crate::sync::{self, Arc, Condvar, Mutex, MutexGuard, Unpoisoned};
use std::time::{Duration, Instant};
use unheard::Unheard;

mod clock;
mod hearing;
mod streams;
mod unheard;

/// How long a thread waits where nothing is due. It stands for "for ever", and no sum with it overflows.
const NEVER: Duration = Duration::from_secs(3600);

/// The clock's thread looks at least this often while there is news. So a deadline that moves a little earlier need not
/// wake it: otherwise every keystroke would cost the wake-up of a thread.
const GRAIN: Duration = Duration::from_millis(20);

/// How one connection is reached: the thread that owns it, and its socket for whoever has something small to write.
pub(crate) trait Reach<C>: Sized {
    /// Wakes the thread that owns it.
    fn wake(&self);
    /// Writes what waits, if that is small; otherwise wakes the owner. The caller has no writer.
    fn nudge(&self, desk: &Desk<C, Self>);
}

/// What the desk knows of a connection.
struct Connection<L> {
    seat: Option<Arc<L>>,
    /// Counts the TCP connections that had this number; a ticket with another count is over.
    epoch: u64,
    order: Option<Order>,
    leaving: bool,
    /// Its signs of life are to be told.
    look: bool,
    /// It is up, or its last words may still be on their way.
    open: bool,
}

/// What is behind the lock.
struct State<C, L> {
    core: C,
    connections: [Connection<L>; CONNECTIONS_MAX],
    output: OutputQueue,
    /// The input waits until a leg is wanted more than this, or until a far end was met.
    input_awaits: Option<Hunger>,
    /// A far end has been met.
    met: bool,
    /// The input is not to be read any more.
    ceased: bool,
    steady: Steady,
    /// The time that the clock's thread waits for.
    armed: Option<Instant>,
    /// Whether anything happened since the clock looked last.
    stirred: bool,
    over: bool,
    unheard: Unheard,
    /// How streams were judged, in that order.
    settled: Vec<(Way, Outcome)>,
    /// The peer was seen to close a connection in order after the session was over.
    heard_out: bool,
    /// When the farewell was asked to be short.
    hurried: Option<Instant>,
}

/// What is to be done after the lock.
struct Todo<L> {
    /// Connections that have something to write. With true their owners are only woken.
    seats: Vec<(Arc<L>, bool)>,
    output: bool,
    input: bool,
    clock: bool,
    /// News wait for the audience.
    news: bool,
    /// News there have been by now.
    posted: u64,
    /// Only to be dropped.
    _freed: Vec<Payload>,
}

/// The lock, the clock's bell, and the bell of who waits until the audience has heard something.
pub(crate) struct Desk<C, L> {
    state: Mutex<State<C, L>>,
    clock: Condvar,
    heard: Condvar,
    audience: Box<dyn Audience>,
}

impl<C: Core, L: Reach<C>> Desk<C, L> {
    /// A desk at which nothing has happened yet.
    pub(crate) fn new(core: C, audience: Box<dyn Audience>) -> Self {
        let down =
            || Connection { seat: None, epoch: 0, order: None, leaving: false, look: false, open: false };
        let state = State {
            core,
            connections: std::array::from_fn(|_| down()),
            output: OutputQueue::default(),
            input_awaits: None,
            met: false,
            ceased: false,
            steady: Steady::new(),
            armed: None,
            stirred: false,
            over: false,
            unheard: Unheard::default(),
            settled: Vec::new(),
            heard_out: false,
            hurried: None,
        };
        Desk { state: Mutex::new(state), clock: Condvar::new(), heard: Condvar::new(), audience }
    }

    // ---- news -----------------------------------------------------------------------------------------

    /// Tells the core something, and carries out what follows.
    pub(crate) fn tell<R>(&self, news: impl FnOnce(&mut C, Instant) -> R) -> R {
        self.carry_out(self.lock(), None, news)
    }

    /// [`Desk::tell`] for the thread that owns a connection. That thread writes what is posted for its own connection
    /// itself, afterwards. None if the connection is over: then the core was told nothing.
    pub(crate) fn tell_as<R>(&self, ticket: Ticket, news: impl FnOnce(&mut C, Instant) -> R) -> Option<R> {
        let state = self.lock();
        let current = state.is_current(ticket);
        current.then(|| self.carry_out(state, Some(ticket.connection), news))
    }

    /// [`Desk::tell_as`] for a thread that holds the connection's writer. The owners of other connections are only
    /// woken: a thread that holds one writer and waits for another could wait for ever.
    pub(crate) fn tell_writing<R>(
        &self,
        ticket: Ticket,
        news: impl FnOnce(&mut C, Instant) -> R,
    ) -> Option<R> {
        let state = self.lock();
        if !state.is_current(ticket) {
            return None;
        }
        let (result, mut todo) = self.decide(state, Some(ticket.connection), news);
        todo.seats.iter_mut().for_each(|(_, wake)| *wake = true);
        self.follow(todo, false);
        Some(result)
    }

    /// Looks at the core. `look` must change nothing from which an action follows.
    pub(crate) fn peek<R>(&self, look: impl FnOnce(&mut C) -> R) -> R {
        look(&mut self.lock().core)
    }

    /// [`Desk::peek`] from a connection's thread; None if the connection is over.
    pub(crate) fn peek_as<R>(&self, ticket: Ticket, look: impl FnOnce(&mut C) -> R) -> Option<R> {
        let mut state = self.lock();
        state.is_current(ticket).then(|| look(&mut state.core))
    }

    /// Notes something from which nothing follows before the next event, or only that the input is wanted.
    pub(crate) fn note<R>(&self, note: impl FnOnce(&mut C) -> R) -> R {
        self.note_in(self.lock(), note)
    }

    /// [`Desk::note`] from a connection's thread; None if the connection is over.
    pub(crate) fn note_as<R>(&self, ticket: Ticket, note: impl FnOnce(&mut C) -> R) -> Option<R> {
        let state = self.lock();
        state.is_current(ticket).then(|| self.note_in(state, note))
    }

    fn note_in<R>(&self, mut state: MutexGuard<'_, State<C, L>>, note: impl FnOnce(&mut C) -> R) -> R {
        let result = note(&mut state.core);
        let input = state.wakes_input();
        drop(state);
        if input {
            self.audience.rouse_input();
        }
        result
    }

    /// The time as all deadlines see it: without the gaps in which this process did not run.
    pub(crate) fn now(&self) -> Instant {
        self.lock().now()
    }

    /// How streams were judged, in that order.
    pub(crate) fn settled(&self) -> Vec<(Way, Outcome)> {
        self.lock().settled.clone()
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

    /// [`Desk::carry_out`] for news of a connection that comes or goes. A peer can cause those without end, so its thread
    /// goes on when the audience has heard of them: no more wait than there are connections.
    fn carry_out_heard<R>(
        &self,
        state: MutexGuard<'_, State<C, L>>,
        own: usize,
        news: impl FnOnce(&mut C, Instant) -> R,
    ) -> R {
        let (result, todo) = self.decide(state, Some(own), news);
        let posted = todo.posted;
        self.follow(todo, true);
        self.await_heard(posted);
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

    /// After the lock: writes, wakes and tells. `here`: this thread holds no writer, so it may write.
    fn follow(&self, todo: Todo<L>, here: bool) {
        if todo.clock {
            self.clock.notify_all();
        }
        for (seat, wake) in todo.seats {
            if wake { seat.wake() } else { seat.nudge(self) }
        }
        if todo.output {
            self.audience.rouse_output(here);
        }
        if todo.input {
            self.audience.rouse_input();
        }
        if todo.news {
            self.pass_on();
        }
    }

    // ---- connections ----------------------------------------------------------------------------------

    /// From now on the thread of this seat dials for this connection.
    pub(crate) fn seat(&self, connection: usize, seat: Arc<L>) {
        self.lock().connections[connection].seat = Some(seat);
    }

    /// Lets a peer in, if the core agrees. Gives the ticket of the new connection, which replaces an older one in its
    /// place. The audience has heard by then what was posted: it knows of the peer before a leg comes.
    ///
    /// # Errors
    /// The core's refusal.
    pub(crate) fn admit<E>(
        &self,
        seat: Arc<L>,
        news: impl FnOnce(&mut C, Instant) -> Result<usize, E>,
    ) -> Result<Ticket, E> {
        let mut state = self.lock();
        state.stirred = true;
        let now = state.enter();
        let connection = news(&mut state.core, now)?;
        let kept = &mut state.connections[connection];
        let old = kept.seat.replace(seat);
        (kept.epoch, kept.leaving, kept.open) = (kept.epoch + 1, false, true);
        let ticket = Ticket { connection, epoch: kept.epoch };
        let todo = state.post_all(now, Some(connection));
        drop(state);
        let posted = todo.posted;
        self.follow(todo, true);
        old.iter().for_each(|old| old.wake());
        self.await_heard(posted);
        Ok(ticket)
    }

    /// What the thread that dials for this connection shall do while that is not up.
    pub(crate) fn take_order(&self, connection: usize) -> Option<Order> {
        let mut state = self.lock();
        let over = state.over.then_some(Order::Finish);
        over.or_else(|| state.connections[connection].order.take())
    }

    /// The seat of a connection, if somebody has it.
    pub(crate) fn seat_at(&self, connection: usize) -> Option<Arc<L>> {
        self.lock().connections[connection].seat.clone()
    }

    /// How a connection stands, and the time.
    pub(crate) fn standing(&self, ticket: Ticket) -> (Standing, Instant) {
        let mut state = self.lock();
        let now = state.now();
        let standing = match () {
            () if !state.is_current(ticket) => Standing::Over,
            () if state.over => Standing::Finishing,
            () if state.connections[ticket.connection].leaving => Standing::Leaving,
            () if std::mem::take(&mut state.connections[ticket.connection].look) => Standing::Examined,
            () => Standing::Wanted,
        };
        (standing, now)
    }

    /// A connection has ended, and the core is told so by `news`; nothing more is heard of it. The audience has heard by
    /// then what was posted.
    pub(crate) fn lose(&self, ticket: Ticket, news: impl FnOnce(&mut C, Instant)) {
        let mut state = self.lock();
        if state.is_current(ticket) {
            let kept = &mut state.connections[ticket.connection];
            (kept.epoch, kept.leaving) = (kept.epoch + 1, false);
            self.carry_out_heard(state, ticket.connection, news);
        }
    }

    /// [`Desk::tell_as`] for the news that the thread of this seat has a connection. Whatever the news leads to, the
    /// connection is one whose last words are waited for, until it is [closed](Desk::closed).
    pub(crate) fn connected<R>(&self, ticket: Ticket, news: impl FnOnce(&mut C, Instant) -> R) -> Option<R> {
        let mut state = self.lock();
        let current = state.is_current(ticket);
        state.connections[ticket.connection].open |= current;
        current.then(|| self.carry_out_heard(state, ticket.connection, news))
    }

    /// The thread of this seat has no connection any more. `heard`: the session was over, and the peer has closed the
    /// connection in order.
    pub(crate) fn closed(&self, connection: usize, seat: &Arc<L>, heard: bool) {
        let mut state = self.lock();
        let kept = &mut state.connections[connection];
        if kept.seat.as_ref().is_some_and(|current| Arc::ptr_eq(current, seat)) {
            kept.open = false;
            state.heard_out |= heard;
            drop(state);
            self.clock.notify_all();
        }
    }

    /// A poisoned lock does not matter: a panic ends the process.
    fn lock(&self) -> MutexGuard<'_, State<C, L>> {
        self.state.lock().unpoisoned()
    }
}

impl<C: Core, L> State<C, L> {
    /// A thread comes in with news: takes the time, and lets the core do what has fallen due before the news.
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
        self.steady.now(sync::now(), self.armed)
    }

    fn wants_input(&self) -> bool {
        !self.over && !self.ceased
    }

    fn is_current(&self, ticket: Ticket) -> bool {
        self.connections[ticket.connection].epoch == ticket.epoch
    }

    /// Everything that the core wants done, for everybody but the thread that owns connection `own`.
    fn post_all(&mut self, now: Instant, own: Option<usize>) -> Todo<L> {
        let mut todo = Todo {
            seats: Vec::new(),
            output: false,
            input: false,
            clock: false,
            news: false,
            posted: 0,
            _freed: self.core.take_freed(),
        };
        let mut wake = ConnectionSet::EMPTY;
        while let Some(action) = self.core.poll() {
            self.post(action, &mut wake, &mut todo);
        }
        let mail = self.core.take_posted();
        for connection in (wake | mail).iter() {
            // the thread that owns it may be about to sleep, and is to look at how it stands
            let wakes = wake.contains(connection);
            let seat = self.connections[connection].seat.clone().filter(|_| wakes || Some(connection) != own);
            todo.seats.extend(seat.map(|seat| (seat, wakes)));
        }
        let something = self.output.close || !self.output.legs.is_empty() || self.over;
        todo.output = something && std::mem::take(&mut self.output.asleep);
        todo.input |= self.wakes_input();
        if todo.input {
            self.input_awaits = None;
        }
        todo.clock |= self.rearm(now);
        (todo.news, todo.posted) = (self.unheard.waits(), self.unheard.posted());
        todo
    }

    /// Whether a leg is wanted more than when the input began to wait. True once.
    fn wakes_input(&mut self) -> bool {
        self.input_awaits.take_if(|before| self.core.hunger() > *before).is_some()
    }

    fn post(&mut self, action: Action, wake: &mut ConnectionSet, todo: &mut Todo<L>) {
        match action {
            Action::Dial { connection, link, hello, timeout, segment } => {
                let kept = &mut self.connections[connection];
                kept.epoch += 1;
                let ticket = Ticket { connection, epoch: kept.epoch };
                kept.order = Some(Order::Dial { ticket, link, hello, timeout, segment });
                wake.insert(connection);
            }
            Action::Drop(connection, _why) => {
                let kept = &mut self.connections[connection];
                (kept.epoch, kept.leaving) = (kept.epoch + 1, false);
                wake.insert(connection);
            }
            Action::Look(connection) => {
                self.connections[connection].look = true;
                wake.insert(connection);
            }
            Action::Leave(connection) => {
                self.connections[connection].leaving = true;
                wake.insert(connection);
            }
            Action::Deliver(leg) => self.output.legs.push_back(leg),
            Action::CloseOutput => self.output.close = true,
            Action::Met(way, far) => {
                self.met = true;
                todo.input |= self.input_awaits.is_some();
                self.unheard.post(News::Met(way, far));
            }
            Action::Cease => (self.ceased, todo.input) = (true, true),
            Action::Settled(way, outcome) => {
                self.settled.push((way, outcome.clone()));
                self.unheard.post(News::Settled(way, outcome));
            }
            Action::Tell(event) => self.unheard.post(News::Tell(event)),
            Action::Over => {
                self.over = true;
                *wake = (0..CONNECTIONS_MAX).collect();
                (todo.clock, todo.input) = (true, true);
            }
        }
    }

    /// Arms the clock for the core's next deadline. Gives whether the clock's thread must be woken for that.
    fn rearm(&mut self, now: Instant) -> bool {
        // the clock looks so soon that no deadline need wake it
        if self.armed.is_some_and(|armed| armed <= now + GRAIN) {
            return false;
        }
        let Some(next) = self.core.deadline(now) else { return false };
        let earlier = self.armed.is_none_or(|armed| next + GRAIN < armed);
        if earlier {
            self.armed = Some(next);
        }
        earlier
    }
}
