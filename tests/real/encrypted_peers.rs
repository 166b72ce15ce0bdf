//! Who is let in: keys that are not in the list, ends of which one does not encrypt, and lists that change.

use super::MIB;
use crate::util::relay::Relay;
use crate::util::{
    Collector, DEADLINE, Keys, Process, Rx, assert_complete, carry, eventually, feed, side_by_side, tx,
    tx_over,
};
use std::time::{Duration, Instant};

/// How this sender ends, who is to be refused: at once, or when patience is over.
#[track_caller]
fn refused(rx: &Rx, words: &[&str], why: &str) -> Duration {
    let begun = Instant::now();
    let tx = tx(rx.port, &[words, &["patience", "2"]].concat());
    let (code, said) = tx.end();
    let time = begun.elapsed();
    assert_eq!((code, said.lines().count()), (Some(3), 1), "{tx}\n{rx}");
    assert!(said.contains(why), "{tx}");
    assert!(
        said.lines().all(|line| line.starts_with("millipede: 127.0.0.1:") || line.contains(": 127.0.0.1:"))
    );
    time
}

const PATIENCE: Duration = Duration::from_secs(2);

#[test]
fn a_sender_whose_key_is_not_in_the_list_is_refused_in_words() {
    let keys = Keys::of(&["rx", "good", "bad"]);
    let rx = Rx::start(&[&keys.words("rx", &["good"])[..], &["verbose", "1"]].concat());
    refused(&rx, &keys.words("bad", &["rx"]), "refused: the receiver does not let in this key: SHA256:");
    assert!(rx.expect("is not among the peers").contains("key SHA256:"), "{rx}");
    // and without a list: whoever has the same key
    let alone = Rx::start(&keys.shared("good"));
    refused(&alone, &keys.words("bad", &["good"]), "does not let in this key");
    carry(&rx, &tx(rx.port, &keys.words("good", &["rx"])), MIB);
    carry(&alone, &tx(alone.port, &keys.shared("good")), MIB);
    assert_eq!(alone.said().lines().count(), 1, "strangers are a matter of verbosity: {alone}");
}

/// Whoever answers has not proved to be the receiver, so it may be somebody on the way: it is asked again.
#[test]
fn a_receiver_whose_key_is_not_in_the_list_is_asked_until_patience_is_over() {
    let keys = Keys::of(&["rx", "good", "other"]);
    let rx = Rx::start(&keys.words("rx", &["good"]));
    let time = refused(&rx, &keys.words("good", &["other"]), "the receiver's key SHA256:");
    assert!(time >= PATIENCE, "{time:?}");
    carry(&rx, &tx(rx.port, &keys.words("good", &["rx"])), MIB);
}

#[test]
fn an_end_that_encrypts_and_one_that_does_not_never_meet() {
    let keys = Keys::of(&["secret"]);
    let encrypts = Rx::start(&keys.shared("secret"));
    refused(&encrypts, &[], "encryption is wanted: give the sender a key");
    carry(&encrypts, &tx(encrypts.port, &keys.shared("secret")), MIB);
    let plain = Rx::start(&["verbose", "1"]);
    let time = refused(&plain, &keys.shared("secret"), "has the receiver no key?");
    assert!(time >= PATIENCE, "{time:?}");
    plain.expect("wants to encrypt, and there is no key here");
    carry(&plain, &tx(plain.port, &[]), MIB);
}

#[test]
fn another_key_on_another_link_makes_that_link_bad() {
    let keys = Keys::of(&["first", "second", "sender"]);
    let first = Rx::start(&keys.words("first", &["sender"]));
    let second = Rx::start(&keys.words("second", &["sender"]));
    let net = Relay::to_nobody();
    let words = [&keys.words("sender", &["first", "second"])[..], &["threads", "4"]].concat();
    let tx = tx_over(&[first.port, net.port], &words);
    let (mut input, output) = (tx.stdin(), first.collect());
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    net.lead_to(second.port);
    // which says so itself, as it has nothing of this stream
    assert!(tx.expect("not that receiver").contains(&format!(":{}: refused", net.port)), "{tx}");
    feed(&mut input, MIB, 20 * MIB).unwrap();
    drop(input);
    assert_complete(&first, &tx, output, 21 * MIB);
    assert_eq!(tx.said().lines().count(), 1, "{tx}");
    let own = crate::util::tx(second.port, &keys.words("sender", &["second"]));
    carry(&second, &own, MIB);
}

// ---- lists that change ---------------------------------------------------------------------------------

/// A session that is under way between two keys, each of which the other end has in a list.
struct Going {
    keys: Keys,
    rx: Rx,
    tx: Process,
    input: std::process::ChildStdin,
    output: Collector,
}

impl Going {
    fn start() -> Going {
        let keys = Keys::of(&["rx", "tx", "other"]);
        keys.list("of rx", &["tx", "other"]);
        keys.list("of tx", &["rx", "other"]);
        let rx = Rx::start(&["key", keys.path("rx"), "peers", keys.path("of rx")]);
        let words = ["threads", "3", "key", keys.path("tx"), "peers", keys.path("of tx")];
        let tx = tx(rx.port, &words);
        let (mut input, output) = (tx.stdin(), rx.collect());
        feed(&mut input, 0, MIB).unwrap();
        output.await_bytes(MIB);
        Going { keys, rx, tx, input, output }
    }
}

#[test]
fn a_key_that_is_taken_out_ends_its_session() {
    side_by_side(["rx", "tx"], |at| {
        let going = Going::start();
        going.keys.list(&format!("of {at}"), &["other"]);
        let gone = if at == "rx" { "tx" } else { "rx" };
        let (here, there) = if at == "rx" { (&*going.rx, &going.tx) } else { (&going.tx, &*going.rx) };
        let why = format!("the key of {gone} was taken out of the list of peers");
        let (code, said) = here.end();
        assert_eq!(code, Some(3), "{here}\n{there}");
        assert!(said.contains(&why), "{here}");
        let (code, said) = there.end();
        assert!(code.is_some_and(|code| code != 0) && said.contains(&why), "{there}\n{here}");
    });
}

#[test]
fn a_list_that_cannot_be_used_is_told_and_the_old_one_stays() {
    let mut going = Going::start();
    going.keys.write("of rx", "ssh-ed25519 nonsense\n");
    going.rx.expect("the list stays as it was");
    feed(&mut going.input, MIB, MIB).unwrap();
    going.output.await_bytes(2 * MIB);
    // whoever is in the old one still comes in: also the connections of a new session
    going.keys.list("of rx", &["tx"]);
    feed(&mut going.input, 2 * MIB, MIB).unwrap();
    drop(going.input);
    assert_complete(&going.rx, &going.tx, going.output, 3 * MIB);
}

#[test]
fn a_key_that_is_added_is_let_in() {
    let keys = Keys::of(&["rx", "first", "late"]);
    keys.list("list", &["first"]);
    let rx = Rx::start(&["key", keys.path("rx"), "peers", keys.path("list"), "verbose", "1"]);
    refused(&rx, &keys.words("late", &["rx"]), "does not let in this key");
    keys.list("list", &["first", "late"]);
    rx.expect("read again, 0 no longer let in");
    carry(&rx, &tx(rx.port, &keys.words("late", &["rx"])), MIB);
}

/// Proved when it was still let in, and used when it is not any more.
#[test]
fn a_key_that_is_taken_out_before_its_hello_begins_nothing_that_lasts() {
    use crate::util::stranger::hello;
    use millipede::channel::{Channel, Shaking, Transport, prepare};
    use millipede::trust::{Trust, load};
    use std::io::{ErrorKind, Read, Write};
    use std::path::Path;
    let keys = Keys::of(&["rx", "bad", "good"]);
    keys.list("list", &["bad", "good"]);
    let rx = Rx::start(&["key", keys.path("rx"), "peers", keys.path("list"), "verbose", "2"]);
    let [_, own, _, list] = keys.words("bad", &["rx"]);
    let (own, roll) = load(Path::new(own), Some(Path::new(list))).unwrap();
    let stream = crate::util::connect(rx.port);
    prepare(&stream).unwrap();
    stream.set_nonblocking(true).unwrap();
    let channel = Channel::dialled(Transport::tcp(stream), &Trust::new(&own, roll).unwrap()).unwrap();
    assert!(eventually(DEADLINE, || channel.shake().unwrap() == Shaking::Done));
    keys.list("list", &["good"]);
    rx.expect("1 no longer let in");
    (&channel).write_all(&hello(1).encode()).unwrap();
    // it is welcomed or not; in the end it is closed, and the receiver waits for others
    // long before it would be missed for its silence
    let ended = eventually(Duration::from_secs(30), || match (&channel).read(&mut [0; 1000]) {
        Ok(n) => n == 0,
        Err(e) => e.kind() != ErrorKind::WouldBlock,
    });
    assert!(ended, "{rx}");
    carry(&rx, &tx(rx.port, &keys.words("good", &["rx"])), MIB);
}
