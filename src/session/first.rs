//! What a stranger says first, before anything is done for it: whether it is TLS, and whether all that a handshake begins
//! with is there.
//!
//! Pure: bytes in, a judgement out.

/// So many bytes are looked at: more than a ClientHello has, with a key share of each kind that is known here.
pub(super) const LOOK: usize = 4 << 10;

/// The type of a record of a TLS handshake (RFC 8446, section 5.1), and of a ClientHello in it (section 4).
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// The header of a record, and of a handshake message.
const RECORD: usize = 5;
const MESSAGE: usize = 4;

/// The longest plaintext record.
const RECORD_MAX: usize = 16 << 10;

/// No ClientHello is shorter: version, random, and one entry of each list that must be there.
const HELLO_MIN: usize = 64;

/// What has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// Not TLS.
    Plain,
    /// The beginning of a TLS handshake; more must come before it is worth a look.
    Part,
    /// A whole ClientHello, or as much of a long one as is looked at.
    Handshake,
    /// It begins like TLS, and is none: refusing it takes no work with keys.
    Broken,
}

/// Judges what a stranger has said: at least one byte, at most [`LOOK`].
pub(super) fn first(said: &[u8]) -> First {
    if said.first() != Some(&HANDSHAKE) {
        return First::Plain;
    }
    let Some(&[.., high, low]) = said.first_chunk::<RECORD>() else { return First::Part };
    let record = usize::from(u16::from_be_bytes([high, low]));
    if !(MESSAGE + HELLO_MIN..=RECORD_MAX).contains(&record) {
        return First::Broken;
    }
    match said.get(RECORD) {
        None => First::Part,
        Some(&CLIENT_HELLO) if said.len() >= LOOK.min(RECORD + record) => First::Handshake,
        Some(&CLIENT_HELLO) => First::Part,
        Some(_) => First::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of a handshake with a message of this type and so many bytes in it.
    fn record(kind: u8, len: usize) -> Vec<u8> {
        let (high, low) = ((len >> 8) as u8, len as u8);
        let mut record = vec![HANDSHAKE, 3, 1, high, low, kind];
        record.resize(RECORD + len, 0);
        record
    }

    #[test]
    fn a_client_hello_counts_when_it_is_whole() {
        let hello = record(CLIENT_HELLO, 1500);
        for len in 1..hello.len() {
            assert_eq!(first(&hello[..len]), First::Part, "{len} bytes");
        }
        assert_eq!(first(&hello), First::Handshake);
        assert_eq!(first(&record(CLIENT_HELLO, 9000)[..LOOK]), First::Handshake);
    }

    #[test]
    fn what_cannot_be_one_is_told_at_once() {
        assert_eq!(first(b"x"), First::Plain);
        assert_eq!(first(b"SSH-2.0"), First::Plain);
        assert_eq!(first(&record(2, 100)[..6]), First::Broken, "another message");
        assert_eq!(first(&record(CLIENT_HELLO, 1)), First::Broken, "too short");
        assert_eq!(first(&record(CLIENT_HELLO, RECORD_MAX + 1)[..5]), First::Broken, "too long");
    }
}
