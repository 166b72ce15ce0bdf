//! The command itself: when it starts, how it ends, and what became of it.
//!
//! ```text
//!  Waiting ──first byte wanted or there──▶ Running ──exits──▶ Running, exit known ──success──▶ Over
//!     ╰───────────── end ────────────────────╯╰─── end: TERM, grace, KILL, reaped ─────────────▶╯
//! ```
//!
//! The command runs in a process group of its own, so that a pipeline ends as a whole. What always holds: the
//! command's stdin is open until the end of the stream. If the stream is not completed, the command is ended first,
//! and its stdin is closed afterwards. If this process dies, another one does the same ([`Keeper`]). The command is
//! reaped last of all, so that a signal to its group never hits another process.

use crate::error::{cannot_start_thread, reason};
use crate::message::text::bounded;
use crate::proto::way::{Way, Ways};
use crate::sys::activation::OURS;
use crate::sys::bell::Bell;
use crate::sys::child::{Exit, await_exit, begin_with_our_mask, die_with_parent, heed_children};
use crate::sys::guard::Guard;
use crate::sys::pipe::{Interest, grow, wait};
use crate::sys::signal::kill_group;
use crate::sys::stdio::nothing_to_read;
use crate::sys::thread::spawn;
use crate::sys::wards::Ward;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use signal_hook::consts::{SIGCONT, SIGKILL, SIGPIPE, SIGTERM};
use signal_hook::low_level::signal_name;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long a command has to end after SIGTERM, before SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(3);

/// For how long the end of a command is waited for after SIGKILL. A command inside a system call may take longer.
const KILL_GRACE: Duration = Duration::from_secs(1);

/// How much of a long command is shown, in characters: to whoever typed it, and where a line has more to say.
const SHOWN: usize = 200;
const BRIEF: usize = 24;

/// What a shell exits with whose command was killed by SIGPIPE.
const SHELLS_SIGPIPE: i32 = 128 + SIGPIPE;

/// The commands of this process, for those who end them without being able to wait.
static CURRENT: Mutex<Vec<Weak<Exec>>> = Mutex::new(Vec::new());

/// Kills the commands of this process that run, and does not wait for their end.
pub fn kill() {
    let current: Vec<_> = locked(&CURRENT).iter().filter_map(Weak::upgrade).collect();
    current.iter().for_each(|exec| exec.kill());
}

/// The command: its ends are a [`CommandSink`](super::CommandSink) and a [`CommandSource`](super::CommandSource), or
/// both for one command.
#[derive(Debug)]
pub struct Exec {
    command: OsString,
    /// As shown to the user.
    name: String,
    /// Whether the stream goes to its stdin, and comes from its stdout.
    takes: bool,
    gives: bool,
    /// What runs it, with `-c`.
    shell: OsString,
    /// Variables that it has besides ours.
    knows: Vec<(String, OsString)>,
    /// Its stderr is a pipe to us.
    reports: bool,
    /// Rung once its exit is known, and never cleared.
    exited: OnceLock<Bell>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Waiting,
    Running(Arc<Running>),
    /// It may not start any more.
    Over,
}

/// A command that was started.
#[derive(Debug)]
pub(super) struct Running {
    /// As shown to the user.
    pub(super) name: String,
    /// None once reaped. Never locked for longer than a call that does not wait.
    leader: Mutex<Option<Child>>,
    exit: OnceLock<Exit>,
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
    /// Ends it if this process dies; there until its exit is known, or it has taken the whole stream and gives none.
    keeper: Mutex<Option<Keeper>>,
    /// Held by the thread that ends the command; other threads wait for it.
    ending: Mutex<()>,
}

/// Who ends a command if this process dies.
#[derive(Debug)]
enum Keeper {
    /// That of a command that takes a stream: it keeps the command's stdin open too.
    OfStdin(Guard),
    /// That of any other one.
    OfGroup(Ward),
}

impl Keeper {
    /// It is not needed any more.
    fn dismiss(self) {
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

impl Exec {
    /// A command that starts when the stream does: it takes the stream that comes in, and gives the one that goes out.
    pub fn new(command: &str, ways: Ways) -> Arc<Self> {
        Self::shared(Exec {
            command: command.into(),
            name: format!("exec {}", shown(command.as_ref(), SHOWN)),
            takes: ways.contains(Way::In),
            gives: ways.contains(Way::Out),
            shell: "sh".into(),
            knows: Vec::new(),
            reports: false,
            exited: OnceLock::new(),
            state: Mutex::new(State::Waiting),
        })
    }

    /// A command that gives nothing, with these variables in its environment. It is shown briefly, and as it is: whoever
    /// is told of it has not typed it.
    pub fn informed(command: &str, takes: bool, knows: Vec<(String, OsString)>) -> Arc<Self> {
        Self::shared(Exec {
            command: command.into(),
            name: shown(command.as_ref(), BRIEF),
            takes,
            gives: false,
            shell: "sh".into(),
            knows,
            reports: false,
            exited: OnceLock::new(),
            state: Mutex::new(State::Waiting),
        })
    }

    /// Whether it gives a stream.
    pub(super) fn gives(&self) -> bool {
        self.gives
    }

    /// Runs a command that takes nothing, to its end.
    ///
    /// # Errors
    /// It has failed: how, for the user.
    pub fn run(self: &Arc<Self>) -> Result<(), String> {
        self.running()?.verdict()
    }

    /// The same for a command that takes, gives and has its stderr read too, run by a shell that is not `sh`. `exited`
    /// is rung once its exit is known.
    pub(super) fn remote(shell: OsString, command: OsString, exited: Bell) -> Arc<Self> {
        Self::shared(Exec {
            name: shown(&command, BRIEF),
            command,
            takes: true,
            gives: true,
            shell,
            knows: Vec::new(),
            reports: true,
            exited: OnceLock::from(exited),
            state: Mutex::new(State::Waiting),
        })
    }

    fn shared(self) -> Arc<Self> {
        let exec = Arc::new(self);
        let mut current = locked(&CURRENT);
        current.retain(|other| other.strong_count() > 0);
        current.push(Arc::downgrade(&exec));
        drop(current);
        exec
    }

    /// Ends the command, and whatever is left of its group, if the stream was not completed: when this
    /// returns it runs no more and will not start. What has succeeded is left alone.
    pub fn end(&self) {
        let mut state = locked(&self.state);
        let State::Running(running) = &*state else { return *state = State::Over };
        let running = running.clone();
        drop(state);
        running.end();
    }

    fn kill(&self) {
        let mut state = locked(&self.state);
        match &*state {
            State::Running(running) => running.signal(SIGKILL),
            State::Waiting | State::Over => *state = State::Over,
        }
    }

    /// The running command; starts it if it does not run yet. A thread that lives as long as the command starts it:
    /// the kernel takes that one's end for ours.
    pub(super) fn running(self: &Arc<Self>) -> Result<Arc<Running>, String> {
        let mut state = locked(&self.state);
        match &*state {
            State::Running(running) => Ok(running.clone()),
            State::Over => Err(format!("{} was ended before it began", self.name)),
            State::Waiting => {
                let started = self.start_apart();
                *state = started.as_ref().map_or(State::Over, |running| State::Running(running.clone()));
                started
            }
        }
    }

    /// Starts it in a thread of its own, which then waits for its exit.
    fn start_apart(self: &Arc<Self>) -> Result<Arc<Running>, String> {
        let ((sender, started), exec) = (mpsc::channel(), self.clone());
        let spawned = spawn("command", move || {
            let started = exec.start().map(Arc::new);
            let running = started.as_ref().ok().cloned();
            // whoever ends the command needs none of this thread's
            drop((sender.send(started), exec));
            running.into_iter().for_each(|running| running.await_exit());
        });
        spawned.map_err(|e| cannot_start_thread(&e))?;
        started.recv().map_err(|_| "the command's thread is gone".to_owned())?
    }

    /// The shell with the command, in a group of its own and with the signals that this process began with.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.shell);
        // as a login names its shell: without the path
        command.arg0(Path::new(&self.shell).file_name().unwrap_or(&self.shell));
        command.arg("-c").arg(&self.command).process_group(0);
        command.envs(self.knows.iter().map(|(name, value)| (name, value)));
        for name in OURS {
            command.env_remove(name);
        }
        begin_with_our_mask(&mut command);
        heed_children();
        command
    }

    /// Chooses what the command has for stdin, stdout and stderr: our end of its stdin, if it takes a stream, and who ends
    /// the command if this process dies.
    fn connect(&self, command: &mut Command) -> io::Result<(Option<File>, Keeper)> {
        if self.gives {
            command.stdout(Stdio::piped());
        }
        if self.reports {
            command.stderr(Stdio::piped());
        }
        if self.takes {
            let (reader, writer) = io::pipe()?;
            let guard = Guard::start(writer.as_fd())?;
            if let Err(error) = guard.watch(command) {
                guard.dismiss();
                return Err(error);
            }
            command.stdin(reader);
            return Ok((Some(File::from(OwnedFd::from(writer))), Keeper::OfStdin(guard)));
        }
        if !self.gives {
            command.stdin(Stdio::null());
        } else if rustix::termios::isatty(io::stdin()) {
            // in a group of its own it would be stopped if it read from the terminal
            command.stdin(nothing_to_read()?);
        }
        let ward = Ward::claim()?;
        ward.watch(command);
        Ok((None, Keeper::OfGroup(ward)))
    }

    fn start(&self) -> Result<Running, String> {
        let cannot = |e| format!("cannot run {}: {}", self.name, reason(&e));
        let exited = self.exited.get().cloned().map_or_else(Bell::new, Ok).map_err(cannot)?;
        let mut command = self.command();
        let (stdin, keeper) = self.connect(&mut command).map_err(cannot)?;
        // After the keeper knows of it: a command that the keeper does not know yet sees the death of this process itself, and
        // does not run.
        die_with_parent(&mut command);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                keeper.dismiss();
                // what was not found is the shell, and not what it was to run
                let shell = self.shell.to_string_lossy();
                return Err(format!("cannot run {shell} for {}: {}", self.name, reason(&error)));
            }
        };
        let stdout = child.stdout.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let stderr = child.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let running = Running {
            name: self.name.clone(),
            leader: Mutex::new(Some(child)),
            exit: OnceLock::new(),
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
            return Err(cannot(error));
        }
        Ok(running)
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.end();
    }
}

impl Running {
    /// Our ends of its pipes: large, and never waited for but in a poll.
    fn keep(&self, stdin: Option<File>, stdout: Option<File>) -> io::Result<()> {
        for pipe in stdin.iter().chain(&stdout) {
            grow(pipe);
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        let held = stdin.as_ref().or(stdout.as_ref());
        *locked(&self.hold) = held.map(|pipe| pipe.as_fd().try_clone_to_owned()).transpose()?;
        *locked(&self.stdin) = stdin;
        *locked(&self.stdout) = stdout;
        Ok(())
    }

    /// The thread that knows of its end first.
    fn await_exit(&self) {
        let Some(pid) = locked(&self.leader).as_ref().map(Child::id) else { return };
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
    fn signal(&self, signo: i32) {
        if let Some(leader) = &*locked(&self.leader) {
            // fails if the group is gone, which is as good
            let _ = kill_group(leader.id(), signo);
        }
    }

    /// What became of it, as a failure.
    pub(super) fn sentence(&self) -> String {
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
        locked(&self.hold).take();
        self.dismiss_keeper();
    }

    /// The same, but if this process dies, the command is ended nevertheless: it gives a stream too. To be followed by
    /// [`Running::reap`].
    pub(super) fn close_stdin(&self) {
        locked(&self.hold).take();
        locked(&self.keeper).iter().for_each(Keeper::let_go);
    }

    /// Lets go of what keeps its stdout open. Where the source has closed its own end, who writes there gets SIGPIPE.
    pub(super) fn let_go_of_stdout(&self) {
        if !self.takes {
            locked(&self.hold).take();
        }
    }

    fn dismiss_keeper(&self) {
        let keeper = locked(&self.keeper).take();
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

    fn end(&self) {
        let _turn = locked(&self.ending);
        if locked(&self.leader).is_none() {
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
        if let Some(hold) = &*locked(&self.hold) {
            // if polling fails the time is up
            let _ = wait(&[Interest::end(hold)], left());
        }
    }

    /// Its number is free from now on, and its stdin closed.
    pub(super) fn reap(&self) {
        if self.exit().is_some() {
            // the rest of its group was killed; once reaped, its number may belong to another process
            self.dismiss_keeper();
            if let Some(mut leader) = locked(&self.leader).take() {
                // it has exited, so this neither waits nor fails
                let _ = leader.wait();
            }
        }
        locked(&self.hold).take();
    }
}

/// The command in quotes, on one line, or so many characters of it.
fn shown(command: &OsStr, most: usize) -> String {
    format!("\"{}\"", bounded(&command.to_string_lossy(), most))
}

/// A poisoned lock does not matter: a panic ends the process.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
