use super::super::hello::{Direction, Features};
use super::super::waiting::Patience;
use super::*;
use std::sync::Arc;

mod shared;

const LEN: u64 = 1000;

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

/// The hello of session 1's connection, at this attempt.
fn hello(connection: u8, attempt: u32) -> Hello {
    Hello {
        session: id(1),
        instance: None,
        direction: Direction::Transmit,
        begun: false,
        checkphrase: None,
        link: 0,
        connection,
        attempt,
        features: Features::NONE,
        buffer: 32 << 20,
        options: Vec::new(),
    }
}

fn other_session() -> Hello {
    Hello { session: id(2), ..hello(0, 1) }
}

fn begun(connection: u8, attempt: u32) -> Hello {
    Hello { begun: true, instance: Some(id(7)), ..hello(connection, attempt) }
}

fn leg(sequence: u64) -> Leg {
    Leg::new(sequence, sequence * LEN, Arc::new(vec![sequence as u8; LEN as usize]))
}

fn fin(legs: u64) -> Fin {
    Fin { legs, bytes: legs * LEN, crc: None }
}

/// A receiver, and everything it has asked for and not been asked about.
struct Rig {
    side: Reception,
    now: Instant,
    delivers: Vec<u64>,
    closes: usize,
    acks: Vec<bool>,
    tells: Vec<(usize, Frame)>,
    says: Vec<Event>,
    settled: Option<Outcome>,
    ending: Option<Outcome>,
}

impl Rig {
    /// Instance 7.
    fn new() -> Self {
        Self::with(None)
    }

    fn with(patience: Option<Duration>) -> Self {
        Self::sharing(patience, Sharing::Sole)
    }

    fn sharing(patience_time: Option<Duration>, sharing: Sharing) -> Self {
        let features = Features::NONE;
        let settings = Settings {
            instance: id(7),
            buffer: 128 << 20,
            patience: patience(patience_time),
            features,
            sharing,
        };
        let now = Instant::now();
        Rig {
            side: Reception::new(now, settings),
            now,
            delivers: Vec::new(),
            closes: 0,
            acks: Vec::new(),
            tells: Vec::new(),
            says: Vec::new(),
            settled: None,
            ending: None,
        }
    }

    /// Connections 0 and 1 are up, and one leg has come.
    fn begun() -> Self {
        Self::begun_with(None)
    }

    fn begun_with(patience: Option<Duration>) -> Self {
        let mut rig = Self::with(patience);
        rig.hello(&hello(0, 1)).unwrap();
        rig.hello(&hello(1, 1)).unwrap();
        rig.leg(0, 0);
        rig.delivers.clear();
        rig.acks.clear();
        rig
    }

    /// A stream of one leg was delivered, and the output closed well.
    fn judged_with(patience: Option<Duration>) -> Self {
        let mut rig = Self::begun_with(patience);
        rig.does(|s, now| s.fin(now, fin(1))).unwrap();
        rig.delivered(1);
        assert_eq!(rig.closes, 1);
        rig.does(|s, now| s.output_closed(now, None));
        rig
    }

    fn does<T>(&mut self, event: impl FnOnce(&mut Reception, Instant) -> T) -> T {
        let result = event(&mut self.side, self.now);
        while let Some(action) = self.side.poll() {
            assert_eq!(self.ending, None, "nothing follows the end, but {action:?}");
            match action {
                Action::Deliver(leg) => self.delivers.push(leg.sequence),
                Action::CloseOutput => self.closes += 1,
                Action::Acknowledge { now } => self.acks.push(now),
                Action::Tell(connection, frame) => self.tells.push((connection, frame)),
                Action::Drop(connection, why) => panic!("drops connection {connection}: {why}"),
                Action::Say(event) => self.says.push(event),
                Action::Settle(ending) => self.settled = Some(ending),
                Action::End(ending) => self.ending = Some(ending),
            }
        }
        result
    }

    fn hello(&mut self, hello: &Hello) -> Result<Admission, RefusalCode> {
        self.does(|s, now| s.hello(now, hello)).map_err(|refusal| refusal.code)
    }

    fn leg(&mut self, connection: usize, sequence: u64) {
        self.does(|s, now| s.leg(now, connection, leg(sequence))).unwrap();
    }

    fn delivered(&mut self, legs: u64) {
        self.does(|s, now| s.delivered(now, legs, legs * LEN));
    }

    fn lost(&mut self, connection: usize, loss: Loss) {
        self.does(|s, now| s.lost(now, connection, loss, "gone"));
    }

    /// Time passes as it does for an owner, who wakes at every deadline.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.ending.is_none() && self.now < until {
            self.now = self.side.deadline(self.now).filter(|at| *at < until).unwrap_or(until);
            self.does(|s, now| s.tick(now));
        }
    }

    /// How many seconds pass until it ends, and how.
    fn endures(mut self) -> (u64, Status, String) {
        let from = self.now;
        self.pass(secs(10_000));
        let ending = self.ending.expect("it has not ended");
        ((self.now - from).as_secs(), ending.status, ending.sentence)
    }

    fn verdicts(&mut self) -> Vec<(usize, Status)> {
        let tells = std::mem::take(&mut self.tells);
        let verdict = |(connection, frame)| match frame {
            Frame::Verdict(verdict) => Some((connection, verdict.status)),
            _ => None,
        };
        tells.into_iter().filter_map(verdict).collect()
    }

    /// What the user reads without having asked for more.
    fn said(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.says).into_iter().filter(|event| event.level() == 0).collect()
    }

    fn ended(&self) -> (Status, &str, bool) {
        let ending = self.ending.as_ref().expect("it has not ended");
        (ending.status, &ending.sentence, ending.by_peer)
    }
}

// ---- who is let in ------------------------------------------------------------------------------------

#[test]
fn the_first_hello_makes_the_session_and_both_buffers_its_sizes() {
    let mut rig = Rig::new();
    let admission = rig.hello(&hello(3, 1)).unwrap();
    assert_eq!((admission.connection, admission.replaces), (3, false));
    let welcome = admission.welcome;
    assert_eq!((welcome.instance, welcome.next, welcome.buffer), (id(7), 0, 128 << 20));
    assert_eq!(welcome.leg_max, 512 << 10, "a 64th of the sender's buffer");
    assert_eq!(welcome.edge.bytes, window(128 << 20, 512 << 10));
    assert_eq!((rig.side.leg_max(), rig.side.peer_buffer()), (512 << 10, 32 << 20));
}

#[test]
fn later_welcomes_say_how_far_it_is() {
    let mut rig = Rig::begun();
    rig.leg(1, 1);
    rig.delivered(1);
    let before = rig.side.position();
    let welcome = rig.hello(&begun(2, 1)).unwrap().welcome;
    assert_eq!((welcome.next, before.delivered, welcome.edge), (2, LEN, before.edge));
}

#[test]
fn a_higher_attempt_replaces_and_others_are_stale() {
    let mut rig = Rig::begun();
    assert_eq!(rig.hello(&begun(0, 1)).err(), Some(RefusalCode::Stale), "the same attempt twice");
    assert!(rig.hello(&begun(0, 3)).unwrap().replaces, "the old one has not been missed yet");
    assert_eq!(rig.hello(&begun(0, 2)).err(), Some(RefusalCode::Stale));
    rig.lost(0, Loss::Closed);
    assert_eq!(rig.hello(&begun(0, 2)).err(), Some(RefusalCode::Stale), "late, although that place is free");
    assert!(!rig.hello(&begun(0, 4)).unwrap().replaces);
}

#[test]
fn sixteen_connections_are_counted_each_for_itself() {
    let mut rig = Rig::new();
    for connection in 0..16 {
        assert_eq!(rig.hello(&hello(connection, 1)).unwrap().connection, connection as usize);
    }
    rig.leg(15, 0);
    rig.leg(15, 0);
    let slots = rig.side.slots();
    assert!(slots.iter().all(|slot| slot.up));
    assert_eq!((slots[15].legs, slots[15].bytes, slots[0].legs), (2, 2 * LEN, 0), "copies are counted");
    rig.hello(&hello(15, 2)).unwrap();
    assert_eq!(rig.side.slots()[15].legs, 0, "counted per connection, not per place");
}

#[test]
fn another_session_is_told_busy_and_changes_nothing() {
    let mut rig = Rig::begun();
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Busy));
    rig.leg(0, 1);
    assert_eq!((&rig.delivers[..], &rig.ending), (&[1][..], &None));
}

#[test]
fn a_session_that_began_with_another_receiver_is_not_taken() {
    let mut rig = Rig::new();
    let code = Some(RefusalCode::NotThatReceiver);
    assert_eq!(rig.hello(&Hello { instance: Some(id(8)), ..begun(0, 5) }).err(), code);
    assert_eq!(rig.hello(&Hello { instance: None, ..begun(0, 5) }).err(), code);
    assert_eq!(rig.hello(&Hello { instance: Some(id(8)), ..hello(0, 1) }).err(), code);
    assert!(rig.hello(&other_session()).is_ok(), "and it goes on waiting");
}

#[test]
fn a_refused_first_hello_leaves_nothing_behind() {
    let mut rig = Rig::new();
    assert_eq!(rig.hello(&hello(0, 0)).err(), Some(RefusalCode::Stale));
    rig.pass(secs(60));
    assert!(rig.hello(&other_session()).is_ok());
}

#[test]
fn a_session_that_never_began_is_forgotten_after_5_s() {
    let mut rig = Rig::new();
    rig.hello(&hello(0, 1)).unwrap();
    rig.lost(0, Loss::Closed);
    rig.pass(ms(4999));
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Busy));
    rig.pass(ms(1));
    assert!(rig.hello(&other_session()).is_ok());
    assert_eq!((rig.said(), rig.ending), (vec![], None));
}

#[test]
fn it_is_not_forgotten_while_it_has_a_connection() {
    let mut rig = Rig::new();
    rig.hello(&hello(0, 1)).unwrap();
    rig.hello(&hello(1, 1)).unwrap();
    rig.lost(0, Loss::Closed);
    rig.pass(secs(100));
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Busy));
}

#[test]
fn a_waiting_receiver_waits_for_ever() {
    for patience in [None, Some(Duration::ZERO)] {
        let mut rig = Rig::with(patience);
        rig.pass(secs(1_000_000));
        assert_eq!((rig.side.deadline(rig.now), rig.said(), rig.ending), (None, vec![], None));
    }
}

// ---- legs ---------------------------------------------------------------------------------------------

#[test]
fn legs_reach_the_output_in_order_and_once() {
    let mut rig = Rig::begun();
    rig.leg(1, 2);
    assert_eq!(rig.delivers, []);
    rig.leg(0, 1);
    rig.leg(0, 2);
    rig.leg(1, 1);
    assert_eq!(rig.delivers, [1, 2]);
    assert_eq!(rig.acks, [false; 4], "each is acknowledged, copies too");
    assert_eq!(rig.side.receiver().map(Receiver::duplicates), Some(2));
}

#[test]
fn a_leg_against_the_rules_is_an_error_of_its_connection_alone() {
    let mut rig = Rig::begun();
    let beyond = Leg::new(1, 1 << 40, Arc::new([1u8]));
    assert!(rig.does(|s, now| s.leg(now, 0, beyond)).is_err());
    rig.does(|s, now| s.fin(now, fin(3))).unwrap();
    assert!(rig.does(|s, now| s.fin(now, fin(4))).is_err());
    rig.leg(1, 1);
    assert_eq!((&rig.delivers[..], &rig.ending), (&[1][..], &None));
}

#[test]
fn a_window_that_opens_is_told_at_once() {
    let mut rig = Rig::new();
    let edge = rig.hello(&hello(0, 1)).unwrap().welcome.edge.bytes;
    let half = |sequence| Leg::new(sequence, sequence * (edge / 2), Arc::new(vec![0u8; edge as usize / 2]));
    rig.does(|s, now| s.leg(now, 0, half(0))).unwrap();
    rig.does(|s, now| s.leg(now, 0, half(1))).unwrap();
    rig.acks.clear();
    rig.does(|s, now| s.delivered(now, 1, edge / 2));
    rig.does(|s, now| s.delivered(now, 1, edge / 2));
    assert_eq!(rig.acks, [true, false]);
    assert_eq!(rig.side.position().edge.bytes, 2 * edge);
}

// ---- the sender goes away -----------------------------------------------------------------------------

#[test]
fn a_sender_whose_connections_all_closed_is_gone_after_60_s() {
    let mut rig = Rig::begun();
    rig.lost(0, Loss::Closed);
    rig.pass(secs(100));
    assert_eq!(rig.ending, None, "connection 1 is there");
    rig.lost(1, Loss::Closed);
    let (waited, code, why) = rig.endures();
    assert_eq!((waited, code), (60, Status::Incomplete));
    assert!(why.contains("the sender is gone"), "{why}");
}

#[test]
fn a_silent_sender_may_still_be_trying() {
    let mut rig = Rig::begun();
    rig.lost(0, Loss::Closed);
    rig.lost(1, Loss::Silent);
    assert_eq!(rig.endures().0, 3600);
}

#[test]
fn patience_given_is_patience_kept() {
    for loss in [Loss::Closed, Loss::Silent] {
        for patience in [4, 200] {
            let mut rig = Rig::begun_with(Some(secs(patience)));
            rig.lost(0, loss);
            rig.lost(1, loss);
            let (waited, code, _) = rig.endures();
            assert_eq!((waited, code), (patience, Status::Incomplete), "{loss:?}");
        }
        let mut rig = Rig::begun_with(Some(Duration::ZERO));
        rig.lost(0, loss);
        rig.lost(1, loss);
        rig.pass(secs(100_000));
        assert_eq!(rig.ending, None);
    }
}

#[test]
fn a_connection_that_comes_back_stops_the_clock() {
    let mut rig = Rig::begun();
    for attempt in 2..10 {
        rig.lost(0, Loss::Closed);
        rig.lost(1, Loss::Closed);
        rig.pass(secs(50));
        rig.hello(&begun(0, attempt)).unwrap();
        rig.hello(&begun(1, attempt)).unwrap();
    }
    rig.pass(secs(1000));
    assert_eq!((rig.ending, rig.side.connections_lost()), (None, 16));
}

#[test]
fn a_connection_is_lost_once() {
    let mut rig = Rig::new();
    rig.hello(&hello(0, 1)).unwrap();
    rig.leg(0, 0);
    rig.lost(0, Loss::Closed);
    rig.lost(0, Loss::Closed);
    assert_eq!(rig.side.connections_lost(), 1);
}

#[test]
fn waiting_is_told_after_5_s_then_each_minute_and_when_it_ends() {
    let mut rig = Rig::begun();
    rig.lost(0, Loss::Silent);
    rig.lost(1, Loss::Silent);
    rig.pass(ms(4999));
    assert_eq!(rig.said(), []);
    rig.pass(ms(1));
    let said = rig.said();
    assert!(matches!(said[..], [Event::SenderAway { left: Some(left) }] if left == secs(3595)), "{said:?}");
    rig.pass(secs(121));
    assert_eq!(rig.said().len(), 2);
    rig.hello(&begun(0, 2)).unwrap();
    rig.leg(0, 1);
    assert_eq!(rig.said(), [Event::WorksAgain { begun: true }]);
    rig.pass(secs(300));
    assert_eq!(rig.said(), []);
}

#[test]
fn the_end_of_waiting_is_told_also_when_no_leg_is_missing() {
    let mut rig = Rig::begun();
    rig.lost(0, Loss::Silent);
    rig.lost(1, Loss::Silent);
    rig.pass(secs(10));
    assert_eq!(rig.said().len(), 1);
    rig.hello(&begun(0, 2)).unwrap();
    rig.does(|s, now| s.fin(now, fin(1))).unwrap();
    assert_eq!(rig.said(), [Event::WorksAgain { begun: true }]);
}

#[test]
fn what_heals_within_5_s_is_not_mentioned() {
    let mut rig = Rig::begun();
    rig.lost(0, Loss::Closed);
    rig.lost(1, Loss::Closed);
    rig.pass(ms(4900));
    rig.hello(&begun(0, 2)).unwrap();
    rig.pass(secs(100));
    assert_eq!(rig.said(), []);
}

#[test]
fn an_abort_ends_it_as_the_sender_says() {
    let mut rig = Rig::begun();
    let abort = Abort { status: Status::Input, sentence: "zfs send failed".into() };
    rig.does(|s, _| s.abort(abort));
    assert_eq!(rig.ended(), (Status::Input, "zfs send failed", true));
    assert_eq!(
        (rig.hello(&begun(0, 2)).err(), rig.side.deadline(rig.now)),
        (Some(RefusalCode::Finished), None)
    );
}

// ---- the last word ------------------------------------------------------------------------------------

#[test]
fn the_output_is_closed_when_all_is_delivered_and_judged_when_that_went_well() {
    let mut rig = Rig::begun();
    rig.does(|s, now| s.fin(now, fin(2))).unwrap();
    rig.leg(0, 1);
    rig.delivered(1);
    assert_eq!(rig.closes, 0, "received is not delivered");
    rig.delivered(1);
    assert_eq!((rig.closes, rig.verdicts()), (1, vec![]), "delivered is not closed");
    rig.does(|s, now| s.fin(now, fin(2))).unwrap();
    assert_eq!(rig.closes, 1);
    rig.does(|s, now| s.output_closed(now, None));
    assert_eq!(rig.verdicts(), [(0, Status::Complete), (1, Status::Complete)]);
    assert_eq!(rig.ending, None, "it waits for the bye");
    rig.does(|s, _| s.bye());
    assert_eq!(rig.ended(), (Status::Complete, "", false));
}

#[test]
fn an_empty_stream_is_judged_too() {
    let mut rig = Rig::new();
    rig.hello(&hello(0, 1)).unwrap();
    rig.does(|s, now| s.fin(now, fin(0))).unwrap();
    assert_eq!(rig.closes, 1);
    rig.does(|s, now| s.output_closed(now, None));
    assert_eq!(rig.verdicts(), [(0, Status::Complete)]);
}

#[test]
fn an_empty_stream_whose_sender_is_cut_off_is_not_forgotten() {
    let mut rig = Rig::new();
    rig.hello(&hello(0, 1)).unwrap();
    rig.does(|s, now| s.fin(now, fin(0))).unwrap();
    rig.lost(0, Loss::Closed);
    rig.pass(secs(10));
    rig.does(|s, now| s.output_closed(now, None));
    rig.hello(&hello(0, 2)).unwrap();
    assert_eq!(rig.verdicts(), [(0, Status::Complete)]);
}

#[test]
fn the_verdict_is_told_after_every_welcome_until_it_is_answered() {
    let mut rig = Rig::judged_with(None);
    assert_eq!(rig.verdicts(), [(0, Status::Complete), (1, Status::Complete)]);
    rig.lost(0, Loss::Closed);
    rig.lost(1, Loss::Closed);
    rig.pass(secs(30));
    for (connection, attempt) in [(0, 2), (5, 1), (0, 3)] {
        assert_eq!(rig.hello(&begun(connection, attempt)).unwrap().welcome.next, 1);
        assert_eq!(rig.verdicts(), [(connection as usize, Status::Complete)]);
    }
}

#[test]
fn it_lingers_a_minute_or_as_long_as_patience_says() {
    for (patience, lingers) in [(None, 60), (Some(4), 4), (Some(1000), 60), (Some(0), 60)] {
        let (waited, code, _) = Rig::judged_with(patience.map(secs)).endures();
        assert_eq!((waited, code), (lingers, Status::Complete), "{patience:?}");
    }
}

#[test]
fn while_it_lingers_another_session_is_told_finished() {
    let mut rig = Rig::judged_with(None);
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Finished));
    assert!(rig.hello(&begun(0, 2)).is_ok());
    rig.does(|s, _| s.bye());
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Finished));
}

#[test]
fn a_bye_before_the_verdict_means_nothing() {
    let mut rig = Rig::begun();
    rig.does(|s, _| s.bye());
    rig.leg(0, 1);
    assert_eq!((&rig.delivers[..], &rig.ending), (&[1][..], &None));
}

#[test]
fn an_abort_after_the_verdict_does_not_change_it() {
    let mut rig = Rig::judged_with(None);
    rig.does(|s, _| s.abort(Abort { status: Status::Incomplete, sentence: "interrupted".into() }));
    assert_eq!(rig.ended().0, Status::Complete, "every byte was delivered, whatever the sender thinks");
}

#[test]
fn a_failed_output_is_the_verdict_at_any_time() {
    for code in [Status::Output, Status::Corrupt] {
        let mut rig = Rig::begun();
        rig.does(|s, now| s.output_failed(now, code, "the disk is full"));
        assert_eq!(rig.verdicts(), [(0, code), (1, code)]);
        rig.does(|s, now| s.output_failed(now, Status::Output, "again"));
        rig.does(|s, now| s.output_closed(now, None));
        assert_eq!(rig.verdicts(), [], "the first word holds");
        rig.does(|s, _| s.bye());
        assert_eq!(rig.ended(), (code, "the disk is full", false));
    }
}

#[test]
fn an_output_that_fails_after_the_end_was_announced_is_not_complete() {
    let mut rig = Rig::begun();
    rig.does(|s, now| s.fin(now, fin(1))).unwrap();
    rig.delivered(1);
    assert_eq!(rig.closes, 1);
    rig.does(|s, now| s.output_failed(now, Status::Output, "the reader left"));
    assert_eq!(rig.verdicts(), [(0, Status::Output), (1, Status::Output)]);
}

#[test]
fn an_output_that_fails_before_any_session_ends_it_at_once() {
    let mut rig = Rig::new();
    rig.does(|s, now| s.output_failed(now, Status::Output, "stdout is closed"));
    assert_eq!(rig.ended(), (Status::Output, "stdout is closed", false));
}

#[test]
fn the_checksum_of_the_stream_must_be_the_one_announced() {
    for (found, code) in [(0xfeed, Status::Complete), (0xdead, Status::Corrupt)] {
        let mut rig = Rig::begun();
        let checked = Fin { crc: Some(0xfeed), ..fin(1) };
        rig.does(|s, now| s.fin(now, checked)).unwrap();
        rig.delivered(1);
        rig.does(|s, now| s.output_closed(now, Some(found)));
        assert_eq!(rig.verdicts(), [(0, code), (1, code)]);
    }
}

#[test]
fn a_failure_here_is_told_on_every_connection() {
    let mut rig = Rig::begun();
    rig.does(|s, _| s.fail(Outcome::here(Status::Incomplete, "interrupted")));
    let aborts: Vec<_> = rig.tells.iter().map(|(c, f)| (*c, matches!(f, Frame::Abort(_)))).collect();
    assert_eq!(aborts, [(0, true), (1, true)]);
    assert_eq!(rig.ended(), (Status::Incomplete, "interrupted", false));
}
