//! A worker: the thread that owns one connection at a time.
//!
//! Carries out what hubs command, reports what happens, and decides nothing. What it does with the connection
//! are its roles: [`sending`], [`receiving`], or both where the connection serves both directions. The frames of
//! the two are of different types, so whatever comes in finds its role by its type. Commands for a connection
//! that is gone already are ignored: the hub learns of the loss from the event that is on its way.
//!
//! A role is over when its hub says so ([`Command::Finish`]); the connection, when both are.

mod greeting;
mod inbox;
pub mod receiving;
pub mod sending;

use crate::chaos::{Harm, Hazard};
use crate::proto::hello::{Hello, Welcome};
use crate::proto::leg::Leg;
use crate::proto::life::Steady;
use crate::proto::links::{DialError, LossReason};
use crate::proto::wire::Frame;
use crate::run::conn::{Commands, Connection, FAREWELL, Handle, Informer, SOCKET, reason};
use crate::run::dial::{Dialled, Target, Welcomed};
use crate::run::pump::{ReadEnd, Wrote};
use greeting::{Greeted, Greeting};
use inbox::{Inbox, is_last_word};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use receiving::{Met, Receiving};
use sending::Sending;
use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a hub wants.
pub enum Command {
    /// Get a connection.
    Dial {
        /// Where to.
        target: Arc<Target>,
        /// What to say.
        hello: Box<Hello>,
        /// How long it may take.
        timeout: Duration,
    },
    /// The far end that welcomed the connection is wanted: the receiving role welcomes it, and begins.
    Accept,
    /// Write a leg.
    Send(Leg),
    /// Write a frame as soon as the leg under way has left.
    Tell(Frame),
    /// Acknowledge, even if nothing came here; always, or only if there is news.
    Acknowledge {
        /// Whether the sender may be waiting for it.
        always: bool,
    },
    /// Give the connection up at once: this role's hub knows, and why.
    Drop(Role, LossReason),
    /// Close the connection in order, and report it as left.
    Leave,
    /// This role's stream is over: write what there is and, if no other role is left, close in order; then
    /// report `Closed`.
    Finish(Role),
    /// Tell what the kernel knows about the connection, if there is one.
    Inform(Informer),
}

/// What a worker does with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sends a stream.
    Sending,
    /// It receives one.
    Receiving,
}

/// Why a connection that was let in is not up.
struct NotEntered {
    why: LossReason,
    /// The role whose hub knows already.
    known: Option<Role>,
}

impl From<LossReason> for NotEntered {
    fn from(why: LossReason) -> Self {
        NotEntered { why, known: None }
    }
}

/// The thread's state; there is at least one role.
pub struct Worker {
    poll: Poll,
    commands: Commands<Command>,
    connection: Option<Connection>,
    sending: Option<Sending>,
    receiving: Option<Receiving>,
    hazard: Hazard,
    /// A connection that was let in, and the welcome for it: both ends are to be heard before it is up.
    entering: Option<(TcpStream, Vec<u8>)>,
    /// The far end that has welcomed a connection, until this side has too.
    met: Option<Met>,
    /// Whether it is told to dial when it has no connection; otherwise it ends then.
    dials: bool,
    /// No role is left: until then the connection may take to close.
    finishing: Option<Instant>,
    /// While finishing: the peer has closed in order.
    told: bool,
    steady: Steady,
}

impl Worker {
    /// A worker that dials when it is told to, and the handle on it; its connections are harmed as `hazard`
    /// demands.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn dialling(
        sending: Sending,
        receiving: Option<Receiving>,
        hazard: Hazard,
    ) -> io::Result<(Self, Handle<Command>)> {
        let (worker, handle) = Self::new(Some(sending), receiving, hazard)?;
        Ok((Worker { dials: true, ..worker }, handle))
    }

    /// A worker for a connection whose hello was accepted, and the handle on it; `welcome` is the answer, not
    /// yet written. One with a sending role waits for the far end's welcome too.
    ///
    /// # Errors
    /// The kernel has no descriptors left, or the connection is gone.
    pub fn given(
        stream: TcpStream,
        welcome: &[u8],
        receiving: Receiving,
        sending: Option<Sending>,
        hazard: Hazard,
    ) -> io::Result<(Self, Handle<Command>)> {
        let enters = sending.is_some();
        let (mut worker, handle) = Self::new(sending, Some(receiving), hazard)?;
        if enters {
            worker.entering = Some((stream, welcome.to_vec()));
        } else {
            let connection = Connection::new(Instant::now(), stream, &[], worker.poll.registry())?;
            worker.connection.insert(connection).outlet.raw(welcome);
        }
        Ok((worker, handle))
    }

    fn new(
        sending: Option<Sending>,
        receiving: Option<Receiving>,
        hazard: Hazard,
    ) -> io::Result<(Self, Handle<Command>)> {
        let poll = Poll::new()?;
        let (handle, commands) = Handle::new(poll.registry())?;
        let worker = Worker {
            poll,
            commands,
            connection: None,
            sending,
            receiving,
            hazard,
            entering: None,
            met: None,
            dials: false,
            finishing: None,
            told: false,
            steady: Steady::new(),
        };
        Ok((worker, handle))
    }

    /// Works until nothing is left to do.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(8);
        // what was commanded before the connection was there
        let mut early = VecDeque::new();
        if let Some((stream, welcome)) = self.entering.take()
            && let Err(NotEntered { why, known }) = self.enter(stream, &welcome, &mut early)
        {
            return self.say_lost(&why, known);
        }
        while !early.is_empty() || self.wait(&mut events) {
            let now = self.steady.now(Instant::now());
            self.notice(&events);
            while let Some(command) = early.pop_front().or_else(|| self.commands.next()) {
                self.obey(now, command);
            }
            if let Err(why) = self.serve(now) {
                self.lose(&why);
            }
            if self.connection.is_none() && (self.finishing.is_some() || !self.dials) {
                break;
            }
        }
        if self.finishing.is_some() {
            let told = self.told;
            self.sending.iter_mut().for_each(|role| role.say(sending::Report::Closed(told)));
            self.receiving.iter_mut().for_each(|role| role.say(receiving::Report::Closed(told)));
        }
    }

    /// Welcomes the far end and waits for its welcome. Of the commands that come meanwhile all but the one to give the
    /// connection up are put off.
    fn enter(
        &mut self,
        stream: TcpStream,
        welcome: &[u8],
        early: &mut VecDeque<Command>,
    ) -> Result<(), NotEntered> {
        let failed = |e: io::Error| LossReason::Failed(reason(&e));
        let mut greeting = Greeting::begin(stream, welcome)?;
        let greeted = self.greet(&mut greeting, early)?;
        let now = self.steady.now(Instant::now());
        let connection = Connection::new(now, greeting.into_stream(), &greeted.early, self.poll.registry());
        self.connection = Some(connection.map_err(failed)?);
        if let Some(sending) = &mut self.sending {
            sending.begin(now);
            sending.say(sending::Report::Welcomed(greeted.welcome, greeted.round_trip));
        }
        Ok(())
    }

    /// What the far end says.
    fn greet(
        &mut self,
        greeting: &mut Greeting,
        early: &mut VecDeque<Command>,
    ) -> Result<Greeted, NotEntered> {
        let failed = |e: io::Error| LossReason::Failed(reason(&e));
        let (fd, mut events) = (greeting.as_raw_fd(), Events::with_capacity(8));
        self.poll.registry().register(&mut SourceFd(&fd), SOCKET, Interest::READABLE).map_err(failed)?;
        loop {
            if let Some(greeted) = greeting.listen()? {
                self.poll.registry().deregister(&mut SourceFd(&fd)).map_err(failed)?;
                return Ok(greeted);
            }
            match self.poll.poll(&mut events, Some(greeting.time_left()?)) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(failed(e).into()),
                _ => {}
            }
            while let Some(command) = self.commands.next() {
                match command {
                    Command::Drop(role, why) => {
                        greeting.give_up();
                        return Err(NotEntered { why, known: Some(role) });
                    }
                    command => early.push_back(command),
                }
            }
        }
    }

    fn wait(&mut self, events: &mut Events) -> bool {
        let more = self.connection.as_ref().is_some_and(Connection::is_readable);
        let timeout = self.steady.wait(Instant::now(), self.wakes_at());
        if more && self.sending.is_none() {
            // whether the socket takes more is not asked for between two reads: only acknowledgements wait
            events.clear();
            return true;
        }
        match self.poll.poll(events, if more { Some(Duration::ZERO) } else { timeout }) {
            Ok(()) => true,
            Err(e) => e.kind() == io::ErrorKind::Interrupted,
        }
    }

    fn wakes_at(&self) -> Option<Instant> {
        self.connection.as_ref()?;
        let sending = self.sending.as_ref().and_then(Sending::wakes_at);
        let receiving = self.receiving.as_ref().and_then(Receiving::wakes_at);
        self.finishing.or_else(|| sending.into_iter().chain(receiving).min())
    }

    /// What the poll says about the socket.
    fn notice(&mut self, events: &Events) {
        for event in events.iter().filter(|event| event.token() == SOCKET) {
            let Some(connection) = &mut self.connection else { return };
            let drained = connection.event(event) && !connection.outlet.has_leg();
            if let (true, Some(sending)) = (drained, &mut self.sending) {
                sending.drained();
            }
        }
    }

    fn obey(&mut self, now: Instant, command: Command) {
        match command {
            Command::Dial { target, hello, timeout } => self.dial(&target, &hello, timeout),
            Command::Accept => self.accept(now),
            Command::Send(leg) => self.send(now, leg),
            Command::Tell(frame) => self.tell(&frame),
            Command::Acknowledge { always } => {
                self.receiving.iter_mut().for_each(|role| role.ask(always));
            }
            // before this side's welcome, it is meant for the connection before
            Command::Drop(Role::Receiving, _) if self.met.is_some() => {}
            Command::Drop(role, why) => {
                if let Some(connection) = self.connection.take() {
                    connection.give_up();
                    self.say_lost(&why, Some(role));
                }
            }
            Command::Leave => self.lose(&LossReason::Left),
            Command::Finish(role) => self.finish(now, role),
            Command::Inform(inform) => {
                if let Some(kernel) = self.connection.as_ref().and_then(Connection::kernel) {
                    inform(kernel);
                }
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        if let (Some(connection), Some(receiving), Some(met)) =
            (&mut self.connection, &mut self.receiving, self.met.take())
        {
            receiving.begin(now, connection, met);
        }
    }

    fn send(&mut self, now: Instant, leg: Leg) {
        let (Some(connection), Some(sending)) = (&mut self.connection, &mut self.sending) else { return };
        // what is due goes first: behind the leg it would grow old
        let harm = self.receiving.as_mut().and_then(|role| role.answer(now, connection));
        sending.send(connection, leg);
        if let Some(harm) = harm.or_else(|| self.hazard.frame()) {
            self.suffer(harm);
        }
    }

    fn tell(&mut self, frame: &Frame) {
        // before this side's welcome, it was meant for the connection before
        let Some(connection) = self.connection.as_mut().filter(|_| self.met.is_none()) else { return };
        connection.outlet.frame(frame);
        let counts = !is_last_word(frame) && self.finishing.is_none();
        if let Some(harm) = counts.then(|| self.hazard.frame()).flatten() {
            self.suffer(harm);
        }
    }

    fn finish(&mut self, now: Instant, role: Role) {
        let other = match role {
            Role::Sending => {
                self.sending.iter_mut().for_each(Sending::end);
                self.receiving.as_ref().is_some_and(|other| !other.is_over())
            }
            Role::Receiving => {
                self.receiving.iter_mut().for_each(Receiving::end);
                self.sending.as_ref().is_some_and(|other| !other.is_over())
            }
        };
        match role {
            _ if !other => self.finishing = Some(now + FAREWELL),
            Role::Sending => self.sending.iter_mut().for_each(|role| role.say(sending::Report::Closed(true))),
            Role::Receiving => {
                self.receiving.iter_mut().for_each(|role| role.say(receiving::Report::Closed(true)));
            }
        }
    }

    fn dial(&mut self, target: &Target, hello: &Hello, timeout: Duration) {
        let Some(index) = self.sending.as_ref().map(|role| role.index) else { return };
        let report = match target.dial(index, hello, timeout) {
            Dialled::Refused(refusal) => sending::Report::Refused(refusal),
            Dialled::Failed(error) => sending::Report::DialFailed(error),
            Dialled::Welcomed(welcomed) => self.connected(hello.link, *welcomed),
        };
        if let Some(sending) = &mut self.sending {
            sending.say(report);
        }
    }

    fn connected(&mut self, link: u8, welcomed: Welcomed) -> sending::Report {
        let now = self.steady.now(Instant::now());
        let Welcomed { stream, welcome, round_trip, early } = welcomed;
        let address = stream.peer_addr().ok().map(|address| address.ip().to_canonical());
        let Welcome { features, buffer, .. } = welcome;
        if let Some(receiving) = &mut self.receiving {
            let stands = receiving.stands();
            self.met = Some(Met { link, stands, address, features, buffer });
        }
        match Connection::new(now, stream, &early, self.poll.registry()) {
            Ok(connection) => {
                self.connection = Some(connection);
                self.sending.iter_mut().for_each(|role| role.begin(now));
                sending::Report::Welcomed(welcome, round_trip)
            }
            Err(e) => sending::Report::DialFailed(DialError::Unreachable(reason(&e))),
        }
    }

    // ---- the connection -------------------------------------------------------------------------------

    /// Everything that can be done without waiting.
    fn serve(&mut self, now: Instant) -> Result<(), LossReason> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if self.finishing.is_some() && connection.is_silent() {
            return Err(LossReason::Closed);
        }
        let had = connection.outlet.has_leg();
        // acknowledgements are made when those before them have left: in a queue they would grow old
        let first = if self.receiving.is_some() { connection.write() } else { Ok(Wrote::All) };
        let mut inbox = Inbox::new(&mut self.sending, &mut self.receiving, &self.hazard);
        let read = connection.read(now, &mut inbox);
        let mut harm = inbox.harm;
        if let (None, Some(receiving)) = (harm, &mut self.receiving) {
            receiving.step(now);
            if read.is_ok() && first == Ok(Wrote::All) {
                harm = receiving.answer(now, connection);
            }
        }
        if let Some(harm) = harm {
            self.suffer(harm);
            return Ok(());
        }
        let end = read?;
        self.write(now, had, first)?;
        self.told = end == ReadEnd::Eof;
        if end == ReadEnd::Eof || self.finishing.is_some_and(|until| until <= now) {
            return Err(LossReason::Closed);
        }
        if end == ReadEnd::Blocked { self.look_for_life(now) } else { Ok(()) }
    }

    /// Writes what there is; `had` a leg among it. `first` is how that went before.
    fn write(&mut self, now: Instant, had: bool, first: Result<Wrote, LossReason>) -> Result<(), LossReason> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let drains = had && self.sending.as_ref().is_some_and(Sending::awaits_drain);
        match first.and_then(|_| connection.write()) {
            Ok(Wrote::All) if self.finishing.is_some() => connection.finish_writing(),
            Ok(Wrote::All) if drains => {
                connection.pace(now);
                connection.ask_for_drain(self.poll.registry()).map_err(|e| LossReason::Failed(reason(&e)))?;
            }
            Ok(_) => {}
            Err(why) => {
                let mut inbox = Inbox::new(&mut self.sending, &mut self.receiving, &self.hazard);
                // the reason may be there to be read
                while connection.read(now, &mut inbox)? == ReadEnd::More {}
                return Err(why);
            }
        }
        Ok(())
    }

    /// Nothing is to be read now.
    fn look_for_life(&mut self, now: Instant) -> Result<(), LossReason> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if self.receiving.as_mut().is_some_and(|role| role.is_deserted(now, connection)) {
            return Err(LossReason::Silent);
        }
        if let Some(sending) = self.sending.as_mut().filter(|role| !role.is_over()) {
            sending.look_for_life(now, connection);
        }
        Ok(())
    }

    fn suffer(&mut self, harm: Harm) {
        let had = self.connection.is_some();
        self.connection = self.connection.take().and_then(|connection| connection.suffer(harm));
        if had && self.connection.is_none() {
            self.say_lost(&LossReason::Failed(harm.to_string()), None);
        }
    }

    fn lose(&mut self, why: &LossReason) {
        let Some(connection) = self.connection.take() else { return };
        let closes = match why {
            // everything was received: the peer shall see an orderly end
            LossReason::Left | LossReason::Closed => self.sending.is_some() || self.finishing.is_some(),
            _ => false,
        };
        if closes {
            drop(connection)
        } else {
            connection.give_up()
        }
        self.say_lost(why, None);
    }

    /// Tells every role but the one that knows already.
    fn say_lost(&mut self, why: &LossReason, known: Option<Role>) {
        if self.finishing.is_some() {
            return;
        }
        if let Some(sending) = self.sending.as_mut().filter(|_| known != Some(Role::Sending)) {
            sending.say(sending::Report::Lost(why.clone()));
        }
        if let Some(receiving) = self.receiving.as_mut().filter(|_| known != Some(Role::Receiving)) {
            receiving.say_lost(why);
        }
    }
}
