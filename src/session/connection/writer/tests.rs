use super::super::{Seat, SessionDesk};
use super::*;
use crate::channel::Transport;
use crate::proto::hello::{Features, Hello, Id, Welcome};
use crate::proto::leg::LEG_FIRST;
use crate::proto::session::{DiallerConfig, Session};
use crate::proto::wire::WindowEdge;
use crate::session::orders::{Nobody, Order};
use std::io::{self, PipeReader, PipeWriter};
use std::time::Duration;

const BUFFER: u64 = 64 << 20;

/// A session with one connection that was welcomed, and so many small legs for it.
fn session(legs: usize) -> (SessionDesk, Ticket) {
    let (now, link) = (Instant::now(), || vec!["a".to_owned()]);
    let hello = Hello::of(Id::new([1; 16]), Features::NONE, BUFFER);
    let session = Session::dialling(now, DiallerConfig::new(hello, link(), 1, 7), None, false);
    let core = SessionCore::new(now, session, BUFFER, link(), Default::default(), Arc::default());
    let desk = SessionDesk::new(core, Box::new(Nobody));
    desk.seat(0, Seat::new().unwrap().0);
    desk.begin();
    let Some(Order::Dial { ticket, .. }) = desk.take_order(0) else { panic!("nothing to dial") };
    let edge = WindowEdge { bytes: BUFFER, legs: 4096 };
    let (instance, features) = (Id::new([2; 16]), Features::NONE);
    let welcome = Welcome { instance, next: 0, edge, leg_max: 2 << 20, features, buffer: BUFFER };
    desk.connected(ticket, |core, now| {
        core.session.welcomed(now, 0, &welcome, None, Duration::from_micros(100));
    });
    for _ in 0..legs {
        desk.tell(|core, now| core.session.input(now, Arc::new(vec![0u8; LEG_FIRST])));
    }
    (desk, ticket)
}

/// A path that takes all of what is written, and a writer to it.
fn writer(ticket: Ticket, checked: bool) -> (Writer, (PipeReader, PipeWriter)) {
    let (from, to) = (io::pipe().unwrap(), io::pipe().unwrap());
    rustix::pipe::fcntl_setpipe_size(&to.1, 1 << 20).unwrap();
    let channel = Arc::new(Channel::plain(Transport::pipes(from.0.into(), to.1.into()).unwrap()));
    let (now, hazard) = (Instant::now(), Hazard::new(None));
    let writer = Writer::new(now, ticket, channel, Welcoming::Done, checked, hazard, Default::default());
    (writer, (to.0, from.1))
}

#[test]
fn a_leg_whose_connection_was_given_up_is_not_written_as_its_checksum_is_not_noted() {
    let (desk, ticket) = session(1);
    let (mut writer, _path) = writer(ticket, true);
    let mut items = Vec::new();
    desk.tell_as(ticket, |core, now| core.session.ready(now, 0));
    desk.peek_as(ticket, |core| items.extend(std::iter::from_fn(|| core.session.take(0))));
    assert!(items.iter().any(|item| matches!(item, Item::Leg(_))), "{items:?}");
    desk.lose(ticket, |core, now| core.session.lost(now, 0, &LossReason::Closed));
    items.into_iter().for_each(|item| writer.put(&desk, item));
    assert_eq!(writer.outlet.bytes(), 0);
}

#[test]
fn whoever_writes_small_legs_to_a_path_that_takes_them_all_does_something_else_in_between() {
    let (desk, ticket) = session(50);
    let (mut writer, _path) = writer(ticket, false);
    let mut turns = 1;
    while !writer.flush(&desk, u64::MAX) {
        assert_eq!(writer.outlet.bytes().div_ceil(TURN + (20 << 10)), turns, "after each turn");
        turns += 1;
    }
    assert_eq!(turns, 4, "50 legs have 800 KiB");
    assert!(writer.outlet.bytes() >= 50 * LEG_FIRST as u64);
}
