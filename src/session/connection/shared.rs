//! What the connections of a session share.

use super::seat::SessionDesk;
use crate::chaos::Hazard;
use crate::endpoint::Lookout;
use crate::proto::session::Session;
use crate::session::compressing::Compressing;
use crate::session::decoding::Decoding;
use crate::session::filters::Filters;
use crate::session::pool::Pool;
use crate::session::taking::Taking;
use std::sync::{Arc, Weak};

/// What the connections of a session share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The session.
    pub(crate) desk: Arc<SessionDesk>,
    /// Where the bytes of the stream that comes in may be moved to, while that is open.
    pub(crate) output: Option<Weak<dyn Taking>>,
    /// What a thread that writes to the output may wait for as well.
    pub(crate) lookout: Option<Arc<dyn Lookout>>,
    /// Where the legs live that come in.
    pub(crate) pool: Pool,
    /// What decompresses them.
    pub(crate) decoding: Decoding,
    /// What compresses those that go out, if that is wanted.
    pub(crate) compressing: Option<Arc<Compressing>>,
    /// The programs of the user's that legs go through, if they do.
    pub(crate) filters: Option<Arc<Filters>>,
    /// What is done to connections on purpose.
    pub(crate) hazard: Hazard,
    /// Legs go out on them.
    pub(crate) sends: bool,
    /// Legs come in on them.
    pub(crate) receives: bool,
}

impl Shared {
    /// Where bytes may be moved to, if that is open.
    pub(super) fn sink(&self) -> Option<Arc<dyn Taking>> {
        self.output.as_ref().and_then(Weak::upgrade)
    }
}

/// Whether the far end of this session wants legs checked, as the core knows it.
pub(super) fn is_checked(session: &Session) -> bool {
    session.sending().is_some_and(|sending| sending.is_checked())
}
