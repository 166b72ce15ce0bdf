//! Builds a session from its parts, and starts its threads. Everything is built before any thread starts.

use super::accept::Door;
use super::admission::Admission;
use super::choice::Choice;
use super::compressing::Compressing;
use super::connection::{Dialling, Seat, SessionDesk, Shared};
use super::core::{BEFORE_MEETING, SessionCore};
use super::decoding::Decoding;
use super::destination::{Addresses, Destination};
use super::egress::{Egress, Output};
use super::filters::Filters;
use super::ingest::{Ingest, Input};
use super::lifeline::Lifeline;
use super::limits::{FAREWELL, HASTE, LAST_WRITES};
use super::moving::Mover;
use super::orders::{Audience, News};
use super::pool::Pool;
use super::setup::{Approach, Hear, Incoming, Outgoing, Setup};
use super::snapshot;
use super::taking::Taking;
use super::waits::{Blocked, InputWaits};
use crate::error::cannot_start_thread;
use crate::message;
use crate::plan::LinkPlan;
use crate::proto::check::Expectations;
use crate::proto::leg::WINDOW_LEGS;
use crate::proto::outcome::{Outcome, Status};
use crate::proto::pacing::Pacing;
use crate::proto::peer_key::PeerKey;
use crate::proto::session::{InboundConfig, Session};
use crate::proto::way::{PerWay, Way};
use crate::report::{Passage, Snapshot};
use crate::sys::bell::Bell;
use crate::sys::thread::spawn;
use crate::trust::{PublicKey, Trust};
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

/// Sizes of legs are rounded up to this, at most.
const PAGE: u64 = 4096;

/// What a thread of a session will do.
type Thread = (String, Box<dyn FnOnce() + Send>);

/// A handle on a session, for orders and questions.
#[derive(Clone)]
pub(crate) struct Handle {
    desk: Arc<SessionDesk>,
    /// By [`Way`]; None for a stream that the session does not have.
    pools: PerWay<Option<Pool>>,
    decoding: Decoding,
    compressing: Option<Arc<Compressing>>,
    filters: Option<Arc<Filters>>,
    /// How what goes out gets through this process.
    passing: Choice,
    /// Where the stream goes that comes in, while that is open.
    output: Weak<Output>,
    /// The keys, if connections are encrypted.
    trust: Option<Arc<Trust>>,
}

impl Handle {
    /// Ends the session, telling the peer.
    pub(crate) fn stop(&self, ending: &Outcome) {
        self.desk.tell(|core, now| core.session.fail(now, ending));
    }

    /// A key is not trusted any more; if it is the peer's, the session ends so.
    pub(crate) fn distrust(&self, key: PublicKey, ending: &Outcome) {
        self.desk.tell(|core, now| core.session.distrust(now, PeerKey(*key.bytes()), ending));
    }

    /// The peer's key, once it is known.
    pub(crate) fn peer(&self) -> Option<PublicKey> {
        self.desk.peek(|core| core.session.peer_key()).map(|PeerKey(bytes)| PublicKey::new(bytes))
    }

    /// For how long an end that listens has had no connection, if it had one before.
    pub(crate) fn alone_for(&self) -> Option<Duration> {
        let since = self.desk.peek(|core| core.session.alone_since())?;
        // in its time, without the gaps in which this process did not run
        Some(self.desk.now().saturating_duration_since(since))
    }

    /// For how long nothing has got through of the stream that comes in: no leg, nor bytes of one.
    pub(crate) fn still_for(&self) -> Duration {
        let since = self.desk.peek(|core| core.session.moved_in());
        self.desk.now().saturating_duration_since(since)
    }

    /// The stream waits no longer for its turn: from now on it has all its connections.
    pub(crate) fn use_all(&self) {
        self.desk.tell(|core, now| core.session.use_all(now));
    }

    /// From now on, the end waits but shortly for the peer to close.
    pub(crate) fn hurry(&self) {
        self.desk.hurry();
    }

    /// The streams that the session has.
    pub(crate) fn ways(&self) -> impl Iterator<Item = Way> {
        Way::BOTH.into_iter().filter(|way| self.pools[*way].is_some())
    }

    /// How its streams were judged, in that order.
    pub(crate) fn settled(&self) -> Vec<(Way, Outcome)> {
        self.desk.settled()
    }

    /// Whether anything of a stream is known to have been received at either end.
    pub(crate) fn has_received(&self) -> bool {
        self.desk.peek(|core| core.session.has_received())
    }

    /// How a stream goes; with what the kernels know of its connections and who the peer is, if that is wanted too.
    pub(crate) fn snapshot(&self, way: Way, in_depth: bool) -> Option<Snapshot> {
        let pool = self.pools[way].as_ref()?;
        let mut snapshot = snapshot::snapshot(&self.desk, way, pool);
        snapshot::add_stages(&mut snapshot, self.compressing.as_deref(), &self.decoding);
        if way == Way::In {
            snapshot.passage = self.output.upgrade().map_or(Passage::Copied, |output| output.passage());
        } else {
            snapshot.passage = self.passing.latest();
            snapshot.held += self.filters.as_ref().map_or(0, |filters| filters.pool.in_use());
        }
        if in_depth {
            snapshot::ask_kernels(&self.desk, &mut snapshot);
            snapshot.peer = self.trust.as_ref().zip(self.peer()).map(|(trust, key)| trust.name(&key));
        }
        Some(snapshot)
    }
}

/// A session that is ready to start.
pub(crate) struct Start {
    handle: Handle,
    /// Lets connections in, if others accept them.
    admission: Option<Admission>,
    threads: Vec<Thread>,
}

/// The desk's audience: the ends of the streams, and the function that hears the news.
struct Crew {
    /// Set once both are built, before any thread starts. Their threads have them: when these are over, nobody has to be
    /// woken, and the session's memory is free.
    output: OnceLock<Weak<Output>>,
    input: OnceLock<Weak<Input>>,
    /// The memory of outgoing legs. It is given back once the stream was judged.
    outgoing: Option<Pool>,
    /// How many bytes of it there are once the far end was met.
    ahead: u64,
    hear: Hear,
}

impl Crew {
    fn new(means: &Means, hear: Hear) -> Self {
        let (outgoing, ahead) = (means.outgoing.clone(), means.buffer - means.reserved);
        Crew { output: OnceLock::new(), input: OnceLock::new(), outgoing, ahead, hear }
    }

    /// The threads of the streams' ends, which the desk's news rouses from now on.
    fn threads(&self, output: Option<Arc<Output>>, ingest: Option<Ingest>) -> Vec<Thread> {
        let mut threads: Vec<Thread> = Vec::new();
        if let Some(output) = output {
            self.output.get_or_init(|| Arc::downgrade(&output));
            threads.push(("egress".into(), Box::new(move || output.run())));
        }
        if let Some(ingest) = ingest {
            let input = Input::new(ingest);
            self.input.get_or_init(|| Arc::downgrade(&input));
            threads.push(("ingest".into(), Box::new(move || input.run())));
        }
        threads
    }
}

impl Audience for Arc<Crew> {
    fn rouse_output(&self, here: bool) {
        let Some(output) = self.output.get().and_then(Weak::upgrade) else { return };
        if here { output.write_here() } else { output.wake() }
    }

    fn rouse_input(&self) {
        self.input.get().and_then(Weak::upgrade).into_iter().for_each(|input| input.wake());
    }

    fn hear(&self, news: News) {
        match news {
            // the input may read ahead, which may be what it waits for
            News::Met(Way::Out, _) => self.outgoing.iter().for_each(|pool| pool.widen(self.ahead)),
            News::Settled(Way::Out, _) => self.outgoing.iter().for_each(Pool::close),
            News::Met(Way::In, _) | News::Settled(Way::In, _) | News::Tell(_) => {}
        }
        (self.hear)(news);
    }
}

/// What legs go through at this end, and the memory for them.
struct Means {
    compressing: Option<Arc<Compressing>>,
    filters: Option<Arc<Filters>>,
    /// How what goes out gets through this process.
    passing: Choice,
    /// Memory for the stream that goes out, in bytes.
    buffer: u64,
    /// How much of `buffer` is for what its legs go through; ≤ `buffer`.
    reserved: u64,
    outgoing: Option<Pool>,
    incoming: Option<Pool>,
}

impl Means {
    fn new(setup: &mut Setup) -> io::Result<Self> {
        let compressing = setup.sends.as_ref().map(compressing).transpose()?.flatten();
        let stages = [setup.through.is_some(), setup.trust.is_some(), setup.approach.checks()];
        let passage = |sends| passage(sends, compressing.as_deref(), stages);
        let passage = setup.sends.as_mut().map_or(Passage::Copied, passage);
        let buffer = setup.sends.as_ref().map_or(0, |sends| sends.config.buffer);
        let incoming_buffer = setup.receives.as_ref().map_or(0, |receives| receives.config.buffer);
        let reserved = compressing.as_ref().map_or(0, |_| Compressing::reserve(buffer))
            + setup.through.as_ref().map_or(0, |_| Filters::reserve(buffer));
        let through = setup.through.as_ref();
        Ok(Means {
            compressing,
            filters: through.map(|programs| Filters::new(programs, buffer.max(incoming_buffer))),
            passing: Choice::new(passage),
            buffer,
            reserved,
            outgoing: setup.sends.is_some().then(|| Pool::new((buffer - reserved).min(BEFORE_MEETING))),
            incoming: setup.receives.is_some().then(|| incoming_pool(incoming_buffer)),
        })
    }
}

impl Start {
    /// Builds everything, starts nothing.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub(crate) fn new(mut setup: Setup) -> io::Result<Self> {
        let means = Means::new(&mut setup)?;
        let Setup { approach, lifeline, sends, receives, inseparable, hazard, trust, hear, .. } = setup;
        let bell = |there: bool| there.then(Bell::new).transpose();
        let (output, input) = (bell(receives.is_some())?, bell(sends.is_some())?);
        let crew = Arc::new(Crew::new(&means, hear));
        let (waits, blocked) = (InputWaits::default(), Arc::new(Blocked::default()));
        let streams = (sends.as_ref(), receives.as_ref());
        let core = core(&approach, streams, inseparable, &means, waits.clone(), blocked.clone());
        let desk = Arc::new(SessionDesk::new(core, Box::new(crew.clone())));
        let Means { compressing, filters, passing, incoming, outgoing, .. } = means;
        let pool = incoming.clone().unwrap_or_else(|| Pool::new(0));
        let (decoding, congestion) = (Decoding::new(pool.clone()), congestion(sends.as_ref()));
        let lookout = receives.as_ref().and_then(|receives| receives.sink.lookout());
        let output = receives.zip(output).map(|(Incoming { sink, is_asked_to_end, .. }, bell)| {
            Output::new(Egress { desk: desk.clone(), sink, bell, blocked, is_asked_to_end })
        });
        let shared = Shared {
            desk: desk.clone(),
            output: output.as_ref().map(|output| Arc::downgrade(output) as Weak<dyn Taking>),
            lookout,
            pool,
            decoding: decoding.clone(),
            compressing: compressing.clone(),
            filters: filters.clone(),
            hazard,
            sends: sends.is_some(),
            receives: incoming.is_some(),
        };
        let handle = Handle {
            desk: desk.clone(),
            pools: PerWay { incoming, outgoing: outgoing.clone() },
            decoding,
            compressing,
            filters,
            passing: passing.clone(),
            output: output.as_ref().map(Arc::downgrade).unwrap_or_default(),
            trust: trust.clone(),
        };
        let (connections, admission) = connections(approach, shared, lifeline, congestion, trust)?;
        let ingest = sends.zip(input).zip(outgoing).map(|((sends, bell), pool)| {
            ingest(sends, desk, pool, bell, waits, passing, handle.compressing.clone())
        });
        let mut threads = crew.threads(output, ingest);
        // reading begins while connections are dialled
        threads.extend(connections);
        Ok(Start { handle, admission, threads })
    }

    /// One that takes a stream to nowhere, for tests.
    #[cfg(test)]
    pub(crate) fn to_nowhere() -> Self {
        use crate::{chaos::Hazard, endpoint::Discard, proto::hello, proto::session::InboundConfig};
        let (instance, features) = (hello::Id::new([1; 16]), hello::Features::NONE);
        let config = InboundConfig::new(instance, features, 1 << 20);
        let receives = Incoming { config, sink: Box::new(Discard), is_asked_to_end: || false };
        let hear = Box::new(|_| ());
        Start::new(Setup::new(Approach::Visit, None, Some(receives), Hazard::new(None), hear)).unwrap()
    }

    /// Where its orders and questions go.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Who lets connections in, if others accept them; once.
    pub(crate) fn take_admission(&mut self) -> Option<Admission> {
        self.admission.take()
    }

    /// Starts every thread and works until the session is over. If the kernel has no threads left, the session fails: the
    /// threads that run may have met the peer meanwhile, which is told why.
    pub(crate) fn run(self) {
        let desk = &self.handle.desk;
        desk.begin();
        let started = self.threads.into_iter().try_for_each(|(name, body)| spawn(&name, body));
        if let Err(error) = started {
            let why = cannot_start_thread(&error);
            desk.tell(|core, now| core.session.fail(now, &Outcome::here(Status::Incomplete, why)));
        }
        desk.keep_time();
        self.handle.pools.outgoing.iter().for_each(Pool::close);
        let farewell = desk.peek(|core| core.session.farewell());
        let time = FAREWELL + Duration::from_millis(100);
        desk.see_off(time, HASTE, |open, heard| farewell.is_over(open, heard));
        desk.await_note(LAST_WRITES, HASTE, |core| core.has_counted);
    }
}

/// A leg inside the window has a place, even if all of them are tiny and rounded up to pages.
fn incoming_pool(buffer: u64) -> Pool {
    Pool::with_rounding(buffer, (WINDOW_LEGS * PAGE).min(buffer))
}

fn core(
    approach: &Approach,
    (sends, receives): (Option<&Outgoing>, Option<&Incoming>),
    inseparable: bool,
    means: &Means,
    waits: InputWaits,
    blocked: Arc<Blocked>,
) -> SessionCore {
    let now = Instant::now();
    let mut session = session(now, approach, sends, receives, inseparable);
    if means.compressing.is_some() {
        session.keep_legs_short();
    }
    SessionCore::new(now, session, means.buffer, approach.links(), waits, blocked)
}

/// The congestion control that the user wants for what goes out.
fn congestion(sends: Option<&Outgoing>) -> Option<String> {
    sends.and_then(|sends| sends.stream.congestion.clone())
}

fn compressing(sends: &Outgoing) -> io::Result<Option<Arc<Compressing>>> {
    sends.stream.compress.map(|compress| Compressing::new(compress, sends.config.buffer)).transpose()
}

/// How the bytes of a stream that goes out get through this process; told at `verbose 2`. `stages`: they go through
/// programs, are encrypted, are checked. Where they are only looked at now and then they need not be copied.
fn passage(sends: &mut Outgoing, compressing: Option<&Compressing>, stages: [bool; 3]) -> Passage {
    let compresses = compressing.is_some_and(|all| all.compresses() || sends.source.has_parts());
    let needs =
        ["through", "encryption", "checksum"].into_iter().zip(stages).chain([("compress", compresses)]);
    let mut needs = needs.filter_map(|(word, needed)| needed.then_some(word));
    // what comes among parts need not wait for them
    let charmode = sends.charmode && !sends.source.mixes();
    let (passage, why) = match needs.next().or(charmode.then_some("charmode")) {
        Some(word) => (Passage::Copied, format!("copied, as {word} needs")),
        None if sends.source.has_parts() => (Passage::File, "sent from its file without a copy".into()),
        None if sends.source.has_pipe() => {
            (Passage::Moved, "moved from its pipe without a copy, where the paths are near".into())
        }
        None => (
            Passage::Copied,
            "copied, as it comes neither from a pipe nor from a large file on a disk".into(),
        ),
    };
    message::note(2, || format!("the stream is {why}"));
    passage
}

fn session(
    now: Instant,
    approach: &Approach,
    sends: Option<&Outgoing>,
    receives: Option<&Incoming>,
    inseparable: bool,
) -> Session {
    let receives = receives.map(|receives| receives.config.clone());
    match (approach, receives) {
        (Approach::Dial(_, config), receives) => {
            Session::dialling(now, (**config).clone(), receives, inseparable)
        }
        (Approach::Listen(..) | Approach::Visit, Some(receives)) => {
            let sends = sends.map(|sends| sends.config.clone());
            let receives = InboundConfig { of_one: matches!(approach, Approach::Visit), ..receives };
            Session::listening(now, receives, sends, inseparable)
        }
        (Approach::Listen(..) | Approach::Visit, None) => unreachable!("whoever listens receives"),
    }
}

fn ingest(
    sends: Outgoing,
    desk: Arc<SessionDesk>,
    pool: Pool,
    bell: Bell,
    waits: InputWaits,
    passing: Choice,
    compressing: Option<Arc<Compressing>>,
) -> Ingest {
    let Outgoing { stream, charmode, source, is_asked_to_end, .. } = sends;
    let delay = Duration::from_micros(stream.delayus.unwrap_or(0));
    let pacing = Pacing::new(stream.leglimit, delay, stream.rate);
    let parts = passing.chosen() == Passage::File;
    let mover = (passing.chosen() == Passage::Moved).then(|| Mover::new(passing, compressing));
    Ingest { desk, source, pool, bell, pacing, parts, mover, charmode, waits, is_asked_to_end }
}

/// The threads that have connections, or let them in; and who lets them in, if others accept them.
fn connections(
    approach: Approach,
    shared: Shared,
    lifeline: Option<Lifeline>,
    congestion: Option<String>,
    trust: Option<Arc<Trust>>,
) -> io::Result<(Vec<Thread>, Option<Admission>)> {
    let threads = match approach {
        Approach::Dial(links, config) => {
            dialling(&shared, &links, lifeline, config.connections, congestion, trust)?
        }
        Approach::Listen(listener, expectations) => {
            listening(shared, listener, lifeline, expectations, congestion, trust)?
        }
        Approach::Visit => {
            return Ok((Vec::new(), Some(Admission::new(shared, congestion, trust))));
        }
    };
    Ok((threads, None))
}

fn dialling(
    shared: &Shared,
    links: &[LinkPlan],
    lifeline: Option<Lifeline>,
    connections: usize,
    congestion: Option<String>,
    trust: Option<Arc<Trust>>,
) -> io::Result<Vec<Thread>> {
    let addresses = |link: &LinkPlan| {
        Destination::Addresses(Arc::new(Addresses::new(link.clone(), congestion.clone(), trust.clone())))
    };
    let lifeline =
        lifeline.map(|lifeline| Destination::Lifeline(Arc::new(Mutex::new(Some(lifeline.channel)))));
    let destinations: Vec<_> = links.iter().map(addresses).chain(lifeline).collect();
    let mut threads: Vec<Thread> = Vec::new();
    for connection in 0..connections {
        let (seat, poll) = Seat::new()?;
        shared.desk.seat(connection, seat.clone());
        let owner =
            Dialling { connection, seat, poll, destinations: destinations.clone(), shared: shared.clone() };
        threads.push((format!("connection {connection}"), Box::new(move || owner.run())));
    }
    Ok(threads)
}

fn listening(
    shared: Shared,
    listener: Option<TcpListener>,
    lifeline: Option<Lifeline>,
    expectations: Expectations,
    congestion: Option<String>,
    trust: Option<Arc<Trust>>,
) -> io::Result<Vec<Thread>> {
    let desk = shared.desk.clone();
    let admission = Arc::new(Mutex::new(Admission::new(shared, congestion, trust.clone())));
    let mut threads: Vec<Thread> = Vec::new();
    if let Some(listener) = listener {
        let door = Door::new(listener, expectations, trust, Box::new(admission.clone()))?;
        threads.push(("door".into(), Box::new(move || door.run())));
    }
    if let Some(lifeline) = lifeline {
        threads.push(("lifeline".into(), Box::new(move || lifeline.meet(&desk, &admission, &expectations))));
    }
    Ok(threads)
}
