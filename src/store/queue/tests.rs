use super::*;
use proptest::prelude::*;

type Sessions = Queue<&'static str, u32>;

fn queue(places: usize) -> (Sessions, Instant) {
    (Queue::new(Bounds { places, waiting: 64, of_one_key: 16, stall: STALL, away: AWAY }), Instant::now())
}

/// It has had no connection since the moment at which it is looked at.
const JUST_NOW: Option<Duration> = Some(Duration::ZERO);

fn turns(queue: &mut Sessions, now: Instant) -> Vec<Turn<u32>> {
    std::iter::from_fn(|| queue.poll(now)).collect()
}

#[test]
fn progress_that_was_seen_before_counts_more_than_what_the_clock_of_a_session_says() {
    let (mut queue, now) = queue(1);
    let at = |seconds| now + Duration::from_secs(seconds);
    queue.arrive(now, &"a", 1);
    queue.arrive(now, &"b", 2);
    queue.stood_still(at(50), 1, Duration::from_secs(10));
    assert_eq!(queue.deadline(), Some(at(40) + STALL));
    queue.stood_still(at(51), 1, Duration::from_secs(30));
    assert_eq!(queue.deadline(), Some(at(40) + STALL));
    queue.progress(at(52), 1);
    queue.stood_still(at(53), 1, Duration::from_secs(12));
    assert_eq!(queue.deadline(), Some(at(52) + STALL));
}

#[test]
fn ten_with_two_places_all_get_their_turn_and_are_told_how_long_it_takes() {
    let (mut queue, now) = queue(2);
    for session in 0..10 {
        let came = queue.arrive(now, &"key", session);
        assert_eq!(came, if session < 2 { Came::Go } else { Came::Wait(session as usize - 2) });
    }
    for over in 0..10 {
        assert!(queue.has_place(over));
        queue.leave(over);
        let turns = turns(&mut queue, now);
        if over + 2 < 10 {
            assert_eq!(turns[0], Turn::Go(over + 2));
            let waiting: Vec<_> = (over + 3..10).map(|s| Turn::Wait(s, (s - over - 3) as usize)).collect();
            assert_eq!(turns[1..], waiting);
        }
    }
    assert_eq!(turns(&mut queue, now), []);
}

#[test]
fn keys_take_turns_and_within_a_key_who_came_first() {
    let (mut queue, now) = queue(1);
    for (session, key) in ["a", "a", "a", "a", "b", "b", "c"].into_iter().enumerate() {
        queue.arrive(now, &key, session as u32);
    }
    let mut served = vec![];
    let mut running = 0;
    while queue.waiting() > 0 {
        queue.leave(running);
        let Turn::Go(next) = queue.poll(now).unwrap() else { panic!() };
        served.push(next);
        running = next;
    }
    // 0 had the place; then a, b, c by turns
    assert_eq!(served, [1, 4, 6, 2, 5, 3]);
}

#[test]
fn who_comes_does_not_pass_those_that_wait() {
    let (mut queue, now) = queue(1);
    queue.arrive(now, &"a", 0);
    queue.arrive(now, &"a", 1);
    queue.leave(0);
    // before anybody has polled
    assert_eq!(queue.arrive(now, &"b", 2), Came::Wait(1));
    assert_eq!(turns(&mut queue, now), [Turn::Go(1), Turn::Wait(2, 0)]);
}

#[test]
fn one_that_stalls_loses_its_place_when_others_wait_and_not_before() {
    let (mut queue, now) = queue(2);
    let at = |seconds| now + Duration::from_secs(seconds);
    queue.arrive(now, &"a", 0);
    queue.arrive(now, &"a", 1);
    assert_eq!(queue.deadline(), None);
    assert_eq!(turns(&mut queue, at(500)), []);
    queue.progress(at(500), 1);
    assert_eq!(queue.arrive(at(501), &"b", 2), Came::Wait(0));
    assert_eq!(queue.deadline(), Some(at(60)));
    assert_eq!(turns(&mut queue, at(501)), [Turn::Lost(0, Lost::Stalled), Turn::Go(2)]);
    // nobody waits any more
    assert_eq!((queue.deadline(), turns(&mut queue, at(9999))), (None, vec![]));
    queue.arrive(at(9999), &"b", 3);
    queue.progress(at(9999), 2);
    queue.progress(at(9999), 1);
    assert_eq!(turns(&mut queue, at(10_058)), []);
    assert_eq!(queue.deadline(), Some(at(10_059)));
    // one at a time, and nobody twice
    assert_eq!(turns(&mut queue, at(10_059)), [Turn::Lost(1, Lost::Stalled), Turn::Go(3)]);
    queue.leave(1);
    queue.progress(at(10_060), 1);
    assert!(!queue.has_place(1));
}

#[test]
fn one_without_a_connection_loses_its_place_sooner_unless_it_comes_again() {
    let (mut queue, now) = queue(2);
    let at = |seconds| now + Duration::from_secs(seconds);
    for session in 0..2 {
        queue.arrive(now, &"a", session);
    }
    queue.seen(at(1), 0, JUST_NOW);
    queue.seen(at(2), 1, JUST_NOW);
    // nobody waits for its place
    assert_eq!((queue.deadline(), turns(&mut queue, at(20))), (None, vec![]));
    queue.arrive(at(3), &"b", 2);
    assert_eq!(queue.deadline(), Some(at(11)));
    assert_eq!(turns(&mut queue, at(10)), []);
    queue.seen(at(10), 0, None);
    assert_eq!(queue.deadline(), Some(at(12)));
    assert_eq!(turns(&mut queue, at(11)), []);
    assert_eq!(turns(&mut queue, at(12)), [Turn::Lost(1, Lost::Away), Turn::Go(2)]);
    // who has lost it is not asked any more, and who has come again has the other time
    queue.seen(at(12), 1, Some(Duration::from_secs(10)));
    queue.arrive(at(12), &"b", 3);
    assert_eq!(queue.deadline(), Some(at(60)));
    // one that makes no progress is not saved by having gone late
    queue.seen(at(59), 0, JUST_NOW);
    assert_eq!(turns(&mut queue, at(60)), [Turn::Lost(0, Lost::Stalled), Turn::Go(3)]);
}

#[test]
fn of_those_that_wait_one_that_is_gone_gives_way_to_its_key_and_two_that_are_gone_do_not_end_each_other() {
    let (mut queue, now) = queue(1);
    let at = |seconds| now + Duration::from_secs(seconds);
    // 3 is of another key, and has no part in this
    for (session, key) in ["a", "b", "b", "c"].into_iter().enumerate() {
        queue.arrive(now, &key, session as u32);
    }
    // the first one of another key has come before the second one of this key
    assert_eq!(turns(&mut queue, now), [Turn::Wait(2, 2)]);
    for gone in 1..=3 {
        queue.seen(at(1), gone, JUST_NOW);
    }
    queue.progress(at(30), 0);
    assert_eq!(turns(&mut queue, at(30)), []);
    assert_eq!(queue.deadline(), Some(at(90)));
    // the path of one is back, and the other one has the time to come back too
    queue.seen(at(31), 2, None);
    queue.seen(at(40), 2, None);
    assert_eq!((queue.deadline(), turns(&mut queue, at(40))), (Some(at(41)), vec![]));
    assert_eq!(turns(&mut queue, at(41)), [Turn::Lost(1, Lost::Away), Turn::Wait(2, 0)]);
    // nor does one that is gone take the place from one that has it, and is there
    assert_eq!((queue.has_place(0), queue.waiting()), (true, 2));
}

#[test]
fn those_that_are_gone_leave_room_for_one_of_their_key_that_comes() {
    let (mut queue, now) = queue(1);
    let at = |seconds| now + Duration::from_secs(seconds);
    for session in 0..17 {
        queue.arrive(now, &"a", session);
    }
    for gone in 1..17 {
        queue.seen(at(1), gone, JUST_NOW);
    }
    // not yet
    assert_eq!(queue.arrive(at(10), &"a", 17), Came::Full);
    assert_eq!(queue.arrive(at(11), &"a", 17), Came::Wait(15));
    let mut lost = |at| {
        let is_lost = |turn: &Turn<u32>| matches!(turn, Turn::Lost(1..=16, Lost::Away));
        turns(&mut queue, at).into_iter().filter(is_lost).count()
    };
    // no more than there must be, as long as the others may come back
    assert_eq!([lost(at(11)), lost(at(20)), lost(at(21))], [1, 0, 15]);
    assert_eq!((queue.waiting(), queue.ahead(17)), (1, Some(0)));
}

#[test]
fn a_gap_that_only_the_clock_of_a_session_counts_does_not_make_it_gone() {
    let (mut queue, now) = queue(1);
    let at = |seconds| now + Duration::from_secs(seconds);
    queue.arrive(now, &"a", 0);
    queue.arrive(now, &"b", 1);
    queue.seen(at(5), 0, None);
    // this process did not run for a minute
    queue.seen(at(6), 0, Some(Duration::from_secs(61)));
    assert_eq!(queue.deadline(), Some(at(15)));
    queue.seen(at(14), 0, Some(Duration::from_secs(69)));
    assert_eq!(turns(&mut queue, at(14)), []);
    // it was there in between
    queue.seen(at(15), 0, Some(Duration::from_secs(1)));
    assert_eq!(queue.deadline(), Some(at(24)));
}

#[test]
fn waiting_is_bounded_and_one_key_does_not_fill_it() {
    let (mut queue, now) = queue(1);
    queue.arrive(now, &"a", 0);
    let came: Vec<Came> = (1..20).map(|session| queue.arrive(now, &"a", session)).collect();
    assert_eq!(came[15], Came::Wait(15));
    assert_eq!(came[16..], [Came::Full; 3]);
    assert_eq!(queue.arrive(now, &"b", 20), Came::Wait(1));
    for (number, key) in ["b", "c", "d", "e"].into_iter().enumerate() {
        for session in 0..16 {
            queue.arrive(now, &key, 100 * (number as u32 + 1) + session);
        }
    }
    assert_eq!(queue.waiting(), 64);
    assert_eq!(queue.arrive(now, &"f", 999), Came::Full);
}

#[derive(Clone, Debug)]
enum Step {
    Arrive(usize),
    Leave(usize),
    Progress(usize),
    Away(usize, bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0usize..4).prop_map(Step::Arrive),
        2 => (0usize..100).prop_map(Step::Leave),
        1 => (0usize..100).prop_map(Step::Progress),
        1 => (0usize..100, any::<bool>()).prop_map(|(which, away)| Step::Away(which, away)),
        1 => (0u64..70).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Nobody starves: with each place that is given, everybody is as near as told or nearer; at most so many have
    /// one; the order within a key is kept; and between two turns of a key, every other that waits has one.
    #[test]
    fn whatever_comes_nobody_starves(steps in proptest::collection::vec(step(), 1..80)) {
        let keys = ["a", "b", "c", "d"];
        let (mut queue, mut now) = queue(2);
        let (mut next, mut here, mut key_of) = (0u32, Vec::<u32>::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Arrive(key) => {
                    key_of.insert(next, keys[key]);
                    if queue.arrive(now, &keys[key], next) != Came::Full {
                        here.push(next);
                    }
                    next += 1;
                }
                Step::Leave(which) if !here.is_empty() => queue.leave(here.remove(which % here.len())),
                Step::Progress(which) if !here.is_empty() => queue.progress(now, here[which % here.len()]),
                Step::Pass(seconds) => now += Duration::from_secs(seconds),
                Step::Away(which, away) if !here.is_empty() => {
                    queue.seen(now, here[which % here.len()], away.then_some(Duration::ZERO));
                }
                Step::Leave(_) | Step::Progress(_) | Step::Away(..) => {}
            }
            let mut expected: VecDeque<u32> = queue.order().collect();
            while let Some(turn) = queue.poll(now) {
                match turn {
                    Turn::Go(session) => {
                        prop_assert_eq!(Some(session), expected.pop_front());
                    }
                    Turn::Lost(session, _) => {
                        here.retain(|other| *other != session);
                        // the next one of its key moves up
                        expected = queue.order().collect();
                    }
                    Turn::Wait(session, ahead) => {
                        prop_assert_eq!(queue.order().position(|other| other == session), Some(ahead));
                    }
                }
                prop_assert!(queue.running.len() <= 2);
            }
            // no place is empty while somebody waits, and all that are here are somewhere
            prop_assert!(queue.waiting() == 0 || queue.running.len() == 2);
            prop_assert_eq!(queue.waiting() + queue.running.len(), here.len());
            let order: Vec<u32> = queue.order().collect();
            for key in keys {
                let of_key: Vec<u32> = order.iter().copied().filter(|s| key_of[s] == key).collect();
                prop_assert!(of_key.is_sorted());
                let first_round = order.iter().take(queue.ring.len()).filter(|s| key_of[*s] == key).count();
                prop_assert!(first_round <= 1);
            }
        }
    }
}
