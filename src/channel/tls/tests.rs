mod hostile;

use super::super::{Channel, prepare, tls_error};
use super::*;
use crate::trust::{PrivateKey, Roll, Trust};
use std::net::{TcpListener, TcpStream};

/// What is sent: every byte is told by its position.
fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| (at.wrapping_mul(31) ^ (at >> 8)) as u8).collect()
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    for stream in [&near, &far] {
        prepare(stream).unwrap();
        stream.set_nonblocking(true).unwrap();
    }
    (near, far)
}

fn channels(dialler: &Trust, listener: &Trust) -> (Channel, Channel) {
    let (near, far) = pair();
    let near = Channel::dialled(Transport::tcp(near), dialler).unwrap();
    (near, Channel::plain(Transport::tcp(far)).accepted(listener).unwrap())
}

/// Both ends with keys of their own, each lets the other in.
fn strangers() -> (Trust, Trust) {
    let (one, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let trust = |own, peer: &PrivateKey| Trust::new(own, Roll::only(peer.public())).unwrap();
    (trust(&one, &other), trust(&other, &one))
}

fn is_blocked<T>(result: &io::Result<T>) -> bool {
    matches!(result, Err(e) if e.kind() == ErrorKind::WouldBlock)
}

/// Shakes both ends until neither goes on.
fn shake(near: &Channel, far: &Channel) -> (io::Result<Shaking>, io::Result<Shaking>) {
    let mut both = (near.shake(), far.shake());
    let goes_on = |end: &io::Result<Shaking>| matches!(end, Ok(Shaking::Reads | Shaking::Writes));
    // a handshake has three flights; more turns than that are waits for the kernel
    for _ in 0..100_000 {
        if !goes_on(&both.0) && !goes_on(&both.1) {
            break;
        }
        both = (if goes_on(&both.0) { near.shake() } else { both.0 }, both.1);
        both = (both.0, if goes_on(&both.1) { far.shake() } else { both.1 });
    }
    both
}

/// Sends so much one way, in pieces of changing size, while it is read in others; compares every byte.
fn carry(mut from: &Channel, mut to: &Channel, len: usize) {
    let (mut sent, mut got, mut turn) = (0, 0, 0);
    while got < len {
        turn += 1;
        if sent < len {
            let piece = (1 + turn * 7919 % 100_000).min(len - sent);
            let (head, body) =
                (pattern(sent, piece.min(36)), pattern(sent + piece.min(36), piece - piece.min(36)));
            let written = from.write_vectored(&[IoSlice::new(&head), IoSlice::new(&body)]);
            assert!(written.is_ok() || is_blocked(&written), "{written:?}");
            sent += written.unwrap_or(0);
        } else {
            let flushed = from.flush();
            assert!(flushed.is_ok() || is_blocked(&flushed), "{flushed:?}");
        }
        let (mut one, mut two) = (vec![0; 1 + turn * 127 % 40_000], vec![0; 1 + turn * 31 % 30_000]);
        let read = to.read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)]);
        if is_blocked(&read) {
            continue;
        }
        let read = read.unwrap();
        assert!(read > 0, "an end at {got}");
        let all = [one, two].concat();
        let wrong = all[..read].iter().zip(pattern(got, read)).position(|(is, ought)| *is != ought);
        assert_eq!(wrong.map(|at| got + at), None);
        got += read;
    }
    assert!(is_blocked(&to.read(&mut [0])));
}

#[test]
fn bytes_cross_in_both_directions_and_each_end_knows_the_others_key() {
    let (dialler, listener) = strangers();
    let (near, far) = channels(&dialler, &listener);
    assert_eq!((near.key(), far.key()), (None, None));
    assert!(is_blocked(&(&near).write(b"too early")), "nothing is written before the handshake is over");
    let shaken = shake(&near, &far);
    assert!(matches!(shaken, (Ok(Shaking::Done), Ok(Shaking::Done))), "{shaken:?}");
    assert_eq!((near.key(), far.key()), (Some(listener.own()), Some(dialler.own())));
    carry(&near, &far, 10 << 20);
    carry(&far, &near, 3 << 20);
    near.finish_writing();
    let mut end = (&far).read(&mut [0]);
    while is_blocked(&end) {
        end = (&far).read(&mut [0]);
    }
    assert_eq!(end.unwrap(), 0);
}

/// Who has said that nothing more comes still hears what the peer says, and it may be harmed on the way.
#[test]
fn what_comes_harmed_after_the_own_end_is_an_error() {
    let (dialler, listener) = strangers();
    let (near, relay_near) = pair();
    let (relay_far, far) = pair();
    let near = Channel::dialled(Transport::tcp(near), &dialler).unwrap();
    let far = Channel::plain(Transport::tcp(far)).accepted(&listener).unwrap();
    let pass = |mut from: &TcpStream, mut to: &TcpStream, harm: u8| {
        let mut bytes = [0; 8192];
        let Ok(n) = from.read(&mut bytes) else { return 0 };
        bytes[n - 1] ^= harm;
        to.write_all(&bytes[..n]).unwrap();
        n
    };
    while !matches!((near.shake().unwrap(), far.shake().unwrap()), (Shaking::Done, Shaking::Done)) {
        pass(&relay_near, &relay_far, 0);
        pass(&relay_far, &relay_near, 0);
    }
    far.finish_writing();
    assert_eq!((&near).write(&pattern(0, 1000)).unwrap(), 1000);
    while pass(&relay_near, &relay_far, 1) == 0 {}
    let mut read = (&far).read(&mut [0; 2000]);
    while is_blocked(&read) {
        read = (&far).read(&mut [0; 2000]);
    }
    assert!(tls_error(&read.unwrap_err()).is_some());
}

#[test]
fn one_key_at_both_ends_is_a_shared_secret() {
    let key = PrivateKey::generate().unwrap();
    let trust = Trust::new(&key, Roll::only(key.public())).unwrap();
    let (near, far) = channels(&trust, &trust);
    let shaken = shake(&near, &far);
    assert!(matches!(shaken, (Ok(Shaking::Done), Ok(Shaking::Done))), "{shaken:?}");
}

/// Records a key may seal before it is renewed; the bytes below are many times as many.
const RENEWED: u64 = 10;

#[test]
fn keys_are_renewed_on_the_way() {
    let key = PrivateKey::generate().unwrap();
    let renewing = || Trust::renewing(&key, Roll::only(key.public()), RENEWED).unwrap();
    let (near, far) = channels(&renewing(), &renewing());
    shake(&near, &far).0.unwrap();
    carry(&near, &far, 20 << 20);
    carry(&far, &near, 20 << 20);
}

fn why(result: io::Result<Shaking>) -> Option<TlsError> {
    tls_error(&result.unwrap_err()).cloned()
}

#[test]
fn a_receiver_with_another_key_is_not_believed() {
    let (dialler, _) = strangers();
    let (other, _) = strangers();
    let (near, far) = channels(&dialler, &other);
    let (near, _) = shake(&near, &far);
    assert_eq!(why(near), Some(TlsError::Unknown(other.own())));
}

#[test]
fn a_sender_with_another_key_is_turned_away_and_can_tell() {
    let (other, listener) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let dialler = Trust::new(&other, Roll::only(listener.public())).unwrap();
    let listener = Trust::new(&listener, Roll::only(PrivateKey::generate().unwrap().public())).unwrap();
    let (near, far) = channels(&dialler, &listener);
    let (shaken, turned_away) = shake(&near, &far);
    // its own handshake is over before the listener has looked at its key
    assert!(matches!(shaken, Ok(Shaking::Done)), "{shaken:?}");
    assert_eq!(why(turned_away), Some(TlsError::Unknown(other.public())));
    let mut told = (&near).read(&mut [0]);
    while is_blocked(&told) {
        told = (&near).read(&mut [0]);
    }
    assert_eq!(tls_error(&told.unwrap_err()), Some(&TlsError::NotWanted));
}

/// Shakes one end while the other says these bytes and then ends.
fn answered(bytes: &[u8], dials: bool) -> Option<TlsError> {
    let (trust, _) = strangers();
    let (near, mut far) = pair();
    far.set_nonblocking(false).unwrap();
    let transport = Transport::tcp(near);
    let near = match dials {
        true => Channel::dialled(transport, &trust).unwrap(),
        false => Channel::plain(transport).accepted(&trust).unwrap(),
    };
    let _ = near.shake();
    far.write_all(bytes).unwrap();
    far.shutdown(std::net::Shutdown::Write).unwrap();
    loop {
        match near.shake() {
            Ok(Shaking::Reads) => {}
            other => return why(other),
        }
    }
}

#[test]
fn whoever_does_not_encrypt_is_told_from_whoever_says_nothing() {
    for dials in [true, false] {
        assert_eq!(answered(b"\xb2a plain hello, or a page of a web server", dials), Some(TlsError::Plain));
        assert_eq!(answered(b"", dials), Some(TlsError::Closed));
        // a record that is never whole
        assert_eq!(answered(&[0x16, 3, 3, 0x3f, 0xff, 1, 0, 0x3f], dials), Some(TlsError::Closed));
    }
}

#[test]
fn an_alert_from_nobody_in_particular_proves_nothing() {
    // access denied, in the clear: who is on the way can say so
    let denied = [0x15, 3, 3, 0, 2, 2, 49];
    let why = answered(&denied, true);
    assert!(matches!(why, Some(TlsError::Failed(Error::AlertReceived(_)))), "{why:?}");
}

#[test]
fn a_bit_that_is_changed_in_the_handshake_fails_it_or_changes_nothing() {
    let (dialler, listener) = strangers();
    // within the first flight of the end that listens
    for at in (0..600).step_by(7) {
        let (near, relay_near) = pair();
        let (relay_far, far) = pair();
        let near = Channel::dialled(Transport::tcp(near), &dialler).unwrap();
        let far = Channel::plain(Transport::tcp(far)).accepted(&listener).unwrap();
        let mut passed = 0;
        let mut pass = |mut from: &TcpStream, mut to: &TcpStream, harm: bool| {
            let mut bytes = [0; 4096];
            let Ok(n) = from.read(&mut bytes) else { return };
            if harm && (passed..passed + n).contains(&at) {
                bytes[at - passed] ^= 1;
            }
            passed += n * usize::from(harm);
            let _ = to.write_all(&bytes[..n]);
        };
        let mut ends = (near.shake(), far.shake());
        for _ in 0..100_000 {
            let done = |end: &io::Result<Shaking>| !matches!(end, Ok(Shaking::Reads | Shaking::Writes));
            if ends.0.is_err() || ends.1.is_err() || (done(&ends.0) && done(&ends.1)) {
                break;
            }
            pass(&relay_near, &relay_far, false);
            pass(&relay_far, &relay_near, true);
            ends = (near.shake(), far.shake());
        }
        // the head of a record is not protected, and what little it says is not believed
        let unharmed = matches!(ends, (Ok(Shaking::Done), Ok(Shaking::Done)));
        assert!(ends.0.is_err() || ends.1.is_err() || unharmed, "byte {at}: {ends:?}");
        let keys = (near.key(), far.key());
        assert!(!unharmed || keys == (Some(listener.own()), Some(dialler.own())), "byte {at}");
    }
}

#[test]
fn a_bit_that_is_changed_in_the_stream_ends_the_connection_or_changes_nothing() {
    let (dialler, listener) = strangers();
    for at in [0, 1, 3, 4, 5, 17, 300, 1020] {
        let (near, relay_near) = pair();
        let (relay_far, far) = pair();
        let near = Channel::dialled(Transport::tcp(near), &dialler).unwrap();
        let far = Channel::plain(Transport::tcp(far)).accepted(&listener).unwrap();
        let pass = |mut from: &TcpStream, mut to: &TcpStream, harm: Option<usize>| {
            let mut bytes = [0; 8192];
            let Ok(n) = from.read(&mut bytes) else { return 0 };
            harm.into_iter().for_each(|at| bytes[at] ^= 1);
            to.write_all(&bytes[..n]).unwrap();
            n
        };
        while !matches!((near.shake().unwrap(), far.shake().unwrap()), (Shaking::Done, Shaking::Done)) {
            pass(&relay_near, &relay_far, None);
            pass(&relay_far, &relay_near, None);
        }
        assert_eq!((&near).write(&pattern(0, 1000)).unwrap(), 1000);
        while pass(&relay_near, &relay_far, Some(at)) == 0 {}
        drop(relay_far);
        let mut bytes = [0; 2000];
        let mut read = (&far).read(&mut bytes);
        while is_blocked(&read) {
            read = (&far).read(&mut bytes);
        }
        // a length that is wrong waits for bytes that never come; the type in the head of a record is not believed
        let unharmed = at < 3 && matches!(read, Ok(1000)) && bytes[..1000] == pattern(0, 1000);
        assert!(unharmed || read.is_err() || matches!(read, Ok(0)), "byte {at}: {read:?}");
    }
}
