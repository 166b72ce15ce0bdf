//! What the connections of a session share.

use super::seat::SessionDesk;
use crate::chaos::Hazard;
use crate::session::compressing::Compressing;
use crate::session::decoding::Decoding;
use crate::session::pool::Pool;
use crate::session::through::Through;
use std::sync::Arc;

/// What the connections of a session share.
#[derive(Clone)]
pub struct Shared {
    /// The session.
    pub desk: Arc<SessionDesk>,
    /// Where the legs live that come in.
    pub pool: Pool,
    /// What decompresses them.
    pub decoding: Decoding,
    /// What compresses those that go out, if that is wanted.
    pub compressing: Option<Arc<Compressing>>,
    /// The programs of the user's that legs go through, if they do.
    pub through: Option<Arc<Through>>,
    /// What is done to connections on purpose.
    pub hazard: Hazard,
    /// Legs go out on them.
    pub sends: bool,
    /// Legs come in on them.
    pub receives: bool,
}
