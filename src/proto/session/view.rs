//! What streams and connections of a session know of each other.

/// What the streams of a session say about it, as far as its connections are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// Only this peer can finish the session: something of a stream was received, or one end is there for the other alone.
    pub begun: bool,
    /// Something of a stream was received, or the one that goes out was judged; never without `begun`.
    pub received: bool,
    /// A stream was not judged yet.
    pub wanted: bool,
    /// Every byte that goes out was received there, and only the verdict is missing.
    pub in_doubt: bool,
}
