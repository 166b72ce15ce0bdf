//! What the ends of files ask of the place that a standing receiver gives to their session, and what they say to it.

/// The place of one session.
pub struct Place {
    /// Whether its sender may say anything of files: it waits for its turn no longer.
    pub may_send: Box<dyn Fn() -> bool + Send + Sync>,
    /// There was progress.
    pub progress: Box<dyn Fn() + Send + Sync>,
    /// Waits until it is certain whether the visitor of that number is gone, who has a name that is wanted here, and ends
    /// its visit then. False: it is there.
    pub gives_way: Box<dyn Fn(u64) -> bool + Send + Sync>,
    /// Says whether the session may not be stopped now. False if it is stopped already, and nothing is to begin.
    pub set_busy: Box<dyn Fn(bool) -> bool + Send + Sync>,
}

#[cfg(test)]
impl Place {
    /// One that nobody takes away.
    pub(super) fn sure(gives_way: impl Fn(u64) -> bool + Send + Sync + 'static) -> Self {
        Place {
            may_send: Box::new(|| true),
            progress: Box::new(|| {}),
            gives_way: Box::new(gives_way),
            set_busy: Box::new(|_| true),
        }
    }
}
