use super::*;

const REFUSED: DialError = DialError::Refused;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Places every worker that can be placed; the links they went to.
fn place_all(links: &mut Links, now: Instant) -> Vec<(usize, usize)> {
    let workers = links.workers.len();
    (0..workers).filter_map(|w| links.place(now, w, true).map(|(link, _)| (w, link))).collect()
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
    let mut links = Links::new(start, 2, 6, 1);
    assert_eq!(place_all(&mut links, start).len(), 6);
    for worker in [1, 3] {
        links.up(start, worker);
    }
    for worker in [0, 2, 4, 5] {
        links.failed(start, worker, &REFUSED);
    }
    assert_eq!(place_all(&mut links, start), [(2, 1), (4, 1), (5, 1)], "worker 0 keeps link 0");
    assert_eq!(place_all(&mut links, start + PAUSE_MAX), [(0, 0)]);
    for worker in [2, 4, 5] {
        links.up(start, worker);
    }
    assert_eq!(links.up(start, 0), [2, 4, 5], "called back when it answers");
    assert_eq!(links.state(2), WorkerState::Leaving(1));
    links.lost(start, 2, &LossReason::Left, true);
    assert_eq!(links.place(start, 2, true).map(|(link, _)| link), Some(0));
}

#[test]
fn one_worker_finds_the_link_that_works() {
    let start = Instant::now();
    let mut links = Links::new(start, 3, 1, 1);
    let mut now = start;
    for expected in [0, 1, 2] {
        assert_eq!(place_all(&mut links, now), [(0, expected)]);
        links.failed(now, 0, &REFUSED);
        now += ms(1);
    }
    assert_eq!(links.place(now, 0, false), None, "all pause");
    assert!(links.deadline(now).is_some_and(|at| at < now + PAUSE_FIRST));
    assert_eq!(place_all(&mut links, now + PAUSE_MAX).len(), 1);
}

#[test]
fn links_that_time_out_do_not_starve_the_others() {
    let mut now = Instant::now();
    let mut links = Links::new(now, 3, 1, 1);
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
    let mut links = Links::new(start, 1, 1, 1);
    let reset = LossReason::Failed("reset".into());
    for _ in 0..5 {
        assert_eq!(place_all(&mut links, start).len(), 1);
        links.up(start, 0);
        assert!(!links.lost(start, 0, &reset, true));
    }
    place_all(&mut links, start);
    links.up(start, 0);
    links.lost(start, 0, &reset, false);
    assert_eq!(place_all(&mut links, start), [], "it achieved nothing");
    assert_eq!(place_all(&mut links, start + PAUSE_MAX).len(), 1);
}

#[test]
fn the_receiver_is_gone_when_every_link_is_refused() {
    let start = Instant::now();
    let mut links = Links::new(start, 2, 2, 1);
    place_all(&mut links, start);
    links.failed(start, 0, &REFUSED);
    assert_eq!(links.refused_since(), None);
    links.failed(start + ms(500), 1, &DialError::Closed);
    assert_eq!(links.refused_since(), Some(start + ms(500)));
    place_all(&mut links, start + PAUSE_MAX);
    links.failed(start + PAUSE_MAX, 0, &DialError::TimedOut);
    assert_eq!(links.refused_since(), None, "silence is not a refusal");
}

#[test]
fn a_link_that_was_wronged_is_given_more_time() {
    let start = Instant::now();
    let mut links = Links::new(start, 1, 1, 1);
    place_all(&mut links, start);
    links.up(start, 0);
    links.lost(start, 0, &LossReason::Silent, true);
    place_all(&mut links, start);
    links.up(start, 0);
    assert_eq!(links.lenience(0), 2);
    links.fell_silent(0, start - ms(1));
    links.lost(start + ms(6000), 0, &LossReason::Silent, true);
    place_all(&mut links, start + ms(6000));
    links.up(start + ms(6000), 0);
    assert_eq!(links.lenience(0), 2, "silent since before that");
    links.lost(start + FORGIVEN * 2, 0, &LossReason::Silent, true);
    assert_eq!(links.lenience(0), 1, "long ago");
}

#[test]
fn one_silence_of_many_connections_is_one_wrong() {
    let start = Instant::now();
    let mut links = Links::new(start, 1, 4, 1);
    place_all(&mut links, start);
    (0..4).for_each(|worker| _ = links.up(start, worker));
    (0..4).for_each(|worker| _ = links.lost(start, worker, &LossReason::Silent, true));
    place_all(&mut links, start);
    links.up(start + ms(50), 0);
    place_all(&mut links, start);
    (1..4).for_each(|worker| _ = links.up(start, worker));
    assert_eq!(links.lenience(0), 2);
}

#[test]
fn links_that_are_given_are_never_dialled_nor_called_home() {
    let start = Instant::now();
    let mut links = Links::given(start);
    assert_eq!(place_all(&mut links, start + PAUSE_MAX), []);
    assert_eq!(links.deadline(start), None);
    links.give(3, 9);
    assert_eq!(links.up(start, 3), [0; 0]);
    assert_eq!((links.link_of(3), links.connections_on(9)), (Some(9), 1));
    links.give(0, 0);
    links.give(0, 9);
    assert_eq!(links.up(start, 0), [0; 0], "worker 3 stays where it is");
    links.lost(start, 3, &LossReason::Silent, false);
    links.lost(start, 0, &LossReason::Closed, false);
    assert_eq!((links.connections(), links.deadline(start)), (0, None));
    assert_eq!(place_all(&mut links, start + PAUSE_MAX), []);
    links.give(3, 9);
    links.failed(start, 3, &REFUSED);
    assert!(matches!(links.state(3), WorkerState::Resting(_)));
}

#[test]
fn a_link_that_is_given_is_forgiven_as_one_that_is_dialled() {
    let start = Instant::now();
    let mut links = Links::given(start);
    links.give(0, 2);
    links.up(start, 0);
    links.fell_silent(0, start);
    links.lost(start, 0, &LossReason::Silent, true);
    links.give(0, 2);
    links.up(start, 0);
    assert_eq!(links.lenience(2), 2);
}
