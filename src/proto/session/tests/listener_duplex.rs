//! The end that listens, with a stream each way.

use super::super::super::breach::Breach;
use super::super::super::event::Event;
use super::super::super::hello::{Features, Hello, RefusalCode};
use super::super::super::life::Silence;
use super::super::super::links::{DialError, LossReason};
use super::super::super::outcome::Status;
use super::super::super::way::Way;
use super::super::super::wire::{Frame, LegHeader};
use super::super::{Action, Farewell, InboundConfig, Landing, OutboundConfig, Session};
use super::rig::*;

fn both() -> Rig {
    Rig::listening(None, true)
}

impl Rig {
    /// The far end's connection is let in on this link.
    fn comes(&mut self, connection: u8, attempt: u32, link: u8) {
        self.hello(&Hello { link, ..begun_hello(connection, attempt) }).unwrap();
    }

    /// The same, and the far end welcomes it, has all below `next`, and its path drains.
    fn lent(&mut self, connection: u8, attempt: u32, link: u8, next: u64) {
        self.comes(connection, attempt, link);
        self.welcomed(connection.into(), DIALLER, next);
        self.ready(connection.into());
    }

    /// The stream that goes out, of one leg, comes to its verdict.
    fn out_ends(&mut self) {
        self.input(1);
        self.end_input();
        let (connection, _) = self.sent()[0];
        self.frame(connection, ack(1, 1));
        self.frame(connection, verdict(Status::Complete, LEN));
    }
}

/// The stream that comes in, of one leg, was delivered, the output closed well, the verdict told; connections 0 and 1
/// are up.
fn settled(seconds: Option<u64>) -> Rig {
    let mut rig = Rig::listening(seconds.and_then(patience), true);
    rig.lent(0, 1, 0, 0);
    rig.lent(1, 1, 0, 0);
    rig.leg(0, 0);
    rig.frame(0, fin(1));
    rig.delivered(1);
    rig.output_closed();
    assert_eq!(rig.judged(Way::In), (Status::Complete, "", false));
    assert_eq!(rig.verdicts(), [(0, Status::Complete), (1, Status::Complete)]);
    rig
}

// ---- the stream that comes in -------------------------------------------------------------------------

#[test]
fn connections_are_let_in_after_the_stream_has_ended() {
    let mut rig = settled(None);
    rig.frame(0, Frame::Bye);
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Closed);
    rig.pass(secs(30));
    let welcome = rig.hello(&begun_hello(0, 2)).unwrap();
    assert_eq!((welcome.next, rig.over), (1, false));
    assert_eq!(rig.verdicts(), [(0, Status::Complete)], "for whoever has missed it");
    rig.frame(0, Frame::Ping { token: 5 });
    assert_eq!(rig.told(|frame| *frame == Frame::Pong { token: 5 }), [0], "life is the connection's");
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Finished));
    rig.pass(secs(10_000));
    assert!(!rig.over);
    rig.welcomed(0, DIALLER, 0);
    rig.ready(0);
    rig.out_ends();
    assert_eq!(rig.ended(Way::In).0, Status::Complete);
}

#[test]
fn when_the_other_stream_is_over_it_waits_for_bye_as_ever() {
    let mut rig = settled(None);
    rig.out_ends();
    assert!(!rig.over);
    rig.frame(0, Frame::Bye);
    assert_eq!(rig.ended(Way::In).0, Status::Complete);
    assert_eq!(rig.session.farewell(), Farewell::First);

    let mut rig = settled(None);
    rig.out_ends();
    assert_eq!(rig.endures(Way::In, &DialError::Refused), (60, Status::Complete, String::new()));
}

#[test]
fn the_other_stream_may_end_first() {
    let mut rig = both();
    rig.lent(0, 1, 0, 0);
    rig.out_ends();
    assert_eq!((rig.judged(Way::Out).0, rig.told(is_bye)), (Status::Complete, vec![0]));
    rig.leg(0, 0);
    rig.frame(0, fin(1));
    rig.delivered(1);
    rig.output_closed();
    assert!(!rig.over);
    rig.frame(0, Frame::Bye);
    assert_eq!(rig.ended(Way::In).0, Status::Complete);
}

#[test]
fn while_it_keeps_connections_it_gives_the_sender_up_as_ever() {
    for (patience, seconds) in [(None, 60), (Some(4), 4)] {
        let mut rig = settled(patience);
        rig.frame(0, Frame::Bye);
        rig.lost(0, LossReason::Closed);
        rig.lost(1, LossReason::Closed);
        let (waited, status, _) = rig.endures(Way::Out, &DialError::Refused);
        assert_eq!((waited, status), (seconds, Status::Incomplete));
    }
}

#[test]
fn what_was_sent_of_the_other_stream_keeps_the_session() {
    let mut rig = both();
    rig.hello(&hello(0, 1)).unwrap();
    rig.lost(0, LossReason::Closed);
    rig.pass(secs(6));
    assert!(rig.hello(&other_session()).is_ok(), "nothing had begun");

    let mut rig = both();
    rig.lent(0, 1, 0, 0);
    rig.input(1);
    rig.frame(0, ack(1, 1));
    rig.lost(0, LossReason::Closed);
    rig.pass(secs(6));
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Busy));
    let (waited, ..) = rig.endures(Way::In, &DialError::Refused);
    assert_eq!(waited, 54, "it is gone after a minute, as ever");
}

#[test]
fn waiting_is_over_when_a_connection_is_back_though_no_leg_comes() {
    let mut rig = settled(None);
    rig.frame(0, Frame::Bye);
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Closed);
    rig.pass(secs(10));
    assert_eq!(rig.said().len(), 1);
    rig.hello(&begun_hello(0, 2)).unwrap();
    assert_eq!(rig.said(), [Event::WorksAgain { begun: true }]);
}

#[test]
fn an_output_that_failed_settles_its_stream_and_an_abort_ends_the_other() {
    let mut rig = both();
    rig.lent(0, 1, 0, 0);
    rig.output_failed(Status::Output, "the disk is full");
    assert_eq!(rig.judged(Way::In), (Status::Output, "the disk is full", false));
    rig.frame(0, Frame::Bye);
    assert!(!rig.over);
    rig.frame(0, abort(Status::Incomplete, "ended by SIGTERM"));
    assert_eq!(rig.ended(Way::Out), (Status::Incomplete, "ended by SIGTERM", true));
    assert_eq!(rig.ended(Way::In).0, Status::Output);
}

#[test]
fn a_session_that_was_forgotten_with_legs_on_the_way_there_is_taken_again() {
    let mut rig = both();
    rig.hello(&hello(0, 1)).unwrap();
    rig.lost(0, LossReason::Closed);
    rig.pass(secs(10));
    assert!(
        rig.session.receiving().unwrap().receiver().is_none(),
        "nothing has begun, as far as is known here"
    );
    let unnamed = Hello { instance: None, ..begun_hello(0, 2) };
    assert_eq!(rig.hello(&unnamed).err(), Some(RefusalCode::NotThatReceiver));
    let again = rig.hello(&begun_hello(0, 2)).unwrap();
    assert_eq!(again.next, 0);
}

#[test]
fn legs_of_a_stream_that_was_judged_keep_their_place() {
    let mut rig = both();
    rig.lent(0, 1, 0, 0);
    rig.output_failed(Status::Output, "the disk is full");
    let header = LegHeader { sequence: 0, offset: 0, raw: 1000, encoded: 1000, flags: 0, crc: 0 };
    assert_eq!(rig.session.landing(0, &header), Ok(Landing::Keep));
    rig.leg(0, 0);
    assert_eq!(rig.hello(&begun_hello(1, 1)).map(|welcome| welcome.next), Ok(1), "what is counted is here");
}

// ---- the stream that goes out -------------------------------------------------------------------------

#[test]
fn it_dials_nothing_and_waits_for_ever() {
    let mut rig = both();
    rig.input(1);
    rig.pass(secs(100_000));
    assert_eq!((rig.over, rig.dials.len(), rig.said()), (false, 0, vec![]));
    rig.lent(5, 1, 3, 0);
    assert_eq!(rig.sent(), [(5, 0)]);
}

#[test]
fn nothing_goes_out_before_the_far_end_has_welcomed_the_connection() {
    let mut rig = both();
    rig.input(1);
    rig.comes(0, 1, 0);
    rig.ready(0);
    rig.later(secs(2));
    assert_eq!((rig.sent(), rig.pings(0)), (vec![], vec![]));
    rig.welcomed(0, DIALLER, 0);
    rig.ready(0);
    rig.later(secs(2));
    assert_eq!((rig.sent(), rig.pings(0).len()), (vec![(0, 0)], 1));
}

#[test]
fn what_a_connection_carried_goes_over_the_others_and_the_next() {
    let mut rig = both();
    rig.lent(0, 1, 0, 0);
    rig.lent(9, 1, 1, 0);
    rig.input(2);
    assert_eq!(rig.sent(), [(0, 0), (9, 1)]);
    rig.lost(0, LossReason::Failed("reset".into()));
    rig.frame(9, ack(0, 1));
    rig.ready(9);
    assert_eq!(rig.sent(), [(9, 0)]);
    rig.lost(9, LossReason::Failed("reset".into()));
    rig.lent(0, 2, 0, 0);
    assert_eq!(rig.sent(), [(0, 0)]);
    assert_eq!(rig.session.losses().count, 2);
}

#[test]
fn a_connection_in_place_of_another_takes_what_that_carried() {
    let mut rig = both();
    rig.lent(2, 1, 0, 0);
    rig.input(1);
    rig.lent(2, 2, 1, 0);
    assert_eq!(rig.sent(), [(2, 0), (2, 0)]);
    assert_eq!((rig.up_count(), rig.session.link_of(2)), (1, Some(1)));
}

#[test]
fn a_connection_that_was_let_in_and_never_welcomed_is_none() {
    let mut rig = both();
    rig.comes(2, 1, 0);
    rig.lost(2, LossReason::Silent);
    assert_eq!(rig.up_count(), 0);
    rig.comes(2, 2, 0);
    rig.comes(2, 3, 1);
    rig.welcomed(2, DIALLER, 0);
    assert_eq!(rig.session.link_of(2), Some(1));
}

#[test]
fn links_of_the_far_end_are_filled_in_its_order_and_nobody_is_called_home() {
    let mut rig = both();
    for (connection, link) in [(0, 1), (1, 1), (4, 0), (5, 0)] {
        rig.lent(connection, 1, link, 0);
    }
    rig.input(4);
    assert_eq!(rig.sent(), [(5, 0), (4, 1), (1, 2), (0, 3)]);
    assert!(rig.leaves.is_empty());
}

#[test]
fn a_silent_connection_is_given_up_here_too_and_a_false_death_gives_its_link_more_time() {
    let mut rig = both();
    rig.lent(0, 1, 0, 0);
    rig.lent(1, 1, 0, 0);
    rig.input(1);
    let silence = |seconds| Silence { peer: secs(seconds), kernel: secs(seconds), waits: true };
    rig.later(secs(7));
    rig.does(|s, now| s.quiet(now, 1, silence(4)));
    assert_eq!(rig.drops, [(1, LossReason::Silent)]);
    rig.comes(1, 2, 0);
    rig.does(|s, now| s.welcomed(now, 1, &welcome(DIALLER, 0), None, secs(2)));
    rig.later(secs(1));
    rig.later(secs(18));
    rig.does(|s, now| s.quiet(now, 1, silence(17)));
    assert_eq!(rig.drops.len(), 1, "it may be silent for twice as long now, and the path is slow");
    rig.does(|s, now| s.quiet(now, 1, silence(18)));
    assert_eq!(rig.drops.len(), 2);
}

#[test]
fn a_receiver_that_began_nothing_may_be_replaced_and_one_that_did_may_not() {
    let mut rig = both();
    rig.lent(0, 1, 0, 0);
    rig.input(1);
    rig.lost(0, LossReason::Closed);
    rig.comes(0, 2, 0);
    rig.welcomed(0, DIALLER + 1, 0);
    rig.ready(0);
    assert_eq!(rig.sent(), [(0, 0), (0, 0)]);
    rig.frame(0, ack(1, 1));
    rig.lost(0, LossReason::Closed);
    rig.comes(0, 3, 0);
    rig.welcomed(0, DIALLER + 2, 1);
    assert_eq!(rig.drops, [(0, LossReason::Left)]);
    assert_eq!((rig.session.link_of(0), rig.over), (None, false));
}

#[test]
fn checksums_are_the_wish_of_the_end_that_dials() {
    let mut rig = both();
    rig.hello(&Hello { features: Features::CHECKSUM, ..hello(0, 1) }).unwrap();
    assert!(rig.session.sending().unwrap().is_checked());
}

// ---- both ---------------------------------------------------------------------------------------------

#[test]
fn a_peer_that_speaks_before_it_is_welcome_or_out_of_its_part_loses_the_connection() {
    let mut rig = both();
    rig.lent(0, 1, 0, 0);
    rig.frame(3, fin(0));
    assert_eq!(rig.drops, [(3, LossReason::Breach(Breach::NotWelcome))]);
    let mut rig = listener();
    rig.hello(&hello(0, 1)).unwrap();
    rig.frame(0, ack(0, 0));
    assert_eq!(rig.drops, [(0, LossReason::Breach(Breach::ToTheReceiver))]);
}

#[test]
fn one_stream_that_fails_is_of_no_use_without_the_other_if_they_are_inseparable() {
    let now = std::time::Instant::now();
    let receives: InboundConfig = inbound(LISTENER, None);
    let sends = Some(OutboundConfig { buffer: 128 << 20 });
    let mut rig = Rig::of(now, Session::listening(now, receives, sends, true));
    rig.lent(0, 1, 0, 0);
    rig.output_failed(Status::Output, "the disk is full");
    assert_eq!(rig.ended(Way::In), (Status::Output, "the disk is full", false));
    assert_eq!(rig.ended(Way::Out), (Status::Incomplete, "the disk is full", false));
    assert_eq!(rig.told(|frame| *frame == abort(Status::Output, "the disk is full")), [0]);
}

#[test]
fn what_a_session_that_gave_way_had_decided_is_undone() {
    let mut rig = both();
    let stranger = Hello { features: Features::CHECKSUM, ..other_session() };
    rig.hello(&stranger).unwrap();
    rig.welcomed(0, 99, 0);
    rig.ready(0);
    rig.input(1);
    assert_eq!(rig.sent(), [(0, 0)], "it takes a leg, and confirms nothing");
    rig.pass(ms(300));
    rig.hello(&hello(0, 1)).unwrap();
    rig.welcomed(0, DIALLER, 0);
    rig.ready(0);
    assert_eq!(rig.sent(), [(0, 0)], "the leg goes again, to the one that has come");
    assert!(rig.session.sending().is_some_and(|sending| !sending.is_checked()));
    assert_eq!((rig.session.losses().count, rig.over), (0, false));
}

#[test]
fn a_session_that_gives_way_is_forgotten_before_the_next_one_is_met() {
    let mut rig = both();
    rig.hello(&other_session()).unwrap();
    rig.pass(ms(300));
    let mut heard = Vec::new();
    rig.session.hello(rig.now, &hello(0, 1), None).unwrap();
    while let Some(action) = rig.session.poll() {
        match action {
            Action::Tell(Event::SessionForgotten) => heard.push("forgotten"),
            Action::Tell(Event::SessionBegins) => heard.push("begins"),
            Action::Met(Way::In, _) => heard.push("met"),
            _ => {}
        }
    }
    assert_eq!(heard, ["forgotten", "begins", "met"]);
}

#[test]
fn far_ends_that_come_and_go_do_not_use_up_the_patience_for_the_next() {
    let mut rig = both();
    rig.input(1);
    for guest in 0..100 {
        rig.hello(&Hello { session: id(100 + guest), ..hello(0, 1) }).unwrap();
        rig.welcomed(0, 99, 0);
        rig.ready(0);
        rig.frame(0, Frame::Ping { token: 1 });
        rig.pass(secs(1));
        rig.frame(0, Frame::Ping { token: 2 });
        rig.lost(0, LossReason::Closed);
        rig.pass(secs(6));
        assert!(!rig.over, "guest {guest}: {:?}", rig.settled);
    }
    rig.hello(&hello(0, 1)).unwrap();
    rig.welcomed(0, DIALLER, 0);
    rig.ready(0);
    assert!(!rig.over);
}

// ---- what may wait for the next event -----------------------------------------------------------------

#[test]
fn a_connection_stays_ready_unless_a_leg_waits_for_one() {
    let mut rig = both();
    rig.lent(0, 1, 0, 0);
    rig.input(1);
    assert_eq!(rig.sent(), [(0, 0)]);
    assert!(rig.does(|s, now| s.stays_ready(now, 0)));
    rig.input(1);
    assert_eq!(rig.sent(), [(0, 1)], "it need not say that it is ready");
    rig.input(1);
    assert!(!rig.does(|s, now| s.stays_ready(now, 0)), "a leg waits");
    assert_eq!(rig.sent(), []);
    rig.ready(0);
    assert_eq!(rig.sent(), [(0, 2)]);
}

#[test]
fn an_answer_goes_where_the_question_came() {
    let mut rig = both();
    rig.lent(0, 1, 0, 0);
    rig.lent(1, 1, 0, 0);
    rig.leg(0, 0);
    rig.input(1);
    assert_eq!((rig.sent(), rig.acks()), (vec![(0, 0)], vec![(0, 1)]), "and so does what is acknowledged");
    rig.frame(0, ack(1, 1));
    rig.input(1);
    assert_eq!(rig.sent(), [(1, 1)], "else it goes where the path drained last");
}

#[test]
fn what_little_the_output_has_taken_goes_with_the_next_event() {
    let mut rig = both();
    rig.lent(0, 1, 0, 0);
    rig.leg(0, 0);
    assert!(!rig.does(|s, now| s.delivered_little(now, 1, LEN)));
    assert_eq!(rig.acks(), []);
    rig.input(1);
    let delivered = rig.session.receiving().unwrap().position().delivered;
    assert_eq!((rig.acks(), delivered), (vec![(0, 1)], LEN));

    // the end is to be told at once
    rig.leg(0, 1);
    rig.frame(0, fin(2));
    assert!(rig.does(|s, now| s.delivered_little(now, 1, LEN)));
    assert_eq!(rig.closes, 0);
    rig.later(ms(0));
    assert_eq!(rig.closes, 1);
}

#[test]
fn a_leg_behind_a_frame_that_may_not_be_is_not_taken() {
    let mut rig = both();
    rig.lent(0, 1, 0, 0);
    rig.input(1);
    rig.does(|s, now| s.frame_and_leg(now, 0, ack(1, 1), leg(0)));
    assert_eq!(
        (rig.delivers.as_slice(), rig.session.sending().unwrap().sender().is_empty()),
        (&[0][..], true)
    );
    rig.does(|s, now| s.frame_and_leg(now, 0, ack(7, 7), leg(1)));
    assert_eq!((rig.delivers.as_slice(), rig.drops.len()), (&[0][..], 1));
}
