//! One session at one end, event by event.

mod dialler_connections;
mod dialler_duplex;
mod dialler_endings;
mod dialler_life;
mod dialler_near;
mod dialler_replaced;
mod enough;
mod failing;
mod freed;
mod keys;
mod lifeline;
mod listener_connections;
mod listener_duplex;
mod listener_verdict;
mod messages;
mod pretending;
mod rig;
mod waiting;

use super::super::outcome::Status;
use super::super::way::Way;
use super::super::wire::Frame;
use super::{Farewell, InboundConfig, Landing, Session};
use rig::*;

#[test]
fn whom_to_wait_for_depends_on_who_has_the_last_word() {
    let mut rig = up(1, 1);
    rig.input(1);
    rig.end_input();
    rig.frame(0, ack(1, 1));
    rig.frame(0, verdict(Status::Complete, LEN));
    assert_eq!(
        (rig.judged(Way::Out).0, rig.over),
        (Status::Complete, false),
        "whether bye came is not known"
    );
    rig.pong(0);
    assert_eq!((rig.ended(Way::Out).0, rig.session.farewell()), (Status::Complete, Farewell::Nobody));

    let mut rig = up(1, 1);
    rig.fail(Status::Incomplete, "ended by SIGTERM");
    assert_eq!(rig.session.farewell(), Farewell::All, "the abort must get there");

    let mut rig = listener_judged(None);
    rig.frame(0, Frame::Bye);
    assert_eq!((rig.ended(Way::In).0, rig.session.farewell()), (Status::Complete, Farewell::Nobody));

    let mut rig = listener_begun(None);
    rig.frame(0, abort(Status::Input, "zfs send failed"));
    assert_eq!(rig.session.farewell(), Farewell::Nobody);

    let mut rig = listener_judged(None);
    rig.pass(secs(61));
    assert_eq!((rig.over, rig.session.farewell()), (true, Farewell::All), "nobody said bye");
}

#[test]
fn a_stream_that_the_session_does_not_have_is_done_with_from_the_start() {
    let (mut rig, now) = (up(1, 1), std::time::Instant::now());
    assert!(rig.session.receiving().is_none() && rig.session.outcome(Way::In).is_none());
    rig.does(|s, _| s.output_failed(now, Status::Output, "there is none"));
    assert!(!rig.over && rig.settled.is_empty());
    let mut rig = listener_begun(None);
    rig.input(1);
    rig.does(|s, _| s.input_failed(now, "there is none"));
    assert!(!rig.over && rig.sends.is_empty());
}

#[test]
fn a_leg_has_a_place_inside_the_window_and_goes_nowhere_when_it_is_here() {
    use super::super::breach::Breach;
    use super::super::links::LossReason;
    use super::super::wire::LegHeader;
    let mut rig = listener_begun(None);
    rig.leg(0, 2);
    let header = |sequence, offset, raw| LegHeader { sequence, offset, raw, encoded: raw, flags: 0, crc: 0 };
    let landing = |connection, header| rig.session.landing(connection, &header);
    assert_eq!(landing(0, header(1, LEN, 1000)), Ok(Landing::Keep));
    assert_eq!(landing(0, header(0, 0, 1000)), Ok(Landing::Scratch));
    assert_eq!(landing(1, header(2, 2 * LEN, 1000)), Ok(Landing::Scratch), "it is here, and waits for leg 1");
    for (connection, header, breach) in [
        (2, header(1, LEN, 1000), Breach::NotWelcome),
        (0, header(1, 1 << 40, 1000), Breach::BeyondWindow(1)),
        (0, header(1, LEN, (1 << 20) + 1), Breach::TooLong((1 << 20) + 1)),
        (0, LegHeader { encoded: 999, ..header(1, LEN, 1000) }, Breach::Encoding),
    ] {
        assert_eq!(landing(connection, header), Err(LossReason::Breach(breach)));
    }
    let sender = up(1, 1);
    let told = sender.session.landing(0, &header(0, 0, 1));
    assert_eq!(told, Err(LossReason::Breach(Breach::ToTheSender)));
}

#[test]
fn a_compressed_leg_has_a_place_only_if_that_was_agreed_and_it_did_shrink() {
    use super::super::breach::Breach;
    use super::super::hello::{Features, Hello};
    use super::super::links::LossReason;
    use super::super::wire::{LegFlags, LegHeader};
    let leg = |flags, encoded| LegHeader { sequence: 0, offset: 0, raw: 1000, encoded, flags, crc: 0 };
    let refused = Err(LossReason::Breach(Breach::Encoding));
    for (features, agreed) in [(Features::NONE, false), (Features::COMPRESS, true)] {
        let mut rig = Rig::listening(None, false);
        rig.hello(&Hello { features, ..hello(0, 1) }).unwrap();
        let landing = |header| rig.session.landing(0, &header);
        let kept = if agreed { Ok(Landing::Keep) } else { refused.clone() };
        for flags in [LegFlags::COMPRESSED, LegFlags::COMPRESSED | LegFlags::CHECKED] {
            assert_eq!(landing(leg(flags, 10)), kept);
            assert_eq!(landing(leg(flags, 1000)), kept);
            assert_eq!(landing(leg(flags, 1001)), refused);
        }
        assert_eq!(landing(leg(0, 1000)), Ok(Landing::Keep));
        assert_eq!(landing(leg(0, 10)), refused);
        assert_eq!(landing(leg(LegFlags::THROUGH, 1000)), refused);
    }
}

#[test]
fn a_leg_from_a_program_has_a_place_only_where_all_are_such() {
    use super::super::breach::Breach;
    use super::super::hello::{Features, Hello};
    use super::super::links::LossReason;
    use super::super::wire::{LegFlags, LegHeader};
    let leg = |flags, raw, encoded| LegHeader { sequence: 0, offset: 0, raw, encoded, flags, crc: 0 };
    let refused = Err(LossReason::Breach(Breach::Encoding));
    let both = Features::THROUGH | Features::COMPRESS;
    for (features, compresses) in [(Features::THROUGH, false), (both, true)] {
        let config = InboundConfig { features: Features::THROUGH, ..inbound(LISTENER, None) };
        let now = std::time::Instant::now();
        let mut rig = Rig::of(now, Session::listening(now, config, None, false));
        rig.hello(&Hello { features, buffer: 128 << 20, ..hello(0, 1) }).unwrap();
        let landing = |header| rig.session.landing(0, &header);
        for encoded in [1, 1000, 2 << 20] {
            assert_eq!(landing(leg(LegFlags::THROUGH, 1000, encoded)), Ok(Landing::Keep));
        }
        assert_eq!(landing(leg(LegFlags::THROUGH, 1000, (2 << 20) + 1)), refused);
        assert_eq!(landing(leg(LegFlags::THROUGH, 256 << 10, 1000)), Ok(Landing::Keep));
        assert_eq!(landing(leg(LegFlags::THROUGH, (256 << 10) + 1, 1000)), refused);
        assert_eq!(landing(leg(0, 1000, 1000)), refused);
        assert_eq!(landing(leg(LegFlags::COMPRESSED, 1000, 10)), refused);
        let kept = if compresses { Ok(Landing::Keep) } else { refused.clone() };
        assert_eq!(landing(leg(LegFlags::ENCODED, 1000, 2000)), kept);
    }
}

#[test]
fn a_connection_that_brings_damage_and_takes_no_complaints_is_given_up() {
    let mut rig = listener_begun(None);
    for sequence in 0..17 {
        rig.session.leg_damaged(rig.now, 0, sequence);
    }
    rig.does(|_, _| ());
    assert!(matches!(rig.drops[..], [(0, _)]), "{:?}", rig.drops);
    assert_eq!(rig.session.again(), 17);
}
