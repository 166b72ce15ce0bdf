//! Records: what the streams of a session hold that carries files. Big endian.
//!
//! ```text
//!  sender                                    receiver
//!    Open  name, size, metadata       ─▶
//!                                     ◀─      Wait      so many go first
//!                                     ◀─      Go        these beginnings are here already
//!    From  where it goes on           ─▶
//!    Data  …                          ─▶
//!    End   size, sum                  ─▶
//!                                     ◀─      Verdict
//!
//!                                     ◀─      There     a finished file of this size, with this sum
//!    Same, or From …                  ─▶
//!    Reads it is being compared       ─▶      every few seconds between Go or There and what follows
//!    Stop  why it can't go on         ─▶      at any time after Open
//!    Whole a small file at once       ─▶      instead of Open to End
//! ```
//!
//! Each begins with kind u8, file u32 and a length u32; so many bytes follow. Files are numbered by the sender. The
//! stream loses and repeats nothing, so records carry no checksum of their own. Every length is checked before it is
//! believed, and no more is kept than has come.

use super::meta::META_MAX;
use super::name::NAME_MAX;
use super::sum::{Mark, Sum};
use std::marker::PhantomData;

/// Bytes before those that the length counts.
pub(crate) const HEADER: usize = 1 + 4 + 4;
/// The most bytes of a file in one record: as many as a leg has at most.
pub(crate) const DATA_MAX: usize = 2 << 20;
/// A record may leave so much memory to the next one.
const KEPT: usize = 256 << 10;
/// The most bytes of a file that comes at once.
pub(crate) const WHOLE_MAX: usize = 64 << 10;
/// The most beginnings that are offered.
pub(crate) const MARKS_MAX: usize = 4;
/// The most bytes of a sentence. Longer ones are cut.
pub(crate) const SENTENCE_MAX: usize = 1024;

/// So a sentence begins where the file is stored, and what was to follow has failed. It stands for itself: "not stored"
/// before it would not be true.
pub(crate) const STORED_BUT: &str = "stored, but ";

const MARK: usize = 8 + 32;
const OPEN_MAX: usize = 1 + 8 + 2 + NAME_MAX + 4 + META_MAX;

/// What is wanted of a file. Name and metadata are as they came: to be checked by who believes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Bytes, where the sender knows.
    pub(crate) size: Option<u64>,
    /// The name, at most [`NAME_MAX`] bytes.
    pub name: Vec<u8>,
    /// JSON, at most [`META_MAX`] bytes.
    pub meta: Vec<u8>,
}

/// What a sender says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Up {
    /// It is to be stored.
    Open(Open),
    /// It goes on there.
    From(u64),
    /// So many bytes of it follow.
    Data(u32),
    /// It has so many bytes, with this sum.
    End(Mark),
    /// It is the one that is there.
    Same,
    /// It can't be sent: why.
    Stop(String),
    /// All of it: with its sum, and its bytes.
    Whole(Open, Sum, Vec<u8>),
    /// The sender still reads it, to compare it with what is there.
    Reads,
}

/// What a receiver says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Down {
    /// So many go first.
    Wait(u32),
    /// It may come; these beginnings are here, the longest last.
    Go(Vec<Mark>),
    /// A finished file is here.
    There(Mark),
    /// What became of it, with what there is to say about that.
    Verdict(FileVerdict, String),
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FileVerdict {
    /// It is stored.
    Stored = 0,
    /// It was there already.
    Already = 1,
    /// The name is taken.
    Taken = 2,
    /// It was refused.
    Refused = 3,
    /// The sender could not send it.
    Input = 4,
    /// The receiver could not store it.
    Output = 5,
    /// What came is not what was sent.
    Corrupt = 6,
    /// Another session sends it, or the receiver ends.
    Later = 7,
}

/// The far end sent bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the far end sent a record that makes no sense")]
pub struct Senseless;

/// A record of one of the two ways.
pub trait Record: Sized {
    /// The most bytes that follow a header of this kind; none if there is no such kind. Those of a file's data are not
    /// counted.
    fn most(kind: u8) -> Option<usize>;
    /// What follows the header, with the kind.
    fn encode_body(&self, out: &mut Vec<u8>) -> u8;
    /// From what followed the header.
    ///
    /// # Errors
    /// It makes no sense.
    fn decode_body(kind: u8, body: &mut Body<'_>) -> Result<Self, Senseless>;
    /// How many bytes of the file follow, and stand in the header's length.
    fn data(&self) -> Option<u32> {
        None
    }
}

/// Appends a record to what is to be sent. The bytes of [`Up::Data`] are to be sent after it.
pub fn encode<R: Record>(file: u32, record: &R, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0; HEADER]);
    let kind = record.encode_body(out);
    let length = record.data().unwrap_or((out.len() - start - HEADER) as u32);
    out[start] = kind;
    out[start + 1..start + 5].copy_from_slice(&file.to_be_bytes());
    out[start + 5..start + HEADER].copy_from_slice(&length.to_be_bytes());
}

/// What comes of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a, R> {
    /// A record of this file.
    Record(u32, R),
    /// Bytes of this file, after [`Up::Data`].
    Data(u32, &'a [u8]),
}

/// Takes a stream apart, however it is cut.
#[derive(Debug)]
pub struct RecordReader<R> {
    /// Header and body of the record that is coming.
    record: Vec<u8>,
    /// The file whose bytes are coming, and how many.
    data: (u32, u32),
    of: PhantomData<R>,
}

impl<R> Default for RecordReader<R> {
    fn default() -> Self {
        RecordReader { record: Vec::new(), data: (0, 0), of: PhantomData }
    }
}

impl<R: Record> RecordReader<R> {
    /// The next item, taken from the front of these bytes; none if more have to come.
    ///
    /// # Errors
    /// There is no such record. Nothing that follows makes sense then.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Item<'a, R>>, Senseless> {
        if self.data.1 > 0 {
            let here = bytes.len().min(self.data.1 as usize);
            let (data, rest) = bytes.split_at(here);
            *bytes = rest;
            self.data.1 -= here as u32;
            return Ok(Some(Item::Data(self.data.0, data)).filter(|_| here > 0));
        }
        if !self.take(HEADER, bytes) {
            return Ok(None);
        }
        let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| self.record[at + byte]));
        let (kind, file, length) = (self.record[0], number(1), number(5));
        if kind == Kind::Data as u8 && R::most(kind).is_some() {
            self.record.clear();
            if length == 0 || length as usize > DATA_MAX {
                return Err(Senseless);
            }
            self.data = (file, length);
            return self.next(bytes);
        }
        let length = length as usize;
        if R::most(kind).is_none_or(|most| length > most) {
            return Err(Senseless);
        }
        if !self.take(HEADER + length, bytes) {
            return Ok(None);
        }
        let mut body = Body(&self.record[HEADER..]);
        let record = R::decode_body(kind, &mut body)?;
        body.end()?;
        self.record.clear();
        if self.record.capacity() > KEPT {
            self.record = Vec::new();
        }
        Ok(Some(Item::Record(file, record)))
    }

    /// Whether the stream may end here.
    pub(crate) fn is_between(&self) -> bool {
        self.record.is_empty() && self.data.1 == 0
    }

    /// Has so many bytes of the record, if they are there.
    fn take(&mut self, length: usize, bytes: &mut &[u8]) -> bool {
        let missing = length.saturating_sub(self.record.len());
        let (here, rest) = bytes.split_at(missing.min(bytes.len()));
        self.record.extend(here);
        *bytes = rest;
        self.record.len() >= length
    }
}

#[repr(u8)]
enum Kind {
    Open = 1,
    From = 2,
    Data = 3,
    End = 4,
    Same = 5,
    Stop = 6,
    Whole = 7,
    Reads = 8,
    Wait = 17,
    Go = 18,
    There = 19,
    Verdict = 20,
}

impl Record for Up {
    fn most(kind: u8) -> Option<usize> {
        Some(match kind {
            1 => OPEN_MAX,
            2 => 8,
            3 | 5 | 8 => 0,
            4 => MARK,
            6 => SENTENCE_MAX,
            7 => OPEN_MAX + 32 + 4 + WHOLE_MAX,
            _ => return None,
        })
    }

    fn encode_body(&self, out: &mut Vec<u8>) -> u8 {
        let kind = match self {
            Up::Open(open) => {
                encode_open(open, out);
                Kind::Open
            }
            Up::From(offset) => {
                out.extend(offset.to_be_bytes());
                Kind::From
            }
            Up::Data(_) => Kind::Data,
            Up::End(mark) => {
                encode_mark(mark, out);
                Kind::End
            }
            Up::Same => Kind::Same,
            Up::Reads => Kind::Reads,
            Up::Stop(sentence) => {
                out.extend(cut(sentence).as_bytes());
                Kind::Stop
            }
            Up::Whole(open, sum, bytes) => {
                encode_open(open, out);
                out.extend(sum.0);
                out.extend((bytes.len() as u32).to_be_bytes());
                out.extend(bytes);
                Kind::Whole
            }
        };
        kind as u8
    }

    fn decode_body(kind: u8, body: &mut Body<'_>) -> Result<Self, Senseless> {
        Ok(match kind {
            1 => Up::Open(body.open()?),
            2 => Up::From(body.u64()?),
            4 => Up::End(body.mark()?),
            5 => Up::Same,
            6 => Up::Stop(body.sentence()?),
            7 => {
                let (open, sum) = (body.open()?, Sum(body.array()?));
                let length = body.u32()? as usize;
                if length > WHOLE_MAX || open.size != Some(length as u64) {
                    return Err(Senseless);
                }
                Up::Whole(open, sum, body.take(length)?.to_vec())
            }
            8 => Up::Reads,
            _ => return Err(Senseless),
        })
    }

    fn data(&self) -> Option<u32> {
        match self {
            Up::Data(length) => Some(*length),
            _ => None,
        }
    }
}

impl Record for Down {
    fn most(kind: u8) -> Option<usize> {
        Some(match kind {
            17 => 4,
            18 => MARKS_MAX * MARK,
            19 => MARK,
            20 => 1 + SENTENCE_MAX,
            _ => return None,
        })
    }

    fn encode_body(&self, out: &mut Vec<u8>) -> u8 {
        let kind = match self {
            Down::Wait(ahead) => {
                out.extend(ahead.to_be_bytes());
                Kind::Wait
            }
            Down::Go(marks) => {
                debug_assert!(marks.len() <= MARKS_MAX, "there are no more");
                marks.iter().for_each(|mark| encode_mark(mark, out));
                Kind::Go
            }
            Down::There(mark) => {
                encode_mark(mark, out);
                Kind::There
            }
            Down::Verdict(verdict, sentence) => {
                out.push(*verdict as u8);
                out.extend(cut(sentence).as_bytes());
                Kind::Verdict
            }
        };
        kind as u8
    }

    fn decode_body(kind: u8, body: &mut Body<'_>) -> Result<Self, Senseless> {
        Ok(match kind {
            17 => Down::Wait(body.u32()?),
            18 => {
                let mut marks: Vec<Mark> = Vec::new();
                while !body.0.is_empty() {
                    let mark = body.mark()?;
                    if mark.length == 0 || marks.last().is_some_and(|last| last.length >= mark.length) {
                        return Err(Senseless);
                    }
                    marks.push(mark);
                }
                Down::Go(marks)
            }
            19 => Down::There(body.mark()?),
            20 => {
                let [code] = body.array()?;
                Down::Verdict(FileVerdict::from_code(code).ok_or(Senseless)?, body.sentence()?)
            }
            _ => return Err(Senseless),
        })
    }
}

impl FileVerdict {
    const ALL: [FileVerdict; 8] = [
        FileVerdict::Stored,
        FileVerdict::Already,
        FileVerdict::Taken,
        FileVerdict::Refused,
        FileVerdict::Input,
        FileVerdict::Output,
        FileVerdict::Corrupt,
        FileVerdict::Later,
    ];

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| *verdict as u8 == code)
    }
}

fn encode_open(open: &Open, out: &mut Vec<u8>) {
    debug_assert!(open.name.len() <= NAME_MAX && open.meta.len() <= META_MAX, "both are checked");
    out.push(u8::from(open.size.is_some()));
    out.extend(open.size.unwrap_or(0).to_be_bytes());
    out.extend((open.name.len() as u16).to_be_bytes());
    out.extend(&open.name);
    out.extend((open.meta.len() as u32).to_be_bytes());
    out.extend(&open.meta);
}

fn encode_mark(mark: &Mark, out: &mut Vec<u8>) {
    out.extend(mark.length.to_be_bytes());
    out.extend(mark.sum.0);
}

fn cut(sentence: &str) -> &str {
    let end = (0..=SENTENCE_MAX.min(sentence.len())).rev().find(|end| sentence.is_char_boundary(*end));
    &sentence[..end.unwrap_or(0)]
}

/// What follows a header.
#[derive(Debug)]
pub struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Senseless> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Senseless)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Senseless> {
        self.take(N)?.try_into().map_err(|_| Senseless)
    }

    fn u32(&mut self) -> Result<u32, Senseless> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Senseless> {
        self.array().map(u64::from_be_bytes)
    }

    fn mark(&mut self) -> Result<Mark, Senseless> {
        Ok(Mark { length: self.u64()?, sum: Sum(self.array()?) })
    }

    fn open(&mut self) -> Result<Open, Senseless> {
        let size = match (self.array()?, self.u64()?) {
            ([0], 0) => None,
            ([1], size) => Some(size),
            _ => return Err(Senseless),
        };
        let length = usize::from(self.array().map(u16::from_be_bytes)?);
        if length > NAME_MAX {
            return Err(Senseless);
        }
        let name = self.take(length)?.to_vec();
        let length = self.u32()? as usize;
        if length > META_MAX {
            return Err(Senseless);
        }
        Ok(Open { size, name, meta: self.take(length)?.to_vec() })
    }

    /// All that is left. What a peer writes is for a terminal: control characters are shown, and not obeyed.
    fn sentence(&mut self) -> Result<String, Senseless> {
        let text = std::str::from_utf8(std::mem::take(&mut self.0)).map_err(|_| Senseless)?;
        Ok(text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect())
    }

    fn end(&self) -> Result<(), Senseless> {
        if self.0.is_empty() { Ok(()) } else { Err(Senseless) }
    }
}

#[cfg(test)]
mod tests;
