use super::*;
use proptest::prelude::*;

const BUDGET: u64 = 64 << 20;

/// All that waits to be sent.
fn records(mux: &mut Mux) -> Vec<u8> {
    let mut out = vec![0; 1 << 20];
    let len = mux.records(&mut out);
    assert!(!mux.has_records());
    out.truncate(len);
    out
}

fn events(mux: &mut Mux) -> Vec<SocketAction> {
    std::iter::from_fn(|| mux.poll()).collect()
}

/// Sends so many bytes of a connection, as one record.
fn data(mux: &mut Mux, id: u32, bytes: &[u8]) -> Vec<u8> {
    let mut space = vec![0; bytes.len() + SPACE_MIN];
    let len = mux.send(id, &mut space, |room| {
        room[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    });
    space.truncate(len.unwrap());
    space
}

/// Gives the bytes to a mux whose connections take everything; what they took.
fn give(mux: &mut Mux, bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut took = Vec::new();
    mux.receive(bytes, &mut |id, data| {
        took.push((id, data.to_vec()));
        data.len()
    })
    .unwrap();
    took
}

/// A connection that is open at both ends.
fn pair() -> (Mux, Mux, u32) {
    let (mut near, mut far) = (Mux::new(false, 1024, BUDGET), Mux::new(true, 1024, BUDGET));
    let id = near.open();
    assert!(give(&mut far, &records(&mut near)).is_empty());
    assert_eq!(events(&mut far), [SocketAction::Opened(id)]);
    (near, far, id)
}

#[test]
fn bytes_cross_and_both_ends_close() {
    let (mut near, mut far, id) = pair();
    let sent = data(&mut near, id, b"ping");
    assert_eq!(give(&mut far, &sent), [(id, b"ping".to_vec())]);
    near.finish(id);
    give(&mut far, &records(&mut near));
    assert_eq!(events(&mut far), [SocketAction::Shut(id)]);
    // the other direction goes on
    let sent = data(&mut far, id, b"pong");
    assert_eq!(give(&mut near, &sent), [(id, b"pong".to_vec())]);
    far.finish(id);
    assert_eq!(events(&mut far), [SocketAction::Closed(id)]);
    give(&mut near, &records(&mut far));
    assert_eq!(events(&mut near), [SocketAction::Shut(id), SocketAction::Closed(id)]);
    assert!(near.is_empty() && far.is_empty());
}

#[test]
fn the_end_of_the_data_is_passed_on_and_space_may_be_tiny() {
    let (mut near, mut far, id) = pair();
    let mut stream = Vec::new();
    let mut input = &b"abc"[..];
    for _ in 0..30 {
        let mut space = [0; 2];
        let mut len = near.records(&mut space);
        if len == 0 {
            len = near.send(id, &mut space, |room| io::Read::read(&mut input, room)).unwrap();
        }
        stream.extend(&space[..len]);
    }
    assert_eq!(give(&mut far, &stream), [(id, b"abc".to_vec())]);
    assert_eq!(events(&mut far), [SocketAction::Shut(id)]);
}

#[test]
fn a_connection_that_takes_nothing_stops_its_sender_alone() {
    let (mut near, mut far, id) = pair();
    let other = near.open();
    give(&mut far, &records(&mut near));
    let sent = data(&mut near, id, &vec![1; WINDOW_FIRST as usize]);
    far.receive(&sent, &mut |_, _| 0).unwrap();
    assert!(!near.may_send(id) && near.may_send(other));
    assert!(!far.streams[&id].waiting.is_empty() && !far.has_records());
    // half of it taken is worth a credit, and the window grows
    let mut taken = 0;
    far.drain(id, |bytes| {
        if taken >= WINDOW_FIRST as usize / 2 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let part = bytes.len().min(1000);
        taken += part;
        Ok(part)
    })
    .unwrap();
    let credit = records(&mut far);
    assert_eq!(credit, Record::Credit(id, taken as u32 + WINDOW_FIRST).encode());
    give(&mut near, &credit);
    assert_eq!(events(&mut near), [SocketAction::Credit(id)]);
    assert!(near.may_send(id));
}

#[test]
fn windows_grow_only_within_the_budget() {
    let mut far = Mux::new(true, 1024, 13 * u64::from(WINDOW_FIRST));
    let total = |far: &Mux| far.streams.values().map(|s| u64::from(s.window)).sum::<u64>();
    for id in 0..10 {
        give(&mut far, &Record::Open(id).encode());
    }
    for round in 0..100 {
        let id = round % 10;
        let length = far.streams[&id].granted.min(DATA_MAX as u32);
        give(&mut far, &Record::Data(id, length).encode());
        give(&mut far, &vec![0; length as usize]);
    }
    assert_eq!(total(&far), 13 * u64::from(WINDOW_FIRST));
    for id in 0..10 {
        far.reset(id);
    }
    assert_eq!((far.windows, far.len()), (0, 0));
}

#[test]
fn the_end_waits_until_what_came_before_is_taken() {
    [false, true].into_iter().for_each(ends_while_something_waits);
}

fn ends_while_something_waits(finished: bool) {
    let (mut near, mut far, id) = pair();
    let sent = data(&mut near, id, b"last words");
    far.receive(&sent, &mut |_, _| 3).unwrap();
    near.finish(id);
    // whether or not this side has ended it too: nobody asks it any more
    if finished {
        far.finish(id);
    }
    give(&mut far, &records(&mut near));
    assert_eq!(events(&mut far), []);
    far.stream_ended();
    assert_eq!(far.len(), 1);
    let mut written: Vec<u8> = Vec::new();
    far.drain(id, |bytes| {
        written.extend(bytes);
        Ok(bytes.len())
    })
    .unwrap();
    assert_eq!(written, b"t words");
    assert_eq!(events(&mut far), [SocketAction::Shut(id), SocketAction::Closed(id)]);
}

#[test]
fn a_reset_ends_both_directions_and_what_is_on_the_way_is_passed_over() {
    let (mut near, mut far, id) = pair();
    let on_the_way = data(&mut near, id, b"too late");
    far.reset(id);
    assert!(give(&mut far, &on_the_way).is_empty());
    near.finish(id);
    give(&mut far, &records(&mut near));
    give(&mut near, &records(&mut far));
    assert_eq!(events(&mut near), [SocketAction::Refused(id)]);
    near.reset(id);
    assert!(!near.has_records() && events(&mut far).is_empty());
}

#[test]
fn one_of_which_the_far_end_has_said_something_was_not_refused() {
    for said in [
        [&Record::Data(1, 1).encode()[..], b"x"].concat(),
        Record::Credit(1, 1).encode().into(),
        Record::Finish(1).encode().into(),
    ] {
        let (mut near, ..) = pair();
        give(&mut near, &said);
        events(&mut near);
        give(&mut near, &Record::Reset(1).encode());
        assert_eq!(events(&mut near), [SocketAction::Reset(1)], "{said:?}");
    }
}

#[test]
fn a_connection_that_has_taken_all_that_waited_keeps_no_memory_for_it() {
    let (mut near, mut far, id) = pair();
    let sent = data(&mut near, id, &vec![7; WINDOW_FIRST as usize]);
    far.receive(&sent, &mut |_, _| 0).unwrap();
    far.streams.get_mut(&id).unwrap().waiting.reserve(4 * WINDOW_FIRST as usize);
    far.drain(id, |bytes| Ok(bytes.len())).unwrap();
    assert_eq!(far.streams[&id].waiting.capacity(), 0);
}

#[test]
fn the_end_of_the_stream_breaks_what_was_not_finished() {
    let (_, mut far, id) = pair();
    far.stream_ended();
    assert_eq!(events(&mut far), [SocketAction::Reset(id)]);
    assert!(far.is_empty());
}

#[test]
fn breaches_are_seen() {
    let header = |record: Record| record.encode();
    let refuse = |mux: &mut Mux, record: Record| mux.receive(&header(record), &mut |_, _| 0).is_err();
    let (mut near, mut far, id) = pair();
    assert!(refuse(&mut near, Record::Open(9)), "it opens connections itself");
    assert!(refuse(&mut far, Record::Open(id)));
    let (_, mut far, id) = pair();
    far.receive(
        &[header(Record::Data(id, WINDOW_FIRST)).to_vec(), vec![0; WINDOW_FIRST as usize]].concat(),
        &mut |_, _| 0,
    )
    .unwrap();
    assert!(refuse(&mut far, Record::Data(id, 1)), "beyond its credit");
    let (_, mut far, id) = pair();
    give(&mut far, &header(Record::Finish(id)));
    assert!(refuse(&mut far, Record::Data(id, 1)), "after its end");
    let (_, mut far, id) = pair();
    give(&mut far, &header(Record::Finish(id)));
    assert!(refuse(&mut far, Record::Finish(id)), "its end again");
}

/// The far end opens and opens, and takes no answer.
#[test]
fn one_that_takes_no_answers_gets_no_more() {
    let mut far = Mux::new(true, 2, BUDGET);
    let opens = |ids: std::ops::RangeInclusive<u32>| -> Vec<u8> {
        ids.flat_map(|id| Record::Open(id).encode()).collect()
    };
    let most = OWED_MAX as u32 + 2;
    give(&mut far, &opens(1..=2 * most));
    assert_eq!((far.len(), far.owed.len(), events(&mut far).len()), (2, OWED_MAX, 2));
    let told = records(&mut far);
    assert_eq!(told.len(), OWED_MAX * HEADER, "each is told once");
    assert_eq!(told[..HEADER], Record::Reset(3).encode());
    // it has taken them, and may go on
    give(&mut far, &opens(3..=most));
    assert_eq!(records(&mut far).len(), OWED_MAX * HEADER);
}

#[test]
fn what_was_opened_and_reset_leaves_nothing() {
    let mut far = Mux::new(true, 2, BUDGET);
    for id in 0..1000 {
        give(&mut far, &[Record::Open(id).encode(), Record::Reset(id).encode()].concat());
        far.reset(id);
        assert_eq!(events(&mut far), [SocketAction::Opened(id), SocketAction::Refused(id)]);
    }
    // beyond what it may have, too
    (0..1000).for_each(|id| drop(give(&mut far, &Record::Open(id).encode())));
    (0..1000).for_each(|id| drop(give(&mut far, &Record::Reset(id).encode())));
    assert!(far.is_empty() && !far.has_records());
    // nor what was opened here, and never told
    let mut near = Mux::new(false, 2, BUDGET);
    let id = near.open();
    near.reset(id);
    assert!(near.is_empty() && !near.has_records());
}

#[test]
fn credits_add_up_while_nobody_takes_them() {
    let (_, mut far, id) = pair();
    let half = WINDOW_FIRST / 2;
    let mut granted = 0;
    for _ in 0..2 {
        give(&mut far, &Record::Data(id, half).encode());
        give(&mut far, &vec![0; half as usize]);
        granted = far.streams[&id].granted;
    }
    assert_eq!(records(&mut far), Record::Credit(id, granted).encode(), "one for all");
}

#[test]
fn each_connection_is_told_of_in_its_turn() {
    let mut far = Mux::new(true, 0, BUDGET);
    let mut told = Vec::new();
    give(&mut far, &[1, 2, 3].map(|id| Record::Open(id).encode()).concat());
    for _ in 0..3 {
        // the first one is refused again and again, and not told of that before the last
        let mut space = [0; HEADER];
        assert_eq!(far.records(&mut space), HEADER);
        told.push(Record::decode(&space).unwrap());
        give(&mut far, &Record::Open(1).encode());
    }
    assert_eq!(told, [Record::Reset(1), Record::Reset(2), Record::Reset(3)]);
}

#[test]
fn the_far_end_hears_of_the_end_of_one_before_it_hears_of_the_one_that_takes_its_place() {
    let (mut near, mut far) = (Mux::new(false, 2, BUDGET), Mux::new(true, 2, BUDGET));
    for _ in 0..2 {
        near.open();
    }
    give(&mut far, &records(&mut near));
    // ends in order, and by a break
    far.finish(1);
    give(&mut near, &records(&mut far));
    // so far the higher number had its turn
    near.turn = 3;
    near.finish(1);
    near.reset(2);
    near.open();
    near.open();
    events(&mut far);
    give(&mut far, &records(&mut near));
    let opened = events(&mut far).into_iter().filter(|event| matches!(event, SocketAction::Opened(_)));
    assert_eq!(opened.collect::<Vec<_>>(), [SocketAction::Opened(3), SocketAction::Opened(4)]);
    assert!(!far.has_records(), "none was refused");
}

/// What one end does in a random run.
#[derive(Clone, Debug)]
enum Step {
    Send(usize, usize),
    Take(usize, usize),
    Carry(usize),
    Finish(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4usize, 1..200_000usize).prop_map(|(c, n)| Step::Send(c, n)),
        4 => (0..4usize, 1..200_000usize).prop_map(|(c, n)| Step::Take(c, n)),
        4 => (1..100_000usize).prop_map(Step::Carry),
        1 => (0..4usize).prop_map(Step::Finish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// However sending, carrying and taking interleave: what is taken is what was sent, connection by connection,
    /// no more waits than a window, and in the end everything has come.
    #[test]
    fn every_connection_is_a_pipe(steps in proptest::collection::vec(step(), 1..200)) {
        let (mut near, mut far) = (Mux::new(false, 1024, 1 << 20), Mux::new(true, 1024, 1 << 20));
        let ids: Vec<u32> = (0..4).map(|_| near.open()).collect();
        let (mut sent, mut taken) = ([0u64; 4], [0u64; 4]);
        let mut wire = VecDeque::from(records(&mut near));
        let byte = |connection: usize, at: u64| (at * 7 + connection as u64) as u8;
        let drain: Vec<Step> = (0..40)
            .flat_map(|_| (0..4).flat_map(|c| [Step::Carry(1 << 20), Step::Take(c, 1 << 20)]))
            .collect();
        for step in steps.into_iter().chain(drain) {
            match step {
                Step::Send(c, n) => {
                    let mut space = vec![0; n + HEADER];
                    let len = near.send(ids[c], &mut space, |room| {
                        room.iter_mut().for_each(|b| (*b, sent[c]) = (byte(c, sent[c]), sent[c] + 1));
                        Ok(room.len())
                    }).unwrap();
                    wire.extend(&space[..len]);
                }
                Step::Carry(n) => {
                    let part: Vec<u8> = wire.drain(..n.min(wire.len())).collect();
                    far.receive(&part, &mut |_, _| 0).unwrap();
                    let back = records(&mut far);
                    give(&mut near, &back);
                }
                Step::Take(c, n) => {
                    let mut left = n;
                    far.drain(ids[c], |bytes| {
                        let part = bytes.len().min(left);
                        if part == 0 {
                            return Err(io::ErrorKind::WouldBlock.into());
                        }
                        let right: Vec<u8> = (taken[c]..taken[c] + part as u64).map(|at| byte(c, at)).collect();
                        assert!(right == bytes[..part]);
                        taken[c] += part as u64;
                        left -= part;
                        Ok(part)
                    }).unwrap();
                }
                Step::Finish(c) => near.finish(ids[c]),
            }
            wire.extend(records(&mut near));
            for stream in far.streams.values() {
                let held = stream.granted + stream.waiting.len() as u32 + stream.taken;
                prop_assert!(held <= stream.window && stream.window <= WINDOW_MAX);
            }
        }
        prop_assert_eq!(sent, taken);
    }
}
