//! The handshake: the dialling side's hello and the listener's reply, a welcome or a refusal. Big endian.
//!
//! Each is in an envelope: magic, version u8, kind u8, length of the body u16, the body, and the CRC-32 of
//! all before it. The envelope and the body of a refusal stay as they are in every version to come, so that
//! two versions that cannot work together can still say so to their users.
//!
//! Whoever receives says welcome. A connection for one direction has one, of the listener. With
//! [`Direction::Duplex`] the dialling side receives too: the first bytes it sends after the listener's welcome are a
//! welcome of its own, the same in form. The listener sends nothing before it has that, or knows it from the hello.
//!
//! Pure: bytes in, values out; [`super::check`] holds a hello against what this end expects. Ids are chosen by the
//! caller, and never printed: who knows a session's id can inject into it.

use super::codec::{self, CRC, Reader, SENTENCE_MAX, Shape, Unsound};
use super::leg::{CONNECTIONS_MAX, LEG_MAX, LINKS_MAX};
use super::wire::WindowEdge;
use std::fmt;

mod ahead;
mod features;
mod refusal;
#[cfg(test)]
pub(super) mod sample;

pub use features::{FarEnd, Features};
pub use refusal::{Refusal, RefusalCode};

/// How every hello and reply begins. The first byte is neither ASCII nor UTF-8, so no text protocol begins
/// like this; the line ends show a path that translates them.
pub const MAGIC: [u8; 8] = [0xb2, b'm', b'i', b'l', b'l', b'\r', b'\n', b'\n'];

/// The version of the protocol that this program speaks.
pub const VERSION: u8 = 2;

/// The largest hello. A listener reads no more than this from a stranger.
pub const HELLO_MAX: usize = 4096;

/// Magic, version, kind and length of the body.
const ENVELOPE: usize = 8 + 1 + 1 + 2;

const HELLO: Shape = Shape::with_tail(HELLO_FIXED, OPTIONS_MAX);
const HELLO_FIXED: usize = 16 + 16 + 1 + 1 + 4 + 1 + 1 + 4 + 8 + 8 + 2;
const OPTIONS_MAX: usize = HELLO_MAX - ENVELOPE - HELLO_FIXED - CRC;
const WELCOME: Shape = Shape::exact(16 + 8 + 8 + 8 + 4 + 8 + 8);
const REFUSAL: Shape = Shape::with_tail(1 + 2, SENTENCE_MAX);

const _: () = {
    assert!(ENVELOPE == 12);
    assert!(ENVELOPE + HELLO.fixed + CRC == 78);
    assert!(ENVELOPE + WELCOME.fixed + CRC == 76);
    assert!(ENVELOPE + REFUSAL.fixed + CRC == 19);
    assert!(ENVELOPE + HELLO.fixed + HELLO.tail + CRC == HELLO_MAX);
    assert!(LINKS_MAX <= 256 && CONNECTIONS_MAX <= 256);
    assert!(LEG_MAX <= u32::MAX as usize);
};

/// The kinds of envelope.
mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const WELCOME: u8 = 2;
    pub(super) const REFUSAL: u8 = 3;
}

/// The bits of a hello's flags.
mod flag {
    pub(super) const BEGUN: u8 = 1;
    pub(super) const INSTANCE: u8 = 2;
    pub(super) const CHECKPHRASE: u8 = 4;
    pub(super) const KNOWN: u8 = BEGUN | INSTANCE | CHECKPHRASE;
}

/// What the dialling side says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The session that this connection belongs to.
    pub session: Id,
    /// The receiving process, as its first welcome named it; `None` before that.
    pub instance: Option<Id>,
    /// What this connection is for.
    pub direction: Direction,
    /// Whether any leg of the session has been sent, or the far end was met that was started for it: then no other receiver
    /// will do.
    pub begun: bool,
    /// What both ends must have in common, if anything.
    pub checkphrase: Option<[u8; 4]>,
    /// The place of the link in the sender's list, less than [`LINKS_MAX`].
    pub link: u8,
    /// The number of the connection in the session, less than [`CONNECTIONS_MAX`].
    pub connection: u8,
    /// Counts the tries of this connection: a higher one replaces a lower one.
    pub attempt: u32,
    /// What the sender makes use of.
    pub features: Features,
    /// The sender's memory for legs, in bytes.
    pub buffer: u64,
    /// What later versions add. All together have at most about 4000 bytes on the wire.
    pub options: Vec<HelloOption>,
}

/// Something that a later version asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloOption {
    /// What it is.
    pub id: u16,
    /// Whether a listener that does not know it must refuse; otherwise it is passed over.
    pub mandatory: bool,
    /// What its id says it is.
    pub value: Vec<u8>,
}

/// The random name of a session or of a receiving process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// The id of these bytes, which should be random.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Id(..)")
    }
}

/// What the dialling side does with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// It sends a stream.
    Transmit = 1,
    /// It sends a stream and receives another.
    Duplex = 2,
}

/// The listener takes the connection; or, as an answer to that, the dialling side of a duplex one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The receiving process.
    pub instance: Id,
    /// The first leg it has not received; at most `edge.legs`.
    pub next: u64,
    /// How far the sender may go.
    pub edge: WindowEdge,
    /// The longest leg it takes, 1 to [`LEG_MAX`].
    pub leg_max: u32,
    /// What the receiver makes use of.
    pub features: Features,
    /// The receiver's memory for legs, in bytes.
    pub buffer: u64,
}

/// What the listener answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The connection is taken: frames follow.
    Welcome(Welcome),
    /// It is not.
    Refusal(Refusal),
}

/// Why bytes are no hello, or no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Something else talks here.
    #[error("the peer is not millipede")]
    NotMillipede,
    /// It is millipede, but speaks another version.
    #[error("the peer speaks version {0} of the protocol, this end version {VERSION}")]
    Version(u8),
    /// It claims to be this version, and is wrong.
    #[error("the peer's greeting makes no sense: {0}")]
    Malformed(&'static str),
}

impl HelloError {
    /// What to answer to a hello with this error: nothing to one that is not millipede, as it would not
    /// understand.
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Self::NotMillipede => None,
            Self::Version(theirs) => Some(Refusal {
                code: RefusalCode::Version,
                sentence: format!("version {VERSION}, not {theirs}: install the same release"),
            }),
            Self::Malformed(what) => Some(Refusal {
                code: RefusalCode::Malformed,
                sentence: format!("this hello makes no sense: {what}"),
            }),
        }
    }
}

impl Hello {
    /// What a dialling end says of a session that makes use of these features, as long as no connection was tried. The
    /// session has two streams if [`Features::DUPLEX`] is among them.
    pub fn of(session: Id, features: Features, buffer: u64) -> Self {
        let duplex = features.contains(Features::DUPLEX);
        Hello {
            session,
            instance: None,
            direction: if duplex { Direction::Duplex } else { Direction::Transmit },
            begun: false,
            checkphrase: None,
            link: 0,
            connection: 0,
            attempt: 0,
            features,
            buffer,
            options: Vec::new(),
        }
    }

    /// The hello as it stands on the wire.
    ///
    /// # Panics
    ///
    /// If the options make it longer than [`HELLO_MAX`], which is a mistake of this program.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = envelope(kind::HELLO);
        out.extend_from_slice(&self.session.0);
        out.extend_from_slice(&self.instance.map_or([0; 16], Id::bytes));
        out.extend_from_slice(&[self.flags(), self.direction as u8]);
        out.extend_from_slice(&self.checkphrase.unwrap_or_default());
        out.extend_from_slice(&[self.link, self.connection]);
        out.extend_from_slice(&self.attempt.to_be_bytes());
        out.extend_from_slice(&self.features.0.to_be_bytes());
        out.extend_from_slice(&self.buffer.to_be_bytes());
        let options: usize = self.options.iter().map(HelloOption::length).sum();
        assert!(options <= OPTIONS_MAX, "the options of a hello are too long");
        out.extend_from_slice(&(options as u16).to_be_bytes());
        self.options.iter().for_each(|option| option.put(&mut out));
        codec::seal(&mut out, 0, ENVELOPE);
        out
    }

    /// The hello at the start of `buf` and its length there; `None` if more bytes are needed. What is not
    /// millipede is told by its first wrong byte, another version by the version byte.
    pub fn decode(buf: &[u8]) -> Result<Option<(Self, usize)>, HelloError> {
        magic(buf)?;
        match (buf.get(MAGIC.len()), buf.get(MAGIC.len() + 1)) {
            (Some(&version), _) if version != VERSION => Err(HelloError::Version(version)),
            (_, Some(&kind)) if kind != kind::HELLO => Err(HelloError::Malformed("not a hello")),
            _ => match body(buf, HELLO)? {
                Some((body, length)) => Ok(Some((Self::parse(body)?, length))),
                None => Ok(None),
            },
        }
    }

    fn flags(&self) -> u8 {
        let mut flags = 0;
        for (is, bit) in [
            (self.begun, flag::BEGUN),
            (self.instance.is_some(), flag::INSTANCE),
            (self.checkphrase.is_some(), flag::CHECKPHRASE),
        ] {
            flags |= if is { bit } else { 0 };
        }
        flags
    }

    fn parse(body: &[u8]) -> Result<Self, HelloError> {
        let mut fields = Reader(body);
        let (mut hello, flags) = Self::take(&mut fields)?;
        if flags & !flag::KNOWN != 0 {
            return Err(HelloError::Malformed("unknown flags"));
        }
        hello.begun = flags & flag::BEGUN != 0;
        hello.instance = present(flags & flag::INSTANCE, hello.instance, Id([0; 16]))?;
        hello.checkphrase = present(flags & flag::CHECKPHRASE, hello.checkphrase, [0; 4])?;
        if usize::from(hello.link) >= LINKS_MAX {
            return Err(HelloError::Malformed("link number too high"));
        }
        if usize::from(hello.connection) >= CONNECTIONS_MAX {
            return Err(HelloError::Malformed("connection number too high"));
        }
        while !fields.0.is_empty() {
            hello.options.push(HelloOption::take(&mut fields)?);
        }
        Ok(hello)
    }

    /// The fixed part, every field taken as present, and the flags that tell which really are.
    fn take(fields: &mut Reader) -> Result<(Self, u8), HelloError> {
        let session = Id(fields.array().ok_or(SHORT)?);
        let instance = Some(Id(fields.array().ok_or(SHORT)?));
        let flags = fields.u8().ok_or(SHORT)?;
        let direction = match fields.u8().ok_or(SHORT)? {
            1 => Direction::Transmit,
            2 => Direction::Duplex,
            _ => return Err(HelloError::Malformed("unknown direction")),
        };
        let hello = Self {
            session,
            instance,
            direction,
            begun: false,
            checkphrase: Some(fields.array().ok_or(SHORT)?),
            link: fields.u8().ok_or(SHORT)?,
            connection: fields.u8().ok_or(SHORT)?,
            attempt: fields.u32().ok_or(SHORT)?,
            features: Features(fields.u64().ok_or(SHORT)?),
            buffer: fields.u64().ok_or(SHORT)?,
            options: Vec::new(),
        };
        // The length of the options; it has been held against the length of the body already.
        fields.u16().ok_or(SHORT)?;
        Ok((hello, flags))
    }
}

impl HelloOption {
    fn length(&self) -> usize {
        2 + 1 + 2 + self.value.len()
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_be_bytes());
        out.push(self.mandatory.into());
        out.extend_from_slice(&(self.value.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.value);
    }

    fn take(fields: &mut Reader) -> Result<Self, HelloError> {
        let id = fields.u16().ok_or(SHORT)?;
        let mandatory = match fields.u8().ok_or(SHORT)? {
            0 => false,
            1 => true,
            _ => return Err(HelloError::Malformed("an option is neither mandatory nor not")),
        };
        let length = fields.u16().ok_or(SHORT)?;
        let value = fields.slice(length.into()).ok_or(SHORT)?.to_vec();
        Ok(Self { id, mandatory, value })
    }
}

impl Reply {
    /// The reply as it stands on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut out;
        match self {
            Reply::Welcome(welcome) => {
                out = envelope(kind::WELCOME);
                welcome.put(&mut out);
            }
            Reply::Refusal(refusal) => {
                out = envelope(kind::REFUSAL);
                out.push(refusal.code as u8);
                codec::put_sentence(&mut out, &refusal.sentence);
            }
        }
        codec::seal(&mut out, 0, ENVELOPE);
        out
    }

    /// The reply at the start of `buf` and its length there; `None` if more bytes are needed. A refusal is
    /// understood whatever its version; frames may follow a welcome.
    pub fn decode(buf: &[u8]) -> Result<Option<(Self, usize)>, HelloError> {
        magic(buf)?;
        let Some(&[version, kind]) = buf.get(MAGIC.len()..MAGIC.len() + 2) else { return Ok(None) };
        let shape = match kind {
            kind::REFUSAL => REFUSAL,
            _ if version != VERSION => return Err(HelloError::Version(version)),
            kind::WELCOME => WELCOME,
            _ => return Err(HelloError::Malformed("not a reply")),
        };
        let Some((body, length)) = body(buf, shape)? else { return Ok(None) };
        let reply = match kind {
            kind::WELCOME => Reply::Welcome(Welcome::parse(body)?),
            _ => Reply::Refusal(Refusal::parse(body, version)?),
        };
        Ok(Some((reply, length)))
    }
}

impl Welcome {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.instance.0);
        out.extend_from_slice(&self.next.to_be_bytes());
        out.extend_from_slice(&self.edge.bytes.to_be_bytes());
        out.extend_from_slice(&self.edge.legs.to_be_bytes());
        out.extend_from_slice(&self.leg_max.to_be_bytes());
        out.extend_from_slice(&self.features.0.to_be_bytes());
        out.extend_from_slice(&self.buffer.to_be_bytes());
    }

    fn parse(body: &[u8]) -> Result<Self, HelloError> {
        let mut fields = Reader(body);
        let welcome = Self {
            instance: Id(fields.array().ok_or(SHORT)?),
            next: fields.u64().ok_or(SHORT)?,
            edge: WindowEdge { bytes: fields.u64().ok_or(SHORT)?, legs: fields.u64().ok_or(SHORT)? },
            leg_max: fields.u32().ok_or(SHORT)?,
            features: Features(fields.u64().ok_or(SHORT)?),
            buffer: fields.u64().ok_or(SHORT)?,
        };
        if welcome.leg_max == 0 || welcome.leg_max as usize > LEG_MAX {
            return Err(HelloError::Malformed("a leg size that cannot be"));
        }
        Ok(welcome)
    }
}

impl Refusal {
    fn parse(body: &[u8], version: u8) -> Result<Self, HelloError> {
        let mut fields = Reader(body);
        let code = match RefusalCode::from_wire(fields.u8().ok_or(SHORT)?) {
            Some(code) => code,
            None if version != VERSION => RefusalCode::Version,
            None => return Err(HelloError::Malformed("unknown refusal")),
        };
        let sentence = fields.sentence().ok_or(HelloError::Malformed("the sentence is not valid UTF-8"))?;
        Ok(Self { code, sentence })
    }
}

const SHORT: HelloError = HelloError::Malformed("a field ends too early");

/// A new envelope of our version, to be filled and sealed.
fn envelope(kind: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, kind, 0, 0]);
    out
}

/// As much of the magic as is there must be right.
fn magic(buf: &[u8]) -> Result<(), HelloError> {
    let arrived = buf.len().min(MAGIC.len());
    if buf[..arrived] == MAGIC[..arrived] { Ok(()) } else { Err(HelloError::NotMillipede) }
}

/// What is sound in the envelope at the start of `buf`, and the envelope's whole length.
fn body(buf: &[u8], shape: Shape) -> Result<Option<(&[u8], usize)>, HelloError> {
    codec::body(buf, ENVELOPE, shape).map_err(|unsound| match unsound {
        Unsound::Length(_) => HelloError::Malformed("a length that cannot be"),
        Unsound::Checksum => HelloError::Malformed("damaged on its way (wrong CRC-32)"),
    })
}

/// A field with a flag that tells whether it is present; if not, the field is zero.
fn present<T: PartialEq>(flag: u8, field: Option<T>, zero: T) -> Result<Option<T>, HelloError> {
    match field {
        Some(_) if flag != 0 => Ok(field),
        Some(value) if value != zero => Err(HelloError::Malformed("an absent field is not zero")),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
