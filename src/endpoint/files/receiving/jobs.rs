//! What takes long is done by others than the thread that takes the records apart.

use super::{Disk, FileVerdict, No, Phase, Receiving};
use crate::sys::thread::spawn;
use std::sync::{Arc, Mutex, PoisonError};

impl<D: Disk + 'static> Receiving<D>
where
    D::File: 'static,
{
    /// Has something done by somebody else.
    pub(super) fn job(self: &Arc<Self>, job: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let this = self.clone();
        self.workers.run(move || job(&this));
    }

    /// Has something done after which a command may run: that may take as long as it likes, and nobody else's files wait
    /// for it.
    pub(super) fn long_job(self: &Arc<Self>, job: impl FnOnce(&Arc<Self>) + Send + 'static) {
        match self.hooks.then {
            None => self.job(job),
            Some(_) => self.apart("then", job),
        }
    }

    /// Has something done by a thread of its own.
    pub(super) fn apart(self: &Arc<Self>, thread: &str, job: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let (this, job) = (self.clone(), Arc::new(Mutex::new(Some(job))));
        let take = |job: &Mutex<Option<_>>| job.lock().unwrap_or_else(PoisonError::into_inner).take();
        let theirs = job.clone();
        if spawn(thread, move || take(&theirs).into_iter().for_each(|job| job(&this))).is_err() {
            // there are no threads left: then they do wait
            take(&job).into_iter().for_each(|job| self.job(job));
        }
    }

    /// Has a file finished by somebody else.
    pub(super) fn close(
        self: &Arc<Self>,
        file: u32,
        job: impl FnOnce(&Self) -> Result<FileVerdict, No> + Send + 'static,
    ) -> Option<Phase<D>> {
        self.long_job(move |this| {
            let verdict = job(this);
            this.judge(file, verdict);
        });
        Some(Phase::Closing)
    }
}
