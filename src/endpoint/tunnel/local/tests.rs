use super::super::origin::Target;
use super::super::record::{HEADER, Record};
use super::breaking::LAST;
use super::*;
use crate::sys::socket::reset_on_close;
use mio::{Events, Poll};
use std::io::{Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::sync::mpsc;

const ROOM: Room = Room { budget: 64 << 20, descriptors: 1000 };

/// A local side with its poll, and what it has said.
struct Rig {
    poll: Poll,
    local: Local,
    said: Vec<u8>,
}

impl Rig {
    fn of(role: Role, oneshot: bool, room: Room) -> Rig {
        let poll = Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let waker = Arc::new(Waker::new(&registry, WAKER).unwrap());
        let local = Local::new(registry, waker, role, oneshot, room).unwrap();
        Rig { poll, local, said: Vec::new() }
    }

    /// One that accepts, and where.
    fn terminate(oneshot: bool, room: Room) -> (Rig, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        (Rig::of(Role::Terminate(listener), oneshot, room), address)
    }

    /// One that opens connections, to a server without an address.
    fn initiate(oneshot: bool, room: Room) -> Rig {
        let target = Target { host: "server".into(), port: 1, ask: Arc::new(|| Ok(Vec::new())) };
        Rig::of(Role::Initiate(Resolver::start(target, |_| ()).unwrap()), oneshot, room)
    }

    /// One that has accepted one connection, and its client.
    fn accepted(oneshot: bool) -> (Rig, net::TcpStream) {
        let (mut rig, address) = Rig::terminate(oneshot, ROOM);
        let client = net::TcpStream::connect(address).unwrap();
        rig.until(|rig| !rig.local.sockets.is_empty());
        rig.pull();
        assert_eq!(rig.records(), [(Record::Open(1), vec![])]);
        (rig, client)
    }

    /// What the poll says is attended to, until this is so.
    fn until(&mut self, enough: impl Fn(&mut Rig) -> bool) {
        let mut events = Events::with_capacity(64);
        while !enough(self) {
            self.poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
            assert!(!events.is_empty(), "nothing happens any more");
            events.iter().for_each(|event| self.local.event(Instant::now(), Seen::from(event)));
            self.local.tick(Instant::now());
        }
    }

    /// Takes all that there is to send.
    fn pull(&mut self) {
        let mut space = vec![0; 1 << 20];
        while self.local.has_output() {
            let len = self.local.pull(&mut space);
            self.said.extend(&space[..len]);
        }
    }

    /// The records said since this was asked last, each with its data; data of one connection that follows other such is
    /// one record.
    fn records(&mut self) -> Vec<(Record, Vec<u8>)> {
        let mut bytes = &std::mem::take(&mut self.said)[..];
        let mut records: Vec<(Record, Vec<u8>)> = Vec::new();
        while let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() {
            let record = Record::decode(header).unwrap();
            let len = if let Record::Data(_, len) = record { len as usize } else { 0 };
            let (data, rest) = rest.split_at(len);
            bytes = rest;
            match (records.last_mut(), record) {
                (Some((Record::Data(last, sum), all)), Record::Data(id, len)) if *last == id => {
                    *sum += len;
                    all.extend(data);
                }
                _ => records.push((record, data.to_vec())),
            }
        }
        assert!(bytes.is_empty(), "half a record");
        records
    }

    /// What is said until the connection is broken off.
    fn until_reset(&mut self) -> Vec<(Record, Vec<u8>)> {
        self.until(|rig| {
            rig.pull();
            rig.local.sockets.is_empty()
        });
        self.pull();
        self.records()
    }
}

/// The peer sends this, and breaks the connection.
fn reset_after(mut peer: net::TcpStream, data: &[u8]) {
    peer.write_all(data).unwrap();
    reset_on_close(&peer).unwrap();
}

fn data(id: u32, bytes: &[u8]) -> (Record, Vec<u8>) {
    (Record::Data(id, bytes.len() as u32), bytes.to_vec())
}

fn reset(id: u32) -> (Record, Vec<u8>) {
    (Record::Reset(id), vec![])
}

#[test]
fn what_a_peer_sent_before_it_broke_the_connection_is_passed_on() {
    let (mut rig, client) = Rig::accepted(false);
    reset_after(client, b"last words");
    assert_eq!(rig.until_reset(), [data(1, b"last words"), reset(1)]);
}

#[test]
fn one_that_the_far_end_could_not_open_does_not_end_a_oneshot() {
    let (mut rig, client) = Rig::accepted(true);
    rig.local.push(&Record::Reset(1).encode()).unwrap();
    drop(client);
    assert!(!rig.local.is_over() && !rig.local.is_full(), "another one may come");
    let mut rig = Rig::initiate(true, ROOM);
    rig.local.push(&Record::Open(1).encode()).unwrap();
    rig.local.push(&Record::Open(2).encode()).unwrap();
    rig.local.resolved(Instant::now(), &Err("it has no address".into()));
    rig.pull();
    assert_eq!(rig.records(), [reset(1), reset(2)], "the second one came while the first was under way");
    assert!(!rig.local.is_over() && !rig.local.is_full(), "another one may come");
}

/// A write hears of the break before the read does.
#[test]
fn a_write_that_fails_stops_writing_and_not_reading() {
    let (mut rig, client) = Rig::accepted(false);
    reset_after(client, b"last words");
    // until the kernel of this end knows of it
    while rig.local.sockets.values().all(|socket| match socket {
        Socket::Open(open) => open.stream.peer_addr().is_ok(),
        _ => unreachable!("it was accepted"),
    }) {
        std::thread::yield_now();
    }
    rig.local.push(&[&Record::Data(1, 3).encode()[..], b"too"].concat()).unwrap();
    rig.local.push(&[&Record::Data(1, 4).encode()[..], b"late"].concat()).unwrap();
    assert_eq!(rig.local.sockets.len(), 1, "there is something to read");
    assert_eq!(rig.until_reset(), [data(1, b"last words"), reset(1)]);
}

#[test]
fn an_end_before_the_break_is_passed_on_too() {
    let (mut rig, client) = Rig::accepted(false);
    client.shutdown(Shutdown::Write).unwrap();
    reset_after(client, b"");
    assert_eq!(rig.until_reset(), [(Record::Finish(1), vec![]), reset(1)]);
}

#[test]
fn one_that_has_ended_and_breaks_later_is_broken_off() {
    let (mut rig, client) = Rig::accepted(false);
    client.shutdown(Shutdown::Write).unwrap();
    rig.until(|rig| {
        rig.pull();
        !rig.said.is_empty()
    });
    assert_eq!(rig.records(), [(Record::Finish(1), vec![])]);
    reset_on_close(&client).unwrap();
    drop(client);
    assert_eq!(rig.until_reset(), [reset(1)]);
}

/// The far end gives no credit for more.
#[test]
fn what_the_far_end_does_not_take_keeps_no_connection_for_ever() {
    let (mut rig, client) = Rig::accepted(false);
    let words = vec![7; 2 * WINDOW_FIRST as usize];
    reset_after(client, &words);
    rig.until(|rig| {
        rig.pull();
        rig.said.len() > WINDOW_FIRST as usize && rig.local.deadline().is_some()
    });
    assert_eq!(rig.records(), [data(1, &words[..WINDOW_FIRST as usize])]);
    let now = Instant::now();
    assert!(rig.local.deadline().is_some_and(|at| at > now && at <= now + LAST));
    // one that is told of twice, as by a poll of several looks, keeps its time
    let broken = Seen { error: true, ..Seen::nothing(Token(FIRST + 1)) };
    (0..2).for_each(|_| rig.local.event(now, broken));
    assert_eq!(rig.local.deadline(), Some(now + LAST));
    rig.local.tick(now + LAST);
    rig.pull();
    assert_eq!((rig.records(), rig.local.sockets.len()), (vec![reset(1)], 0));
    assert_eq!(rig.local.deadline(), None);
}

#[test]
fn a_greeting_of_a_server_that_hangs_up_at_once_is_passed_on() {
    let server = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let ask = Arc::new(move || Ok(vec![address]));
    let (answer, answered) = mpsc::channel();
    let target = Target { host: "server".into(), port: address.port(), ask };
    let resolver = Resolver::start(target, move |addresses| answer.send(addresses).unwrap()).unwrap();
    let mut rig = Rig::of(Role::Initiate(resolver), false, ROOM);
    rig.local.push(&Record::Open(7).encode()).unwrap();
    rig.local.resolved(Instant::now(), &answered.recv().unwrap());
    reset_after(server.accept().unwrap().0, b"421 too many connections\r\n");
    let opened = (Record::Credit(7, 1), vec![]);
    assert_eq!(rig.until_reset(), [opened, data(7, b"421 too many connections\r\n"), reset(7)]);
    assert_eq!(rig.local.take_troubles(), []);
}

#[test]
fn clients_wait_where_there_are_no_descriptors_for_them_until_another_one_is_gone() {
    let (mut rig, address) = Rig::terminate(false, Room { descriptors: 2, ..ROOM });
    let mut clients: Vec<_> = (0..3).map(|_| net::TcpStream::connect(address).unwrap()).collect();
    rig.until(|rig| rig.local.sockets.len() == 2);
    rig.local.tick(Instant::now());
    rig.pull();
    assert_eq!(rig.records(), [(Record::Open(1), vec![]), (Record::Open(2), vec![])]);
    // what reading finds makes room too
    reset_after(clients.remove(0), b"last words");
    rig.until(|rig| {
        rig.pull();
        rig.local.sockets.contains_key(&3)
    });
    rig.pull();
    assert_eq!(rig.records(), [data(1, b"last words"), reset(1), (Record::Open(3), vec![])]);
}

#[test]
fn a_connection_that_is_to_be_opened_waits_for_a_descriptor() {
    let server = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = Ok(vec![server.local_addr().unwrap()]);
    let mut rig = Rig::initiate(false, Room { descriptors: 2, ..ROOM });
    (1..=3).for_each(|id| rig.local.push(&Record::Open(id).encode()).unwrap());
    rig.local.resolved(Instant::now(), &addresses);
    let is_open = |socket: &&Socket| matches!(socket, Socket::Open(_));
    rig.until(|rig| rig.local.sockets.values().filter(is_open).count() == 2);
    assert_eq!((rig.local.waiting, rig.local.asked), (1, false));
    // one of them breaks, and the third takes its place
    let [first, _second] = [(); 2].map(|()| server.accept().unwrap().0);
    reset_after(first, b"");
    rig.until(|rig| {
        rig.pull();
        rig.local.asked
    });
    rig.local.resolved(Instant::now(), &addresses);
    let _third = server.accept().unwrap();
    rig.pull();
    let troubles = rig.local.take_troubles();
    let resets = rig.records().into_iter().filter(|(record, _)| matches!(record, Record::Reset(_)));
    assert_eq!((resets.count(), rig.local.waiting, troubles), (1, 0, vec![Trouble::Waiting]));
}

#[test]
fn where_the_name_has_no_address_all_that_wait_are_refused() {
    let mut rig = Rig::initiate(false, Room { descriptors: 2, ..ROOM });
    (1..=3).for_each(|id| rig.local.push(&Record::Open(id).encode()).unwrap());
    rig.local.resolved(Instant::now(), &Err("no such host".into()));
    rig.pull();
    assert_eq!((rig.records(), rig.local.waiting), (vec![reset(1), reset(2), reset(3)], 0));
    assert_eq!(rig.local.take_troubles().len(), 3);
}

/// The far end has as many as it may, and has done with one whose last bytes wait here.
#[test]
fn what_is_not_taken_yet_keeps_no_new_connection_away() {
    let mut rig = Rig::initiate(false, Room { descriptors: u64::MAX, ..ROOM });
    let most = rig.local.own as u32;
    for id in 1..=most {
        rig.local.push(&Record::Open(id).encode()).unwrap();
    }
    rig.local
        .push(&[&Record::Data(1, 4).encode()[..], b"last", &Record::Finish(1).encode()].concat())
        .unwrap();
    rig.local.push(&Record::Open(most + 1).encode()).unwrap();
    rig.pull();
    assert_eq!((rig.records(), rig.local.sockets.len()), (vec![], most as usize + 1));
    // it is bounded nevertheless
    for id in 2..=2 * most {
        rig.local.push(&Record::Open(most + id).encode()).unwrap();
    }
    rig.pull();
    assert_eq!(
        (rig.records()[0].clone(), rig.local.sockets.len()),
        (reset(most + SPARE as u32 + 1), most as usize + SPARE)
    );
}

#[test]
fn a_break_that_is_found_by_reading_ends_a_tunnel_for_one_connection() {
    let (mut rig, client) = Rig::accepted(true);
    reset_after(client, b"last words");
    assert_eq!(rig.until_reset(), [data(1, b"last words"), reset(1)]);
    assert!(rig.local.is_over() && rig.local.is_drained());
}

/// A read stops before the urgent byte, and the poll tells of all three pieces at once.
#[cfg(target_os = "linux")]
#[test]
fn urgent_data_passes_in_its_place_and_holds_nothing_up() {
    let (mut rig, mut client) = Rig::accepted(false);
    for _ in 0..2 {
        client.write_all(b"abc").unwrap();
        socket2::SockRef::from(&client).send_out_of_band(b"X").unwrap();
        client.write_all(b"def").unwrap();
        rig.until(|rig| {
            rig.pull();
            rig.said.len() >= 2 * HEADER + 7
        });
        assert_eq!(rig.records(), [data(1, b"abcXdef")]);
    }
}

#[test]
fn what_a_connection_brings_comes_back_whole() {
    let (mut rig, mut client) = Rig::accepted(false);
    client.write_all(b"question").unwrap();
    rig.until(|rig| {
        rig.pull();
        rig.said.len() >= HEADER + 8
    });
    assert_eq!(rig.records(), [data(1, b"question")]);
    rig.local.push(&[&Record::Data(1, 6).encode()[..], b"answer"].concat()).unwrap();
    let mut answer = [0; 6];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
}
