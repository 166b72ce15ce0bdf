//! What the ends of files ask of the place that a standing receiver gives to their session, and what they say to it.

use crate::endpoint::SinkError;

/// Whether the sender of a session may say anything of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaySend {
    /// The session has a place.
    Yes,
    /// It waits for its turn.
    NotYet,
    /// It has lost its place or its turn, and is about to be ended for that.
    NoMore,
}

/// The place of one session.
pub(crate) struct Place {
    /// Whether its sender may say anything of files now.
    pub(crate) may_send: Box<dyn Fn() -> MaySend + Send + Sync>,
    /// There was progress.
    pub(crate) progress: Box<dyn Fn() + Send + Sync>,
    /// Waits until it is certain whether the visitor of that number is gone, who has a name that is wanted here, and ends
    /// its visit then. False: it is there.
    pub(crate) gives_way: Box<dyn Fn(u64) -> bool + Send + Sync>,
    /// Says whether the session may not be stopped now. False if it is stopped already, and nothing is to begin.
    pub(crate) set_busy: Box<dyn Fn(bool) -> bool + Send + Sync>,
}

impl Place {
    /// Something has come of the sender.
    ///
    /// # Errors
    /// It may say nothing now.
    pub(super) fn allow(&self) -> Result<(), SinkError> {
        match (self.may_send)() {
            MaySend::Yes => Ok(()),
            MaySend::NotYet => Err(SinkError::senseless()),
            MaySend::NoMore => Err(SinkError::displaced()),
        }
    }
}

#[cfg(test)]
impl Place {
    /// One that nobody takes away.
    pub(super) fn sure(gives_way: impl Fn(u64) -> bool + Send + Sync + 'static) -> Self {
        Place {
            may_send: Box::new(|| MaySend::Yes),
            progress: Box::new(|| {}),
            gives_way: Box::new(gives_way),
            set_busy: Box::new(|_| true),
        }
    }
}
