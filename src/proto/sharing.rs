//! Two streams over the same connections, one each way: which direction has the connections, and until when.
//!
//! With `duplex` each end has a transmission and a reception, and every connection serves both. At each end one of
//! the two owns the connections: the transmission of the end that dials, the reception of the end that listens. It
//! decides alone where they lead, whose session it is, and when the peer is given up, for both streams. The other
//! borrows: a connection is given to it when it is up, and it is told when that is lost.
//!
//! ```text
//!                 verdict              the other direction has ended
//!  Owner:    Going ─────▶ Settled, kept ─────▶ Over      given up, abort: Over at once, and the other is stopped
//!  Borrower: Going ─────▶ Settled, Over             the one that receives: once its verdict was heard
//! ```
//!
//! A stream is settled by its verdict, for good or ill, and the other one goes on. Because connections are dialled
//! again only by the owner, it outlives its own stream: it goes on dialling and pinging, or admitting, and repeats
//! its last words to whoever asks, until it is released. Whatever else ends a direction (an abort, a signal, an
//! input that failed, a peer that is gone) ends both.

/// How a direction has its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// For itself.
    #[default]
    Sole,
    /// It owns them, and keeps them for the other direction too.
    Owner,
    /// They are given to it, and belong to the other direction.
    Borrower,
}
