use super::*;
use crate::session::pool::Pool;
use mio::{Events, Poll};
use std::sync::Arc;

const TOKENS: [Token; 3] = [Token(2), Token(3), Token(4)];

fn bytes(len: usize) -> Payload {
    Arc::new((0..len).map(|i| (i * 7 / 5) as u8).collect::<Vec<u8>>())
}

/// A run to its end, with room for so many bytes: what it made, or why not.
fn run_with(command: &str, input: Payload, wanted: OutputSize, room: usize) -> Result<Vec<u8>, String> {
    let mut poll = Poll::new().unwrap();
    let (len, spare) = (input.size(), 4);
    let output = (Pool::new(16 << 20).take(room + spare).unwrap(), spare);
    let mut run = match Run::begin(command, (input, len), wanted, output, (poll.registry(), TOKENS)) {
        Ok(run) => run,
        Err(Unstarted::Short(why) | Unstarted::Never(why)) => return Err(why),
    };
    let mut events = Events::with_capacity(8);
    loop {
        match run.advance() {
            Step::Done(made) => return Ok(made.to_vec()),
            Step::Failed(why) => return Err(why),
            Step::Working(until) => {
                // an interruption is a wake-up like any other
                let _ = poll.poll(&mut events, Some(until.saturating_duration_since(Instant::now())));
            }
        }
    }
}

fn encode(command: &str, len: usize) -> Result<Vec<u8>, String> {
    run_with(command, bytes(len), OutputSize::AtMost, 2 << 20)
}

#[test]
fn what_was_encoded_is_decoded() {
    for (encode, decode) in [("cat", "cat"), ("gzip -1", "gzip -d"), ("tr a-z b-za", "tr b-za a-z")] {
        for len in [1, 1000, 256 << 10] {
            let input = bytes(len);
            let made = run_with(encode, input.clone(), OutputSize::AtMost, 1 << 20).unwrap();
            let back = run_with(decode, Arc::new(made), OutputSize::Exactly, len).unwrap();
            assert!(back == input.bytes(), "{encode}, {len} bytes");
        }
    }
    // larger than it was, by much
    assert_eq!(encode("od -An -v -tx1", 256 << 10).unwrap().len(), (256 << 10) / 16 * 49);
}

#[test]
fn a_program_that_fails_is_told_with_its_last_words() {
    for (command, why) in [
        ("exit 3", "exited 3"),
        ("cat; echo first >&2; echo gone wrong >&2; exit 1", "exited 1: gone wrong"),
        ("cat; kill -SEGV $$", "was killed by SIGSEGV"),
        ("cat >/dev/null", "made nothing of a leg of 200000 bytes"),
        ("head -c 1000", "took "),
        ("cat; cat /dev/zero", "made more than 2097152 bytes of a leg of 200000"),
        ("no-such-program", "exited 127: "),
    ] {
        let failed = encode(command, 200_000).expect_err(command);
        assert!(failed.contains(why) && failed.starts_with("through \""), "{command}: {failed}");
    }
    for (command, why) in [
        ("cat; echo", "made more than the 1000 bytes that the leg has"),
        ("head -c 999", "made 999 bytes where the leg has 1000"),
        ("cat; exit 9", "exited 9"),
    ] {
        let failed = run_with(command, bytes(1000), OutputSize::Exactly, 1000).expect_err(command);
        assert!(failed.contains(why), "{command}: {failed}");
    }
}

#[test]
fn a_decoder_need_not_read_what_it_knows() {
    assert_eq!(run_with("head -c 1000", bytes(500_000), OutputSize::Exactly, 1000).unwrap().len(), 1000);
}

#[test]
fn it_is_given_three_pipes_and_no_more() {
    let kept = File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&kept, rustix::io::FdFlags::empty()).unwrap();
    let made = encode("cat >/dev/null; ls /proc/self/fd", 10).unwrap();
    // the last one is that of ls, on the folder
    assert_eq!(String::from_utf8(made).unwrap(), "0\n1\n2\n3\n");
}

#[test]
fn one_that_never_stops_talking_holds_up_nothing() {
    let (mut poll, pool) = (Poll::new().unwrap(), Pool::new(1 << 20));
    let (input, output) = ((bytes(9), 9), (pool.take(100).unwrap(), 0));
    let watched = (poll.registry(), TOKENS);
    let mut run = Run::begin("exec yes >&2", input, OutputSize::AtMost, output, watched).unwrap();
    let mut events = Events::with_capacity(8);
    // each turn comes back, while it has filled its pipe again
    while run.said.is_empty() || unread(run.stderr.as_ref().unwrap()).unwrap() == 0 {
        assert!(matches!(run.advance(), Step::Working(_)));
        poll.poll(&mut events, Some(LOOKS.0)).unwrap();
    }
    assert!(matches!(run.advance(), Step::Working(_)));
}

#[test]
fn one_that_is_dropped_is_gone_with_all_that_it_started() {
    let (poll, pool) = (Poll::new().unwrap(), Pool::new(1 << 20));
    let output = (pool.take(100).unwrap(), 0);
    let watched = (poll.registry(), TOKENS);
    let run = Run::begin("sleep 1000 & sleep 1000", (bytes(9), 9), OutputSize::AtMost, output, watched);
    let run = run.unwrap();
    let id = run.id;
    drop(run);
    let begun = Instant::now();
    while std::fs::exists(format!("/proc/{id}")).unwrap() {
        assert!(begun.elapsed() < Duration::from_secs(20), "still there");
        std::thread::yield_now();
    }
}

#[test]
fn a_gap_in_which_this_process_did_not_run_is_no_stall() {
    let mut now = Instant::now();
    let mut idle = Idle::since(now);
    now += PROGRAM_STALLS * 10;
    assert!(!idle.look(now));
    let looks = (0..).take_while(|_| {
        now += LOOK;
        !idle.look(now)
    });
    assert!((27..30).contains(&looks.count()));
}
