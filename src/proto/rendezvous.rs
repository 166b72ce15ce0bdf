//! What two ends say to each other through ssh before their session: the far end's greeting, and the near end's answer.
//! Big endian.
//!
//! ```text
//!  near end                         ssh                     far end
//!            ◀─ what a login shell prints, then the greeting ─
//!  ── the answer: the near end's key, its wishes, the command ─▶
//!            ── from here on a connection like any other ──▶
//! ```
//!
//! The far end speaks first, so that nothing is sent to a program that is not millipede. Each message is magic,
//! version u8, length of the body u32, the body, and the CRC-32 of all before it. The envelope stays as it is in every
//! version to come. The keys are one-time public keys; nothing here is secret.
//!
//! Pure: bytes in, values out. Every length is bounded before it is believed.

use super::codec::{CRC, Reader};
use super::hello::VERSION;

/// How the far end's greeting begins. Not how a hello begins; no text begins like this either.
pub const GREETING_MAGIC: [u8; 8] = [0xb2, b'm', b'f', b'a', b'r', b'\r', b'\n', b'\n'];

/// How the near end's answer begins.
pub const ANSWER_MAGIC: [u8; 8] = [0xb2, b'm', b'n', b'e', b'a', b'r', b'\r', b'\n'];

/// What a login shell may print before the greeting, at most, in bytes.
pub const NOISE_MAX: usize = 64 << 10;

/// The longest command, in bytes: what a kernel takes as one argument.
pub const COMMAND_MAX: usize = (128 << 10) - 1;

/// The longest name of a congestion control, in bytes: what Linux takes.
pub const CONGESTION_MAX: usize = 15;

/// The longest message of another version that is understood as that.
const OTHER_MAX: usize = 4096;

/// Magic, version, length of the body.
const ENVELOPE: usize = 8 + 1 + 4;
/// Port, key.
const GREETING: usize = 2 + 32;
/// Key, flags, buffer, patience, rate, compression, verbosity, length of the congestion control's name.
const ANSWER_FIXED: usize = 32 + 1 + 8 + 8 + 8 + 1 + 1 + 1;

const _: () = {
    assert!(ENVELOPE + GREETING + CRC == 51);
    assert!(ENVELOPE + ANSWER_FIXED + CRC == 77);
};

/// The bits of an answer's flags.
mod flag {
    pub(super) const DIRECT: u8 = 1;
    pub(super) const PATIENCE: u8 = 2;
    pub(super) const RATE: u8 = 4;
    pub(super) const COMPRESS: u8 = 8;
    pub(super) const KNOWN: u8 = DIRECT | PATIENCE | RATE | COMPRESS;
}

/// What the far end says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Where it listens; 0: nowhere.
    pub port: u16,
    /// Its public key for this session.
    pub key: [u8; 32],
}

/// What the near end answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its public key for this session.
    pub key: [u8; 32],
    /// Whether it tries to connect directly: otherwise there is nobody to listen for.
    pub direct: bool,
    /// Memory for legs per direction, in bytes, at most; never 0. None: not given, so that each end heeds its own host.
    pub buffer: Option<u64>,
    /// How long to wait with no working connection, in seconds; 0 is for ever. None: not given.
    pub patience: Option<u64>,
    /// At most this many bytes a second of the command's output; never 0.
    pub rate: Option<u64>,
    /// The level at which the command's output is compressed; 0: one that follows what holds it back. None: not at all.
    pub compress: Option<u8>,
    /// How much the far end says; 0 is nothing but failures.
    pub verbose: u8,
    /// The kernel's congestion control; empty: its default. At most [`CONGESTION_MAX`] bytes.
    pub congestion: String,
    /// For the login shell; at most [`COMMAND_MAX`] bytes.
    pub command: Vec<u8>,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Something else talks.
    #[error("not millipede")]
    Foreign,
    /// Another version of this program.
    #[error("version {0} of the protocol, where this end speaks version {VERSION}")]
    Version(u8),
    /// It claims to be this version, and is wrong.
    #[error("it makes no sense")]
    Malformed,
}

impl Greeting {
    /// As it stands on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = envelope(GREETING_MAGIC, GREETING);
        out.extend_from_slice(&self.port.to_be_bytes());
        out.extend_from_slice(&self.key);
        sealed(out)
    }

    /// The greeting in what has come, after up to [`NOISE_MAX`] bytes of something else, and where it ends; None if more
    /// is needed. `searched`: where to begin, 0 at first; what stands before need not be looked at when more has come.
    ///
    /// # Errors
    /// There is none, or it is another version's.
    pub fn find(heard: &[u8], searched: &mut usize) -> Result<Option<(Self, usize)>, Wrong> {
        let (mut from, mut begun) = (*searched, None);
        while let Some(start) = position(heard, from) {
            match Self::decode(&heard[start..]) {
                Ok(Some((greeting, length))) => return Ok(Some((greeting, start + length))),
                Err(Wrong::Version(version)) => return Err(Wrong::Version(version)),
                Ok(None) => begun = begun.or(Some(start)),
                // noise may look like the beginning of one
                Err(Wrong::Foreign | Wrong::Malformed) => {}
            }
            from = start + 1;
        }
        let begun = begun.or_else(|| cut_magic(heard));
        *searched = begun.unwrap_or(heard.len()).max(*searched);
        match begun {
            None if heard.len() > NOISE_MAX => Err(Wrong::Foreign),
            _ => Ok(None),
        }
    }

    fn decode(from: &[u8]) -> Result<Option<(Self, usize)>, Wrong> {
        let Some((body, length)) = body(from, GREETING_MAGIC, GREETING..=GREETING)? else { return Ok(None) };
        let mut fields = Reader(body);
        let (port, key) = fields.u16().zip(fields.array()).ok_or(Wrong::Malformed)?;
        Ok(Some((Self { port, key }, length)))
    }
}

/// Where the next greeting may begin: no later than noise may end.
fn position(heard: &[u8], from: usize) -> Option<usize> {
    let heard = &heard[..heard.len().min(NOISE_MAX + GREETING_MAGIC.len())];
    let found = heard.get(from..)?.windows(GREETING_MAGIC.len()).position(|bytes| bytes == GREETING_MAGIC);
    found.map(|at| from + at)
}

/// Where the first bytes of a greeting stand at the end of what has come, no later than noise may end.
fn cut_magic(heard: &[u8]) -> Option<usize> {
    let starts = (1..GREETING_MAGIC.len()).rev().filter_map(|length| heard.len().checked_sub(length));
    starts.filter(|start| *start <= NOISE_MAX).find(|start| GREETING_MAGIC.starts_with(&heard[*start..]))
}

impl Answer {
    /// As it stands on the wire. A command or a name that is too long is cut, which the caller does not let happen.
    pub fn encode(&self) -> Vec<u8> {
        let congestion = &self.congestion.as_bytes()[..self.congestion.len().min(CONGESTION_MAX)];
        let command = &self.command[..self.command.len().min(COMMAND_MAX)];
        let mut out = envelope(ANSWER_MAGIC, ANSWER_FIXED + congestion.len() + command.len());
        out.extend_from_slice(&self.key);
        let flags = [
            (self.direct, flag::DIRECT),
            (self.patience.is_some(), flag::PATIENCE),
            (self.rate.is_some(), flag::RATE),
            (self.compress.is_some(), flag::COMPRESS),
        ];
        out.push(flags.into_iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag));
        for number in [self.buffer.unwrap_or(0), self.patience.unwrap_or(0), self.rate.unwrap_or(0)] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&[self.compress.unwrap_or(0), self.verbose, congestion.len() as u8]);
        out.extend_from_slice(congestion);
        out.extend_from_slice(command);
        sealed(out)
    }

    /// The answer at the start of what has come, and its length; None if more is needed.
    ///
    /// # Errors
    /// It is none, or another version's.
    pub fn decode(heard: &[u8]) -> Result<Option<(Self, usize)>, Wrong> {
        let longest = ANSWER_FIXED + CONGESTION_MAX + COMMAND_MAX;
        let Some((body, length)) = body(heard, ANSWER_MAGIC, ANSWER_FIXED..=longest)? else {
            return Ok(None);
        };
        let answer = Self::parse(body).ok_or(Wrong::Malformed)?;
        Ok(Some((answer, length)))
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Reader(body);
        let (key, flags) = (fields.array()?, fields.u8()?);
        let [buffer, patience, rate] = [fields.u64()?, fields.u64()?, fields.u64()?];
        let (compress, verbose, name) = (fields.u8()?, fields.u8()?, usize::from(fields.u8()?));
        let congestion = fields.slice(name).filter(|name| name.len() <= CONGESTION_MAX)?;
        let congestion = String::from_utf8(congestion.to_vec()).ok()?;
        let command = Some(fields.0.to_vec()).filter(|command| command.len() <= COMMAND_MAX)?;
        let (direct, buffer) = (flags & flag::DIRECT != 0, Some(buffer).filter(|buffer| *buffer > 0));
        let patience = present(flags & flag::PATIENCE, patience)?;
        let rate = present(flags & flag::RATE, rate)?;
        let compress = present(flags & flag::COMPRESS, compress.into())?.map(|level| level as u8);
        let sound = flags & !flag::KNOWN == 0 && rate != Some(0);
        sound.then_some(Self { key, direct, buffer, patience, rate, compress, verbose, congestion, command })
    }
}

/// A number that is there if its flag is set, and 0 otherwise.
fn present(flag: u8, number: u64) -> Option<Option<u64>> {
    match (flag, number) {
        (0, 0) => Some(None),
        (0, _) => None,
        _ => Some(Some(number)),
    }
}

fn envelope(magic: [u8; 8], body: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(ENVELOPE + body + CRC);
    out.extend_from_slice(&magic);
    out.push(VERSION);
    out.extend_from_slice(&(body as u32).to_be_bytes());
    out
}

fn sealed(mut message: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&message);
    message.extend_from_slice(&crc.to_be_bytes());
    message
}

/// The sound body of the message at the start of `heard`, and the length of the message; None if more is needed.
fn body(
    heard: &[u8],
    magic: [u8; 8],
    lengths: std::ops::RangeInclusive<usize>,
) -> Result<Option<(&[u8], usize)>, Wrong> {
    if heard.iter().zip(&magic).any(|(came, right)| came != right) {
        return Err(Wrong::Foreign);
    }
    let Some(&[version, a, b, c, d]) = heard.get(magic.len()..ENVELOPE) else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let fits = if version == VERSION { lengths.contains(&length) } else { length <= OTHER_MAX };
    if !fits {
        return Err(Wrong::Malformed);
    }
    let end = ENVELOPE + length;
    let Some(&[a, b, c, d]) = heard.get(end..end + CRC) else { return Ok(None) };
    if crc32fast::hash(&heard[..end]) != u32::from_be_bytes([a, b, c, d]) {
        return Err(Wrong::Malformed);
    }
    if version != VERSION {
        return Err(Wrong::Version(version));
    }
    Ok(Some((&heard[ENVELOPE..end], end + CRC)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETED: Greeting = Greeting { port: 0xabcd, key: [7; 32] };

    fn find(heard: &[u8]) -> Result<Option<(Greeting, usize)>, Wrong> {
        Greeting::find(heard, &mut 0)
    }

    fn answer() -> Answer {
        Answer {
            key: [9; 32],
            direct: true,
            buffer: Some(128 << 20),
            patience: Some(90),
            rate: None,
            compress: Some(3),
            verbose: 2,
            congestion: "bbr".into(),
            command: b"printf 'it\xff'".to_vec(),
        }
    }

    #[test]
    fn golden_greeting() {
        let right = [
            &b"\xb2mfar\r\n\n"[..],    // magic
            &[2],                      // version
            &[0, 0, 0, 34],            // length of the body
            &[0xab, 0xcd],             // port
            &[7; 32],                  // key
            &[0x47, 0xdd, 0xee, 0xe7], // CRC-32 of all before
        ];
        assert_eq!(GREETED.encode(), right.concat(), "{:02x?}", GREETED.encode());
    }

    #[test]
    fn golden_answer() {
        let right = [
            &b"\xb2mnear\r\n"[..],      // magic
            &[2],                       // version
            &[0, 0, 0, 75],             // length of the body
            &[9; 32],                   // key
            &[11],                      // flags: direct, patience, compress
            &[0, 0, 0, 0, 8, 0, 0, 0],  // buffer: 128 MiB; 0 would be none
            &[0, 0, 0, 0, 0, 0, 0, 90], // patience, in seconds
            &[0; 8],                    // no rate
            &[3],                       // compression: level 3
            &[2],                       // verbosity
            &[3],                       // length of the congestion control's name
            b"bbr",                     // congestion control
            b"printf 'it\xff'",         // command
            &[0xd9, 0x6d, 0x32, 0xca],  // CRC-32 of all before
        ];
        assert_eq!(answer().encode(), right.concat(), "{:02x?}", answer().encode());
    }

    #[test]
    fn no_part_and_no_change_of_a_message_is_taken_for_another() {
        let (greeting, answered) = (GREETED.encode(), answer().encode());
        for end in 0..greeting.len() {
            assert_eq!(find(&greeting[..end]), Ok(None), "{end}");
        }
        for end in 0..answered.len() {
            assert_eq!(Answer::decode(&answered[..end]), Ok(None), "{end}");
        }
        assert_eq!(Answer::decode(&answered), Ok(Some((answer(), answered.len()))));
        for at in 0..answered.len() {
            let mut changed = answered.clone();
            for byte in (0..=255).filter(|byte| *byte != answered[at]) {
                changed[at] = byte;
                assert!(!matches!(Answer::decode(&changed), Ok(Some(_))), "byte {at} as {byte}");
            }
        }
        for at in 0..greeting.len() {
            let mut changed = greeting.clone();
            changed[at] ^= 1;
            assert!(!matches!(find(&changed), Ok(Some(_))), "byte {at}");
        }
    }

    #[test]
    fn a_greeting_is_found_behind_what_a_login_shell_prints() {
        let greeting = GREETED.encode();
        for noise in [
            &b"Welcome to backup!\r\n"[..],
            b"\xb2\xb2mfar\r\n",
            &GREETING_MAGIC,
            &greeting[..greeting.len() - 1],
            &vec![b'x'; NOISE_MAX],
        ] {
            let heard = [noise, &greeting, b"rest"].concat();
            let end = noise.len() + greeting.len();
            assert_eq!(find(&heard), Ok(Some((GREETED, end))), "{}", noise.len());
        }
        // as it comes, one byte after another, with a beginning that is none in the noise
        let noise = [&vec![b'x'; NOISE_MAX - 20][..], &greeting[..20]].concat();
        let heard = [&noise[..], &greeting].concat();
        let mut searched = 0;
        let found =
            (NOISE_MAX - 30..=heard.len()).map(|end| (end, Greeting::find(&heard[..end], &mut searched)));
        for (end, found) in found {
            let right = (end == heard.len()).then_some((GREETED, end));
            assert_eq!(found, Ok(right), "{end}");
        }
        assert_eq!(find(&vec![b'x'; NOISE_MAX]), Ok(None));
        assert_eq!(find(&vec![b'x'; NOISE_MAX + 1]), Err(Wrong::Foreign));
        let late = [&vec![b'x'; NOISE_MAX + 9][..], &greeting].concat();
        assert_eq!(find(&late), Err(Wrong::Foreign));
    }

    #[test]
    fn another_version_is_told_and_lengths_are_bounded() {
        let later = |mut message: Vec<u8>| {
            message.truncate(message.len() - CRC);
            message[8] = VERSION + 1;
            sealed(message)
        };
        assert_eq!(find(&later(GREETED.encode())), Err(Wrong::Version(VERSION + 1)));
        assert_eq!(Answer::decode(&later(answer().encode())), Err(Wrong::Version(VERSION + 1)));
        let mut long = answer().encode();
        long[9] = 1;
        assert_eq!(Answer::decode(&long[..ENVELOPE]), Err(Wrong::Malformed));
        assert_eq!(Answer::decode(b"GET / HTTP/1.1"), Err(Wrong::Foreign));
    }

    #[test]
    fn fields_that_contradict_each_other_are_no_answer() {
        let plain = answer();
        for (at, byte) in [(45, 0x80), (45, 1), (45, 3), (45, 15), (72, 16), (72, 200)] {
            let mut forged = plain.encode();
            forged.truncate(forged.len() - CRC);
            forged[at] = byte;
            assert_eq!(Answer::decode(&sealed(forged)), Err(Wrong::Malformed), "byte {at} as {byte}");
        }
        let longest = Answer { buffer: None, command: vec![b'x'; COMMAND_MAX], ..answer() };
        assert_eq!(Answer::decode(&longest.encode()).map(|it| it.map(|(it, _)| it)), Ok(Some(longest)));
    }
}
