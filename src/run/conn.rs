//! One TCP connection under a poll: its socket, its two halves of the pump, its signs of life, and the handle on
//! the thread that works it.
//!
//! Used by the threads that own connections ([`super::worker`]). Edge-triggered: what is readable or writable is
//! remembered until the socket said otherwise. Knows no legs' order and no session.

use crate::chaos::Harm;
pub use crate::error::reason;
use crate::proto::life::Silence;
use crate::proto::links::LossReason;
use crate::report::Kernel;
use crate::run::pump::{Fault, Inlet, Intake, Outlet, ReadEnd, Wrote};
use crate::sys::socket;
use crossbeam_channel::{Receiver, Sender};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token, Waker};
use socket2::SockRef;
use std::io;
use std::net::Shutdown;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The token of a thread's one connection.
pub const SOCKET: Token = Token(0);
/// The token of a thread's waker.
pub const WAKER: Token = Token(1);

/// After the last word: how long to wait for the peer to close its side.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// Unsent bytes the kernel may hold before a connection counts as full, so that "draining" means the network
/// and not a buffer: what the connection carries in this time, long enough to bring the next leg.
const UNSENT_TIME: Duration = Duration::from_millis(20);
/// Bounds of that, in bytes. The least is about a first leg: sixteen connections on a link of 2 Mbit/s that
/// held 256 KiB each would queue for 16 s.
const UNSENT: RangeInclusive<u32> = 16 << 10..=256 << 10;
/// A connection's rate is measured over no less than this.
const RATE_TIME: Duration = Duration::from_millis(100);

/// Takes what the kernel knows about a connection to whoever asked.
pub type Informer = Box<dyn FnOnce(Kernel) + Send>;

/// What the hub holds of the thread that works a connection: where its commands go.
pub struct Handle<C> {
    commands: Sender<C>,
    waker: Arc<Waker>,
}

/// The thread's end of that: what it was commanded.
pub struct Commands<C> {
    received: Receiver<C>,
    /// A waker that is gone takes the wake-up with it that nobody has heard yet, so it lives as long as its hearer.
    _waker: Arc<Waker>,
}

impl<C> Commands<C> {
    /// The next command, if there is one.
    pub fn next(&self) -> Option<C> {
        self.received.try_recv().ok()
    }
}

impl<C> Handle<C> {
    /// A handle on the thread that polls `registry`, and what that thread receives.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn new(registry: &Registry) -> io::Result<(Self, Commands<C>)> {
        let waker = Arc::new(Waker::new(registry, WAKER)?);
        let (sender, received) = crossbeam_channel::unbounded();
        Ok((Handle { commands: sender, waker: waker.clone() }, Commands { received, _waker: waker }))
    }

    /// Gives the thread something to do, and wakes it.
    pub fn command(&self, command: C) {
        // both fail only when the thread has ended: then its connection has too, or the process is about to
        let _ = self.commands.send(command);
        let _ = self.waker.wake();
    }
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    inlet: Inlet,
    /// What is to be written.
    pub outlet: Outlet,
    readable: bool,
    writable: bool,
    /// Nothing is read or written any more, but the socket stays open.
    mute: bool,
    /// While mute: the peer has ended it.
    ended: bool,
    heard: Instant,
    /// When the peer's kernel was last seen to take bytes, and how many it had taken.
    moved: (Instant, u64),
    /// Since when, and from how many bytes written on, the rate is measured.
    paced: (Instant, u64),
    /// What the kernel was last told that it may hold unsent.
    unsent: u32,
    /// The peer was told that nothing more comes.
    finished: bool,
}

/// Options every connection gets, on both sides.
///
/// # Errors
/// The kernel's; a connection without them would break promises about latency.
pub fn prepare(stream: &impl AsFd) -> io::Result<()> {
    SockRef::from(stream).set_tcp_nodelay(true)?;
    // not on every system; without it only the choice of links suffers
    let _ = socket::set_notsent_lowat(stream, *UNSENT.start());
    Ok(())
}

impl Connection {
    /// Takes a connected, non-blocking, prepared stream under the poll of `registry`; `early` are bytes that
    /// were read from it already.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(
        now: Instant,
        stream: std::net::TcpStream,
        early: &[u8],
        registry: &Registry,
    ) -> io::Result<Self> {
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, SOCKET, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection {
            stream,
            inlet: Inlet::with(early),
            outlet: Outlet::new(),
            readable: true,
            writable: true,
            mute: false,
            ended: false,
            heard: now,
            moved: (now, 0),
            paced: (now, 0),
            unsent: *UNSENT.start(),
            finished: false,
        })
    }

    /// The poll says that something changed. Returns whether the socket now takes more.
    pub fn event(&mut self, event: &Event) -> bool {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_error();
        self.ended |= self.mute && (event.is_read_closed() || event.is_error());
        event.is_writable()
    }

    /// Asks to be told when the path drains, even if it does already: after a leg that was wholly accepted
    /// no edge would come by itself.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ask_for_drain(&mut self, registry: &Registry) -> io::Result<()> {
        registry.reregister(&mut self.stream, SOCKET, Interest::READABLE | Interest::WRITABLE)
    }

    /// Fits what the kernel may hold unsent to the rate at which it was written lately.
    pub fn pace(&mut self, now: Instant) {
        let (since, from) = self.paced;
        let time = now.saturating_duration_since(since);
        if time < RATE_TIME {
            return;
        }
        let written = self.outlet.bytes();
        self.paced = (now, written);
        let held = (written - from) as f64 * UNSENT_TIME.as_secs_f64() / time.as_secs_f64();
        let unsent = (held as u32).clamp(*UNSENT.start(), *UNSENT.end());
        if unsent.abs_diff(self.unsent) > self.unsent / 4 {
            self.unsent = unsent;
            let _ = socket::set_notsent_lowat(&self.stream, unsent);
        }
    }

    /// Reads what there is, for one turn.
    ///
    /// # Errors
    /// Why the connection is lost.
    pub fn read(&mut self, now: Instant, intake: &mut impl Intake) -> Result<ReadEnd, LossReason> {
        if self.mute {
            return Ok(if self.ended { ReadEnd::Eof } else { ReadEnd::Blocked });
        }
        if !self.readable {
            return Ok(ReadEnd::Blocked);
        }
        let before = self.inlet.bytes();
        let end = self.inlet.read(&mut self.stream, intake);
        if self.inlet.bytes() > before {
            self.heard = now;
        }
        let end = end.map_err(|fault| match fault {
            Fault::Io(e) => LossReason::Failed(reason(&e)),
            Fault::Breach(what) => LossReason::Breach(what),
            Fault::Harmed => LossReason::Left,
        })?;
        self.readable = end == ReadEnd::More;
        Ok(end)
    }

    /// Whether reading would find more without waiting.
    pub fn is_readable(&self) -> bool {
        self.readable && !self.mute
    }

    /// Writes what there is until the socket is full.
    ///
    /// # Errors
    /// Why the connection is lost, unless reading it to the end finds a better reason.
    pub fn write(&mut self) -> Result<Wrote, LossReason> {
        if self.outlet.is_empty() && !self.mute {
            return Ok(Wrote::All);
        }
        if !self.writable || self.mute {
            return Ok(Wrote::Blocked);
        }
        let wrote = self.outlet.write(&mut self.stream).map_err(|e| LossReason::Failed(reason(&e)))?;
        self.writable = wrote == Wrote::All;
        Ok(wrote)
    }

    /// How long there has been no life, as of now.
    pub fn silence(&mut self, now: Instant) -> Silence {
        if let Ok(info) = socket::tcp_info(&self.stream)
            && info.bytes_acked > self.moved.1
        {
            self.moved = (now, info.bytes_acked);
        }
        Silence {
            peer: now.saturating_duration_since(self.heard),
            kernel: now.saturating_duration_since(self.moved.0),
        }
    }

    /// When the peer was last heard.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// Neither reads nor writes from now on, and leaves the socket open: as a path that fell silent does.
    pub fn fall_silent(&mut self) {
        self.mute = true;
    }

    /// Whether it fell silent.
    pub fn is_silent(&self) -> bool {
        self.mute
    }

    /// Does to the connection what the fault plan demands; the connection, if that is to stay open.
    pub fn suffer(mut self, harm: Harm) -> Option<Self> {
        match harm {
            Harm::Silence => {
                self.fall_silent();
                return Some(self);
            }
            Harm::Cut => self.outlet.cut(),
            Harm::Close | Harm::Reset => {}
        }
        // as much as the kernel takes
        let _ = self.write();
        if harm == Harm::Reset {
            self.give_up();
        }
        None
    }

    /// Nothing more will be written. Said once: to say it again would make the poll report it again.
    pub fn finish_writing(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        // if it fails the connection is gone, which reading will show
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes at once; the peer's kernel is told by a reset, and nothing lingers here.
    pub fn give_up(self) {
        // if it fails the kernel tries to deliver what nobody wants any more: harmless
        let _ = socket::reset_on_close(&self.stream);
    }

    /// What the kernel knows about it, for a report.
    pub fn kernel(&self) -> Option<Kernel> {
        let info = socket::tcp_info(&self.stream).ok()?;
        Some(Kernel {
            rtt: info.rtt,
            window: info.congestion_window,
            retransmits: info.retransmits,
            control: socket::congestion(&self.stream).unwrap_or_default(),
        })
    }

    /// The stream, for its options and addresses.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}
