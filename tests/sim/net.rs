//! A fake network: links with a rate and a delay each way, connections over them, and what can go wrong.
//!
//! ```text
//!  write ──▶ backlog ──(link's rate, in turn)──▶ flying ──(delay)──▶ the other end
//!            at most `socket`                     │ silent: stuck, until it resumes after TCP's back-off
//!                                                 └ kernel's ack, the other way: opens TCP's window
//! ```
//!
//! As in TCP, bytes are never lost from within a connection that lives on; a reset is never repeated; who
//! sends to an end that is gone is answered with a reset, if that comes through. A write takes as much as there is
//! room for, and no more.

use super::clock::{Clock, Event};
use parcel::Parcel;
use rand::RngExt;
use rand::rngs::SmallRng;
use std::collections::VecDeque;
use std::io::Read;
use std::time::{Duration, Instant};

mod parcel;
mod silence;

/// The ends: the one that dials and the one that listens. An end also names the direction of what it writes.
pub const DIALS: usize = 0;
pub const LISTENS: usize = 1;

/// What happens inside the network.
#[derive(Debug)]
pub enum Happening {
    Syn { conn: usize, tries: u32 },
    Free { link: usize, end: usize },
    Arrive { conn: usize, end: usize },
    KernelAck { conn: usize, end: usize, bytes: usize },
    Resume { conn: usize, end: usize },
}

/// What the network tells an end.
#[derive(Debug)]
pub struct Delivery {
    pub end: usize,
    pub conn: usize,
    pub news: News,
}

#[derive(Debug)]
pub enum News {
    /// To the end that dials: the connection is up. To the one that listens: a peer has connected.
    Connected,
    Refused,
    Bytes(Vec<u8>),
    /// No more will come: an end of file, or a reset.
    Closed {
        reset: bool,
    },
    /// What was written has left, all but a little: there is room again.
    Drained,
}

/// The port at the far end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Open,
    /// With a reset.
    Refuses,
    /// As a forwarded port does: accepts, then closes.
    Forwards,
}

/// One direction of a link.
pub struct Way {
    /// Bytes per second.
    pub rate: f64,
    pub delay: Duration,
    pub silent: Option<Instant>,
    free_at: Instant,
    /// Connections that have something to send, in turn.
    waiting: VecDeque<usize>,
    /// Whether `Free` is planned.
    planned: bool,
}

pub struct Link {
    pub ways: [Way; 2],
    pub port: Port,
    /// Stream bytes sent over it, copies included.
    pub carried: u64,
}

/// One end of a connection, and what it writes.
struct End {
    backlog: VecDeque<u8>,
    flying: VecDeque<Parcel>,
    stuck: VecDeque<Parcel>,
    last_arrival: Instant,
    /// Sent and not known to have arrived; ≤ `tcp_window`.
    unacked: usize,
    queued: bool,
    /// To be followed by an end of file.
    fin: bool,
    /// Nothing it sends comes through, for now.
    silent: bool,
    /// Nothing it sends comes through, ever.
    forgotten: bool,
    /// The process has closed it, or was told that it is dead.
    closed: bool,
    /// The kernel has cut it: nothing more leaves.
    severed: bool,
    owes_drained: bool,
    /// Bytes that the other kernel has confirmed, and that confirmation is stuck.
    stuck_ack: usize,
    /// When the other kernel last confirmed anything.
    kernel_at: Instant,
    /// Bytes that it has confirmed.
    confirmed: usize,
}

pub struct Conn {
    pub link: usize,
    ends: [End; 2],
    tcp_window: usize,
    /// Bytes that the end that dials has written.
    written: usize,
}

pub struct Net {
    pub clock: Clock,
    pub rng: SmallRng,
    pub links: Vec<Link>,
    pub conns: Vec<Conn>,
    /// Segments that left, empty ones aside.
    pub segments: u64,
    /// A connection is cut when the end that dials has written so many bytes on it.
    pub lifetime: usize,
    /// Whether anybody listens.
    pub listening: bool,
    /// How much may be unsent when a connection is called drained.
    low_water: usize,
    /// How much may be unsent at most; more than `low_water`.
    socket: usize,
}

impl Conn {
    pub fn is_open(&self) -> bool {
        self.ends.iter().any(|end| !end.closed)
    }

    /// Whether the other kernel has not confirmed all that this end sent.
    pub fn has_to_take(&self, end: usize) -> bool {
        self.ends[end].unacked > 0 || !self.ends[end].backlog.is_empty()
    }

    /// When the other kernel last confirmed anything of what this end sent.
    pub fn kernel_at(&self, end: usize) -> Instant {
        self.ends[end].kernel_at
    }

    /// Bytes of what this end sent that the other kernel has confirmed.
    pub fn confirmed(&self, end: usize) -> usize {
        self.ends[end].confirmed
    }
}

impl Net {
    pub fn new(rng: SmallRng, links: &[(f64, Duration)], low_water: usize, room: usize) -> Self {
        let clock = Clock::new();
        let way = |&(rate, delay): &(f64, Duration)| Way {
            rate,
            delay,
            silent: None,
            free_at: clock.now,
            waiting: VecDeque::new(),
            planned: false,
        };
        let links = links
            .iter()
            .map(|spec| Link { ways: [way(spec), way(spec)], port: Port::Open, carried: 0 })
            .collect();
        let socket = low_water + room;
        Net {
            clock,
            rng,
            links,
            conns: Vec::new(),
            segments: 0,
            lifetime: usize::MAX,
            listening: true,
            low_water,
            socket,
        }
    }

    pub fn round_trip(&self, link: usize) -> Duration {
        self.links[link].ways.iter().map(|way| way.delay).sum()
    }

    // ---- what the processes do ------------------------------------------------------------------------
    /// Begins to connect; `Connected` or `Refused` follows, or nothing.
    pub fn dial(&mut self, link: usize) -> usize {
        let now = self.clock.now;
        let end = || End {
            backlog: VecDeque::new(),
            flying: VecDeque::new(),
            stuck: VecDeque::new(),
            last_arrival: now,
            unacked: 0,
            queued: false,
            fin: false,
            silent: false,
            forgotten: false,
            closed: false,
            severed: false,
            owes_drained: false,
            stuck_ack: 0,
            kernel_at: now,
            confirmed: 0,
        };
        let in_flight = self.links[link].ways[DIALS].rate * self.round_trip(link).as_secs_f64() * 1.5;
        let tcp_window = (in_flight as usize).clamp(32 << 10, 8 << 20);
        let ends = [end(), end()];
        self.conns.push(Conn { link, ends, tcp_window, written: 0 });
        let conn = self.conns.len() - 1;
        self.clock.at(now, Event::Net(Happening::Syn { conn, tries: 0 }));
        conn
    }

    /// Takes as much of it as there is room for: how much.
    pub fn write(&mut self, conn: usize, end: usize, bytes: &[u8]) -> usize {
        let from = &mut self.conns[conn].ends[end];
        if from.closed {
            return bytes.len();
        }
        let len = bytes.len().min(self.socket.saturating_sub(from.backlog.len()));
        from.backlog.extend(&bytes[..len]);
        self.enqueue(conn, end);
        if end == DIALS {
            self.conns[conn].written += len;
            if self.conns[conn].written >= self.lifetime {
                self.cut(conn, [true; 2]);
            }
        }
        len
    }

    /// Asks for `Drained`, once.
    pub fn want_drained(&mut self, conn: usize, end: usize) {
        self.conns[conn].ends[end].owes_drained = true;
        self.check_drained(conn, end);
    }

    /// The process says that the connection is up: its silence begins now.
    pub fn came_up(&mut self, conn: usize, end: usize) {
        self.conns[conn].ends[end].kernel_at = self.clock.now;
    }

    /// Nothing more will be written; what comes is still read.
    pub fn shutdown(&mut self, conn: usize, end: usize) {
        self.conns[conn].ends[end].fin = true;
        self.enqueue(conn, end);
    }

    pub fn close(&mut self, conn: usize, end: usize) {
        if !self.conns[conn].ends[end].closed {
            self.shutdown(conn, end);
            self.conns[conn].ends[end].closed = true;
        }
    }

    pub fn reset(&mut self, conn: usize, end: usize) {
        let from = &mut self.conns[conn].ends[end];
        if !from.closed {
            from.closed = true;
            from.backlog.clear();
            self.launch(conn, end, Parcel::Reset);
        }
    }

    // ---- what goes wrong ------------------------------------------------------------------------------
    /// Both kernels end the connection, or only that of `informed`; a part of what flies still arrives.
    pub fn cut(&mut self, conn: usize, informed: [bool; 2]) {
        for end in [DIALS, LISTENS] {
            let flying: usize = self.conns[conn].ends[end].flying.iter().map(Parcel::len).sum();
            let mut keep = self.rng.random_range(0..=flying);
            let from = &mut self.conns[conn].ends[end];
            from.backlog.clear();
            from.severed = true;
            for parcel in &mut from.flying {
                keep -= parcel.truncate(keep);
            }
            if informed[1 - end] {
                self.launch(conn, end, Parcel::Reset);
            } else {
                self.conns[conn].ends[end].forgotten = true;
            }
        }
    }

    /// What this end sends on this connection vanishes from now on.
    pub fn forget(&mut self, conn: usize, end: usize) {
        self.conns[conn].ends[end].forgotten = true;
    }

    /// A byte of what flies is changed.
    pub fn flip(&mut self, conn: usize, end: usize) {
        let pick = self.rng.random_range(0..usize::MAX);
        let flying = &mut self.conns[conn].ends[end].flying;
        if let Some(Parcel::Bytes(bytes)) = flying.iter_mut().find(|parcel| parcel.len() > 0) {
            let at = pick % bytes.len();
            bytes[at] ^= 1 << (pick % 8);
        }
    }

    /// The connections of one link that at least one end believes in.
    pub fn open_on(&self, link: usize) -> Vec<usize> {
        let all = self.conns.iter().enumerate();
        all.filter(|(_, c)| c.link == link && c.is_open()).map(|(conn, _)| conn).collect()
    }

    // ---- inside ---------------------------------------------------------------------------------------
    pub fn happen(&mut self, what: Happening) {
        match what {
            Happening::Syn { conn, tries } => self.syn(conn, tries),
            Happening::Free { link, end } => {
                self.links[link].ways[end].planned = false;
                self.pump(link, end);
            }
            Happening::Arrive { conn, end } => {
                if let Some(parcel) = self.conns[conn].ends[end].flying.pop_front() {
                    self.arrive(conn, end, parcel);
                }
            }
            Happening::KernelAck { conn, end, bytes } => self.kernel_ack(conn, end, bytes),
            Happening::Resume { conn, end } => self.resume(conn, end),
        }
    }

    fn tell(&mut self, wait: Duration, end: usize, conn: usize, news: News) {
        self.clock.after(wait, Event::Deliver(Delivery { end, conn, news }));
    }

    fn syn(&mut self, conn: usize, tries: u32) {
        if self.conns[conn].ends[DIALS].closed {
            return;
        }
        let link = &self.links[self.conns[conn].link];
        if link.ways.iter().any(|way| way.silent.is_some()) {
            // 1 s, then 2, then 4, as TCP does
            let wait = Duration::from_secs(1 << tries.min(5));
            return self.clock.after(wait, Event::Net(Happening::Syn { conn, tries: tries + 1 }));
        }
        let (there, port) = (link.ways[DIALS].delay, link.port);
        let both = self.round_trip(self.conns[conn].link);
        if port == Port::Refuses || !self.listening {
            self.conns[conn].ends[LISTENS].closed = true;
            return self.tell(both, DIALS, conn, News::Refused);
        }
        self.tell(both, DIALS, conn, News::Connected);
        if port == Port::Forwards {
            self.close(conn, LISTENS);
        } else {
            self.tell(there, LISTENS, conn, News::Connected);
        }
    }

    fn enqueue(&mut self, conn: usize, end: usize) {
        let link = self.conns[conn].link;
        if !std::mem::replace(&mut self.conns[conn].ends[end].queued, true) {
            self.links[link].ways[end].waiting.push_back(conn);
        }
        self.pump(link, end);
    }

    /// As much as the link takes now, from each connection in turn.
    fn pump(&mut self, link: usize, end: usize) {
        loop {
            let way = &mut self.links[link].ways[end];
            if way.waiting.is_empty() {
                return;
            }
            if way.free_at > self.clock.now {
                if !std::mem::replace(&mut way.planned, true) {
                    self.clock.at(way.free_at, Event::Net(Happening::Free { link, end }));
                }
                return;
            }
            let Some(conn) = way.waiting.pop_front() else { return };
            self.depart(conn, end);
        }
    }

    /// One connection's turn.
    fn depart(&mut self, conn: usize, end: usize) {
        let link = self.conns[conn].link;
        let way = &mut self.links[link].ways[end];
        let tcp_window = self.conns[conn].tcp_window;
        let from = &mut self.conns[conn].ends[end];
        let turn = ((way.rate * 0.005) as usize).clamp(1460, 16 << 10);
        let len = turn.min(from.backlog.len()).min(tcp_window - from.unacked);
        from.queued = false;
        if from.severed {
            // the kernel has cut it
        } else if len > 0 {
            let mut bytes = vec![0; len];
            let _ = from.backlog.read_exact(&mut bytes);
            way.free_at = self.clock.now + Duration::from_secs_f64(len as f64 / way.rate);
            from.unacked += len;
            from.queued = !from.backlog.is_empty() || from.fin;
            if from.queued {
                way.waiting.push_back(conn);
            }
            self.launch(conn, end, Parcel::Bytes(bytes));
            self.check_drained(conn, end);
        } else if from.fin && from.backlog.is_empty() {
            from.fin = false;
            self.launch(conn, end, Parcel::Fin);
        }
    }

    fn launch(&mut self, conn: usize, end: usize, parcel: Parcel) {
        let way = &self.links[self.conns[conn].link].ways[end];
        let from = &mut self.conns[conn].ends[end];
        self.segments += u64::from(parcel.len() > 0);
        let leaves = if parcel.len() > 0 { way.free_at } else { self.clock.now };
        from.last_arrival = from.last_arrival.max(leaves + way.delay);
        from.flying.push_back(parcel);
        self.clock.at(from.last_arrival, Event::Net(Happening::Arrive { conn, end }));
    }

    fn check_drained(&mut self, conn: usize, end: usize) {
        let from = &mut self.conns[conn].ends[end];
        if from.owes_drained && from.backlog.len() <= self.low_water {
            from.owes_drained = false;
            self.tell(Duration::ZERO, end, conn, News::Drained);
        }
    }

    fn arrive(&mut self, conn: usize, end: usize, parcel: Parcel) {
        let silent = self.links[self.conns[conn].link].ways[end].silent.is_some();
        let from = &mut self.conns[conn].ends[end];
        from.silent |= silent;
        if from.silent || from.forgotten {
            if !matches!(parcel, Parcel::Reset) {
                from.stuck.push_back(parcel);
            }
            return;
        }
        let back = self.links[self.conns[conn].link].ways[1 - end].delay;
        let gone = self.conns[conn].ends[1 - end].closed;
        let now = Duration::ZERO;
        match parcel {
            Parcel::Bytes(_) if gone => self.launch(conn, 1 - end, Parcel::Reset),
            Parcel::Bytes(bytes) if bytes.is_empty() => {}
            Parcel::Bytes(bytes) => {
                let ack = Happening::KernelAck { conn, end, bytes: bytes.len() };
                self.clock.after(back, Event::Net(ack));
                self.tell(now, 1 - end, conn, News::Bytes(bytes));
            }
            Parcel::Fin | Parcel::Reset if gone => {}
            Parcel::Fin => self.tell(now, 1 - end, conn, News::Closed { reset: false }),
            Parcel::Reset => {
                self.conns[conn].ends[1 - end].closed = true;
                self.tell(now, 1 - end, conn, News::Closed { reset: true });
            }
        }
    }

    /// What one end sent is confirmed by the other's kernel, if that comes through.
    fn kernel_ack(&mut self, conn: usize, end: usize, bytes: usize) {
        let other = &self.conns[conn].ends[1 - end];
        let lost = other.silent || other.forgotten;
        let from = &mut self.conns[conn].ends[end];
        if lost {
            from.stuck_ack += bytes;
        } else {
            from.unacked -= bytes;
            (from.confirmed, from.kernel_at) = (from.confirmed + bytes, self.clock.now);
            self.enqueue(conn, end);
        }
    }

    fn resume(&mut self, conn: usize, end: usize) {
        let way = &self.links[self.conns[conn].link].ways[end];
        if way.silent.is_some() {
            return;
        }
        let from = &mut self.conns[conn].ends[end];
        if !std::mem::take(&mut from.silent) {
            return;
        }
        // what is stuck left before what flies
        while let Some(parcel) = from.stuck.pop_back() {
            from.flying.push_front(parcel);
            self.clock.after(way.delay, Event::Net(Happening::Arrive { conn, end }));
        }
        let bytes = std::mem::take(&mut self.conns[conn].ends[1 - end].stuck_ack);
        if bytes > 0 {
            self.kernel_ack(conn, 1 - end, bytes);
        }
    }
}
