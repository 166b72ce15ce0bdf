//! The end that dials, with one stream: whether its connections live.

use super::super::super::hello::{Features, Hello};
use super::super::super::life::Silence;
use super::super::super::links::{DialError, LossReason, REFUSED_MAX};
use super::super::super::way::Way;
use super::super::super::wire::{Ack, Frame};
use super::super::{DiallerConfig, Session};
use super::rig::*;
use std::time::Instant;

#[test]
fn every_connection_is_pinged_each_second_and_pongs_measure_it() {
    let mut rig = up(1, 2);
    // something is under way
    rig.input(2);
    rig.frames.clear();
    rig.later(ms(999));
    assert_eq!(rig.told(|f| matches!(f, Frame::Ping { .. })), [0; 0]);
    rig.later(ms(1));
    let pings: Vec<_> = std::mem::take(&mut rig.frames);
    let [(0, Frame::Ping { token: first }), (1, Frame::Ping { token: second })] = pings[..] else {
        panic!("{pings:?}")
    };
    assert_ne!(first, second);
    rig.now += ms(90);
    rig.frame(0, Frame::Pong { token: second });
    assert_eq!(
        rig.session.sending().unwrap().sender().pace(0).and_then(|p| p.rtt()),
        Some(RTT),
        "not its token"
    );
    rig.frame(0, Frame::Pong { token: first });
    assert_eq!(
        rig.session.sending().unwrap().sender().pace(0).and_then(|p| p.rtt()),
        Some((RTT * 7 + ms(90)) / 8)
    );
    rig.later(secs(1));
    assert_eq!(rig.told(|f| matches!(f, Frame::Ping { .. })), [0], "1 has not answered the last one");
}

#[test]
fn silence_ends_a_connection_after_3_rtt_and_3_s() {
    let mut rig = up(1, 2);
    rig.input(1);
    let silence = |millis| Silence { peer: ms(millis), kernel: ms(millis), waits: true };
    rig.later(ms(3030));
    rig.does(|s, now| s.quiet(now, 1, silence(3029)));
    assert!(rig.drops.is_empty());
    rig.does(|s, now| s.quiet(now, 1, silence(3030)));
    assert_eq!(rig.drops, [(1, LossReason::Silent)]);
    assert_eq!(rig.sent(), [(1, 0), (0, 0)]);
}

/// A peer whose programs decode two legs, and that says every second where it stands; whether it `answers` pings, and whether
/// its kernel has taken all. For how many seconds the connection is kept, 100 at most.
fn keeps_who_decodes(answers: bool, waits: bool) -> u64 {
    let hello = Hello { buffer: 128 << 20, features: Features::THROUGH, ..hello(0, 0) };
    let now = Instant::now();
    let dials = DiallerConfig::new(hello, vec!["host".into()], 1, 1);
    let mut rig = Rig::of(now, Session::dialling(now, dials, None, false));
    rig.welcomed(0, LISTENER, 0);
    rig.ready(0);
    rig.input(2);
    for second in 1..=100 {
        rig.later(secs(1));
        let silence = Silence { peer: ms(1100), kernel: secs(second), waits };
        rig.does(|s, now| s.quiet(now, 0, silence));
        if !rig.drops.is_empty() {
            return second;
        }
        rig.frame(0, ack(0, 0));
        if answers {
            rig.pong(0);
        }
    }
    100
}

#[test]
fn who_decodes_legs_lives_by_its_answers_whatever_its_kernel_has_still_to_take() {
    assert_eq!((keeps_who_decodes(true, false), keeps_who_decodes(true, true)), (100, 100));
    for waits in [false, true] {
        let kept = keeps_who_decodes(false, waits);
        assert!(kept < 10, "{kept} s, {waits}: nothing gets there");
    }
}

#[test]
fn a_blocked_output_is_reported_and_nothing_else_happens() {
    let mut rig = up(1, 1);
    rig.input(1);
    for second in 1..100u32 {
        rig.later(secs(1));
        let blocked = Ack { next: 1, delivered: 0, edge: edge(1000), count: 1, blocked_ms: second * 1000 };
        rig.frame(0, Frame::Ack(blocked));
    }
    assert_eq!(rig.session.sending().unwrap().blocked_at_peer(), secs(99));
    assert_eq!((rig.up_count(), rig.said(), rig.over), (1, vec![], false));
}

#[test]
fn beside_another_that_answers_silence_ends_a_connection_after_1_s_and_no_lenience_follows() {
    let mut rig = up(1, 2);
    rig.input(2);
    let sent = rig.sent();
    let [(other, _), (silent, _)] = sent[..] else { panic!("{sent:?}") };
    rig.later(ms(20));
    rig.frame(other, ack(0, 1));
    let silence = |millis| Silence { peer: ms(millis), kernel: ms(millis), waits: true };
    rig.later(ms(1000));
    rig.does(|s, now| s.quiet(now, silent, silence(1020)));
    assert!(rig.drops.is_empty(), "what was answered was sent no later");
    let pings: Vec<_> = std::mem::take(&mut rig.frames);
    let asked = pings.iter().find_map(|(to, frame)| match frame {
        Frame::Ping { token } if *to == other => Some(*token),
        _ => None,
    });
    rig.later(ms(20));
    rig.frame(other, Frame::Pong { token: asked.unwrap() });
    rig.does(|s, now| s.quiet(now, silent, silence(1040)));
    assert_eq!(rig.drops, [(silent, LossReason::Silent)]);
    rig.welcomed(silent, LISTENER, 0);
    assert_eq!(rig.session.lenience(0), 1);
}

#[test]
fn where_all_of_a_link_are_silent_one_is_dialled_anew_and_its_welcome_condemns_the_others() {
    let mut rig = up(1, 3);
    rig.input(3);
    let silence = |millis| Silence { peer: ms(millis), kernel: ms(millis), waits: true };
    let look = |rig: &mut Rig, millis| {
        (0..3).for_each(|connection| rig.does(|s, now| s.quiet(now, connection, silence(millis))));
    };
    rig.later(ms(1000));
    look(&mut rig, 1000);
    assert_eq!(rig.drops, [(2, LossReason::Silent)], "the others were looked at before");
    rig.later(ms(200));
    rig.welcomed(2, LISTENER, 0);
    look(&mut rig, 1200);
    assert_eq!(rig.drops.len(), 1);
    rig.later(secs(1) + RTT * 2);
    look(&mut rig, 2220);
    assert_eq!(rig.drops.len(), 3, "{:?}", rig.drops);
}

#[test]
fn connections_that_were_refused_beside_one_that_works_do_not_end_the_session_when_that_one_breaks() {
    let mut rig = begun(1, 2);
    rig.lost(1, LossReason::Closed);
    for _ in 0..20 {
        rig.later(secs(1));
        rig.pong(0);
        rig.failed(1, DialError::Refused);
    }
    rig.lost(0, LossReason::Closed);
    rig.later(ms(0));
    assert_eq!(rig.session.outcome(Way::Out), None);
    let (waited, ..) = rig.endures(Way::Out, &DialError::Refused);
    assert_eq!(waited, REFUSED_MAX.as_secs());
}
