//! A hello for tests.

use super::*;

/// The first of a session that sends, without anything special.
pub(in crate::proto) fn hello() -> Hello {
    Hello {
        session: Id([0x5e; 16]),
        instance: None,
        direction: Direction::Transmit,
        begun: false,
        checkphrase: None,
        link: 0,
        connection: 0,
        attempt: 1,
        features: Features::NONE,
        buffer: 128 << 20,
        options: Vec::new(),
    }
}
