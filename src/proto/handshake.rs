//! One message of the handshake as it comes in: accumulated, bounded in size and time, and understood once it is whole.
//!
//! ```text
//!  the side that dials                     the side that listens
//!   hello ────────────────────────────────▶ Hearing::hello: Hello, refuse in words, or no hello at all
//!   Hearing::reply ◀──────────────────────── welcome or refusal
//!   welcome (duplex only) ────────────────▶ Hearing::welcome, within WELCOME_TIME
//! ```
//!
//! Pure: whoever owns the socket reads, gives the bytes and asks. What follows the message is kept for the frames'
//! reader ([`Hearing::rest`]). A peer decides nothing here but its own fate: not the memory used, nor the time.

use super::breach::Breach;
use super::check::{Expectations, check};
use super::hello::Welcome;
use super::hello::{HELLO_MAX, Hello, HelloError, MAGIC, Refusal, RefusalCode, Reply, VERSION};
use super::links::LossReason;
use std::time::{Duration, Instant};

/// How long a stranger may take to say hello.
pub const HELLO_TIME: Duration = Duration::from_secs(5);

/// How long the far end of a duplex connection may take to welcome this one: as long as for its hello.
pub const WELCOME_TIME: Duration = Duration::from_secs(5);

/// At most so many bytes are to be read before [`Hearing`] is asked again, so that it never holds much more than the
/// longest message.
pub const CHUNK: usize = 1024;

/// What a listener has heard so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// The hello is not whole yet.
    More,
    /// A hello that this end can work with.
    Hello(Box<Hello>),
    /// A hello that it cannot work with, and what to answer.
    Refused(Refusal),
    /// No hello of ours, or more than a hello: there is nothing to answer.
    Foreign,
}

/// A message that is being heard.
#[derive(Debug)]
pub struct Hearing {
    bytes: Vec<u8>,
    began: Instant,
    until: Instant,
}

impl Hearing {
    /// Nothing has been heard; the message has this long to come.
    pub fn new(now: Instant, time: Duration) -> Self {
        Hearing { bytes: Vec::new(), began: now, until: now + time }
    }

    /// Bytes have come, at most [`CHUNK`] since it was asked last.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// When the time for it is over.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// How long it has taken so far.
    pub fn taken(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// What a listener with these expectations makes of it.
    pub fn hello(&self, ours: &Expectations) -> Heard {
        match Hello::decode(&self.bytes) {
            Ok(None) if self.bytes.len() <= HELLO_MAX => Heard::More,
            Ok(Some((hello, len))) if len == self.bytes.len() => match check(&hello, ours) {
                Ok(()) => Heard::Hello(Box::new(hello)),
                Err(refusal) => Heard::Refused(refusal),
            },
            Ok(_) => Heard::Foreign,
            Err(error) => error.refusal().map_or(Heard::Foreign, Heard::Refused),
        }
    }

    /// What the listener has answered, once that is whole. Asked once more after it gave something, it begins anew
    /// with what followed.
    ///
    /// # Errors
    /// Whoever answers is no receiver that this end understands.
    pub fn reply(&mut self) -> Result<Option<Reply>, HelloError> {
        let Some((mut reply, len)) = Reply::decode(&self.bytes)? else { return Ok(None) };
        let theirs = self.bytes.get(MAGIC.len()).copied();
        if let Reply::Refusal(refusal) = &mut reply
            && (refusal.code, theirs) == (RefusalCode::Version, Some(VERSION))
        {
            // it speaks this version, so the hello that it read was damaged on its way
            refusal.code = RefusalCode::Malformed;
        }
        self.bytes.drain(..len);
        Ok(Some(reply))
    }

    /// What the dialling side of a duplex connection has answered to a welcome, once that is whole.
    ///
    /// # Errors
    /// The connection is of no use.
    pub fn welcome(&mut self) -> Result<Option<Welcome>, LossReason> {
        match self.reply() {
            Ok(None) => Ok(None),
            Ok(Some(Reply::Welcome(welcome))) => Ok(Some(welcome)),
            Ok(Some(Reply::Refusal(_))) => Err(LossReason::Breach(Breach::RefusedItsOwn)),
            Err(error) => Err(LossReason::Breach(Breach::NoWelcome(error))),
        }
    }

    /// What has come after the message.
    pub fn rest(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::hello::{Features, Id, sample::hello};
    use super::super::wire::WindowEdge;
    use super::*;

    const OURS: Expectations = Expectations {
        checkphrase: None,
        features: Features::NONE,
        duplex: false,
        through: false,
        compresses: false,
        initiates: false,
    };

    fn welcome() -> Welcome {
        let edge = WindowEdge { bytes: 5, legs: 6 };
        let instance = Id::new([1; 16]);
        Welcome { instance, next: 0, edge, leg_max: 65536, features: Features::NONE, buffer: 4 << 20 }
    }

    fn hearing(bytes: &[u8]) -> Hearing {
        let mut hearing = Hearing::new(Instant::now(), HELLO_TIME);
        hearing.push(bytes);
        hearing
    }

    #[test]
    fn a_hello_is_heard_whole_and_nothing_may_follow_it() {
        let mut bytes = hello().encode();
        for cut in 0..bytes.len() {
            assert_eq!(hearing(&bytes[..cut]).hello(&OURS), Heard::More, "{cut}");
        }
        assert_eq!(hearing(&bytes).hello(&OURS), Heard::Hello(Box::new(hello())));
        bytes.push(0);
        assert_eq!(hearing(&bytes).hello(&OURS), Heard::Foreign);
        assert_eq!(hearing(b"GET / HTTP/1.1\r\n").hello(&OURS), Heard::Foreign);
    }

    #[test]
    fn a_hello_that_does_not_suit_is_refused_in_words() {
        let wrong = Hello { checkphrase: Some(*b"abcd"), ..hello() };
        let heard = hearing(&wrong.encode()).hello(&OURS);
        assert!(matches!(heard, Heard::Refused(Refusal { code: RefusalCode::Checkphrase, .. })));
    }

    #[test]
    fn what_follows_a_reply_is_kept_for_the_frames() {
        let mut bytes = Reply::Welcome(welcome()).encode();
        let whole = bytes.len();
        bytes.extend_from_slice(b"frames");
        let mut hearing = hearing(&bytes[..whole - 1]);
        assert_eq!(hearing.reply(), Ok(None));
        hearing.push(&bytes[whole - 1..]);
        assert_eq!(hearing.reply(), Ok(Some(Reply::Welcome(welcome()))));
        assert_eq!(hearing.rest(), b"frames");
    }

    #[test]
    fn who_speaks_this_version_and_refuses_it_has_read_a_damaged_hello() {
        let refusal = HelloError::Version(0).refusal().unwrap();
        let heard = hearing(&Reply::Refusal(refusal).encode()).reply();
        assert!(matches!(heard, Ok(Some(Reply::Refusal(Refusal { code: RefusalCode::Malformed, .. })))));
    }

    #[test]
    fn a_far_end_that_refuses_its_own_connection_breaks_the_rules() {
        let refusal = Refusal { code: RefusalCode::Busy, sentence: String::new() };
        let mut refused = hearing(&Reply::Refusal(refusal).encode());
        assert!(matches!(refused.welcome(), Err(LossReason::Breach(_))));
        assert!(matches!(hearing(b"nonsense").welcome(), Err(LossReason::Breach(_))));
        assert_eq!(hearing(&Reply::Welcome(welcome()).encode()).welcome(), Ok(Some(welcome())));
    }
}
