//! Metadata: a JSON object of at most 64 KiB that comes with a stream.
//!
//! It is checked whole before anything is believed of it, and kept as it was written: numbers keep their digits. An
//! object with the same key twice is refused, since readers disagree on what it says.

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::fmt;

/// The most bytes of metadata, as JSON.
pub(crate) const META_MAX: usize = 64 << 10;
/// How deep objects and lists may stand in each other. More is no description of data, and readers recurse.
const DEPTH_MAX: usize = 32;

/// A JSON object, in the order in which it was written.
#[derive(Clone, Debug, Default)]
pub struct Meta(Vec<(String, Box<RawValue>)>);

/// Why metadata is refused, as what follows "the metadata".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMeta {
    /// More than [`META_MAX`] bytes.
    #[error("has more than 64 KiB")]
    Long,
    /// Not JSON, or not such as is accepted.
    #[error("is not usable JSON: {0}")]
    Json(String),
    /// JSON, but no object.
    #[error("is not a JSON object")]
    NoObject,
    /// A tag that is not `KEY=VALUE`.
    #[error("has a tag that is not KEY=VALUE")]
    Tag,
    /// Keys that were required are not there.
    #[error("lacks {0}")]
    Missing(String),
}

impl Meta {
    /// What this JSON says.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn parse(json: &[u8]) -> Result<Self, BadMeta> {
        if json.len() > META_MAX {
            return Err(BadMeta::Long);
        }
        let bad = |e: serde_json::Error| BadMeta::Json(e.to_string());
        let mut reader = serde_json::Deserializer::from_slice(json);
        Sound { depth: 0 }.deserialize(&mut reader).map_err(bad)?;
        reader.end().map_err(bad)?;
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(BadMeta::NoObject);
        }
        serde_json::from_slice(json).map_err(bad)
    }

    /// What a sender says of a file, which may be nothing, where these keys are required.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn said(json: &[u8], required: &[String]) -> Result<Self, BadMeta> {
        let meta = if json.is_empty() { Meta::default() } else { Meta::parse(json)? };
        meta.require(required)?;
        Ok(meta)
    }

    /// Sets a key to a string, in place of what it was.
    ///
    /// # Errors
    /// It is not `KEY=VALUE`, or makes the whole too long.
    pub(crate) fn tag(&mut self, tag: &str) -> Result<(), BadMeta> {
        let (key, value) = tag.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or(BadMeta::Tag)?;
        let json = |e: serde_json::Error| BadMeta::Json(e.to_string());
        let value = serde_json::value::to_raw_value(value).map_err(json)?;
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
        if self.encode().len() > META_MAX { Err(BadMeta::Long) } else { Ok(()) }
    }

    /// Checks that it has these keys; one that is null is not there.
    ///
    /// # Errors
    /// It lacks some, which are named.
    pub(crate) fn require(&self, keys: &[String]) -> Result<(), BadMeta> {
        let has = |key: &str| self.0.iter().any(|(known, value)| known == key && value.get() != "null");
        let missing: Vec<&str> = keys.iter().map(String::as_str).filter(|key| !has(key)).collect();
        if missing.is_empty() { Ok(()) } else { Err(BadMeta::Missing(missing.join(", "))) }
    }

    /// As JSON, in one line if it was in one.
    pub fn encode(&self) -> String {
        // strings and JSON as it stood: no value of these kinds fails to be written
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }

    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Meta {
    fn eq(&self, other: &Self) -> bool {
        self.encode() == other.encode()
    }
}

impl Serialize for Meta {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Meta;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Meta, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Meta(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Goes through a value and keeps nothing of it: no key twice in an object, not too deep.
#[derive(Clone, Copy)]
struct Sound {
    depth: usize,
}

impl Sound {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > DEPTH_MAX {
            return Err(E::custom(format!("more than {DEPTH_MAX} levels of objects and lists")));
        }
        Ok(Sound { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Sound {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while seq.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let below = self.below()?;
        let mut keys = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(below)?;
            if let Some(twice) = keys.replace(key) {
                return Err(A::Error::custom(format!("the key {twice:?} is there twice")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn why(json: &str) -> String {
        Meta::parse(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_object_is_refused_in_words() {
        for json in ["7", "[1]", "\"x\"", "null", " [ ]"] {
            assert_eq!(why(json), "is not a JSON object", "{json}");
        }
        for json in ["", "{", "{\"a\":}", "{} {}", "{a:1}", "{\"a\":1e999}", "{\"a\":\"\u{1}\"}"] {
            assert!(why(json).starts_with("is not usable JSON: "), "{json}: {}", why(json));
        }
        assert!(Meta::parse(b"{\"\xff\":1}").is_err());
    }

    #[test]
    fn a_key_twice_is_refused_at_any_depth() {
        for json in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"b":2,"a":3}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(why(json).contains("the key \"a\" is there twice"), "{}", why(json));
        }
        assert!(Meta::parse(br#"{"a":{"a":1},"b":{"a":2}}"#).is_ok());
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let sized = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
        assert!(Meta::parse(sized(META_MAX).as_bytes()).is_ok());
        assert_eq!(Meta::parse(sized(META_MAX + 1).as_bytes()), Err(BadMeta::Long));
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(Meta::parse(deep(DEPTH_MAX).as_bytes()).is_ok());
        assert!(why(&deep(DEPTH_MAX + 1)).contains("levels"));
        assert!(Meta::parse(deep(30_000).as_bytes()).is_err());
    }

    #[test]
    fn tags_stand_above_what_was_there_and_numbers_keep_their_digits() {
        let mut meta = Meta::parse(br#"{"sample":"BAR","n":12345678901234567890123,"x":1.10}"#).unwrap();
        meta.tag("sample=FOO").unwrap();
        meta.tag("note=a=b \"c\"").unwrap();
        meta.tag("empty=").unwrap();
        assert_eq!(
            meta.encode(),
            r#"{"sample":"FOO","n":12345678901234567890123,"x":1.10,"note":"a=b \"c\"","empty":""}"#
        );
        for bad in ["sample", "=FOO", ""] {
            assert_eq!(meta.tag(bad), Err(BadMeta::Tag), "{bad:?}");
        }
        assert_eq!(meta.tag(&format!("k={}", "x".repeat(META_MAX))), Err(BadMeta::Long));
    }

    #[test]
    fn what_is_missing_is_named() {
        let meta = Meta::parse(br#"{"sample":"FOO","site":null}"#).unwrap();
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        assert_eq!(meta.require(&keys(&["sample"])), Ok(()));
        let missing = meta.require(&keys(&["operator", "sample", "site"])).unwrap_err();
        assert_eq!(missing.to_string(), "lacks operator, site");
    }

    proptest! {
        #[test]
        fn no_bytes_at_all_make_it_panic_and_what_is_accepted_is_read_by_others(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..64),
                "[\\[\\]{}\",:0-9a-b\\\\ ]{0,40}".prop_map(String::into_bytes),
            ]
        ) {
            if let Ok(meta) = Meta::parse(&bytes) {
                let theirs: Value = serde_json::from_slice(&bytes).unwrap();
                let ours: Value = serde_json::from_str(&meta.encode()).unwrap();
                prop_assert_eq!(theirs, ours);
                prop_assert_eq!(Meta::parse(meta.encode().as_bytes()), Ok(meta));
            }
        }
    }
}
