use super::super::core::SessionCore;
use super::super::orders::Nobody;
use super::*;
use crate::proto::hello::{Features, Hello, Id};
use crate::proto::links::LossReason;
use crate::proto::session::{DiallerConfig, InboundConfig, Session};
use crate::session::connection::Seat;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

fn desk() -> Arc<SessionDesk> {
    let (now, links) = (Instant::now(), || vec!["a".to_owned()]);
    let hello = Hello::of(Id::new([1; 16]), Features::NONE, 1 << 20);
    let session = Session::dialling(now, DiallerConfig::new(hello, links(), 1, 7), None, false);
    let core = SessionCore::new(now, session, 1 << 20, links(), Default::default(), Arc::default());
    Arc::new(SessionDesk::new(core, Box::new(Nobody)))
}

/// Its reader wants no more, and it counts what it is given nevertheless.
struct Left(Arc<AtomicU64>);

impl Sink for Left {
    fn write(&mut self, _: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        Err(SinkError::unwanted("its reader has gone"))
    }

    fn write_now(&mut self, slices: &[IoSlice<'_>]) -> Result<Option<usize>, SinkError> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(Some(bytes))
    }

    fn is_prompt(&mut self) -> bool {
        true
    }

    fn watch(&mut self, _: &Bell) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

#[test]
fn a_sink_that_has_failed_gets_nothing_more_from_whoever_brings_a_leg() {
    let written = Arc::new(AtomicU64::new(0));
    let output = Output::new(Egress {
        desk: desk(),
        sink: Box::new(Left(written.clone())),
        bell: Bell::new().unwrap(),
        blocked: Arc::default(),
        is_asked_to_end: || true,
    });
    output.lock().begin(vec![Leg::new(0, 0, Arc::new(vec![7; 100]))]);
    output.run();
    output.write_here();
    assert_eq!(written.load(Ordering::Relaxed), 0);
}

/// It takes nothing, and the connection that brings the leg is lost meanwhile.
struct Breaks(Arc<SessionDesk>, Ticket);

impl Sink for Breaks {
    fn write(&mut self, _: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        Err(SinkError::output("nothing is to be written"))
    }

    fn take_from(&mut self, _: BorrowedFd<'_>, _: usize) -> Result<io::Result<usize>, SinkError> {
        let Breaks(desk, ticket) = self;
        desk.lose(*ticket, |core, now| core.lost(now, ticket.connection, &LossReason::Closed));
        Ok(Err(ErrorKind::WouldBlock.into()))
    }

    fn watch(&mut self, _: &Bell) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

#[test]
fn a_leg_of_which_nothing_was_taken_has_not_begun_though_its_connection_is_lost_meanwhile() {
    let (now, features) = (Instant::now(), Features::NONE);
    let session =
        Session::listening(now, InboundConfig::new(Id::new([1; 16]), features, 1 << 20), None, false);
    let core = SessionCore::new(now, session, 0, Vec::new(), Default::default(), Arc::default());
    let desk = Arc::new(SessionDesk::new(core, Box::new(Nobody)));
    let hello = Hello { attempt: 1, ..Hello::of(Id::new([2; 16]), features, 1 << 20) };
    let seat = Seat::new().unwrap().0;
    let ticket = desk.admit(seat, |core, now| core.session.hello(now, &hello, None)).unwrap();
    let output = Output::new(Egress {
        desk: desk.clone(),
        sink: Box::new(Breaks(desk.clone(), ticket)),
        bell: Bell::new().unwrap(),
        blocked: Arc::default(),
        is_asked_to_end: || false,
    });
    let header = LegHeader { sequence: 0, offset: 0, raw: 100, encoded: 100, flags: 0, crc: 0 };
    let (socket, _other) = io::pipe().unwrap();
    assert!(matches!(output.lock().pass(ticket, &header, 0, socket.as_fd()), Ok(Pass::Nothing)));
    let begun = desk.peek(|core| {
        let receiver = core.session.receiving().and_then(|receiving| receiving.receiver());
        receiver.map(|receiver| receiver.has_begun_head())
    });
    assert_eq!(begun, Some(false));
}
