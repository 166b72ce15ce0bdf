//! What the handshake and the frames share: big-endian fields, a body sealed by its CRC-32, and sentences.
//!
//! A message is a head that ends in the length of the body (u16), the body, and the CRC-32 of all before it.
//! A body is of fixed size, or ends in a tail of variable length; then the last two bytes of its fixed part
//! repeat the tail's length. The repetition turns a damaged length into an error at once, where a reader
//! would otherwise wait for bytes that nobody will send. Never allocates for a length before it is checked.

/// The most bytes a sentence has on the wire: two or three lines of a terminal.
pub const SENTENCE_MAX: usize = 400;

/// The length of the CRC-32 that ends every message.
pub(super) const CRC: usize = 4;

/// The length of the length that ends every head.
const LENGTH: usize = 2;

/// How long a body may be.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// The length of the part that is always there.
    pub fixed: usize,
    /// The most the tail may have; 0 if there is none.
    pub tail: usize,
}

impl Shape {
    /// A body of just this length.
    pub(super) const fn exact(fixed: usize) -> Self {
        Self { fixed, tail: 0 }
    }

    /// A body that ends in up to `tail` more bytes; their number stands in the last two of the fixed ones.
    pub(super) const fn with_tail(fixed: usize, tail: usize) -> Self {
        Self { fixed, tail }
    }

    fn admits(self, length: usize) -> bool {
        (self.fixed..=self.fixed + self.tail).contains(&length)
    }

    /// Whether the tail's own length, if it has arrived, agrees with the length of the body.
    fn agrees(self, arrived: &[u8], length: usize) -> bool {
        match arrived.get(self.fixed.saturating_sub(LENGTH)..self.fixed) {
            Some(&[high, low]) if self.tail > 0 => {
                self.fixed + usize::from(u16::from_be_bytes([high, low])) == length
            }
            _ => true,
        }
    }
}

/// Why there is no body.
pub(super) enum Unsound {
    /// Its length is not one that this kind of message has.
    Length(u16),
    /// The CRC-32 does not match.
    Checksum,
}

/// The sound body of the message at the start of `buf`, whose head has `head` bytes, and the length of the
/// whole message; `None` if more bytes are needed.
pub(super) fn body(buf: &[u8], head: usize, shape: Shape) -> Result<Option<(&[u8], usize)>, Unsound> {
    let Some(&[high, low]) = buf.get(head - LENGTH..head) else { return Ok(None) };
    let announced = u16::from_be_bytes([high, low]);
    let length = usize::from(announced);
    if !shape.admits(length) || !shape.agrees(&buf[head..], length) {
        return Err(Unsound::Length(announced));
    }
    let end = head + length;
    let Some(&[a, b, c, d]) = buf.get(end..end + CRC) else { return Ok(None) };
    if crc32fast::hash(&buf[..end]) != u32::from_be_bytes([a, b, c, d]) {
        return Err(Unsound::Checksum);
    }
    Ok(Some((&buf[head..end], end + CRC)))
}

/// Completes the message that begins at `start` of `out` with a head of `head` bytes: fills in the length of
/// the body and appends the CRC-32.
///
/// # Panics
///
/// If the body is longer than 65535 bytes, which is a mistake of this program.
pub(super) fn seal(out: &mut Vec<u8>, start: usize, head: usize) {
    let length = u16::try_from(out.len() - start - head).expect("a body fits its length field");
    out[start + head - LENGTH..start + head].copy_from_slice(&length.to_be_bytes());
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_be_bytes());
}

/// Appends a sentence with its length before it, cut between characters to [`SENTENCE_MAX`] bytes.
pub(super) fn put_sentence(out: &mut Vec<u8>, sentence: &str) {
    let mut end = sentence.len().min(SENTENCE_MAX);
    while !sentence.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&(end as u16).to_be_bytes());
    out.extend_from_slice(&sentence.as_bytes()[..end]);
}

/// Takes fields off the front of a body. `None`: there are too few bytes, or they are not such a field.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// The next `length` bytes.
    pub(super) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// One byte.
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two bytes.
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A sentence with its length before it. It comes from a stranger and goes to a terminal, so control
    /// characters, escape sequences among them, become '?'.
    pub(super) fn sentence(&mut self) -> Option<String> {
        let length = usize::from(self.u16()?);
        if length > SENTENCE_MAX {
            return None;
        }
        let text = std::str::from_utf8(self.slice(length)?).ok()?;
        Some(text.chars().map(|c| if c.is_control() { '?' } else { c }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(sentence: &str) -> Option<String> {
        let mut out = Vec::new();
        put_sentence(&mut out, sentence);
        Reader(&out).sentence()
    }

    #[test]
    fn sentences_are_cut_between_characters() {
        assert_eq!(through(&"x".repeat(500)), Some("x".repeat(SENTENCE_MAX)));
        // 133 characters of 3 bytes are 399; the 134th would straddle the limit.
        assert_eq!(through(&"€".repeat(200)), Some("€".repeat(133)));
    }

    #[test]
    fn sentences_bring_no_control_characters() {
        assert_eq!(through("a\x1b[31mb\r\n\u{9b}c\u{7f}ü"), Some("a?[31mb???c?ü".into()));
    }

    #[test]
    fn long_and_foreign_sentences_are_refused() {
        let mut long = 401u16.to_be_bytes().to_vec();
        long.resize(2 + 401, b'x');
        assert_eq!(Reader(&long).sentence(), None);
        assert_eq!(Reader(&[0, 2, 0xc3, 0x28]).sentence(), None);
        assert_eq!(Reader(&[0, 9, b'x']).sentence(), None);
    }

    #[test]
    fn a_tail_that_contradicts_the_body_is_an_error_before_it_is_whole() {
        let shape = Shape::with_tail(3, 400);
        // Head: length 13; body so far: one byte, then a tail of 10 or of 11.
        assert!(matches!(body(&[0, 13, 7, 0, 10], 2, shape), Ok(None)));
        assert!(matches!(body(&[0, 13, 7, 0, 11], 2, shape), Err(Unsound::Length(13))));
    }
}
