//! What a stranger says first, before anything is done for it: whether it is TLS, and whether all that a handshake begins
//! with is there.
//!
//! Pure: bytes in, a judgement out.

/// This many bytes are looked at: more than a ClientHello has, with a key share of each kind that is known here.
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
    let (mut head, mut len, mut rest) = ([0; MESSAGE], 0, said);
    // record by record: the message may lie in several, and the last may not be whole
    while let Some((&kind, _)) = rest.split_first() {
        if kind != HANDSHAKE {
            return First::Broken;
        }
        let Some((&[.., high, low], behind)) = rest.split_first_chunk::<RECORD>() else { break };
        let record = usize::from(u16::from_be_bytes([high, low]));
        if !(1..=RECORD_MAX).contains(&record) {
            return First::Broken;
        }
        let (body, next) = behind.split_at(record.min(behind.len()));
        head.iter_mut().skip(len).zip(body).for_each(|(head, byte)| *head = *byte);
        (len, rest) = (len + body.len(), next);
        let [kind, length @ ..] = head;
        if len > 0 && kind != CLIENT_HELLO {
            return First::Broken;
        }
        let message = length.iter().fold(0, |sum, byte| (sum << 8) + usize::from(*byte));
        if len >= MESSAGE && !(HELLO_MIN..=RECORD_MAX).contains(&message) {
            return First::Broken;
        }
        if len >= MESSAGE + message {
            return First::Handshake;
        }
    }
    if said.len() >= LOOK { First::Handshake } else { First::Part }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of this type and so many bytes.
    fn message(kind: u8, len: usize) -> Vec<u8> {
        let [.., a, b, c] = (len as u32).to_be_bytes();
        let mut message = vec![kind, a, b, c];
        message.resize(MESSAGE + len, 0);
        message
    }

    /// A message in records of at most so many bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let header = |len: usize| [HANDSHAKE, 3, 1, (len >> 8) as u8, len as u8];
        message.chunks(size).flat_map(|part| [&header(part.len())[..], part].concat()).collect()
    }

    #[test]
    fn a_client_hello_counts_when_it_is_whole() {
        for size in [RECORD_MAX, 700, 67, 3, 1] {
            let hello = records(&message(CLIENT_HELLO, 500), size);
            for len in 1..hello.len() {
                assert_eq!(first(&hello[..len]), First::Part, "{len} bytes, records of {size}");
            }
            assert_eq!(first(&hello), First::Handshake, "records of {size}");
            // whatever follows it
            assert_eq!(first(&[&hello[..], &[20, 3, 3]].concat()), First::Handshake);
        }
        let long = records(&message(CLIENT_HELLO, 9000), RECORD_MAX);
        assert_eq!(first(&long[..LOOK]), First::Handshake);
    }

    #[test]
    fn what_cannot_be_one_is_told_at_once() {
        assert_eq!(first(b"x"), First::Plain);
        assert_eq!(first(b"SSH-2.0"), First::Plain);
        assert_eq!(first(&records(&message(2, 100), 1)[..6]), First::Broken, "another message");
        assert_eq!(first(&records(&message(CLIENT_HELLO, 1), 9)), First::Broken, "too short");
        assert_eq!(first(&records(&message(CLIENT_HELLO, 20_000), 9)[..9]), First::Broken, "too long");
        assert_eq!(first(&[HANDSHAKE, 3, 1, 0x40, 1]), First::Broken, "a record that is too long");
        assert_eq!(first(&[HANDSHAKE, 3, 1, 0, 0]), First::Broken, "an empty one");
        let cut = records(&message(CLIENT_HELLO, 500), 100);
        assert_eq!(
            first(&[&cut[..210], &[23]].concat()),
            First::Broken,
            "something else between its records"
        );
    }

    #[test]
    fn so_much_is_looked_at_that_it_costs_little_and_is_bounded() {
        let endless = records(&message(CLIENT_HELLO, RECORD_MAX), 1);
        assert_eq!((first(&endless[..LOOK - 1]), first(&endless[..LOOK])), (First::Part, First::Handshake));
    }
}
