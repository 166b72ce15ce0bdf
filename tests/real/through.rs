//! `through`: each leg through a program of the user's and its inverse, and whatever such programs do.

use super::{MIB, assert_same, both};
use crate::util::pair::Duplex;
use crate::util::relay::{Harm, Relay, There};
use crate::util::{
    DEADLINE, Ended, Keys, MILLIPEDE, Process, Rx, Signal, assert_complete, eventually, pattern, send, shell,
    tx,
};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Sends this through two programs: how both ends ended, and whether the output is right.
fn carried(words: &[&str], programs: [&str; 2], input: &[u8]) -> (Ended, Ended) {
    let rx = Rx::keeping(&["through", programs[1]]);
    let sent = send(rx.port, &[&["through", programs[0], programs[1]], words].concat(), input);
    (rx.finish(), sent)
}

#[test]
fn what_goes_through_comes_out_as_it_was() {
    for (words, programs, len) in [
        (&[][..], ["gzip -1", "gzip -d"], 3_000_000),
        (&["checksum", "threads", "2"], ["tr a-z b-za", "tr b-za a-z"], 3_000_000),
        (&["compress", "1", "checksum"], ["cat", "cat"], 3_000_000),
        (&["compress", "1"], ["tr a-z b-za", "tr b-za a-z"], 1_000_000),
        // larger than it was
        (&["checksum", "buffer", "4M"], ["base64", "base64 -d"], 1_000_000),
        (&[], ["cat", "cat"], 1),
    ] {
        let input: Vec<u8> = if words.contains(&"compress") {
            (0..len as u32).map(|i| (i / 9 % 97) as u8).collect()
        } else {
            pattern(0, len)
        };
        let (got, sent) = carried(words, programs, &input);
        assert_eq!((got.code(), sent.code()), (0, 0), "{programs:?}: {}{}", got.stderr, sent.stderr);
        assert_same(&got.stdout, &input);
    }
}

#[test]
fn fewer_bytes_are_on_the_wire() {
    let input: Vec<u8> = (0..4_000_000u32).map(|i| (i / 9 % 97) as u8).collect();
    let rx = Rx::keeping(&["through", "gzip -d"]);
    let relay = Relay::to(rx.port);
    let sent = send(relay.port, &["through", "gzip -1", "gzip -d"], &input);
    let got = rx.finish();
    assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
    assert_same(&got.stdout, &input);
    assert!(relay.passed(There) < 1_000_000, "{}", relay.passed(There));
}

#[test]
fn a_through_at_one_end_only_is_refused_in_words() {
    let rx = Rx::keeping(&["patience", "5"]);
    let sent = send(rx.port, &["through", "cat", "cat"], b"x");
    assert_eq!(sent.code(), 3);
    assert!(sent.stderr.contains("only the sender says through; both must"), "{}", sent.stderr);
    let rx = Rx::keeping(&["through", "cat", "patience", "5"]);
    let sent = send(rx.port, &[], b"x");
    assert_eq!(sent.code(), 3);
    assert!(sent.stderr.contains("only the receiver says through; both must"), "{}", sent.stderr);
}

#[test]
fn an_encoder_that_fails_ends_both_ends_with_4() {
    let input = pattern(0, 2_000_000);
    for (encode, said) in [
        ("echo gone wrong >&2; exit 3", "exited 3: gone wrong"),
        ("cat >/dev/null", "made nothing of a leg"),
        ("head -c 10", "took "),
        ("cat; head -c 1G /dev/zero", "made more than "),
        ("kill -KILL $$", "was killed by SIGKILL"),
        ("no-such-program", "exited 127"),
    ] {
        let (got, sent) = carried(&["threads", "3"], [encode, "cat"], &input);
        both(&got, &sent, 4, said);
    }
    let count = tempfile::NamedTempFile::new().unwrap();
    let (path, counted) = (count.path().display(), "[ $(wc -c <");
    let encode = format!("echo >> {path}; {counted} {path}) -le 3 ] || {{ echo no more >&2; exit 7; }}; cat");
    let (got, sent) = carried(&["threads", "1"], [&encode, "cat"], &input);
    both(&got, &sent, 4, "exited 7: no more");
}

#[test]
fn a_decoder_that_fails_ends_both_ends_with_5_and_one_that_lies_with_6() {
    let input = pattern(0, 2_000_000);
    for (decode, said) in [
        ("echo gone wrong >&2; exit 3", "exited 3: gone wrong"),
        ("cat >/dev/null", "made 0 bytes where"),
        ("head -c 10", "made 10 bytes where"),
        ("cat; head -c 1G /dev/zero", "made more than "),
        ("kill -KILL $$", "was killed by SIGKILL"),
    ] {
        let (got, sent) = carried(&["threads", "3"], ["cat", decode], &input);
        both(&got, &sent, 5, said);
    }
    let (got, sent) = carried(&["checksum"], ["cat", "tr a b"], &input);
    both(&got, &sent, 6, "the decoder is not the inverse");
}

#[test]
fn a_program_that_sleeps_holds_up_no_order() {
    for (encode, decode, encodes) in [("exec sleep 1000", "cat", true), ("cat", "exec sleep 1000", false)] {
        let rx = Rx::keeping(&["through", decode]);
        let sender = tx(rx.port, &["through", encode, decode, "threads", "2", "verbose", "2"]);
        let mut stdin = sender.stdin();
        stdin.write_all(&pattern(0, 1_000_000)).unwrap();
        sender.expect("connection 1 is up");
        let sleeps: &Process = if encodes { &sender } else { &rx };
        sleeps.await_command("sleep");
        sender.signal(Signal::TERM);
        let sent = sender.finish();
        assert_eq!(sent.signal(), Some(15), "{}", sent.stderr);
        assert_ne!(rx.finish().code(), 0);
    }
}

/// Whether any process of this group lives. One that waits to be reaped, by whoever does that here, does not.
#[cfg(target_os = "linux")]
fn lives(group: &str) -> bool {
    let stats = std::fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let mut stats = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.any(|stat| {
        // pid (name) state ppid pgrp
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split_whitespace());
        let fields: Vec<&str> = fields.into_iter().flatten().take(3).collect();
        fields.first() != Some(&"Z") && fields.get(2) == Some(&group)
    })
}

/// Each shell says its number, which is that of its group, and runs another program.
#[cfg(target_os = "linux")]
#[test]
fn programs_and_what_they_run_end_with_a_process_that_is_killed() {
    use super::commands::child_called;
    use crate::util::until;
    let numbers = tempfile::NamedTempFile::new().unwrap();
    let program = format!("echo $$ >> {}; sleep 1000; cat; true", numbers.path().display());
    for (encode, decode) in [(&program[..], "cat"), ("cat", &program)] {
        let rx = Rx::keeping(&["through", decode, "patience", "5"]);
        let sender = tx(rx.port, &["through", encode, decode, "threads", "3", "patience", "5"]);
        sender.feed(20_000_000);
        let begun = || std::fs::read_to_string(numbers.path()).unwrap();
        assert!(eventually(DEADLINE, || begun().lines().count() >= 3), "{}", begun());
        let killed: &Process = if encode == "cat" { &rx } else { &sender };
        killed.await_command("sleep");
        let guard = until("the guard", || child_called(killed.pid(), "command-guard"));
        killed.kill();
        for group in begun().lines().chain([guard.to_string().as_str()]) {
            assert!(eventually(DEADLINE, || !lives(group)), "{group}");
        }
        std::fs::write(numbers.path(), "").unwrap();
    }
}

#[test]
fn without_a_path_programs_are_found_where_a_shell_has_them_and_not_in_the_working_directory() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("cat");
    std::fs::write(&other, "#!/bin/sh\necho another cat\n").unwrap();
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o755)).unwrap();
    let start = |words: &str| {
        let mut line = shell(&format!("unset PATH; exec $MP {words}"));
        line.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        line
    };
    let rx = Rx::spawn(&mut start("rx 0 through cat"));
    let tx = Process::spawn(&mut start(&format!("tx 127.0.0.1 {} through cat cat", rx.port)));
    tx.feed(100_000);
    assert_complete(&rx, &tx, rx.collect(), 100_000);
}

#[test]
fn one_that_sleeps_for_ever_is_not_waited_for() {
    let (got, sent) = carried(&["threads", "1"], ["sleep 1000", "cat"], b"some");
    both(&got, &sent, 4, "did nothing for 30 s");
}

/// While it sleeps, legs wait for it. Questions are answered all the same, so that no connection seems to be dead.
#[test]
fn nor_is_one_that_decodes() {
    let input = pattern(0, 20_000_000);
    let (got, sent) = carried(&["threads", "2", "verbose", "2"], ["cat", "sleep 1000"], &input);
    both(&got, &sent, 5, "did nothing for 30 s");
    assert!(!sent.stderr.contains("lost (silent)"), "{}", sent.stderr);
}

/// Nor is the sender's last word behind legs that wait for a program.
#[test]
fn a_sender_that_gives_up_is_heard_while_legs_wait_for_a_program() {
    let rx = Rx::keeping(&["through", "sleep 1000"]);
    let relay = Relay::to(rx.port);
    let sender = tx(relay.port, &["through", "cat", "sleep 1000", "threads", "1"]);
    sender.feed(20_000_000);
    rx.await_command("sleep");
    // as many legs as the receiver reads before any is decoded: four, which are short at first
    assert!(eventually(DEADLINE, || relay.passed(There) > 4 * (16 << 10)), "{}", relay.passed(There));
    sender.signal(Signal::TERM);
    assert_eq!(sender.finish().signal(), Some(15));
    let got = rx.finish();
    assert!(got.code() == 1 && got.stderr.contains("the sender: ended by SIGTERM"), "{}", got.stderr);
}

/// The gap in which the receiver did not run is no reason to look at programs later from then on.
#[test]
fn nor_is_one_that_decodes_where_the_receiver_was_stopped() {
    let rx = Rx::keeping(&["through", "sleep 1000"]);
    let tx = tx(rx.port, &["through", "cat", "sleep 1000", "threads", "2"]);
    tx.feed(3_000_000);
    rx.await_command("sleep");
    rx.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(8));
    rx.signal(Signal::CONT);
    both(&rx.finish(), &tx.finish(), 5, "did nothing for 30 s");
}

/// The sender's last word is behind legs that wait for a program.
#[test]
fn others_that_sleep_do_not_keep_a_stream_that_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let decode = format!("mkdir {} 2>&- && sleep 2 && exit 3; exec sleep 1000", first.display());
    let begun = Instant::now();
    let (got, sent) = carried(&["threads", "4"], ["cat", &decode], &pattern(0, 3_000_000));
    both(&got, &sent, 5, "exited 3");
    assert!(begun.elapsed() < Duration::from_secs(50), "that is how long it would wait to hear it, and 10 s");
}

#[test]
fn connections_break_and_legs_are_damaged_and_the_bytes_are_right() {
    let input = pattern(0, 6_000_000);
    let rx = Rx::keeping(&["through", "gzip -d", "chaos", "23"]);
    let relay = Relay::damaging(rx.port, |sequence, before| {
        if sequence % 5 == 1 && before == 0 && sequence < 30 { Harm::Payload } else { Harm::None }
    });
    let words = ["through", "gzip -1", "gzip -d", "chaos", "19", "threads", "4", "checksum"];
    let sender = tx(relay.port, &words);
    let mut stdin = sender.stdin();
    let feeding = input.clone();
    let feeder = std::thread::spawn(move || stdin.write_all(&feeding));
    for kill in 0..5 {
        assert!(eventually(DEADLINE, || relay.passed(There) > kill * 900_000 || sender.has_ended()));
        relay.kill(kill as usize);
    }
    feeder.join().unwrap().unwrap();
    let sent = sender.finish();
    let got = rx.finish();
    assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
    assert_same(&got.stdout, &input);
}

#[test]
fn in_duplex_both_streams_go_through() {
    let words = ["through", "gzip -1", "gzip -d"];
    let pair = Duplex::start(&words, &words);
    let (to_l, to_d) = (pattern(0, 1_500_000), pattern(1 << 30, 1_000_000));
    let [at_l, at_d] = pair.exchange(&to_l, &to_d);
    assert_same(&at_l, &to_l);
    assert_same(&at_d, &to_d);
    pair.assert_ended(0, 0);
}

#[test]
fn a_receiver_with_less_memory_is_sent_what_it_takes() {
    let input = pattern(0, 2_000_000);
    for (encode, decode, code) in [
        ("base64 -w0", "base64 -d", 0),
        ("cat; head -c 100000 /dev/zero", "cat", 4), // which this end's own legs have room for
    ] {
        let rx = Rx::keeping(&["through", decode, "buffer", "4M"]);
        let sent = send(rx.port, &["through", encode, decode, "checksum"], &input);
        let got = rx.finish();
        assert_eq!((got.code(), sent.code()), (code, code), "{}{}", got.stderr, sent.stderr);
        if code == 0 {
            assert_same(&got.stdout, &input);
        } else {
            assert!(sent.stderr.contains("made more than 65532 bytes of a leg"), "{}", sent.stderr);
        }
    }
}

/// Where legs as they are encoded may be a little longer than 64 KiB: no program waits for memory that others hold.
#[test]
fn programs_that_make_much_go_with_any_buffer() {
    let (encode, decode) = (["base64 -w0"; 5].join(" | "), ["base64 -d"; 5].join(" | "));
    let input = pattern(0, 1_000_000);
    let (got, sent) = carried(&["buffer", "4352K"], [&format!("{encode}; sleep 0.03"), &decode], &input);
    assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
    assert_same(&got.stdout, &input);
}

#[test]
fn compress_and_through_go_with_keys_and_broken_connections() {
    let keys = Keys::of(&["here", "there"]);
    let (here, there) = (keys.words("here", &["there"]), keys.words("there", &["here"]));
    let input: Vec<u8> = (0..6_000_000u32).map(|i| (i / 9 % 97) as u8).collect();
    for (at_rx, at_tx) in [
        (&[][..], &["compress", "1", "checksum"][..]),
        (&["through", "gzip -d"], &["through", "gzip -1", "gzip -d", "threads", "4"]),
        (&["through", "cat"], &["through", "cat", "cat", "compress", "1", "checksum"]),
    ] {
        let rx = Rx::keeping(&[&here[..], at_rx, &["chaos", "23"]].concat());
        let relay = Relay::to(rx.port);
        let sent = send(relay.port, &[&there[..], at_tx, &["chaos", "19"]].concat(), &input);
        let got = rx.finish();
        assert_eq!((got.code(), sent.code()), (0, 0), "{at_tx:?}: {}{}", got.stderr, sent.stderr);
        assert_same(&got.stdout, &input);
        assert!(relay.passed(There) < 5_000_000, "{at_tx:?}: {}", relay.passed(There));
    }
}

#[test]
fn programs_wait_for_each_other_where_few_files_may_be_open() {
    let slow = "sleep 0.02; cat";
    let few = |words: &[&str]| {
        let mut limited = Command::new("sh");
        limited.args(["-c", r#"ulimit -n 64; exec "$@""#, "sh", MILLIPEDE]).args(words);
        limited.stdin(Stdio::piped()).stdout(Stdio::piped());
        limited
    };
    let rx = Rx::spawn(&mut few(&["rx", "0", "through", slow]));
    let tx = Process::spawn(&mut few(&["tx", "127.0.0.1", &rx.port.to_string(), "through", slow, slow]));
    tx.feed(6 * MIB);
    assert_complete(&rx, &tx, rx.collect(), 6 * MIB);
}
