//! Records of files, as a standing receiver and who sends to it read them, with the names and metadata in them.

use super::script::Script;
use millipede::store::meta::Meta;
use millipede::store::name::{NAME_MAX, Name};
use millipede::store::record::{Down, Item, Record, RecordReader, Up, encode};
use std::fmt::Debug;

/// Which way the stream goes, how large its pieces are, and the stream.
pub fn files(data: &[u8]) {
    let mut script = Script::new(data);
    let (up, piece) = (script.odd(), 1 + script.below(64));
    let stream = script.rest();
    if up {
        let records = sound::<Up>(stream, piece);
        records.iter().for_each(|(_, record)| said(record));
    } else {
        sound::<Down>(stream, piece);
    }
}

/// The records of a stream, which are the same however it is cut, and also when they are written again.
fn sound<R: Record + PartialEq + Debug>(stream: &[u8], piece: usize) -> Vec<(u32, R)> {
    let whole = decoded::<R>(stream, stream.len().max(1));
    assert_eq!(whole, decoded(stream, piece), "it depends on where it is cut");
    for (file, record) in &whole.0 {
        if record.data().is_none() {
            let written = written(*file, record);
            let again = decoded::<R>(&written, written.len()).0;
            // a sentence may be cut once
            assert!(
                matches!(&again[..], [(same, record)] if same == file && self::written(*file, record) == written)
            );
        }
    }
    whole.0
}

fn written<R: Record>(file: u32, record: &R) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(file, record, &mut bytes);
    bytes
}

/// The records, how many bytes of files there were, and whether all of it made sense.
fn decoded<R: Record>(stream: &[u8], piece: usize) -> (Vec<(u32, R)>, usize, bool) {
    let (mut reader, mut records, mut bytes) = (RecordReader::<R>::default(), Vec::new(), 0);
    for mut piece in stream.chunks(piece) {
        loop {
            match reader.next(&mut piece) {
                Ok(Some(Item::Record(file, record))) => records.push((file, record)),
                Ok(Some(Item::Data(_, data))) => bytes += data.len(),
                Ok(None) => break,
                Err(_) => return (records, bytes, false),
            }
        }
        assert!(piece.is_empty(), "what was not an error was taken");
    }
    (records, bytes, true)
}

/// What a sender says of a file leads nowhere else, and can be written down.
fn said(record: &Up) {
    let (Up::Open(open) | Up::Whole(open, ..)) = record else { return };
    if let Ok(name) = Name::stored(String::from_utf8_lossy(&open.name)) {
        let name = name.as_str();
        assert!(name.len() <= NAME_MAX && !name.starts_with('/') && !name.contains('\0'));
        assert!(name.split('/').all(|part| !part.is_empty() && !part.starts_with(['.', '-'])));
    }
    if let Ok(meta) = Meta::parse(&open.meta) {
        assert_eq!(Meta::parse(meta.encode().as_bytes()), Ok(meta));
    }
}
