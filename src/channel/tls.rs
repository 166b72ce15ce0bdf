//! A connection's TLS: handshake, sealing and opening, between a [`Transport`] that never waits and a caller that never
//! waits either.
//!
//! The handshake happens by itself while the channel is read, and cannot be skipped: nothing is written or handed out
//! before it is over, both ends speak millipede's protocol, and the peer has proved a key that is let in. Whatever the
//! library objects to ends the connection; its alert goes out first.
//!
//! rustls' unbuffered interface: a record is opened where it lies, and sealed into the buffer that goes to the kernel.

mod bytes;

use super::transport::Transport;
use crate::trust::{ALPN, Met, PublicKey};
use bytes::{Bytes, FRAGMENT, RECORD, Space};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{AlertDescription, CertificateError, CommonState, Error};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::ops::Deref;

/// Room for what is read before the peer has proved anything: strangers are to cost little. It grows to one record.
const STRANGER: usize = 2 << 10;
/// The same for a peer that sends much.
const READ_MAX: usize = 256 << 10;
/// So much may come without a byte of data among it while a read goes on: a record that is not whole yet, and messages
/// of the library. Who sends more, such as tickets without end, would keep the reader, and all who wait for it.
const DATALESS: usize = 2 * RECORD;
/// Plaintext that is sealed before it is given to the kernel: it stays in the processor's cache on the way.
const SEAL: usize = 8 * FRAGMENT;

/// What a connection does next to finish its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shaking {
    /// It is finished.
    Done,
    /// It waits for the peer.
    Reads,
    /// It waits for the kernel to take more.
    Writes,
}

/// Why a connection's TLS failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum TlsError {
    /// The peer shows a key that is not let in; whether it has that key was not looked at.
    #[error("key {0} is not among the peers")]
    Unknown(PublicKey),
    /// The peer does not want a connection with this end's key.
    #[error("the peer does not let in this key")]
    NotWanted,
    /// What comes is no TLS.
    #[error("what comes is not encrypted")]
    Plain,
    /// The peer speaks another protocol within TLS.
    #[error("the peer speaks another protocol")]
    Foreign,
    /// Much comes, and nothing of it is data.
    #[error("the peer sends records without data")]
    Empty,
    /// It was closed in the middle of the handshake.
    #[error("closed without showing a key")]
    Closed,
    /// Anything else, as the library says it.
    #[error("{0}")]
    Failed(Error),
}

impl TlsError {
    fn of(error: Error, met: &Met, proved: bool) -> Self {
        use AlertDescription as Alert;
        match (error, met.key()) {
            (Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure), Some(key)) => {
                TlsError::Unknown(key)
            }
            (Error::AlertReceived(Alert::AccessDenied | Alert::CertificateUnknown), _) if proved => {
                TlsError::NotWanted
            }
            // what is in a record that cannot be opened may be anything
            (Error::InvalidMessage(_), _) if !proved => TlsError::Plain,
            (Error::NoApplicationProtocol, _) => TlsError::Foreign,
            (error, _) => TlsError::Failed(error),
        }
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        io::Error::other(error)
    }
}

enum Engine {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

impl Deref for Engine {
    type Target = CommonState;

    fn deref(&self) -> &CommonState {
        match self {
            Engine::Client(client) => client,
            Engine::Server(server) => server,
        }
    }
}

/// One connection's TLS.
pub(super) struct Tls {
    engine: Engine,
    met: Met,
    /// Records that were read and not opened yet.
    incoming: Bytes,
    /// Records that were sealed and have not left yet.
    outgoing: Bytes,
    /// What was read last filled the room for it.
    overflowed: bool,
    /// What was opened and found no room.
    opened: Bytes,
    /// The handshake is over and the peer may be believed.
    proved: bool,
    /// The peer has said that nothing more comes.
    ended: bool,
    failed: Option<TlsError>,
}

/// What the engine is asked for, besides opening what came.
enum Ask<'a> {
    Nothing,
    /// To seal these, each in records of its own.
    Seal(&'a [&'a [u8]]),
    /// To say that nothing more comes.
    Close,
}

/// What the engine did.
#[derive(PartialEq, Eq)]
enum Step {
    /// Something; it is to be asked again.
    More,
    /// What it was asked for.
    Done,
    /// Nothing: the peer's bytes are missing.
    Blocked,
    /// The peer has ended.
    Ended,
}

impl Tls {
    pub(super) fn client((client, met): (UnbufferedClientConnection, Met)) -> Self {
        Self::new(Engine::Client(client), met)
    }

    pub(super) fn server((server, met): (UnbufferedServerConnection, Met)) -> Self {
        Self::new(Engine::Server(server), met)
    }

    fn new(engine: Engine, met: Met) -> Self {
        Tls {
            engine,
            met,
            incoming: Bytes::new(STRANGER),
            outgoing: Bytes::new(0),
            overflowed: false,
            opened: Bytes::new(0),
            proved: false,
            ended: false,
            failed: None,
        }
    }

    /// The peer's key, once it is proved.
    pub(super) fn peer(&self) -> Option<PublicKey> {
        self.met.key().filter(|_| self.proved)
    }

    /// Goes on with the handshake as far as it goes.
    pub(super) fn shake(&mut self, transport: &Transport) -> io::Result<Shaking> {
        loop {
            if let Err(error) = self.step(&Ask::Nothing, &mut Space::none()) {
                // the alert; if it cannot go out the peer finds out by itself
                let _ = self.push(transport);
                return Err(error.into());
            }
            match self.push(transport) {
                Ok(()) if self.proved => return Ok(Shaking::Done),
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Shaking::Writes),
                Err(e) => return Err(e),
            }
            match self.fetch(transport) {
                Ok(0) => return Err(self.fail(TlsError::Closed).into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Shaking::Reads),
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads plaintext; 0 at the peer's end.
    pub(super) fn read(&mut self, transport: &Transport, spaces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut space = Space::of(spaces);
        let mut fetched = 0;
        loop {
            let taken = space.put(self.opened.bytes());
            self.opened.consume(taken);
            let opened = self.step(&Ask::Nothing, &mut space);
            if space.filled > 0 && self.proved {
                return Ok(space.filled);
            }
            if let Err(error) = opened {
                // the alert; if it cannot go out the peer finds out by itself
                let _ = self.push(transport);
                return Err(error.into());
            }
            // what the handshake has to say; the next write, or the time limit, deals with a path that takes nothing
            let _ = self.push(transport);
            if self.ended {
                return Ok(0);
            }
            if fetched > DATALESS {
                return Err(self.fail(TlsError::Empty).into());
            }
            match self.fetch(transport)? {
                0 if self.proved => return Ok(0),
                0 => return Err(self.fail(TlsError::Closed).into()),
                n => fetched += n,
            }
        }
    }

    /// Seals plaintext and gives it to the kernel; what the kernel does not take at once stays here. How much of it was
    /// taken: nothing is while earlier bytes are still here.
    pub(super) fn write(&mut self, transport: &Transport, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.push(transport)?;
        if !self.proved {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut left = SEAL;
        let mut parts: [&[u8]; 4] = [&[]; 4];
        for (part, slice) in parts.iter_mut().zip(slices) {
            *part = &slice[..slice.len().min(left)];
            left -= part.len();
        }
        if self.step(&Ask::Seal(&parts), &mut Space::none())? != Step::Done {
            return Err(ErrorKind::BrokenPipe.into());
        }
        match self.push(transport) {
            Err(e) if e.kind() != ErrorKind::WouldBlock => Err(e),
            _ => Ok(SEAL - left),
        }
    }

    /// Gives the kernel what waits.
    ///
    /// # Errors
    /// The kernel's; that it takes no more for now.
    pub(super) fn push(&mut self, mut transport: &Transport) -> io::Result<()> {
        while !self.outgoing.bytes().is_empty() {
            match transport.write(self.outgoing.bytes()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => self.outgoing.consume(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Tells the peer that nothing more comes.
    pub(super) fn close(&mut self, transport: &Transport) {
        // who cannot be told sees the end of the connection
        if self.proved && self.step(&Ask::Close, &mut Space::none()).is_ok() {
            let _ = self.push(transport);
        }
    }

    /// Reads records; 0 at the end of the connection, or if there is no room for a message that is not whole yet.
    fn fetch(&mut self, mut transport: &Transport) -> io::Result<usize> {
        self.incoming.compact();
        if self.overflowed || self.incoming.room().is_empty() {
            self.incoming.grow(if self.proved { READ_MAX } else { RECORD });
        }
        let room = self.incoming.room().len();
        let n = loop {
            match transport.read(self.incoming.room()) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.incoming.fill(n);
        self.overflowed = n == room;
        Ok(n)
    }

    /// Opens what has come, as long as there is room for it, and does what was asked. Handshakes go on by themselves.
    fn step(&mut self, ask: &Ask<'_>, space: &mut Space<'_, '_>) -> Result<Step, TlsError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        loop {
            if matches!(ask, Ask::Nothing) && !space.has_room() && self.proved {
                return Ok(Step::Done);
            }
            let step = self.turn(ask, space).map_err(|error| self.refuse(error))?;
            self.prove()?;
            match step {
                Step::More => {}
                Step::Ended => self.ended = true,
                Step::Done | Step::Blocked => return Ok(step),
            }
        }
    }

    /// Asks the engine once.
    fn turn(&mut self, ask: &Ask<'_>, space: &mut Space<'_, '_>) -> Result<Step, Error> {
        let Tls { engine, incoming, outgoing, opened, .. } = self;
        let mut plain = |bytes: &[u8]| {
            let taken = space.put(bytes);
            opened.extend(&bytes[taken..]);
        };
        let (discard, step) = match engine {
            Engine::Client(client) => {
                let UnbufferedStatus { discard, state } = client.process_tls_records(incoming.bytes_mut());
                (discard, state.and_then(|state| handle(state, ask, &mut plain, outgoing)))
            }
            Engine::Server(server) => {
                let UnbufferedStatus { discard, state } = server.process_tls_records(incoming.bytes_mut());
                (discard, state.and_then(|state| handle(state, ask, &mut plain, outgoing)))
            }
        };
        incoming.consume(discard);
        step
    }

    /// The handshake is over, if it is: the peer may be believed if it speaks our protocol and has shown its key.
    fn prove(&mut self) -> Result<(), TlsError> {
        if self.proved || self.engine.is_handshaking() {
            return Ok(());
        }
        if self.engine.alpn_protocol() != Some(ALPN) || self.met.key().is_none() {
            return Err(self.fail(TlsError::Foreign));
        }
        self.proved = true;
        Ok(())
    }

    /// The library objects: its alert is to go out.
    fn refuse(&mut self, error: Error) -> TlsError {
        let told = self.fail(TlsError::of(error, &self.met, self.proved));
        // An alert is all that is still to come out of it. Asked for more it would go on with bytes that it has given up,
        // which it does not survive.
        while self.engine.wants_write() {
            if self.turn(&Ask::Nothing, &mut Space::none()).is_err() {
                break;
            }
        }
        told
    }

    fn fail(&mut self, error: TlsError) -> TlsError {
        self.failed = Some(error.clone());
        error
    }
}

/// Does what the engine's state calls for.
fn handle<D>(
    state: ConnectionState<'_, '_, D>,
    ask: &Ask<'_>,
    plain: &mut impl FnMut(&[u8]),
    outgoing: &mut Bytes,
) -> Result<Step, Error> {
    match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                plain(record?.payload);
            }
            Ok(Step::More)
        }
        ConnectionState::EncodeTlsData(mut data) => {
            outgoing.append(0, |space| match data.encode(space) {
                Err(EncodeError::InsufficientSize(more)) => Err(more.required_size),
                // encoded before: there is nothing more of it
                Err(EncodeError::AlreadyEncoded) => Ok(0),
                Ok(n) => Ok(n),
            });
            Ok(Step::More)
        }
        ConnectionState::TransmitTlsData(data) => {
            // it waits in `outgoing`, which keeps its order
            data.done();
            Ok(Step::More)
        }
        ConnectionState::WriteTraffic(mut traffic) => {
            write(&mut traffic, ask, outgoing)?;
            Ok(Step::Done)
        }
        ConnectionState::PeerClosed => Ok(Step::Ended),
        ConnectionState::ReadEarlyData(_) => Err(Error::General("early data".into())),
        // blocked, closed, and what other versions of the library may add
        _ => Ok(Step::Blocked),
    }
}

/// Seals what is asked for.
fn write<D>(traffic: &mut WriteTraffic<'_, D>, ask: &Ask<'_>, outgoing: &mut Bytes) -> Result<(), Error> {
    let exhausted = || Error::General("the keys are used up".into());
    let mut seal = |hint, seal: &mut dyn FnMut(&mut [u8]) -> Result<usize, EncryptError>| {
        let mut failed = false;
        outgoing.append(hint, |space| match seal(space) {
            Err(EncryptError::InsufficientSize(more)) => Err(more.required_size),
            Err(EncryptError::EncryptExhausted) => {
                failed = true;
                Ok(0)
            }
            Ok(n) => Ok(n),
        });
        if failed { Err(exhausted()) } else { Ok(()) }
    };
    match ask {
        Ask::Nothing => {}
        Ask::Seal(parts) => {
            for part in parts.iter().filter(|part| !part.is_empty()) {
                seal(sealed(part.len()), &mut |space| traffic.encrypt(part, space))?;
            }
        }
        Ask::Close => seal(64, &mut |space| traffic.queue_close_notify(space))?,
    }
    Ok(())
}

/// The bytes that so much plaintext takes when it is sealed, and some more.
fn sealed(plain: usize) -> usize {
    plain + plain.div_ceil(FRAGMENT) * 32
}

#[cfg(test)]
mod tests;
