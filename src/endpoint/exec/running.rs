//! A command that was started: who looks after it, how it ends, and what became of it.
//!
//! What always holds: the command's stdin is open until the end of the stream. If the stream is not completed, the command
//! is ended first, and its stdin is closed afterwards. If this process dies, another one does the same ([`Keeper`]). The
//! command is reaped last of all, so that a signal to its group never hits another process.

use crate::sync::Unpoisoned;
use crate::sys::bell::Bell;
use crate::sys::child::{Exit, await_exit};
use crate::sys::guard::Guard;
use crate::sys::pipe::{Interest, grow, wait};
use crate::sys::signal::kill_group;
use crate::sys::wards::Ward;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use signal_hook::consts::{SIGCONT, SIGKILL, SIGPIPE, SIGTERM};
use signal_hook::low_level::signal_name;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long a command has to end after SIGTERM, before SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(3);

/// For how long the end of a command is waited for after SIGKILL. A command inside a system call may take longer.
const KILL_GRACE: Duration = Duration::from_secs(1);

/// What a shell exits with whose command was killed by SIGPIPE.
const SHELLS_SIGPIPE: i32 = 128 + SIGPIPE;

/// A command that was started.
#[derive(Debug)]
pub(super) struct Running {
    /// As shown to the user.
    pub(super) name: String,
    /// None once reaped. Never locked for longer than a call that does not wait.
    leader: Mutex<Option<Child>>,
    exit: OnceLock<Exit>,
    /// The reason that was given first for its failure. Both of its streams get this one: the second to ask might hear only
    /// that millipede itself has ended the command.
    failure: OnceLock<String>,
    /// Rung once `exit` is set, and never cleared.
    pub(super) exited: Bell,
    /// Our ends of its pipes, until the sink and the source take them.
    pub(super) stdin: Mutex<Option<File>>,
    pub(super) stdout: Mutex<Option<File>>,
    /// Our end of its stderr, if that is a pipe to us, until somebody takes it.
    pub(super) stderr: Mutex<Option<File>>,
    /// Keeps its stdin open (or its stdout, if only that is ours), whatever the sink does.
    hold: Mutex<Option<OwnedFd>>,
    /// Its stdin is ours.
    takes: bool,
    /// Ends it if this process dies; there until it is reaped, or has taken the whole stream and gives none.
    keeper: Mutex<Option<Keeper>>,
    /// Held by the thread that ends the command; other threads wait for it.
    ending: Mutex<()>,
}

/// Who ends a command if this process dies.
#[derive(Debug)]
pub(super) enum Keeper {
    /// That of a command that takes a stream: it keeps the command's stdin open too.
    OfStdin(Guard),
    /// That of any other one.
    OfGroup(Ward),
}

impl Keeper {
    /// It is not needed any more.
    pub(super) fn dismiss(self) {
        match self {
            Keeper::OfStdin(guard) => guard.dismiss(),
            Keeper::OfGroup(ward) => drop(ward),
        }
    }

    /// The end of the command's stdin means the end of the stream from now on.
    fn let_go(&self) {
        if let Keeper::OfStdin(guard) = self {
            guard.let_go();
        }
    }
}

impl Running {
    /// What was started just now. `exited` is rung once its exit is known. `stdin` is our end of its stdin, if it takes a
    /// stream.
    ///
    /// # Errors
    /// Its pipes cannot be used. Then it has been ended.
    pub(super) fn new(
        name: String,
        mut child: Child,
        exited: Bell,
        stdin: Option<File>,
        keeper: Keeper,
    ) -> io::Result<Self> {
        let stdout = child.stdout.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let stderr = child.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let running = Running {
            name,
            leader: Mutex::new(Some(child)),
            exit: OnceLock::new(),
            failure: OnceLock::new(),
            exited,
            stdin: Mutex::new(None),
            stdout: Mutex::new(None),
            stderr: Mutex::new(stderr),
            hold: Mutex::new(None),
            takes: stdin.is_some(),
            keeper: Mutex::new(Some(keeper)),
            ending: Mutex::new(()),
        };
        if let Err(error) = running.keep(stdin, stdout) {
            running.signal(SIGKILL);
            running.await_exit();
            running.reap();
            return Err(error);
        }
        Ok(running)
    }

    /// Our ends of its pipes: large, and never waited for but in a poll.
    fn keep(&self, stdin: Option<File>, stdout: Option<File>) -> io::Result<()> {
        for pipe in stdin.iter().chain(&stdout) {
            grow(pipe);
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        let held = stdin.as_ref().or(stdout.as_ref());
        *self.hold.lock().unpoisoned() = held.map(|pipe| pipe.as_fd().try_clone_to_owned()).transpose()?;
        *self.stdin.lock().unpoisoned() = stdin;
        *self.stdout.lock().unpoisoned() = stdout;
        Ok(())
    }

    /// The thread that knows of its end first.
    pub(super) fn await_exit(&self) {
        let Some(pid) = self.leader.lock().unpoisoned().as_ref().map(Child::id) else { return };
        // fails only if other code has reaped our child, and then it must not count as a success
        let exit = await_exit(pid).unwrap_or(Exit::Status(-1));
        let _ = self.exit.set(exit);
        self.exited.ring();
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        self.exit.get().copied()
    }

    fn has_succeeded(&self) -> bool {
        self.exit() == Some(Exit::Status(0))
    }

    /// Waits for its exit, as long as it takes or until the time is up.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> Option<Exit> {
        // if polling fails nothing is known, as if the time were up
        let _ = wait(&[Interest::read(&self.exited)], timeout);
        self.exit()
    }

    /// Sends a signal to the command's whole group, as long as the group is certain to be the command's.
    pub(super) fn signal(&self, signo: i32) {
        if let Some(leader) = &*self.leader.lock().unpoisoned() {
            // fails if the group is gone, which is as good
            let _ = kill_group(leader.id(), signo);
        }
    }

    /// What became of it, as a failure: the same at each call.
    pub(super) fn sentence(&self) -> String {
        self.failure.get_or_init(|| self.fate()).clone()
    }

    fn fate(&self) -> String {
        match self.exit() {
            Some(Exit::Status(0)) => format!("{} exited 0 without taking the whole stream", self.name),
            Some(Exit::Status(status)) => format!("{} exited {status}", self.name),
            Some(Exit::Signal(signo)) => match signal_name(signo) {
                Some(name) => format!("{} was killed by {name}", self.name),
                None => format!("{} was killed by signal {signo}", self.name),
            },
            None => format!("{} closed its stdin before the end of the stream", self.name),
        }
    }

    /// From now on the end of its stdin means the end of the stream. Called when the command has taken the whole
    /// stream, and gives none: then it may go on without this process.
    pub(super) fn let_go_of_stdin(&self) {
        self.hold.lock().unpoisoned().take();
        self.dismiss_keeper();
    }

    /// The same, but if this process dies, the command is ended nevertheless: it gives a stream too. To be followed by
    /// [`Running::reap`].
    pub(super) fn close_stdin(&self) {
        self.hold.lock().unpoisoned().take();
        self.keeper.lock().unpoisoned().iter().for_each(Keeper::let_go);
    }

    /// Lets go of what keeps its stdout open. Where the source has closed its own end, who writes there gets SIGPIPE.
    pub(super) fn let_go_of_stdout(&self) {
        if !self.takes {
            self.hold.lock().unpoisoned().take();
        }
    }

    fn dismiss_keeper(&self) {
        let keeper = self.keeper.lock().unpoisoned().take();
        keeper.into_iter().for_each(Keeper::dismiss);
    }

    /// Waits until it has exited, for what that is worth.
    pub(super) fn verdict(&self) -> Result<(), String> {
        self.wait(None);
        if !self.has_succeeded() {
            return Err(self.sentence());
        }
        self.reap();
        Ok(())
    }

    /// The same where its stdout was closed before its end: that it was killed by writing there is no failure. Such a
    /// command is not reaped here: what is left of its group is still to be ended.
    pub(super) fn verdict_when_cut_off(&self) -> Result<(), String> {
        match self.wait(None) {
            Some(Exit::Signal(SIGPIPE) | Exit::Status(SHELLS_SIGPIPE)) => Ok(()),
            _ => self.verdict(),
        }
    }

    /// Ends it, and whatever is left of its group, if it has not been reaped.
    pub(super) fn end(&self) {
        let _turn = self.ending.lock().unpoisoned();
        if self.leader.lock().unpoisoned().is_none() {
            return;
        }
        self.signal(SIGTERM);
        // SIGCONT, so that a stopped command ends as well
        self.signal(SIGCONT);
        self.await_end(TERM_GRACE);
        self.signal(SIGKILL);
        self.await_end(KILL_GRACE);
        self.reap();
    }

    /// Waits until it has exited and nobody has the other end of its pipe, so that the whole pipeline has
    /// gone; or until the time is up.
    fn await_end(&self, time: Duration) {
        let end = Instant::now() + time;
        let left = || Some(end.saturating_duration_since(Instant::now()));
        self.wait(left());
        if let Some(hold) = &*self.hold.lock().unpoisoned() {
            // if polling fails the time is up
            let _ = wait(&[Interest::end(hold)], left());
        }
    }

    /// Its number is free from now on, and its stdin closed.
    pub(super) fn reap(&self) {
        if self.exit().is_some() {
            // the rest of its group was killed; once reaped, its number may belong to another process
            self.dismiss_keeper();
            if let Some(mut leader) = self.leader.lock().unpoisoned().take() {
                // it has exited, so this neither waits nor fails
                let _ = leader.wait();
            }
        }
        self.hold.lock().unpoisoned().take();
    }
}
