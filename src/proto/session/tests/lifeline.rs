//! Sessions with a lifeline: what it carries, who finds it dead, and an end that is there for one sender alone.

use super::super::super::hello::{Direction, Features, Hello, RefusalCode, Welcome};
use super::super::super::life::{REAP, Silence};
use super::super::super::links::{DialError, HEADSTART, LossReason, REFUSED_MAX};
use super::super::super::mailbox::Item;
use super::super::super::outcome::{CommandEnd, Outcome, Status};
use super::super::super::waiting::Patience;
use super::super::super::way::Way;
use super::super::super::wire::{Frame, Verdict};
use super::super::{Action, DiallerConfig, InboundConfig, OutboundConfig, Session, Tied};
use super::rig::*;
use std::time::{Duration, Instant};

const UNMET: Duration = Duration::from_secs(60);
const GONE: Duration = Duration::from_secs(10);

/// An end that dials these direct links, and has a lifeline after them; as many connections as there are links.
fn dialler(direct: usize) -> Rig {
    let now = Instant::now();
    Rig::of(now, dialling(now, direct))
}

fn dialling(now: Instant, direct: usize) -> Session {
    let links: Vec<_> = (0..direct).map(|link| format!("host{link}")).chain(["ssh".into()]).collect();
    let hello = Hello { features: Features::ENOUGH, ..hello(0, 0) };
    let connections = links.len();
    let dials = DiallerConfig { lifeline: true, ..DiallerConfig::new(hello, links, connections, 1) };
    Session::dialling(now, dials, Some(inbound(DIALLER, None)), false)
}

/// An end that is there for one sender alone, which has its lifeline on link 1.
fn listener(patience: Option<Patience>) -> Rig {
    let now = Instant::now();
    let tied = Some(Tied { unmet: UNMET, gone: GONE });
    let receives = InboundConfig { tied, ..inbound(LISTENER, patience) };
    let sends = Some(OutboundConfig { buffer: 128 << 20 });
    let mut session = Session::listening(now, receives, sends, false);
    session.set_lifeline(1);
    Rig::of(now, session)
}

/// The hello of connection 0 or 1, on the link of that number.
fn asks(connection: u8, attempt: u32) -> Hello {
    let direction = Direction::Duplex;
    Hello { link: connection, direction, ..hello(connection, attempt) }
}

// ---- what it carries ------------------------------------------------------------------------------------

#[test]
fn a_lifeline_carries_only_while_no_other_link_does() {
    let mut rig = dialler(1);
    rig.welcomed(1, LISTENER, 0);
    rig.input(1);
    rig.ready(1);
    assert_eq!(rig.sent(), [(1, 0)], "it is there first");
    rig.ready(1);
    rig.welcomed(0, LISTENER, 0);
    rig.input(3);
    assert!(rig.sent().is_empty(), "the direct one does not drain yet, and is waited for");
    rig.ready(0);
    assert_eq!(rig.sent(), [(0, 1)]);
    rig.lost(0, LossReason::Closed);
    assert_eq!(rig.sent(), [(1, 1)], "nobody else is there");
}

#[test]
fn what_direct_links_do_not_bring_goes_over_the_lifeline() {
    let mut rig = dialler(2);
    (0..3).for_each(|connection| rig.welcomed(connection, LISTENER, 0));
    rig.all_ready();
    rig.input(1);
    rig.later(ms(1));
    rig.input(1);
    assert_eq!(rig.sent(), [(0, 0), (1, 1)]);
    rig.frame(1, ack(0, 1));
    assert!(rig.sent().is_empty());
    rig.later(secs(2));
    assert_eq!(rig.sent(), [(2, 0)], "the one on link 0 was overtaken, and that on link 1 does not drain");
}

#[test]
fn a_leg_of_a_dead_connection_waits_for_no_lifeline_that_is_spared() {
    let mut rig = dialler(2);
    rig.welcomed(2, LISTENER, 0);
    rig.input(1);
    rig.ready(2);
    rig.later(ms(1));
    rig.frame(2, ack(1, 1));
    rig.ready(2);
    (0..2).for_each(|connection| rig.welcomed(connection, LISTENER, 0));
    rig.ready(1);
    rig.input(1);
    rig.later(secs(3));
    rig.frame(1, ack(2, 1));
    rig.ready(0);
    rig.input(1);
    assert_eq!(
        rig.sent(),
        [(2, 0), (1, 1), (0, 2)],
        "the lifeline has shown itself quick, connection 1 slow"
    );
    rig.end_input();
    rig.ready(1);
    rig.lost(0, LossReason::Closed);
    assert_eq!(rig.sent(), [(1, 2)], "nobody asks the lifeline while this one is up");
}

// ---- a welcome said ahead ---------------------------------------------------------------------------------

#[test]
fn who_dials_welcomes_the_far_end_of_a_lifeline_in_its_hello_and_nobody_else() {
    let now = Instant::now();
    let mut session = dialling(now, 1);
    let later = now + HEADSTART;
    [now, later].into_iter().for_each(|now| session.tick(now));
    let mut said = [None; 2];
    while let Some(action) = session.poll() {
        if let Action::Dial { link, hello, .. } = action {
            said[link] = hello.welcome();
        }
    }
    // the far end has not said yet how much memory it has: it is taken to have as much, and makes its own legs no longer
    // than its own memory allows
    let welcome = Welcome { buffer: hello(0, 0).buffer, ..welcome(LISTENER, 0) };
    session.welcomed(later, 1, &welcome, None, RTT);
    assert!(matches!(session.take(1), Some(Item::Welcome(welcome)) if said == [None, Some(welcome)]));
}

#[test]
fn legs_follow_a_welcome_that_was_said_ahead_and_the_same_again_shows_the_distance() {
    let mut rig = listener(None);
    rig.hello(&asks(1, 1)).unwrap();
    rig.does(|s, now| s.welcomed_ahead(now, 1, &welcome(DIALLER, 0), None, ms(300)));
    rig.ready(1);
    rig.input(1);
    assert_eq!(rig.sent(), [(1, 0)]);
    rig.does(|s, now| s.welcomed(now, 1, &welcome(DIALLER, 0), None, ms(100)));
    let shortest = rig.session.sending().unwrap().sender().pace(1).and_then(|pace| pace.rtt_min());
    assert_eq!(shortest, Some(ms(100)));
    assert!(rig.sent().is_empty() && rig.drops.is_empty() && rig.welcomes.is_empty());
    rig.frame(1, ack(1, 1));
    rig.ready(1);
    rig.input(1);
    assert_eq!(rig.sent(), [(1, 1)], "it is the connection that it was");
}

#[test]
fn a_welcome_said_ahead_may_know_less_than_a_quicker_link_has_brought_since() {
    let mut rig = listener(None);
    rig.hello(&asks(0, 1)).unwrap();
    rig.welcomed(0, DIALLER, 0);
    rig.ready(0);
    rig.input(1);
    rig.frame(0, ack(1, 1));
    rig.hello(&asks(1, 1)).unwrap();
    rig.does(|s, now| s.welcomed_ahead(now, 1, &welcome(DIALLER, 0), None, ms(300)));
    assert!(!rig.over && rig.drops.is_empty() && rig.settled.is_empty());
    rig.lost(0, LossReason::Closed);
    rig.ready(1);
    rig.input(1);
    assert_eq!(rig.sent(), [(0, 0), (1, 1)], "it carries what comes next");
}

// ---- its life -------------------------------------------------------------------------------------------

#[test]
fn nobody_here_finds_a_lifeline_dead() {
    for (connection, dead) in [(1, false), (0, true)] {
        let mut rig = dialler(1);
        rig.welcomed(1, LISTENER, 0);
        rig.welcomed(0, LISTENER, 0);
        rig.later(secs(2));
        rig.later(secs(120));
        let silence = Silence { peer: secs(120), kernel: secs(120), waits: true };
        rig.does(|s, now| s.quiet(now, connection, silence));
        assert_eq!(rig.drops.iter().any(|(dropped, _)| *dropped == connection), dead);
    }
}

#[test]
fn without_its_lifeline_a_session_goes_on_over_direct_links() {
    let mut rig = dialler(1);
    rig.welcomed(1, LISTENER, 0);
    rig.welcomed(0, LISTENER, 0);
    rig.lost(1, LossReason::Closed);
    rig.later(secs(10));
    assert!(!rig.over);
    assert!(rig.dials.iter().filter(|dial| dial.link == 1).count() == 1, "it cannot be had again");
}

/// Nothing was received yet of either stream when the lifeline and the direct link break together.
fn quiet_and_cut_off() -> Rig {
    let mut rig = dialler(1);
    rig.welcomed(1, LISTENER, 0);
    rig.welcomed(0, LISTENER, 0);
    rig.forget();
    rig.lost(1, LossReason::Closed);
    rig.lost(0, LossReason::Closed);
    rig.later(ms(200));
    rig
}

#[test]
fn a_quiet_session_survives_an_outage_where_a_direct_link_has_worked() {
    let mut rig = quiet_and_cut_off();
    assert!(rig.dials.iter().any(|dial| dial.link == 0 && dial.begun && dial.instance == Some(id(LISTENER))));
    rig.failed(0, DialError::Refused);
    rig.pass(secs(8));
    rig.later(secs(5));
    assert!(!rig.over && rig.dials.iter().any(|dial| dial.link == 0));
    rig.welcomed(0, LISTENER, 0);
    rig.ready(0);
    rig.input(1);
    assert_eq!(rig.sent(), [(0, 0)]);
}

#[test]
fn a_quiet_session_waits_for_a_direct_link_as_long_as_one_that_has_said_something() {
    let (seconds, status, sentence) = quiet_and_cut_off().endures(Way::Out, &DialError::Refused);
    assert_eq!((seconds, status), (REFUSED_MAX.as_secs(), Status::Incomplete));
    assert!(sentence.contains("the receiver is gone: host0: connection refused; ssh: ended"), "{sentence}");
    let (seconds, ..) = quiet_and_cut_off().endures(Way::Out, &DialError::TimedOut);
    assert!((3590..=3600).contains(&seconds), "the far end may be waiting behind a network that is away");
}

/// The direct link was up, and had been dead for two minutes when the lifeline ended, which had answered for so long.
fn with_a_dead_direct_link(received: bool, answers: Duration) -> Rig {
    let mut rig = dialler(1);
    rig.welcomed(1, LISTENER, 0);
    rig.welcomed(0, LISTENER, 0);
    if received {
        rig.ready(0);
        rig.input(1);
        rig.frame(0, ack(1, 1));
    }
    rig.lost(0, LossReason::Silent);
    let (began, until) = (rig.now, rig.now + REAP + secs(60));
    while rig.now < until {
        rig.forget();
        rig.pass_with(secs(30), &DialError::TimedOut);
        if rig.now <= began + answers && !rig.pings(1).is_empty() {
            rig.pong(1);
        }
    }
    assert!(!rig.over);
    rig.lost(1, LossReason::Closed);
    rig
}

#[test]
fn a_lifeline_that_has_outlived_each_direct_link_leaves_nothing_to_wait_for() {
    assert!(with_a_dead_direct_link(false, secs(120)).over);
    let rig = with_a_dead_direct_link(true, secs(120));
    assert!(!rig.over);
    assert_eq!(rig.endures(Way::Out, &DialError::TimedOut).0, REFUSED_MAX.as_secs());
}

#[test]
fn where_the_whole_network_was_away_the_far_end_may_be_there_yet() {
    // a minute is enough for the far end to find the direct link dead; later the network went away too
    for answers in [0, 30, 90].map(secs) {
        for received in [false, true] {
            let rig = with_a_dead_direct_link(received, answers);
            assert!(!rig.over);
            assert!(rig.endures(Way::Out, &DialError::TimedOut).0 > 3000, "{answers:?} {received}");
        }
    }
}

#[test]
fn nobody_waits_for_a_link_that_was_refused_for_good() {
    let mut rig = dialler(2);
    (0..3).filter(|connection| *connection != 1).for_each(|connection| rig.welcomed(connection, LISTENER, 0));
    rig.ready(0);
    rig.input(1);
    rig.frame(0, ack(1, 1));
    rig.lost(0, LossReason::Closed);
    rig.lost(2, LossReason::Closed);
    rig.failed(1, DialError::TimedOut);
    assert!(rig.dials.iter().any(|dial| dial.connection == 0));
    rig.refused(0, RefusalCode::NotThatReceiver);
    assert!(!rig.over, "link 1 has never answered, and is dialled for a while yet");
    assert_eq!(rig.endures(Way::Out, &DialError::TimedOut).0, REFUSED_MAX.as_secs());
}

#[test]
fn that_all_of_an_empty_input_has_arrived_is_not_said_where_nothing_was_received() {
    let mut rig = quiet_and_cut_off();
    rig.end_input();
    let (_, _, sentence) = rig.endures(Way::Out, &DialError::Refused);
    assert!(sentence.starts_with("the receiver is gone: "), "{sentence}");
}

#[test]
fn with_nothing_left_it_ends_at_once_and_says_what_is_wrong_with_each_link() {
    let mut rig = dialler(1);
    rig.failed(0, DialError::Refused);
    rig.welcomed(1, LISTENER, 0);
    rig.lost(1, LossReason::Closed);
    let (status, sentence, _) = rig.ended(Way::Out);
    assert_eq!(status, Status::Incomplete);
    assert!(sentence.contains("host0: connection refused; ssh: ended"), "{sentence}");
    let mut alone = dialler(0);
    alone.welcomed(0, LISTENER, 0);
    alone.input(1);
    alone.all_ready();
    alone.frame(0, ack(1, 1));
    alone.lost(0, LossReason::Closed);
    assert!(alone.over, "there is nothing else to wait for");
}

#[test]
fn behind_a_link_that_never_answers_the_end_of_the_lifeline_is_the_end_within_seconds() {
    for was_up in [false, true] {
        let mut rig = dialler(1);
        rig.welcomed(1, LISTENER, 0);
        rig.all_ready();
        rig.input(1);
        rig.frame(1, ack(1, 1));
        if was_up {
            rig.welcomed(0, LISTENER, 0);
            rig.lost(0, LossReason::Silent);
        }
        rig.lost(1, LossReason::Closed);
        rig.failed(0, DialError::TimedOut);
        rig.later(REFUSED_MAX - secs(1));
        assert!(!rig.over);
        rig.later(secs(2));
        assert_eq!(rig.over, !was_up, "its far end may be there for a link that has led to it");
    }
}

// ---- the end of a command -------------------------------------------------------------------------------

#[test]
fn the_end_of_the_command_ends_the_input_whatever_was_taken() {
    let mut rig = dialler(0);
    rig.welcomed(0, LISTENER, 0);
    rig.input(3);
    let command = Some(CommandEnd::Exit(7));
    let verdict = Verdict { bytes: 0, crc: None, status: Status::Complete, command, sentence: "so".into() };
    rig.frame(0, Frame::Verdict(verdict));
    let outcome = rig.session.outcome(Way::Out).unwrap();
    assert_eq!(*outcome, Outcome::there(Status::Complete, "so").of_command(command));
}

#[test]
fn a_command_ends_with_its_status_at_the_other_end_too() {
    let mut rig = listener(None);
    rig.hello(&asks(1, 1)).unwrap();
    rig.leg(1, 0);
    rig.does(|s, now| s.command_ended(now, None, CommandEnd::Signal(15), "late"));
    let outcome = rig.session.outcome(Way::In).unwrap();
    assert_eq!((outcome.command, outcome.status), (Some(CommandEnd::Signal(15)), Status::Complete));
    assert_eq!(rig.verdicts(), [(1, Status::Complete)]);
}

// ---- an end for one sender ------------------------------------------------------------------------------

#[test]
fn who_never_comes_or_never_says_anything_is_not_waited_for() {
    assert_eq!(listener(None).endures(Way::In, &DialError::Refused).0, UNMET.as_secs());
    assert_eq!(listener(patience(0)).endures(Way::In, &DialError::Refused).0, UNMET.as_secs());
    let mut silent = listener(None);
    silent.hello(&asks(1, 1)).unwrap();
    silent.lost(1, LossReason::Closed);
    assert_eq!(silent.endures(Way::In, &DialError::Refused).0, 5);
}

#[test]
fn a_sender_whose_connections_have_all_closed_is_gone_soon_even_if_nothing_was_sent() {
    for patience in [None, patience(0), patience(1000)] {
        let mut rig = listener(patience);
        rig.hello(&asks(1, 1)).unwrap();
        rig.frame(1, Frame::Ping { token: 1 });
        rig.hello(&asks(0, 1)).unwrap();
        rig.lost(1, LossReason::Closed);
        rig.later(secs(30));
        assert!(!rig.over, "a direct connection is there");
        rig.lost(0, LossReason::Closed);
        assert_eq!(rig.endures(Way::In, &DialError::Refused).0, GONE.as_secs());
    }
}

#[test]
fn a_silent_sender_may_come_back() {
    let mut rig = listener(None);
    rig.hello(&asks(0, 1)).unwrap();
    rig.frame(0, Frame::Ping { token: 1 });
    rig.lost(0, LossReason::Silent);
    rig.later(secs(600));
    assert!(!rig.over);
    rig.hello(&asks(0, 2)).unwrap();
}

#[test]
fn once_met_it_serves_nobody_else() {
    let mut rig = listener(None);
    rig.hello(&asks(1, 1)).unwrap();
    rig.frame(1, Frame::Ping { token: 1 });
    rig.later(secs(1));
    let other = Hello { session: id(2), ..asks(0, 1) };
    assert!(rig.hello(&other).is_err());
}
