//! Threads that do what takes long, for all sessions of a process.

use crate::sys::thread::spawn;
use crossbeam_channel::{Sender, unbounded};
use std::io;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads.
#[derive(Clone)]
pub(crate) struct Workers {
    jobs: Sender<Job>,
}

impl Workers {
    /// So many, until the last clone of this is dropped. How much there is to do is bounded by who has it done.
    ///
    /// # Errors
    /// The kernel has no threads left.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let (jobs, work) = unbounded::<Job>();
        for _ in 0..count.max(1) {
            let work = work.clone();
            spawn("files", move || work.iter().for_each(|job| job()))?;
        }
        Ok(Workers { jobs })
    }

    /// Has this done by one of them, some time.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        // they end after the last of these senders
        let _ = self.jobs.send(Box::new(job));
    }
}
