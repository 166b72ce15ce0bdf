//! What takes long is done by others than the thread that takes the records apart.

use super::{Disk, Down, FileVerdict, No, Open, OpenAnswer, Phase, Receiving, Wanted};
use crate::sync::Unpoisoned;
use crate::sys::thread::spawn;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

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
        let take = |job: &Mutex<Option<_>>| job.lock().unpoisoned().take();
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

    // ---- opening ----

    /// Answers a sender that wants to send a file.
    pub(super) fn opened(self: &Arc<Self>, file: u32, open: Open) {
        match self.wanted(open) {
            Ok(wanted) => self.ask(wanted, move |this, answer| this.answered(file, answer)),
            Err(no) => self.judge(file, Err(no)),
        }
    }

    /// Asks the shelf. Where somebody has the name, it is waited for apart: nobody else's files wait for it.
    pub(super) fn ask(
        self: &Arc<Self>,
        wanted: Wanted,
        then: impl FnOnce(&Self, Result<OpenAnswer<D>, No>) + Send + 'static,
    ) {
        match self.shelf.open(SystemTime::now(), &self.peer, wanted.clone()) {
            Err(No::Held(held)) if held.by != self.peer.visit => {
                self.apart("name", move |this| then(this, this.insist(&wanted)));
            }
            answer => then(self, answer),
        }
    }

    /// Retries until the name is free, or its holder proves to be alive. If several sessions retry, one gets the name.
    fn insist(&self, wanted: &Wanted) -> Result<OpenAnswer<D>, No> {
        loop {
            match self.shelf.open(SystemTime::now(), &self.peer, wanted.clone()) {
                Err(No::Held(held))
                    if held.by != self.peer.visit
                        && self.shelf.await_turn(&wanted.name, held.by, &self.hooks.place.gives_way) => {}
                answer => return answer,
            }
        }
    }

    /// The shelf has answered.
    pub(super) fn answered(&self, file: u32, answer: Result<OpenAnswer<D>, No>) {
        let (phase, down) = match answer {
            Ok(OpenAnswer::Go(mut arrival)) => {
                let marks = arrival.marks();
                (Phase::Offered(Box::new(arrival)), Down::Go(marks))
            }
            Ok(OpenAnswer::There(there)) => {
                let mark = there.mark();
                (Phase::There(Box::new(there)), Down::There(mark))
            }
            Err(no) => return self.judge(file, Err(no)),
        };
        let mut state = self.lock();
        if state.abandoned {
            drop(state);
            // the name is free before whoever waits for the end of all work sees that end
            drop(phase);
            self.lock().files.remove(&file);
            return self.done.notify_all();
        }
        state.files.insert(file, phase);
        drop(state);
        self.done.notify_all();
        self.out.say(file, &down);
        // what comes next is up to the sender, from now on
        (self.hooks.place.progress)();
    }
}
