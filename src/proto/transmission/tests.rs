use super::super::hello::{Direction, Features, Hello};
use super::super::waiting::Patience;
use super::super::wire::{Ack, Edge, Verdict};
use super::*;
use std::sync::Arc;

mod shared;

const LEN: usize = 1000;
const RTT: Duration = Duration::from_millis(10);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// As the rigs are given it: zero is for ever.
fn patience(time: Option<Duration>) -> Option<Patience> {
    time.map(|time| if time.is_zero() { Patience::ForEver } else { Patience::For(time) })
}

fn id(n: u8) -> Id {
    Id::new([n; 16])
}

fn edge(bytes: u64) -> Edge {
    Edge { bytes, legs: 4096 }
}

fn welcome(instance: u8, next: u64) -> Welcome {
    let features = Features::NONE;
    Welcome { instance: id(instance), next, edge: edge(1 << 30), leg_max: 2 << 20, features, buffer: 1 << 30 }
}

fn refusal(code: RefusalCode) -> Refusal {
    Refusal { code, sentence: format!("{code:?} it says") }
}

fn ack(next: u64, count: u64) -> Frame {
    Frame::Ack(Ack { next, delivered: 0, edge: edge(1 << 30), count, blocked_ms: 0 })
}

fn verdict(code: Status, bytes: u64) -> Frame {
    Frame::Verdict(Verdict { bytes, crc: None, status: code, sentence: "so it is".into() })
}

/// A dial, as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dialled {
    worker: usize,
    link: usize,
    attempt: u32,
    begun: bool,
    instance: Option<Id>,
}

/// A session, and everything it has asked for and not been asked about.
struct Rig {
    session: Transmission,
    now: Instant,
    start: Instant,
    dials: Vec<Dialled>,
    sends: Vec<(usize, u64)>,
    tells: Vec<(usize, Frame)>,
    drops: Vec<(usize, LossReason)>,
    leaves: Vec<usize>,
    says: Vec<Event>,
    settled: Option<Outcome>,
    ending: Option<Outcome>,
}

impl Rig {
    fn new(links: usize, workers: usize) -> Self {
        Self::with(links, workers, None)
    }

    fn with(links: usize, workers: usize, patience: Option<Duration>) -> Self {
        Self::sharing(links, workers, patience, Sharing::Sole)
    }

    fn sharing(links: usize, workers: usize, patience_time: Option<Duration>, sharing: Sharing) -> Self {
        let hello = Hello {
            session: id(1),
            instance: None,
            direction: Direction::Transmit,
            begun: false,
            checkphrase: None,
            link: 0,
            connection: 0,
            attempt: 0,
            features: Features::NONE,
            buffer: 128 << 20,
            options: Vec::new(),
        };
        let links = (0..links).map(|link| format!("host{link}")).collect();
        let now = Instant::now();
        let settings = Settings {
            hello,
            links,
            workers,
            patience: patience(patience_time),
            checked: false,
            seed: 1,
            sharing,
        };
        let mut rig = Rig {
            session: Transmission::new(now, settings),
            now,
            start: now,
            dials: Vec::new(),
            sends: Vec::new(),
            tells: Vec::new(),
            drops: Vec::new(),
            leaves: Vec::new(),
            says: Vec::new(),
            settled: None,
            ending: None,
        };
        rig.does(|session, now| session.tick(now));
        rig
    }

    /// All connections welcomed by receiver 7, and ready.
    fn up(links: usize, workers: usize) -> Self {
        Self::up_with(links, workers, None)
    }

    fn up_with(links: usize, workers: usize, patience: Option<Duration>) -> Self {
        let mut rig = Self::with(links, workers, patience);
        for worker in 0..workers {
            rig.welcomed(worker, 7, 0);
        }
        rig.ready();
        rig
    }

    /// One leg was sent and received by each connection of `up`.
    fn begun(links: usize, workers: usize) -> Self {
        Self::begun_with(links, workers, None)
    }

    fn begun_with(links: usize, workers: usize, patience: Option<Duration>) -> Self {
        let mut rig = Self::up_with(links, workers, patience);
        rig.input(workers);
        for worker in 0..workers {
            rig.frame(worker, ack(workers as u64, 1));
        }
        assert!(rig.session.begun());
        rig.forget();
        rig
    }

    /// One event, and its actions.
    fn does<T>(&mut self, event: impl FnOnce(&mut Transmission, Instant) -> T) -> T {
        let result = event(&mut self.session, self.now);
        while let Some(action) = self.session.poll() {
            let late = matches!(action, Action::Drop(_, LossReason::Left));
            assert!(self.ending.is_none() || late, "nothing follows the end, but {action:?}");
            match action {
                Action::Dial { worker, link, hello, .. } => {
                    assert_eq!((hello.connection, hello.link), (worker as u8, link as u8));
                    let (attempt, begun, instance) = (hello.attempt, hello.begun, hello.instance);
                    self.dials.push(Dialled { worker, link, attempt, begun, instance });
                }
                Action::Send(worker, leg) => self.sends.push((worker, leg.sequence)),
                Action::Tell(worker, frame) => self.tells.push((worker, frame)),
                Action::Drop(worker, why) => self.drops.push((worker, why)),
                Action::Leave(worker) => self.leaves.push(worker),
                Action::Say(event) => self.says.push(event),
                Action::Settle(ending) => self.settled = Some(ending),
                Action::End(ending) => self.ending = Some(ending),
            }
        }
        result
    }

    fn welcomed(&mut self, worker: usize, instance: u8, next: u64) {
        self.does(|s, now| s.welcomed(now, worker, &welcome(instance, next), RTT));
    }

    /// Every connection drains, the first worker's first.
    fn ready(&mut self) {
        for worker in 0..self.session.lines.len() {
            self.does(|s, now| s.ready(now, worker));
        }
    }

    fn input(&mut self, legs: usize) {
        for _ in 0..legs {
            self.does(|s, now| s.input(now, Arc::new(vec![1u8; LEN])));
        }
    }

    fn end_input(&mut self) {
        self.does(|s, now| s.input_ended(now));
    }

    fn frame(&mut self, worker: usize, frame: Frame) {
        self.does(|s, now| s.frame(now, worker, frame));
    }

    fn lost(&mut self, worker: usize, why: LossReason) {
        self.does(|s, now| s.lost(now, worker, &why));
    }

    fn refused(&mut self, worker: usize, code: RefusalCode) {
        self.does(|s, now| s.refused(now, worker, &refusal(code)));
    }

    fn failed(&mut self, worker: usize, why: DialError) {
        self.does(|s, now| s.dial_failed(now, worker, &why));
    }

    /// Time passes as it does for an owner, who wakes at every deadline; whatever is dialled meanwhile
    /// fails like this at once.
    fn pass(&mut self, time: Duration, fate: &DialError) {
        let until = self.now + time;
        loop {
            for dial in std::mem::take(&mut self.dials) {
                self.failed(dial.worker, fate.clone());
            }
            if !self.dials.is_empty() {
                continue;
            }
            let next = self.session.deadline(self.now).filter(|at| *at < until);
            self.now = next.unwrap_or(until);
            self.does(|s, now| s.tick(now));
            if next.is_none() || self.ending.is_some() {
                return;
            }
        }
    }

    /// Time passes in one step.
    fn later(&mut self, time: Duration) {
        self.now += time;
        self.does(|s, now| s.tick(now));
    }

    fn forget(&mut self) {
        self.dials.clear();
        self.sends.clear();
        self.tells.clear();
        self.drops.clear();
        self.says.clear();
    }

    fn sent(&mut self) -> Vec<(usize, u64)> {
        std::mem::take(&mut self.sends)
    }

    fn told(&mut self, wanted: impl Fn(&Frame) -> bool) -> Vec<usize> {
        let tells = std::mem::take(&mut self.tells);
        tells.into_iter().filter(|(_, frame)| wanted(frame)).map(|(worker, _)| worker).collect()
    }

    /// What the user reads without having asked for more.
    fn said(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.says).into_iter().filter(|event| event.level() == 0).collect()
    }

    fn ended(&self) -> (Status, &str, bool) {
        let ending = self.ending.as_ref().expect("it has not ended");
        (ending.status, &ending.sentence, ending.by_peer)
    }

    fn elapsed(&self) -> Duration {
        self.now - self.start
    }
}

fn is_fin(frame: &Frame) -> bool {
    matches!(frame, Frame::Fin(_))
}

fn is_abort(frame: &Frame) -> bool {
    matches!(frame, Frame::Abort(_))
}

// ---- beginning ----------------------------------------------------------------------------------------

#[test]
fn all_connections_are_dialled_at_once_and_the_first_one_up_carries() {
    let mut rig = Rig::new(2, 4);
    let links: Vec<_> = rig.dials.iter().map(|d| (d.worker, d.link, d.attempt, d.begun)).collect();
    assert_eq!(links, [(0, 0, 1, false), (1, 1, 1, false), (2, 0, 1, false), (3, 1, 1, false)]);
    rig.input(1);
    rig.welcomed(3, 7, 0);
    assert_eq!(rig.sent(), [], "not before its path drains");
    rig.does(|s, now| s.ready(now, 3));
    assert_eq!(rig.sent(), [(3, 0)]);
}

#[test]
fn attempts_count_up_and_the_receiver_is_named_once_it_is_known() {
    let mut rig = Rig::begun(1, 2);
    rig.lost(1, LossReason::Closed);
    let again = Dialled { worker: 1, link: 0, attempt: 2, begun: true, instance: Some(id(7)) };
    assert_eq!(rig.dials, [again]);
}

#[test]
fn until_something_is_received_any_receiver_will_do() {
    let mut rig = Rig::up(1, 1);
    rig.input(1);
    assert_eq!(rig.sent(), [(0, 0)]);
    rig.lost(0, LossReason::Closed);
    assert_eq!(rig.dials.last().map(|d| (d.begun, d.instance)), Some((false, None)));
    rig.welcomed(0, 8, 0);
    rig.ready();
    assert_eq!((rig.sent(), rig.ending), (vec![(0, 0)], None));
}

#[test]
fn another_receiver_before_anything_was_received_gives_its_own_window() {
    let mut rig = Rig::up(1, 1);
    rig.lost(0, LossReason::Closed);
    let small = Welcome { edge: edge(LEN as u64), ..welcome(8, 0) };
    rig.does(|s, now| s.welcomed(now, 0, &small, RTT));
    rig.input(2);
    rig.ready();
    rig.ready();
    assert_eq!(rig.sent(), [(0, 0)]);
}

// ---- which connection ---------------------------------------------------------------------------------

#[test]
fn links_are_filled_in_order_and_of_a_link_the_last_drained_first() {
    let mut rig = Rig::up(2, 4);
    rig.input(5);
    assert_eq!(rig.sent(), [(2, 0), (0, 1), (3, 2), (1, 3)], "link 0 has workers 0 and 2");
    rig.does(|s, now| s.ready(now, 1));
    rig.does(|s, now| s.ready(now, 0));
    rig.input(1);
    assert_eq!(rig.sent(), [(1, 4), (0, 5)]);
}

#[test]
fn the_second_link_has_nothing_while_the_first_drains() {
    let mut rig = Rig::up(2, 4);
    for _ in 0..10 {
        rig.input(1);
        let (worker, _) = rig.sent()[0];
        assert_eq!(worker, 2);
        rig.does(|s, now| s.ready(now, worker));
    }
}

#[test]
fn while_the_output_is_slow_two_connections_carry_what_is_new() {
    let mut rig = Rig::new(1, 4);
    let taken = |delivered| {
        let edge = edge(16_000 + delivered);
        Frame::Ack(Ack { next: 4, delivered, edge, count: 1, blocked_ms: 0 })
    };
    for worker in 0..4 {
        let small = Welcome { edge: edge(16_000), ..welcome(7, 0) };
        rig.does(|s, now| s.welcomed(now, worker, &small, ms(1)));
    }
    rig.ready();
    rig.input(4);
    for worker in 0..4 {
        rig.frame(worker, taken(100));
    }
    rig.later(secs(1));
    rig.ready();
    rig.forget();
    rig.input(8);
    assert_eq!(rig.sent(), [(3, 4), (2, 5)], "a quarter of the window waits for the output");
    rig.does(|s, now| s.ready(now, 2));
    assert_eq!(rig.sent(), [(2, 6)], "the next goes out where one has left");
    rig.lost(2, LossReason::Closed);
    assert_eq!(rig.sent(), [(1, 5), (0, 6)], "what was lost is no more than before");
    rig.does(|s, now| s.ready(now, 3));
    assert_eq!(rig.sent(), []);
    rig.frame(3, taken(3000));
    assert_eq!(rig.sent(), [(3, 7)], "the output has little left");
}

#[test]
fn a_rescued_leg_prefers_another_link() {
    let mut rig = Rig::up(2, 4);
    rig.input(1);
    rig.now += ms(1);
    rig.input(1);
    assert_eq!(rig.sent(), [(2, 0), (0, 1)]);
    rig.frame(0, ack(0, 1));
    rig.does(|s, now| s.ready(now, 0));
    rig.later(ms(999));
    rig.later(secs(1));
    assert_eq!(rig.sent(), [(3, 0)], "worker 0 is ready too, but on the link that is slow");
}

#[test]
fn legs_of_a_lost_connection_go_out_on_those_that_are_there() {
    let mut rig = Rig::up(1, 2);
    rig.input(2);
    rig.does(|s, now| s.ready(now, 0));
    assert_eq!(rig.sent(), [(1, 0), (0, 1)]);
    rig.lost(1, LossReason::Failed("reset".into()));
    assert_eq!(rig.sent(), [(0, 0)]);
    assert_eq!(rig.session.stats().connections_lost, 1);
}

#[test]
fn connections_called_home_bring_their_legs_first() {
    let mut rig = Rig::new(2, 4);
    rig.failed(0, DialError::Refused);
    rig.failed(2, DialError::Refused);
    for worker in [1, 2, 3] {
        rig.welcomed(worker, 7, 0);
    }
    rig.does(|s, now| s.ready(now, 2));
    rig.input(1);
    assert_eq!(rig.sent(), [(2, 0)], "worker 2 serves link 1 while its own is dead");
    rig.later(secs(5));
    rig.welcomed(0, 7, 0);
    rig.does(|s, now| s.ready(now, 2));
    assert_eq!(rig.leaves, [], "leg 0 is on the way");
    rig.input(1);
    assert_eq!(rig.sent(), [], "and it gets no other");
    rig.frame(2, ack(1, 1));
    assert_eq!(rig.leaves, [2]);
    rig.forget();
    rig.lost(2, LossReason::Left);
    assert_eq!(rig.dials.iter().map(|d| (d.worker, d.link)).collect::<Vec<_>>(), [(2, 0)]);
    assert_eq!(rig.session.stats().connections_lost, 0, "nothing went wrong");
}

// ---- peers that break the rules -----------------------------------------------------------------------

#[test]
fn a_breach_closes_its_connection_and_no_other() {
    for bad in [ack(0, 9), ack(9, 0), Frame::Nack { sequence: 5 }, Frame::Ping { token: 1 }, Frame::Bye] {
        let mut rig = Rig::up(1, 2);
        rig.input(1);
        rig.frame(1, bad);
        assert!(matches!(rig.drops[..], [(1, LossReason::Breach(_))]), "{:?}", rig.drops);
        assert_eq!((rig.session.links.connections(), &rig.ending), (1, &None));
        assert_eq!(rig.sent(), [(1, 0), (0, 0)], "what it carried goes on");
    }
}

#[test]
fn a_welcome_that_wants_what_was_never_sent_is_dropped_and_tried_again() {
    let mut rig = Rig::new(1, 1);
    rig.welcomed(0, 7, 3);
    assert!(matches!(rig.drops[..], [(0, LossReason::Breach(_))]), "{:?}", rig.drops);
    assert_eq!((rig.session.links.connections(), &rig.ending), (0, &None));
}

#[test]
fn a_receiver_that_lost_what_it_confirmed_ends_the_session_in_words() {
    let mut rig = Rig::begun(1, 2);
    rig.lost(1, LossReason::Closed);
    rig.welcomed(1, 7, 0);
    let (code, why, by_peer) = rig.ended();
    assert!(code == Status::Incomplete && why.contains("leg 0") && !by_peer, "{why}");
    assert_eq!(rig.told(is_abort), [0]);
}

#[test]
fn a_welcome_may_be_older_than_what_other_connections_brought_since() {
    let mut rig = Rig::new(1, 2);
    rig.welcomed(0, 7, 0);
    rig.ready();
    rig.input(1);
    rig.frame(0, ack(1, 1));
    rig.welcomed(1, 7, 0);
    assert_eq!((rig.session.links.connections(), rig.ending), (2, None));
}

#[test]
fn another_receiver_on_one_link_condemns_the_link_and_not_the_session() {
    let mut rig = Rig::new(2, 2);
    rig.welcomed(0, 7, 0);
    rig.welcomed(1, 8, 0);
    assert_eq!(rig.drops, [(1, LossReason::Left)]);
    let said = rig.said();
    assert!(matches!(said[..], [Event::OtherReceiver { link: 1 }]), "{said:?}");
    assert_eq!(rig.dials.last().map(|d| (d.worker, d.link)), Some((1, 0)), "it serves the other link");
    rig.ready();
    rig.input(1);
    assert_eq!((rig.sent(), rig.ending), (vec![(0, 0)], None));
}

#[test]
fn another_receiver_on_one_link_is_told_once() {
    let mut rig = Rig::new(2, 4);
    rig.welcomed(0, 7, 0);
    rig.welcomed(1, 8, 0);
    rig.welcomed(3, 8, 0);
    assert_eq!(rig.said().len(), 1);
}

// ---- refusals -----------------------------------------------------------------------------------------

#[test]
fn refused_for_good_before_the_start_is_status_3_and_says_who_and_why() {
    for code in [
        RefusalCode::Busy,
        RefusalCode::Checkphrase,
        RefusalCode::Version,
        RefusalCode::Feature,
        RefusalCode::Option,
        RefusalCode::Direction,
    ] {
        let mut rig = Rig::new(1, 4);
        rig.refused(2, code);
        let (status, why, by_peer) = rig.ended();
        assert_eq!((status, by_peer), (Status::Refused, false), "{code:?}");
        assert!(why.contains("host0") && why.contains(&refusal(code).sentence), "{why}");
    }
}

#[test]
fn one_refusal_waits_for_the_links_that_may_still_answer() {
    let mut rig = Rig::new(2, 2);
    rig.refused(0, RefusalCode::Checkphrase);
    assert_eq!(rig.ending, None);
    rig.failed(1, DialError::Refused);
    assert_eq!(rig.ended().0, Status::Refused, "nothing is left to hope for");
}

#[test]
fn a_refusal_on_one_link_does_not_end_a_session_on_another() {
    for code in [RefusalCode::Busy, RefusalCode::Checkphrase, RefusalCode::NotThatReceiver] {
        let mut rig = Rig::new(2, 2);
        rig.welcomed(0, 7, 0);
        rig.refused(1, code);
        rig.ready();
        rig.input(1);
        assert_eq!((rig.sent(), rig.ending), (vec![(0, 0)], None));
    }
}

#[test]
fn a_refusal_does_not_end_a_session_that_has_a_connection() {
    let mut rig = Rig::begun(1, 2);
    rig.lost(1, LossReason::Closed);
    rig.refused(1, RefusalCode::Busy);
    assert_eq!(rig.ending, None, "connection 0 works");
    rig.ready();
    rig.input(1);
    assert_eq!(rig.sent(), [(0, 2)]);
}

#[test]
fn a_receiver_that_has_just_finished_is_tried_again_as_if_it_had_not_started() {
    let mut rig = Rig::new(1, 1);
    rig.refused(0, RefusalCode::Finished);
    rig.forget();
    rig.later(secs(5));
    assert_eq!(rig.dials.len(), 1);
    rig.welcomed(0, 7, 0);
    assert_eq!(rig.ending, None);
}

#[test]
fn stale_and_too_many_are_tried_again() {
    for code in [RefusalCode::Stale, RefusalCode::TooMany] {
        let mut rig = Rig::begun(1, 1);
        rig.lost(0, LossReason::Closed);
        rig.refused(0, code);
        rig.forget();
        rig.later(secs(6));
        assert_eq!((rig.dials.len(), &rig.ending), (1, &None), "{code:?}");
    }
}

#[test]
fn a_begun_session_that_the_receiver_does_not_know_is_status_1() {
    let mut rig = Rig::begun(1, 1);
    rig.lost(0, LossReason::Closed);
    rig.refused(0, RefusalCode::NotThatReceiver);
    let (code, why, by_peer) = rig.ended();
    assert_eq!((code, by_peer), (Status::Incomplete, false), "{why}");
}

#[test]
fn a_begun_session_whose_receiver_serves_another_is_status_1() {
    for code in [RefusalCode::Finished, RefusalCode::Busy] {
        let mut rig = Rig::begun(1, 1);
        rig.lost(0, LossReason::Closed);
        rig.refused(0, code);
        assert_eq!(rig.ended().0, Status::Incomplete, "{code:?}");
    }
}

#[test]
fn names_without_an_address_end_it_at_once_and_by_name() {
    let mut rig = Rig::new(2, 2);
    rig.failed(0, DialError::Unresolved("no address for host0".into()));
    assert_eq!(rig.ending, None, "link 1 may have one");
    rig.failed(1, DialError::Unresolved("no address for host1".into()));
    let (code, why, _) = rig.ended();
    assert!(code == Status::Incomplete && why.contains("host0") && why.contains("host1"), "{why}");
    assert_eq!(rig.elapsed(), Duration::ZERO);
}

#[test]
fn a_name_that_loses_its_address_later_is_waited_for() {
    let mut rig = Rig::begun(1, 1);
    rig.lost(0, LossReason::Closed);
    rig.pass(secs(100), &DialError::Unresolved("no address".into()));
    assert_eq!(rig.ending, None);
}

// ---- patience -----------------------------------------------------------------------------------------

/// How long a session whose dials all fail like this goes on.
fn endures(mut rig: Rig, fate: &DialError) -> (u64, Status, String) {
    let from = rig.now;
    rig.pass(secs(10_000), fate);
    let (code, why, _) = rig.ended();
    ((rig.now - from).as_secs(), code, why.to_owned())
}

#[test]
fn a_first_connection_is_waited_for_a_minute() {
    let (waited, code, why) = endures(Rig::new(1, 2), &DialError::Refused);
    assert_eq!((waited, code), (60, Status::Incomplete));
    assert!(why.contains("host0") && why.contains("connection refused"), "{why}");
}

#[test]
fn a_begun_session_waits_an_hour_for_a_silent_network() {
    let mut rig = Rig::begun(1, 2);
    rig.lost(0, LossReason::Silent);
    rig.lost(1, LossReason::Silent);
    assert_eq!(endures(rig, &DialError::TimedOut).0, 3600);
}

#[test]
fn patience_given_is_patience_kept() {
    assert_eq!(endures(Rig::with(1, 2, Some(secs(4))), &DialError::TimedOut).0, 4);
    let mut rig = Rig::begun_with(1, 1, Some(secs(100)));
    rig.lost(0, LossReason::Closed);
    assert_eq!(endures(rig, &DialError::Refused).0, 100, "also where every link is refused");
}

#[test]
fn patience_zero_is_for_ever() {
    for mut rig in [Rig::with(1, 1, Some(Duration::ZERO)), Rig::begun_with(1, 1, Some(Duration::ZERO))] {
        rig.lost(0, LossReason::Closed);
        rig.pass(secs(20_000), &DialError::Refused);
        assert_eq!(rig.ending, None);
    }
}

#[test]
fn a_session_that_is_refused_everywhere_for_15_s_has_lost_its_receiver() {
    let mut rig = Rig::begun(2, 2);
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Closed);
    let (waited, code, why) = endures(rig, &DialError::Refused);
    assert_eq!((waited, code), (15, Status::Incomplete));
    assert!(why.contains("the receiver is gone"), "{why}");
}

#[test]
fn one_link_that_is_only_silent_keeps_up_hope() {
    let mut rig = Rig::begun(2, 2);
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Silent);
    let until = rig.now + secs(100);
    while rig.now < until {
        for dial in std::mem::take(&mut rig.dials) {
            let fate = [DialError::Refused, DialError::TimedOut][dial.link].clone();
            rig.failed(dial.worker, fate);
        }
        rig.later(ms(500));
    }
    assert_eq!(rig.ending, None);
}

#[test]
fn progress_alone_resets_patience() {
    let mut rig = Rig::begun_with(1, 1, Some(secs(10)));
    rig.lost(0, LossReason::Closed);
    rig.pass(secs(6), &DialError::TimedOut);
    rig.later(secs(2));
    rig.welcomed(0, 7, 1);
    rig.lost(0, LossReason::Closed);
    rig.pass(secs(3), &DialError::TimedOut);
    assert_eq!(rig.ended().0, Status::Incomplete, "a connection that achieved nothing changed nothing");

    let mut rig = Rig::begun_with(1, 1, Some(secs(10)));
    rig.lost(0, LossReason::Closed);
    rig.later(secs(8));
    rig.welcomed(0, 7, 1);
    rig.ready();
    rig.input(1);
    rig.frame(0, ack(2, 1));
    rig.lost(0, LossReason::Closed);
    rig.pass(secs(9), &DialError::TimedOut);
    assert_eq!(rig.ending, None);
}

#[test]
fn a_connection_that_is_up_is_never_out_of_patience() {
    let mut rig = Rig::begun_with(1, 1, Some(secs(4)));
    for _ in 0..100 {
        rig.later(secs(1));
    }
    assert_eq!(rig.ending, None);
}

// ---- what the user reads ------------------------------------------------------------------------------

#[test]
fn waiting_is_told_after_5_s_then_each_minute_and_when_it_ends() {
    let mut rig = Rig::begun(1, 1);
    rig.lost(0, LossReason::Silent);
    rig.pass(ms(4999), &DialError::TimedOut);
    assert_eq!(rig.said(), []);
    rig.pass(ms(2), &DialError::TimedOut);
    let said = rig.said();
    let [Event::Waiting { troubles, left: Some(left) }] = &said[..] else { panic!("{said:?}") };
    assert_eq!((&troubles[..], left.as_secs()), (&["no answer".to_owned()][..], 3595));
    rig.pass(secs(59), &DialError::TimedOut);
    assert_eq!(rig.said(), []);
    rig.pass(secs(122), &DialError::TimedOut);
    assert_eq!(rig.said().len(), 3);
    rig.later(secs(5));
    rig.welcomed(0, 7, 1);
    rig.ready();
    rig.input(1);
    rig.frame(0, ack(2, 1));
    assert_eq!(rig.said(), [Event::WorksAgain { begun: true }]);
    rig.pass(secs(200), &DialError::TimedOut);
    assert_eq!(rig.said(), []);
}

#[test]
fn what_heals_within_5_s_is_not_mentioned() {
    let mut rig = Rig::begun(1, 2);
    for _ in 0..20 {
        rig.lost(0, LossReason::Closed);
        rig.lost(1, LossReason::Closed);
        rig.later(secs(4));
        let next = rig.session.sender.head();
        rig.welcomed(0, 7, next);
        rig.welcomed(1, 7, next);
        rig.ready();
        rig.input(1);
        let (worker, _) = rig.sent()[0];
        rig.frame(worker, ack(next + 1, 1));
    }
    assert_eq!(rig.said(), []);
}

// ---- life ---------------------------------------------------------------------------------------------

#[test]
fn every_connection_is_pinged_each_second_and_pongs_measure_it() {
    let mut rig = Rig::up(1, 2);
    rig.later(ms(999));
    assert_eq!(rig.told(|f| matches!(f, Frame::Ping { .. })), [0; 0]);
    rig.later(ms(1));
    let pings: Vec<_> = std::mem::take(&mut rig.tells);
    let [(0, Frame::Ping { token: first }), (1, Frame::Ping { token: second })] = pings[..] else {
        panic!("{pings:?}")
    };
    assert_ne!(first, second);
    rig.now += ms(90);
    rig.frame(0, Frame::Pong { token: second });
    assert_eq!(rig.session.sender.pace(0).and_then(|p| p.rtt()), Some(RTT), "not its token");
    rig.frame(0, Frame::Pong { token: first });
    assert_eq!(rig.session.sender.pace(0).and_then(|p| p.rtt()), Some((RTT * 7 + ms(90)) / 8));
    rig.later(secs(1));
    assert_eq!(rig.told(|f| matches!(f, Frame::Ping { .. })), [0], "1 has not answered the last one");
}

#[test]
fn silence_ends_a_connection_after_3_rtt_and_3_s() {
    let mut rig = Rig::up(1, 2);
    rig.input(1);
    let silence = |millis| Silence { peer: ms(millis), kernel: ms(millis) };
    rig.does(|s, now| s.quiet(now, 1, silence(3029)));
    assert_eq!(rig.drops, []);
    rig.does(|s, now| s.quiet(now, 1, silence(3030)));
    assert_eq!(rig.drops, [(1, LossReason::Silent)]);
    assert_eq!(rig.sent(), [(1, 0), (0, 0)]);
}

#[test]
fn a_blocked_output_is_reported_and_nothing_else_happens() {
    let mut rig = Rig::up(1, 1);
    rig.input(1);
    for second in 1..100u32 {
        rig.later(secs(1));
        let blocked = Ack { next: 1, delivered: 0, edge: edge(1000), count: 1, blocked_ms: second * 1000 };
        rig.frame(0, Frame::Ack(blocked));
    }
    assert_eq!(rig.session.blocked_at_peer(), secs(99));
    assert_eq!((rig.session.links.connections(), rig.said(), rig.ending), (1, vec![], None));
}

// ---- the end ------------------------------------------------------------------------------------------

/// Two connections, one leg received, the input ended.
fn waiting_for_the_verdict() -> Rig {
    let mut rig = Rig::up(1, 2);
    rig.input(1);
    rig.end_input();
    rig.frame(1, ack(1, 1));
    assert!(rig.session.awaits_verdict());
    rig
}

#[test]
fn fin_is_told_on_every_connection_when_all_has_been_sent() {
    let mut rig = Rig::up(1, 2);
    rig.input(3);
    rig.end_input();
    assert_eq!(rig.told(is_fin), [0; 0], "leg 2 waits for a connection");
    rig.does(|s, now| s.ready(now, 0));
    assert_eq!(rig.told(is_fin), [0, 1]);
    rig.later(secs(1));
    assert_eq!(rig.told(is_fin), [0; 0], "once each");
    rig.lost(0, LossReason::Closed);
    rig.welcomed(0, 7, 0);
    assert_eq!(rig.told(is_fin), [0], "and again on each new one");
}

#[test]
fn only_the_verdict_ends_it_well() {
    let mut rig = waiting_for_the_verdict();
    rig.later(secs(1));
    assert_eq!(rig.ending, None, "all is received, and that is not enough");
    rig.frame(0, verdict(Status::Complete, LEN as u64));
    assert_eq!(rig.ended(), (Status::Complete, "", true));
    assert_eq!(rig.told(|f| *f == Frame::Bye), [0, 1]);
}

#[test]
fn a_verdict_that_does_not_fit_the_stream_is_not_believed() {
    let mut rig = waiting_for_the_verdict();
    rig.frame(0, verdict(Status::Complete, LEN as u64 - 1));
    assert_eq!(rig.ended().0, Status::Corrupt);

    let mut rig = waiting_for_the_verdict();
    let other_crc =
        Verdict { bytes: LEN as u64, crc: Some(1), status: Status::Complete, sentence: String::new() };
    rig.frame(0, Frame::Verdict(other_crc));
    assert_eq!(rig.ended().0, Status::Corrupt);

    let mut rig = Rig::up(1, 1);
    rig.input(1);
    rig.frame(0, verdict(Status::Complete, LEN as u64));
    assert_eq!(rig.ended().0, Status::Incomplete, "the input goes on");
}

#[test]
fn a_failure_at_the_receiver_is_the_status_here_whenever_it_comes() {
    for code in [Status::Output, Status::Corrupt, Status::Incomplete] {
        let mut rig = Rig::up(1, 1);
        rig.input(1);
        rig.frame(0, verdict(code, 0));
        assert_eq!(rig.ended(), (code, "so it is", true));
        assert_eq!(rig.told(|f| *f == Frame::Bye), [0]);
    }
}

#[test]
fn an_abort_ends_it_as_the_peer_says() {
    let mut rig = Rig::up(1, 1);
    rig.frame(0, Frame::Abort(Abort { status: Status::Output, sentence: "the disk is full".into() }));
    assert_eq!(rig.ended(), (Status::Output, "the disk is full", true));
}

#[test]
fn a_failure_here_is_told_on_every_connection() {
    let mut rig = Rig::up(1, 3);
    rig.does(|s, now| s.fail(now, Outcome::here(Status::Input, "cannot read")));
    assert_eq!(rig.ended(), (Status::Input, "cannot read", false));
    assert_eq!(rig.told(is_abort), [0, 1, 2]);
    rig.input(1);
    rig.later(secs(10));
    assert_eq!(rig.sent(), []);
    assert_eq!(rig.session.deadline(rig.now), None);
}

#[test]
fn without_the_verdict_it_does_not_claim_to_know() {
    let mut rig = waiting_for_the_verdict();
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Closed);
    let (waited, code, why) = endures(rig, &DialError::Refused);
    assert_eq!((waited, code), (15, Status::Incomplete));
    assert!(why.contains("is not known"), "{why}");

    let mut rig = waiting_for_the_verdict();
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Closed);
    rig.refused(0, RefusalCode::Finished);
    let (code, why, _) = rig.ended();
    assert!(code == Status::Incomplete && why.contains("is not known"), "{why}");
}

#[test]
fn a_leg_damaged_four_times_ends_both_ends_with_6() {
    let mut rig = Rig::up(1, 1);
    rig.input(1);
    for count in 1..=4 {
        rig.frame(0, Frame::Nack { sequence: 0 });
        if count < 4 {
            rig.frame(0, ack(0, count));
            rig.does(|s, now| s.ready(now, 0));
        }
    }
    assert_eq!(rig.sent().len(), 4);
    assert_eq!(rig.ended().0, Status::Corrupt);
    assert_eq!(rig.told(|f| matches!(f, Frame::Abort(abort) if abort.status == Status::Corrupt)), [0]);
}

#[test]
fn a_welcome_after_the_end_is_answered_with_a_close() {
    let mut rig = Rig::new(1, 2);
    rig.welcomed(0, 7, 0);
    rig.does(|s, now| s.fail(now, Outcome::here(Status::Incomplete, "interrupted")));
    rig.welcomed(1, 7, 0);
    assert_eq!(rig.drops, [(1, LossReason::Left)]);
}
