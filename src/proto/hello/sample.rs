//! A hello for tests.

use super::*;

/// The first of a session that sends, without anything special.
pub(in crate::proto) fn hello() -> Hello {
    Hello { attempt: 1, ..Hello::of(Id([0x5e; 16]), Features::NONE, 128 << 20) }
}
