//! What is known of a finished file, as the JSON that stands beside it.
//!
//! It is written before the file gets its name, so that no file is ever seen without it. Between the two the file that
//! had the name before, if any, is still there: so what was known of that one goes along as `replaced`, and `file` says
//! which of them the file is.

use super::disk::Standing;
use super::meta::{META_MAX, Meta};
use super::sum::Sum;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// What a key of the metadata takes here besides what it took there, where it had at least 5 bytes, `"":0,`: a line of its
/// own, up to 6 spaces in front of it, and one behind the colon.
const OF_KEY: usize = 8;
const META_HERE: usize = META_MAX + OF_KEY * (META_MAX / 5 + 1);

/// The most bytes of one that are read, and no fewer than one has that is written: two times metadata, names of 4096 bytes
/// written with escapes, and the rest.
pub(crate) const SIDECAR_MAX: usize = 2 * META_HERE + (64 << 10);

/// What is known of a finished file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sidecar {
    /// Its name.
    pub(crate) name: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Theirs, in hexadecimal digits.
    pub(crate) sha256: String,
    /// The name of who sent it.
    pub(crate) peer: String,
    /// The fingerprint of that one's key: the file is that key's.
    pub(crate) key: String,
    /// When its first byte was asked for.
    pub(crate) started: String,
    /// When it was whole.
    pub(crate) finished: String,
    /// What the sender said of it.
    pub(crate) meta: Meta,
    /// Which file it is.
    pub(crate) file: Identity,
    /// What became of the command that runs after it, if one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) then: Option<Then>,
    /// What was known of the file that it takes the place of; that one has no `replaced` itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaced: Option<Box<Sidecar>>,
}

/// By what a file is known again, whatever it is called, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// On its disk.
    pub(crate) inode: u64,
    /// In nanoseconds since 1970.
    pub(crate) modified: i64,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Then {
    /// It ended with status 0.
    pub(crate) succeeded: bool,
    /// How it ended, in words.
    pub(crate) outcome: String,
    /// When.
    pub(crate) at: String,
}

impl Sidecar {
    /// From JSON; none if it is no such thing.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// As JSON, for people too.
    pub(crate) fn encode(&self) -> Vec<u8> {
        // nothing in it fails to be written
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// The sum, unless somebody wrote something else there.
    pub(crate) fn sum(&self) -> Option<Sum> {
        Sum::parse(&self.sha256)
    }

    /// Whether it tells of the file that stands so.
    pub(crate) fn is_of(&self, standing: &Standing) -> bool {
        self.size == standing.size && self.file == Identity::of(standing)
    }

    /// Takes the place of what was known before.
    pub(crate) fn replacing(mut self, old: Sidecar) -> Self {
        self.replaced = Some(Box::new(Sidecar { replaced: None, ..old }));
        self
    }
}

impl Identity {
    /// That of a file that stands so.
    pub(crate) fn of(standing: &Standing) -> Self {
        Identity { inode: standing.inode, modified: standing.modified }
    }
}

/// A time for people and programs: RFC 3339, in UTC.
pub(crate) fn time(at: SystemTime) -> String {
    // years that no clock has make it panic
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(at.clamp(SystemTime::UNIX_EPOCH, last)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sidecar() -> Sidecar {
        Sidecar {
            name: "run7/ä.raw".into(),
            size: 3,
            sha256: Sum::of(b"abc").to_string(),
            peer: "lab".into(),
            key: "SHA256:x".into(),
            started: time(SystemTime::UNIX_EPOCH),
            finished: time(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)),
            meta: Meta::parse(br#"{"sample":"FOO","n":1.10}"#).unwrap(),
            file: Identity { inode: 7, modified: -1 },
            then: None,
            replaced: None,
        }
    }

    #[test]
    fn what_is_written_is_read_and_by_others_too() {
        let json = sidecar().encode();
        assert_eq!(Sidecar::parse(&json), Some(sidecar()));
        let text = String::from_utf8(json).unwrap();
        assert!(text.contains(r#""finished": "2001-09-09T01:46:40Z""#), "{text}");
        assert!(text.contains(r#"{"sample":"FOO","n":1.10}"#) || text.contains(r#""n": 1.10"#), "{text}");
        for bad in ["", "{}", "[]", "{\"name\":1}"] {
            assert_eq!(Sidecar::parse(bad.as_bytes()), None);
        }
    }

    #[test]
    fn it_remembers_one_that_was_before_it_and_no_more() {
        let twice = sidecar().replacing(sidecar().replacing(sidecar()));
        assert_eq!(twice.replaced.as_ref().unwrap().replaced, None);
        assert_eq!(Sidecar::parse(&twice.encode()), Some(twice));
    }

    #[test]
    fn times_out_of_all_bounds_are_told_at_the_bound() {
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 50);
        assert_eq!(time(late), "9999-12-31T23:59:59Z");
        assert_eq!(time(SystemTime::UNIX_EPOCH - Duration::from_secs(9)), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn the_largest_one_is_read() {
        let one = format!("{{\"a\":\"{}\"}}", "x".repeat(META_MAX - 8));
        // as many as there is room for
        let mut many = String::from("{");
        for key in 0.. {
            let next = format!("\"{key:x}\":0,");
            if many.len() + next.len() > META_MAX {
                break;
            }
            many += &next;
        }
        many.pop();
        many += "}";
        for meta in [one, many] {
            let mut largest = sidecar();
            largest.name = "\"/".repeat(2047) + "\"";
            largest.meta = Meta::parse(meta.as_bytes()).unwrap();
            let largest = largest.clone().replacing(largest);
            let json = largest.encode();
            assert!(json.len() < SIDECAR_MAX, "{}", json.len());
            assert_eq!(Sidecar::parse(&json), Some(largest));
        }
    }
}
