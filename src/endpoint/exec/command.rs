//! The command itself: when it starts, and who ends it.
//!
//! ```text
//!  Waiting ──first byte wanted or there──▶ Running ──exits──▶ Running, exit known ──success──▶ Over
//!     ╰───────────── end ────────────────────╯╰─── end: TERM, grace, KILL, reaped ─────────────▶╯
//! ```
//!
//! The command runs in a process group of its own, so that a pipeline ends as a whole.

use super::running::{Keeper, Running};
use crate::error::{cannot_start_thread, reason};
use crate::message::text::bounded;
use crate::proto::way::{Way, Ways};
use crate::sync::Unpoisoned;
use crate::sys::activation::OURS;
use crate::sys::bell::Bell;
use crate::sys::child::{begin_with_our_mask, die_with_parent, heed_children};
use crate::sys::guard::Guard;
use crate::sys::stdio::nothing_to_read;
use crate::sys::thread::spawn;
use crate::sys::wards::Ward;
use signal_hook::consts::SIGKILL;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, Weak};

/// How much of a long command is shown, in characters: to whoever typed it, and where a line has more to say.
const SHOWN: usize = 200;
const BRIEF: usize = 24;

/// The commands of this process, for those who end them without being able to wait.
static CURRENT: Mutex<Vec<Weak<Exec>>> = Mutex::new(Vec::new());

/// Kills the commands of this process that run, and does not wait for their end.
pub fn kill() {
    let current: Vec<_> = CURRENT.lock().unpoisoned().iter().filter_map(Weak::upgrade).collect();
    current.iter().for_each(|exec| exec.kill());
}

/// The command: its ends are a [`CommandSink`](super::CommandSink) and a [`CommandSource`](super::CommandSource), or
/// both for one command.
#[derive(Debug)]
pub(crate) struct Exec {
    invocation: Invocation,
    state: Mutex<State>,
}

/// What is run, and with what.
#[derive(Debug)]
struct Invocation {
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
    /// Rung once its exit is known, and never cleared; None: it gets a bell of its own when it starts.
    exited: Option<Bell>,
}

#[derive(Debug)]
enum State {
    Waiting,
    Running(Arc<Running>),
    /// It may not start any more.
    Over,
}

impl Exec {
    /// A command that starts when the stream does: it takes the stream that comes in, and gives the one that goes out.
    pub(crate) fn new(command: &str, ways: Ways) -> Arc<Self> {
        let name = format!("exec {}", shown(command.as_ref(), SHOWN));
        let (takes, gives) = (ways.contains(Way::In), ways.contains(Way::Out));
        Self::of(Invocation { takes, gives, ..Invocation::new(command.into(), name) })
    }

    /// A command that gives nothing, with these variables in its environment. It is shown briefly, and as it is: whoever
    /// is told of it has not typed it.
    pub(crate) fn informed(command: &str, takes: bool, knows: Vec<(String, OsString)>) -> Arc<Self> {
        let name = shown(command.as_ref(), BRIEF);
        Self::of(Invocation { takes, knows, ..Invocation::new(command.into(), name) })
    }

    /// A command that takes, gives and has its stderr read too, run by a shell that is not `sh`. `exited` is rung once its
    /// exit is known.
    pub(super) fn remote(shell: OsString, command: OsString, exited: Bell) -> Arc<Self> {
        let brief = Invocation::new(command.clone(), shown(&command, BRIEF));
        let exited = Some(exited);
        Self::of(Invocation { shell, takes: true, gives: true, reports: true, exited, ..brief })
    }

    fn of(invocation: Invocation) -> Arc<Self> {
        let exec = Arc::new(Exec { invocation, state: Mutex::new(State::Waiting) });
        let mut current = CURRENT.lock().unpoisoned();
        current.retain(|other| other.strong_count() > 0);
        current.push(Arc::downgrade(&exec));
        drop(current);
        exec
    }

    /// Whether it gives a stream.
    pub(super) fn gives(&self) -> bool {
        self.invocation.gives
    }

    /// Runs a command that takes nothing, to its end.
    ///
    /// # Errors
    /// It has failed: how, for the user.
    pub(crate) fn run(self: &Arc<Self>) -> Result<(), String> {
        self.running()?.verdict()
    }

    /// Ends the command, and whatever is left of its group, if the stream was not completed: when this
    /// returns it runs no more and will not start. What has succeeded is left alone.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock().unpoisoned();
        let State::Running(running) = &*state else { return *state = State::Over };
        let running = running.clone();
        drop(state);
        running.end();
    }

    fn kill(&self) {
        let mut state = self.state.lock().unpoisoned();
        match &*state {
            State::Running(running) => running.signal(SIGKILL),
            State::Waiting | State::Over => *state = State::Over,
        }
    }

    /// The running command; starts it if it does not run yet. A thread that lives as long as the command starts it:
    /// the kernel takes that one's end for ours.
    pub(super) fn running(self: &Arc<Self>) -> Result<Arc<Running>, String> {
        let mut state = self.state.lock().unpoisoned();
        match &*state {
            State::Running(running) => Ok(running.clone()),
            State::Over => Err(format!("{} was ended before it began", self.invocation.name)),
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
            let started = exec.invocation.start().map(Arc::new);
            let running = started.as_ref().ok().cloned();
            // whoever ends the command needs none of this thread's
            drop((sender.send(started), exec));
            running.into_iter().for_each(|running| running.await_exit());
        });
        spawned.map_err(|e| cannot_start_thread(&e))?;
        started.recv().map_err(|_| "the command's thread is gone".to_owned())?
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.end();
    }
}

impl Invocation {
    /// A command that neither takes nor gives.
    fn new(command: OsString, name: String) -> Self {
        Invocation {
            command,
            name,
            takes: false,
            gives: false,
            shell: "sh".into(),
            knows: Vec::new(),
            reports: false,
            exited: None,
        }
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
        let exited = self.exited.clone().map_or_else(Bell::new, Ok).map_err(cannot)?;
        let mut command = self.command();
        let (stdin, keeper) = self.connect(&mut command).map_err(cannot)?;
        // The hooks of the new process run in order: the keeper hears of it first, and the last one sees whether this
        // process has died, so that the command does not run.
        die_with_parent(&mut command);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                keeper.dismiss();
                // what was not found is the shell, and not what it was to run
                let shell = self.shell.to_string_lossy();
                return Err(format!("cannot run {shell} for {}: {}", self.name, reason(&error)));
            }
        };
        Running::new(self.name.clone(), child, exited, stdin, keeper).map_err(cannot)
    }
}

/// The command in quotes, on one line, or so many characters of it.
fn shown(command: &OsStr, most: usize) -> String {
    format!("\"{}\"", bounded(&command.to_string_lossy(), most))
}
