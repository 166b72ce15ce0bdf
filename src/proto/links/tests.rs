use super::headstart::ALONE;
use super::*;

const REFUSED: DialError = DialError::Refused;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Links of a session that has dialled already: nothing is kept back.
fn links_of(now: Instant, links: usize, connections: usize) -> Links {
    let mut links = Links::new(now, links, connections, 1);
    links.forgo_headstart();
    links
}

/// Places every connection that can be placed; the links they went to.
fn place_all(links: &mut Links, now: Instant) -> Vec<(usize, usize)> {
    let connections = links.len();
    (0..connections).filter_map(|w| links.place(now, w, true).map(|(link, _)| (w, link))).collect()
}

#[test]
fn each_link_keeps_two_and_the_rest_start_on_the_first() {
    assert_eq!(homes(2, 6), [0, 1, 0, 1, 0, 0]);
    assert_eq!(homes(3, 3), [0, 1, 2]);
    assert_eq!(homes(4, 2), [0, 1]);
    assert_eq!(homes(1, 4), [0, 0, 0, 0]);
}

#[test]
fn the_dead_link_is_passed_over_and_probed_by_its_keeper() {
    let start = Instant::now();
    let mut links = links_of(start, 2, 6);
    assert_eq!(place_all(&mut links, start).len(), 6);
    for connection in [1, 3] {
        links.up(connection);
    }
    for connection in [0, 2, 4, 5] {
        links.failed(start, connection, &REFUSED);
    }
    assert_eq!(place_all(&mut links, start), [(2, 1), (4, 1), (5, 1)], "connection 0 keeps link 0");
    assert_eq!(place_all(&mut links, start + PROBE_PAUSE_MAX), [(0, 0)]);
    for connection in [2, 4, 5] {
        links.up(connection);
    }
    assert_eq!(links.up(0), [2, 4, 5], "called back when it answers");
    assert_eq!(links.state(2), DialState::Leaving(1));
    links.lost(start, 2, &LossReason::Left, true);
    assert_eq!(links.place(start, 2, true), None, "a link that comes and goes keeps nobody busy");
    assert_eq!(links.place(start + DIALS_APART, 2, true).map(|(link, _)| link), Some(0));
}

#[test]
fn one_connection_finds_the_link_that_works() {
    let start = Instant::now();
    let mut links = links_of(start, 3, 1);
    let mut now = start;
    for expected in [0, 1, 2] {
        assert_eq!(place_all(&mut links, now), [(0, expected)]);
        links.failed(now, 0, &REFUSED);
        now += ms(1);
    }
    assert_eq!(links.place(now, 0, false), None, "all pause");
    assert!(links.deadline(now).is_some_and(|at| at < now + PROBE_PAUSE_FIRST));
    assert_eq!(place_all(&mut links, now + PROBE_PAUSE_MAX).len(), 1);
}

#[test]
fn links_that_time_out_do_not_starve_the_others() {
    let mut now = Instant::now();
    let mut links = links_of(now, 3, 1);
    let mut tried = Vec::new();
    while tried.len() < 12 {
        if let Some((link, timeout)) = links.place(now, 0, true) {
            tried.push(link);
            let silent = link < 2;
            now += if silent { timeout } else { ms(1) };
            links.failed(now, 0, if silent { &DialError::TimedOut } else { &REFUSED });
        } else {
            now = links.deadline(now).unwrap();
        }
    }
    for link in 0..3 {
        assert!(tried.iter().filter(|l| **l == link).count() >= 3, "{tried:?}");
    }
}

#[test]
fn killed_connections_are_dialled_again_at_once_and_idle_ones_with_pauses() {
    let start = Instant::now();
    let mut links = links_of(start, 1, 1);
    let reset = LossReason::Failed("reset".into());
    let mut now = start;
    for _ in 0..5 {
        assert_eq!(place_all(&mut links, now).len(), 1);
        links.up(0);
        now += DIALS_APART;
        assert!(!links.lost(now, 0, &reset, true));
    }
    place_all(&mut links, now);
    links.up(0);
    now += DIALS_APART;
    links.lost(now, 0, &reset, false);
    assert_eq!(place_all(&mut links, now), [], "it achieved nothing");
    assert_eq!(place_all(&mut links, now + PROBE_PAUSE_MAX).len(), 1);
}

#[test]
fn a_connection_that_is_welcomed_and_closed_is_dialled_at_most_20_times_a_second() {
    let start = Instant::now();
    let (mut links, mut now, mut dials) = (links_of(start, 1, 1), start, 0);
    while now < start + ms(1000) {
        dials += place_all(&mut links, now).len();
        links.up(0);
        links.lost(now, 0, &LossReason::Closed, true);
        now = links.deadline(now).unwrap();
    }
    assert_eq!(dials, 20);
}

#[test]
fn the_receiver_is_gone_when_every_link_is_refused() {
    let start = Instant::now();
    let mut links = links_of(start, 2, 2);
    place_all(&mut links, start);
    links.failed(start, 0, &REFUSED);
    assert_eq!(links.refused_since(), None);
    links.failed(start + ms(500), 1, &DialError::Closed);
    assert_eq!(links.refused_since(), Some(start + ms(500)));
    place_all(&mut links, start + PROBE_PAUSE_MAX);
    links.failed(start + PROBE_PAUSE_MAX, 0, &DialError::TimedOut);
    assert_eq!(links.refused_since(), None, "silence is not a refusal");
}

#[test]
fn whoever_answers_shows_that_somebody_is_there() {
    let start = Instant::now();
    for answer in [DialError::RefusedInWords("wait".into()), DialError::OtherReceiver] {
        let mut links = links_of(start, 1, 1);
        place_all(&mut links, start);
        links.failed(start, 0, &answer);
        assert_eq!((links.refused_since(), links.any_unproven()), (None, false));
        assert!(!answer.is_silence() && !links.all_unresolved());
        assert_eq!(links.trouble(0), answer.to_string());
    }
}

#[test]
fn a_refusal_beside_a_connection_that_works_says_nothing_of_the_time_after_it() {
    let start = Instant::now();
    let mut links = links_of(start, 1, 2);
    place_all(&mut links, start);
    links.up(0);
    links.failed(start + ms(100), 1, &REFUSED);
    links.lost(start + ms(60_000), 0, &LossReason::Closed, true);
    assert_eq!(links.refused_since(), None, "nothing was tried since");
    let later = start + ms(60_000) + PROBE_PAUSE_MAX;
    place_all(&mut links, later);
    links.failed(later, 0, &REFUSED);
    assert_eq!(links.refused_since(), Some(later));
}

#[test]
fn every_pair_of_state_and_move_is_legal_or_not() {
    let now = Instant::now();
    let states = [DialState::Resting(now), DialState::Dialling(1), DialState::Up(1), DialState::Leaving(1)];
    let moves =
        [DialMove::Dial(2), DialMove::Welcome, DialMove::Recall, DialMove::Rest(now), DialMove::Wait(now)];
    let table = states.map(|state| moves.map(|step| state.next(step)));
    let rested = Some(DialState::Resting(now));
    assert_eq!(
        table,
        [
            [Some(DialState::Dialling(2)), None, None, None, rested],
            [None, Some(DialState::Up(1)), None, rested, None],
            [None, None, Some(DialState::Leaving(1)), rested, None],
            [None, None, None, rested, None],
        ]
    );
}

#[test]
fn a_lifeline_has_one_connection_once_and_the_others_are_dialled_later() {
    let start = Instant::now();
    let mut links = links_of(start, 3, 6).with_lifeline(start);
    assert_eq!(place_all(&mut links, start), [(0, 0), (1, 1), (2, 2)], "the last keeps the lifeline");
    assert_eq!(place_all(&mut links, start + LATER), [(3, 0), (4, 1), (5, 0)]);
    for connection in [0, 1, 3, 4, 5] {
        links.failed(start, connection, &REFUSED);
    }
    links.up(2);
    let later = start + PROBE_PAUSE_MAX * 2;
    assert!(place_all(&mut links, later).iter().all(|(_, link)| *link < 2), "nobody else takes it");
    assert!(!links.lost(later, 2, &LossReason::Closed, true));
    assert_eq!(links.first_bad(), Some((2, "ended")));
    assert!(links.is_lifeline(2) && links.all_bad().is_none());
    let placed = place_all(&mut links, later + PROBE_PAUSE_MAX * 2);
    assert!(placed.iter().all(|(_, link)| *link < 2), "its keeper goes elsewhere: {placed:?}");
}

#[test]
fn a_lifeline_alone_is_all_there_is() {
    let start = Instant::now();
    let mut links = links_of(start, 1, 1).with_lifeline(start);
    assert_eq!(place_all(&mut links, start), [(0, 0)]);
    links.failed(start, 0, &DialError::Closed);
    assert_eq!(place_all(&mut links, start + PROBE_PAUSE_MAX * 9), []);
    assert_eq!(links.all_bad().map(|(link, _)| link), Some(0));
}

#[test]
fn where_one_suffices_links_are_tried_one_after_the_other_until_one_is_up() {
    let start = Instant::now();
    let mut links = links_of(start, 3, 8);
    links.suffice_with_one(true);
    assert_eq!(place_all(&mut links, start), [(0, 0)]);
    assert_eq!(links.deadline(start), Some(start + NEXT));
    assert_eq!(place_all(&mut links, start + NEXT), [(1, 1)], "the first has not answered");
    links.failed(start + NEXT, 0, &REFUSED);
    assert!(links.hopeful(), "the third was not tried");
    assert_eq!(place_all(&mut links, start + NEXT + NEXT), [(0, 0)], "its pause is over");
    assert_eq!(links.up(1), [0; 0]);
    assert_eq!(links.up(0), [0], "it came later, and leaves");
    links.lost(start + NEXT * 3, 0, &LossReason::Left, true);
    assert_eq!(place_all(&mut links, start + PROBE_PAUSE_MAX * 9), []);
    links.lost(start + PROBE_PAUSE_MAX * 9, 1, &LossReason::Closed, true);
    assert_eq!(place_all(&mut links, start + PROBE_PAUSE_MAX * 9), [(0, 0)], "none is up");
    links.up(0);
    links.suffice_with_one(false);
    let others: Vec<usize> =
        place_all(&mut links, start + PROBE_PAUSE_MAX * 9).iter().map(|at| at.0).collect();
    assert_eq!(others, [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn where_one_suffices_one_that_comes_up_while_its_home_works_again_leaves_once() {
    let start = Instant::now();
    let mut links = links_of(start, 3, 2);
    links.suffice_with_one(true);
    // the first two links refused, the third accepts and is silent, and then the first opens
    for (connection, link) in [(0, 2), (1, 0)] {
        links.advance(connection, DialMove::Dial(link));
        links.links[link].dial();
    }
    assert_eq!(links.up(1), [0; 0]);
    assert_eq!(links.up(0), [0]);
}

#[test]
fn who_is_put_off_comes_again_and_its_link_is_as_good_as_before() {
    let start = Instant::now();
    let mut links = links_of(start, 1, 2);
    place_all(&mut links, start);
    links.put_off(start, 0);
    assert_eq!(place_all(&mut links, start), []);
    assert_eq!((links.trouble(0), links.is_bad(0)), ("", false));
    assert_eq!(place_all(&mut links, start + DIALS_APART), [(0, 0)]);
}

/// A session that has begun to dial at `start`: its first connection only.
fn begun(start: Instant, links: usize, connections: usize) -> Links {
    let mut links = Links::new(start, links, connections, 1);
    assert_eq!(place_all(&mut links, start), [(0, 0)], "the first one at once");
    links
}

#[test]
fn the_further_connections_are_dialled_after_the_headstart_of_the_first() {
    let start = Instant::now();
    let mut links = begun(start, 2, 4);
    assert!(links.hopeful() && links.is_dialling());
    assert_eq!((place_all(&mut links, start + ms(1)), links.any_rested(start + ms(1))), (vec![], false));
    assert_eq!(links.deadline(start), Some(start + HEADSTART), "nothing else wakes anybody");
    assert!(links.any_rested(start + HEADSTART));
    assert_eq!(place_all(&mut links, start + HEADSTART), [(1, 1), (2, 0), (3, 1)], "the first is on its way");
    let mut links = begun(start, 1, 2);
    links.up(0);
    assert_eq!(links.deadline(start), Some(start + HEADSTART), "nor if it is up");
    assert_eq!(place_all(&mut links, start + HEADSTART), [(1, 0)]);
}

#[test]
fn where_one_connection_carries_the_further_ones_are_dialled_later_or_when_it_does_not() {
    let start = Instant::now();
    let mut links = begun(start, 1, 3);
    links.up(0);
    links.note_whether_one_carries(true);
    assert_eq!(
        (place_all(&mut links, start + HEADSTART), links.any_rested(start + HEADSTART)),
        (vec![], false)
    );
    assert_eq!(links.deadline(start + HEADSTART), Some(start + ALONE));
    assert_eq!(place_all(&mut links, start + ALONE - ms(1)), []);
    let mut other = begun(start, 1, 3);
    assert_eq!(place_all(&mut links, start + ALONE), [(1, 0), (2, 0)]);
    other.up(0);
    other.note_whether_one_carries(true);
    assert_eq!(place_all(&mut other, start + ms(20)), []);
    other.note_whether_one_carries(false);
    assert_eq!(place_all(&mut other, start + ms(20)), [(1, 0), (2, 0)], "at once");
}

#[test]
fn when_the_first_connection_fails_nothing_keeps_the_others_back() {
    let start = Instant::now();
    type Failing = fn(&mut Links, Instant);
    let ways: [Failing; 4] = [
        |links, now| _ = links.failed(now, 0, &REFUSED),
        |links, now| links.condemn(now, 0, "not here"),
        |links, now| links.put_off(now, 0),
        |links, now| {
            links.up(0);
            links.note_whether_one_carries(true);
            links.lost(now, 0, &LossReason::Closed, true);
        },
    ];
    for (way, fails) in ways.iter().enumerate() {
        let mut links = begun(start, 2, 2);
        fails(&mut links, start);
        assert!(links.hopeful() && links.is_dialling(), "{way}: the second link was not tried");
        assert!(place_all(&mut links, start).contains(&(1, 1)), "{way}");
    }
}

#[test]
fn the_first_connection_has_one_headstart() {
    let start = Instant::now();
    let mut links = begun(start, 1, 2);
    place_all(&mut links, start + HEADSTART);
    (0..2).for_each(|connection| _ = links.up(connection));
    links.note_whether_one_carries(true);
    let soon = start + HEADSTART * 2;
    links.lost(soon, 1, &LossReason::Closed, true);
    assert_eq!(place_all(&mut links, start + ALONE + HEADSTART), [(1, 0)], "for its dials are apart");
    let mut links = begun(start, 1, 2);
    links.put_off(start, 0);
    assert_eq!(place_all(&mut links, start), [(1, 0)]);
    assert_eq!(place_all(&mut links, start + DIALS_APART), [(0, 0)]);
    links.up(1);
    links.lost(start + DIALS_APART, 1, &LossReason::Closed, true);
    assert_eq!(
        place_all(&mut links, start + DIALS_APART),
        [(1, 0)],
        "the first one's second attempt keeps nobody"
    );
}
