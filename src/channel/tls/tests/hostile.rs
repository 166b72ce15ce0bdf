//! A peer that has a key and means no good, a stranger, and whoever is on the way: nobody panics, waits or believes.

use super::*;
use rustls::ServerConnection;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::server::ServerSessionMemoryCache;
use rustls::version::TLS13;
use std::sync::Arc;

/// Bytes that a channel may hold in each of its queues, whatever the peer does.
const HELD: usize = 2 * READ_MAX;

/// What the channel holds of what came, of what was opened, and of what was sealed.
fn held(channel: &Channel) -> [usize; 3] {
    let tls = channel.tls().unwrap();
    [&tls.incoming, &tls.opened, &tls.outgoing].map(|queue| queue.room_in_all())
}

fn is_bounded(channel: &Channel) -> bool {
    held(channel).iter().all(|held| *held <= HELD)
}

/// A receiver with this key that does as the test says with TLS, over a socket that blocks.
struct Server {
    tls: ServerConnection,
    stream: TcpStream,
}

impl Server {
    /// Its handshake with a channel that knows its key; it sends so many tickets after that.
    fn meet(tickets: usize) -> (Server, Channel) {
        let (dialler, listener) = strangers();
        let mut config = listener.listening(Met::default()).unwrap();
        config.send_tls13_tickets = tickets;
        config.session_storage = ServerSessionMemoryCache::new(16);
        let (near, stream) = pair();
        let near = Channel::dialled(Transport::tcp(near), &dialler).unwrap();
        stream.set_nonblocking(false).unwrap();
        let mut server = Server { tls: ServerConnection::new(Arc::new(config)).unwrap(), stream };
        let _ = near.shake();
        server.hear();
        server.say();
        while near.shake().unwrap() != Shaking::Done {}
        while server.tls.is_handshaking() {
            server.hear();
        }
        (server, near)
    }

    fn hear(&mut self) {
        self.tls.read_tls(&mut self.stream).unwrap();
        self.tls.process_new_packets().unwrap();
    }

    /// Sends all that it has to say, while somebody listens.
    fn say(&mut self) {
        while self.tls.wants_write() && self.tls.write_tls(&mut self.stream).is_ok() {}
    }
}

/// Reads until there is something to say of it.
fn read(mut channel: &Channel, space: &mut [u8]) -> io::Result<usize> {
    loop {
        let read = channel.read(space);
        if !is_blocked(&read) {
            return read;
        }
    }
}

#[test]
fn a_peer_that_sends_tickets_without_end_is_left() {
    let (mut server, near) = Server::meet(2000);
    // more than the kernel holds, perhaps
    let stream = server.stream.try_clone().unwrap();
    let why = std::thread::scope(|scope| {
        scope.spawn(move || server.say());
        let read = read(&near, &mut [0; 100]);
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        read.unwrap_err()
    });
    assert_eq!(tls_error(&why), Some(&TlsError::Empty));
    assert!(is_bounded(&near));
    // a few among the data disturb nobody
    let (mut server, near) = Server::meet(50);
    server.tls.writer().write_all(&pattern(0, 1000)).unwrap();
    server.say();
    let mut bytes = [0; 2000];
    assert_eq!(read(&near, &mut bytes).unwrap(), 1000);
    assert_eq!(bytes[..1000], pattern(0, 1000));
}

#[test]
fn keys_that_are_renewed_again_and_again_cost_nothing_or_end_it() {
    let (mut server, near) = Server::meet(0);
    for at in 0..2000 {
        server.tls.refresh_traffic_keys().unwrap();
        server.tls.writer().write_all(&pattern(at, 1)).unwrap();
        server.say();
        let mut byte = [0];
        assert_eq!((read(&near, &mut byte).unwrap(), byte[0]), (1, pattern(at, 1)[0]));
    }
    assert!(held(&near)[2] < 4 << 10, "the answers wait, one for all: {:?}", held(&near));
    (&near).write_all(b"and so does what follows them").unwrap();
    let (mut server, near) = Server::meet(0);
    for _ in 0..100 {
        server.tls.refresh_traffic_keys().unwrap();
    }
    server.say();
    let why = read(&near, &mut [0; 100]).unwrap_err();
    assert!(matches!(tls_error(&why), Some(TlsError::Failed(Error::PeerMisbehaved(_)))), "{why:?}");
    assert_spent(&near);
}

/// Whatever is asked of it now, it says no and does not go on.
fn assert_spent(mut channel: &Channel) {
    for _ in 0..3 {
        assert!(channel.read(&mut [0; 100]).is_err_and(|e| e.kind() != ErrorKind::WouldBlock));
        assert!(channel.write(b"more").is_err());
        assert!(channel.shake().is_err());
        let _ = channel.flush();
        channel.finish_writing();
    }
    assert!(is_bounded(channel));
}

#[test]
fn a_peer_that_does_not_read_holds_up_no_more_than_one_piece() {
    let (dialler, listener) = strangers();
    let (near, far) = channels(&dialler, &listener);
    shake(&near, &far).0.unwrap();
    let (mut sent, mut blocked) = (0, 0);
    // the kernel's buffers may still grow
    while blocked < 1000 {
        match (&near).write(&pattern(sent, 300_000)) {
            Ok(n) => (sent, blocked) = (sent + n, 0),
            Err(e) if e.kind() == ErrorKind::WouldBlock => blocked += 1,
            Err(e) => panic!("{e}"),
        }
    }
    assert!(is_bounded(&near), "{:?}", held(&near));
    assert!(is_blocked(&(&near).flush()), "what was taken has not left, and the caller can tell");
    let (mut got, mut bytes) = (0, vec![0; 100_000]);
    while got < sent {
        let flushed = (&near).flush();
        assert!(flushed.is_ok() || is_blocked(&flushed));
        let n = read(&far, &mut bytes).unwrap();
        assert!(bytes[..n] == pattern(got, n), "after {got}");
        got += n;
    }
    (&near).flush().unwrap();
}

#[test]
fn an_end_that_has_closed_may_still_be_told() {
    let (dialler, listener) = strangers();
    let (near, far) = channels(&dialler, &listener);
    shake(&near, &far).0.unwrap();
    (&near).write_all(b"last words").unwrap();
    near.finish_writing();
    near.finish_writing();
    let mut bytes = [0; 100];
    assert_eq!(read(&far, &mut bytes).unwrap(), 10);
    assert_eq!(read(&far, &mut bytes).unwrap(), 0);
    assert_eq!(read(&far, &mut bytes).unwrap(), 0, "and so it stays");
    assert!((&near).write(b"too late").is_err());
    (&far).write_all(b"the verdict").unwrap();
    (&far).flush().unwrap();
    assert_eq!(read(&near, &mut bytes).unwrap(), 11);
    far.finish_writing();
    assert_eq!(read(&near, &mut bytes).unwrap(), 0);
}

#[test]
fn nothing_that_a_peer_with_a_wrong_key_says_is_handed_out() {
    let (other, listener) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let dialler = Trust::new(&other, Roll::only(listener.public())).unwrap();
    let listener = Trust::new(&listener, Roll::only(PrivateKey::generate().unwrap().public())).unwrap();
    let (near, far) = channels(&dialler, &listener);
    while near.shake().unwrap() != Shaking::Done {
        let _ = far.shake();
    }
    // in one piece with the end of its handshake
    (&near).write_all(&pattern(0, 10_000)).unwrap();
    let why = read(&far, &mut [0; 20_000]).unwrap_err();
    assert_eq!(tls_error(&why), Some(&TlsError::Unknown(other.public())));
    assert_eq!((far.key(), held(&far)[1]), (None, 0));
    assert_spent(&far);
}

/// A client of another make, as this end's door meets it: what it knows is what a stranger may know.
fn foreign(protocols: &[&[u8]]) -> Option<TlsError> {
    let (trust, _) = strangers();
    let (near, far) = pair();
    let far = Channel::plain(Transport::tcp(far)).accepted(&trust).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from("millipede").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = &near;
    while client.wants_write() {
        client.write_tls(&mut stream).unwrap();
    }
    let why = read(&far, &mut [0; 100]).unwrap_err();
    assert_spent(&far);
    tls_error(&why).cloned()
}

#[test]
fn a_client_of_another_make_is_turned_away() {
    let why = foreign(&[]);
    assert!(matches!(why, Some(TlsError::Failed(_))), "no protocol is named: {why:?}");
    let why = foreign(&[b"h2", b"http/1.1"]);
    assert!(matches!(why, Some(TlsError::Foreign | TlsError::Failed(_))), "another protocol: {why:?}");
    let why = foreign(&[ALPN]);
    assert!(matches!(why, Some(TlsError::Failed(_))), "no raw keys: {why:?}");
}

/// Random numbers: any sequence does.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    /// Does something to these bytes: a bit, a piece twice, a piece gone, noise.
    fn harm(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let piece = at..(at + 1 + self.below(100)).min(bytes.len());
        match self.below(4) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => drop(bytes.drain(piece)),
            2 => {
                let again = bytes[piece].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let noise: Vec<u8> = (0..self.below(40)).map(|_| self.below(256) as u8).collect();
                bytes.splice(at..at, noise);
            }
        }
    }
}

#[test]
fn whatever_is_done_to_the_bytes_on_their_way_no_wrong_one_comes_out() {
    let (dialler, listener) = strangers();
    for seed in 1..=300 {
        let chance = &mut Chance(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let (near, relay_near) = pair();
        let (relay_far, far) = pair();
        let near = Channel::dialled(Transport::tcp(near), &dialler).unwrap();
        let far = Channel::plain(Transport::tcp(far)).accepted(&listener).unwrap();
        let ends = [&near, &far];
        let (mut harm_at, mut sent, mut got) = (chance.below(30), [0; 2], [0; 2]);
        let mut failed = [false; 2];
        for _ in 0..200 {
            for (me, mut end) in ends.into_iter().enumerate() {
                let mut space = vec![0; 1 + chance.below(5000)];
                match end.read(&mut space) {
                    Ok(n) => {
                        assert!(space[..n] == pattern(got[me], n), "seed {seed}: wrong bytes");
                        got[me] += n;
                    }
                    Err(e) => failed[me] |= e.kind() != ErrorKind::WouldBlock,
                }
                let shaken = end.shake();
                if matches!(shaken, Ok(Shaking::Done)) {
                    sent[me] += end.write(&pattern(sent[me], 1 + chance.below(3000))).unwrap_or(0);
                }
                let _ = end.flush();
                assert!(got[1 - me] <= sent[me], "seed {seed}: more came out than went in");
            }
            for (mut from, mut to) in [(&relay_near, &relay_far), (&relay_far, &relay_near)] {
                let mut bytes = vec![0; 4096];
                let Ok(n) = from.read(&mut bytes) else { continue };
                bytes.truncate(n);
                if n > 0 && harm_at == 0 {
                    chance.harm(&mut bytes);
                }
                harm_at = harm_at.wrapping_sub(1);
                let _ = to.write_all(&bytes);
            }
        }
        for (end, failed) in ends.into_iter().zip(failed) {
            assert!(is_bounded(end), "seed {seed}");
            if failed {
                assert_spent(end);
            }
        }
    }
}
