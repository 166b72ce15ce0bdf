//! Lets peers in: what the door gives is shown to the session, and gets a thread if that agrees.

use super::accept::{Guest, Host};
use super::connection::{Accepted, Seat, Shared};
use super::core::SessionCore;
use super::orders::Ticket;
use super::origins::Origins;
use crate::channel::{Channel, peer_key};
use crate::error::reason;
use crate::message;
use crate::proto::hello::{Features, Hello, Id, Refusal, RefusalCode};
use crate::proto::leg::LINKS_MAX;
use crate::proto::links::LossReason;
use crate::sync::Unpoisoned;
use crate::sys::thread::spawn;
use crate::trust::Trust;
use mio::Poll;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

/// Lets peers into one session.
pub(crate) struct Admission {
    /// The session.
    pub(crate) shared: Shared,
    /// The kernel's congestion control for what goes out, where the user chose one.
    pub(crate) congestion: Option<String>,
    /// The keys, if connections are encrypted.
    pub(crate) trust: Option<Arc<Trust>>,
    /// The last session that was refused because another receiver has its beginning.
    stranded: Option<Id>,
    /// Where its connections come from.
    origins: Origins,
}

impl Host for Arc<Mutex<Admission>> {
    fn admit(&mut self, guest: Guest) -> Result<bool, (Channel, Refusal)> {
        self.lock().unpoisoned().admit(guest)
    }

    fn knows(&self, address: IpAddr) -> bool {
        self.lock().unpoisoned().knows(address)
    }
}

impl Admission {
    /// To this session, to which nobody has come yet. `congestion`, `trust`: as the fields say.
    pub(crate) fn new(shared: Shared, congestion: Option<String>, trust: Option<Arc<Trust>>) -> Self {
        Admission { shared, congestion, trust, stranded: None, origins: Origins::default() }
    }

    /// Whether a connection of the session comes from this address.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        self.origins.contains(address)
    }

    /// Lets a peer in. False if this process has no means for a connection; then that is closed without a word.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub(crate) fn admit(&mut self, guest: Guest) -> Result<bool, (Channel, Refusal)> {
        let Guest { channel, hello, address, round_trip } = guest;
        // only on a connection that was there already may a hello hold a welcome
        let ahead = round_trip.and_then(|round_trip| Some((hello.welcome()?, round_trip)));
        let key = peer_key(&channel);
        let desk = &self.shared.desk;
        if let Err(refusal) = desk.peek(|core| core.session.screen(&hello, key)) {
            self.tell_refused(&hello, Caller(address), &refusal);
            return Err((channel, refusal));
        }
        let (seat, poll) = match Seat::new() {
            Ok(seat) => seat,
            Err(error) => {
                self.tell_lack(Caller(address), &error);
                return Ok(false);
            }
        };
        let admitted = desk.admit(seat.clone(), |core, now| {
            let (connection, link) = (core.session.hello(now, &hello, key)?, usize::from(hello.link));
            core.met(now, link, address.map(|address| address.ip()));
            if channel.is_borrowed() {
                core.session.set_lifeline(link);
            }
            if let Some((welcome, round_trip)) = &ahead {
                core.session.welcomed_ahead(now, connection, welcome, key, *round_trip);
            }
            Ok(connection)
        });
        let ticket = match admitted {
            Ok(ticket) => ticket,
            Err(refusal) => {
                self.tell_refused(&hello, Caller(address), &refusal);
                return Err((channel, refusal));
            }
        };
        let seated = Seated { ticket, seat, poll, channel, address: Caller(address) };
        let started = self.start(seated, ahead.is_some(), &hello);
        if let Some(address) = address.filter(|_| started) {
            self.origins.note(hello.session, address.ip());
        }
        Ok(started)
    }

    /// Starts the thread of a connection that is let in. `ahead`: its peer has welcomed it in the hello. False if this
    /// process has no means for it.
    fn start(&self, seated: Seated, ahead: bool, hello: &Hello) -> bool {
        let Seated { ticket, seat, poll, channel, address } = seated;
        let (connection, desk) = (ticket.connection, &self.shared.desk);
        let origin = format!("connection {connection} from {address}");
        let proved = channel.key().zip(self.trust.as_ref());
        let key = proved.map_or(String::new(), |(key, trust)| format!(", key {}", trust.name(&key)));
        let up = format!("{origin} is up{key}");
        let chosen = self.congestion.as_ref().map_or(Ok(()), |name| channel.choose_congestion(name));
        let ahead = ahead.then(|| hello.features.contains(Features::CHECKSUM));
        let shared = self.shared.clone();
        let owner = Accepted { ticket, seat: seat.clone(), poll, channel, origin, ahead, shared };
        let started = chosen.and_then(|()| spawn(&format!("connection {connection}"), move || owner.run()));
        if let Err(error) = started {
            let why = LossReason::Failed(reason(&error));
            desk.lose(ticket, |core, now| core.lost(now, connection, &why));
            desk.closed(connection, &seat, false);
            self.tell_lack(address, &error);
            return false;
        }
        match hello.begun {
            true => message::note(2, || up),
            // whoever comes first may be a stranger, and come again and again
            false => message::peer(2, "connections that come before a stream has begun", || up),
        }
        true
    }

    /// This process has no means for a connection. Where the session has other connections, that is no trouble.
    fn tell_lack(&self, address: Caller, error: &io::Error) {
        let alone =
            |core: &mut SessionCore| (0..LINKS_MAX).all(|link| core.session.connections_on(link) == 0);
        let level = if self.shared.desk.peek(alone) { 0 } else { 2 };
        message::peer(level, "connections that this process has no means for", || {
            format!("{address}: cannot let it in: {}", reason(error))
        });
    }

    fn tell_refused(&mut self, hello: &Hello, address: Caller, refusal: &Refusal) {
        // one sender asks for the rest of its stream again and again
        let stranded = refusal.code == RefusalCode::NotThatReceiver
            && self.stranded.replace(hello.session) != Some(hello.session);
        let level = match refusal.code {
            _ if stranded => 0,
            // a short stream may be over before all connections of its sender are here
            RefusalCode::Finished => 2,
            _ => message::journaled(2),
        };
        message::peer(level, "refused", || format!("{address}: refused: {}", refusal.sentence));
    }
}

/// A connection that the session has let in, with its seat.
struct Seated {
    ticket: Ticket,
    seat: Arc<Seat>,
    poll: Poll,
    channel: Channel,
    address: Caller,
}

/// Where a guest comes from, as messages name it.
#[derive(Clone, Copy)]
struct Caller(Option<SocketAddr>);

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("a pipe"),
        }
    }
}
