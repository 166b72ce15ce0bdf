//! Who a peer is, where connections are encrypted.

use super::hello::Id;

/// The key that a peer has proved to have, as bytes; none where connections are not encrypted. A session has one at each
/// end, from its first connection to its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerKey(pub [u8; 32]);

/// Whose session it is: its name on the wire, and the key of whoever began it. Another key that names it is a stranger.
pub(crate) type Party = (Id, Option<PeerKey>);
