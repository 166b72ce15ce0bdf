//! The system's ssh: what it says about a host, and the process that carries the far end.

use crate::error::{cannot_start_thread, reason};
use crate::plan::Ports;
use crate::ssh::{Line, Resolved};
use crate::sys::bell::Bell;
use crate::sys::child::{
    Exit, await_exit, begin_with_our_mask, die_with_parent, heed_children, spare_the_keyboard, written,
};
use crate::sys::pipe::{Interest, grow, wait};
use crate::sys::signal::kill;
use crate::sys::thread::spawn;
use signal_hook::consts::{SIGCONT, SIGTERM};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Names another ssh.
const VARIABLE: &str = "MILLIPEDE_SSH";

/// What the far end is called there, unless the user says otherwise.
const FAR: &str = "millipede";

/// What ssh prints, on its stdout, when it has logged in: it runs this here, where the user has no such command.
const TELL_LOGIN: [&str; 2] = ["-oPermitLocalCommand=yes", "-oLocalCommand=echo millipede: logged in"];
/// And this is what it prints.
pub(super) const LOGGED_IN: &[u8] = b"millipede: logged in\n";

/// ssh that writes no more than this between two looks makes no progress: that is what it writes to its network to keep it
/// open, measured as 520 bytes in 10 s with `ServerAliveInterval 1`.
const CRUMBS: u64 = 1 << 10;

/// A signal is looked for this often while ssh is waited for: whoever sent the signal waits.
const LOOK: Duration = Duration::from_millis(100);

/// Bytes that ssh may still print on stdout after the session: twice what its window holds. A peer that goes on printing is
/// not read for ever.
const LAST_OF_STDOUT: usize = 4 << 20;

/// The ssh to use.
fn program() -> OsString {
    env::var_os(VARIABLE).filter(|name| !name.is_empty()).unwrap_or_else(|| "ssh".into())
}

/// Becomes ssh, with this command line. Returns only if that cannot be, and why.
pub(crate) fn hand_over(line: &[OsString]) -> String {
    let mut command = Command::new(program());
    command.args(line);
    begin_with_our_mask(&mut command);
    cannot_run(&command.exec())
}

fn cannot_run(error: &io::Error) -> String {
    format!("cannot run {}: {}", program().to_string_lossy(), reason(error))
}

/// What ssh would do for this line; None if it does not say, because something is wrong with the line.
pub(crate) fn resolve(line: &Line) -> Option<Resolved> {
    let mut command = Command::new(program());
    command.arg("-G").args(before_the_command(line)).arg("true").stdin(Stdio::null()).stderr(Stdio::null());
    begin_with_our_mask(&mut command);
    heed_children();
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(Resolved::parse(&String::from_utf8_lossy(&output.stdout)))
}

/// The line as ssh is to have it, up to and with HOST.
fn before_the_command(line: &Line) -> impl Iterator<Item = &OsStr> {
    let end = line.terminated.then_some(OsStr::new("--"));
    line.options.iter().map(OsString::as_os_str).chain(end).chain([line.host.as_os_str()])
}

/// What ssh is told before all else, so that nothing else that it reads undoes it.
fn overrides(resolved: &Resolved) -> Vec<&'static str> {
    // no configuration asks for a terminal
    let mut options = vec!["-T"];
    if resolved.shares && !resolved.persists {
        // others would depend on this ssh, which is ended when the command ends; one that runs is used all the same
        options.push("-oControlMaster=no");
    }
    if resolved.no_input {
        // the command's input is empty, not that of the far end
        options.push("-oStdinNull=no");
    }
    if !resolved.runs_locally {
        options.extend(TELL_LOGIN);
    }
    options
}

/// What the login shell is to run.
fn far_line(program: Option<&str>, ports: Option<Ports>) -> String {
    let ports = ports.map_or_else(String::new, |ports| format!(" ports {ports}"));
    format!("{} far{ports}", program.map_or_else(|| FAR.to_owned(), quoted))
}

/// A path as any shell takes it. The `~/` that it may begin with is the shell's.
fn quoted(path: &str) -> String {
    let (home, rest) = path.strip_prefix("~/").map_or(("", path), |rest| ("~/", rest));
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:@_".contains(c);
    match rest.chars().all(plain) {
        true => path.to_owned(),
        // fish knows the escaped backslash too
        false => format!("{home}'{}'", rest.replace('\'', r"'\''")),
    }
}

/// ssh, as long as it runs.
pub(crate) struct Carrier {
    child: Child,
    /// Its stdout, which the connection over ssh reads too. It stays open until ssh has exited: an ssh that finds its stdout
    /// closed drops what it has not written to its stderr yet.
    stdout: Option<File>,
    exit: Arc<OnceLock<Exit>>,
    exited: Bell,
}

impl Carrier {
    /// Starts ssh, and far with it. Gives also what comes from far, and what goes to it. The calling thread lives as long
    /// as this process.
    ///
    /// # Errors
    /// Why not, for the user.
    pub(crate) fn start(
        line: &Line,
        resolved: &Resolved,
        program_there: Option<&str>,
        ports: Option<Ports>,
    ) -> Result<(Self, OwnedFd, OwnedFd), String> {
        let mut command = Command::new(program());
        command.args(overrides(resolved)).args(before_the_command(line)).arg(far_line(program_there, ports));
        Carrier::run(command)
    }

    /// Starts this command as ssh.
    fn run(mut command: Command) -> Result<(Self, OwnedFd, OwnedFd), String> {
        let exited = Bell::new().map_err(|e| cannot_run(&e))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        begin_with_our_mask(&mut command);
        spare_the_keyboard(&mut command);
        die_with_parent(&mut command);
        heed_children();
        let mut child = command.spawn().map_err(|e| cannot_run(&e))?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("ssh has no stdin or stdout".into());
        };
        let (to, from) = (OwnedFd::from(to), OwnedFd::from(from));
        grow(&to);
        grow(&from);
        let stdout = Some(File::from(from.try_clone().map_err(|e| cannot_run(&e))?));
        let (pid, exit) = (child.id(), Arc::new(OnceLock::new()));
        let (found, bell) = (exit.clone(), exited.clone());
        let spawned = spawn("ssh", move || {
            // fails only if other code has reaped our child
            let _ = found.set(await_exit(pid).unwrap_or(Exit::Status(-1)));
            bell.ring();
        });
        spawned.map_err(|e| cannot_start_thread(&e))?;
        Ok((Carrier { child, stdout, exit, exited }, from, to))
    }

    /// Waits until it has exited, or the time is up.
    pub(crate) fn await_exit(&self, time: Duration) -> Option<Exit> {
        // if waiting fails, nothing is known
        let _ = wait(&[Interest::read(&self.exited)], Some(time));
        self.exit.get().copied()
    }

    /// There is no session: ssh finds its stdout closed, and does not go on printing.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Waits until ssh has exited, the time is up, or a look finds that `is_hurried`. What ssh still prints on stdout is
    /// read and dropped, since an ssh that cannot write does not exit. `drained`: the bytes so far.
    fn drain_until_exit(
        &self,
        time: Duration,
        drained: &mut usize,
        is_hurried: &impl Fn() -> bool,
    ) -> Option<Exit> {
        let (end, mut space) = (Instant::now() + time, [0; 4096]);
        let mut stdout = self.stdout.as_ref();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            stdout = stdout.filter(|_| *drained < LAST_OF_STDOUT);
            // with nothing to read, the exit is waited for twice
            let prints = stdout.map_or(Interest::read(&self.exited), Interest::read);
            let ready = wait(&[Interest::read(&self.exited), prints], Some(left.min(LOOK)));
            let exit = self.exit.get().copied();
            if exit.is_some() || ready.is_err() || left.is_zero() || is_hurried() {
                return exit;
            }
            if ready.is_ok_and(|[_, prints]| prints.any()) {
                match stdout.map(|mut stdout| stdout.read(&mut space)) {
                    Some(Ok(n @ 1..)) => *drained += n,
                    _ => stdout = None,
                }
            }
        }
    }

    /// Lets it end by itself until it has written nothing for so long, or `is_hurried`, and then ends it; what it ended as,
    /// if by itself. Nobody reads its stdout any more.
    pub(crate) fn end(mut self, pause: Duration, is_hurried: impl Fn() -> bool) -> Option<Exit> {
        let (pid, mut drained) = (self.child.id(), 0);
        let wait = || self.drain_until_exit(pause, &mut drained, &is_hurried);
        let exit = while_it_goes_on(wait, || written(pid).filter(|_| !is_hurried()));
        if exit.is_none() {
            // not reaped, so the number is still its own
            let _ = kill(self.child.id(), SIGTERM);
            // one that was stopped ends too
            let _ = kill(self.child.id(), SIGCONT);
            self.await_exit(Duration::from_millis(200));
        }
        if self.exit.get().is_some() {
            // it has exited, so this neither waits nor fails
            let _ = self.child.wait();
        }
        exit
    }
}

/// Waits again and again for what is waited for, as long as the count has grown by more than [`CRUMBS`] meanwhile.
fn while_it_goes_on<T>(
    mut wait: impl FnMut() -> Option<T>,
    mut count: impl FnMut() -> Option<u64>,
) -> Option<T> {
    let mut before = count();
    loop {
        if let Some(found) = wait() {
            return Some(found);
        }
        let now = count();
        let grown = now.zip(before).is_some_and(|(now, before)| now.saturating_sub(before) > CRUMBS);
        if !grown {
            return None;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_on_writing_is_waited_for_and_who_stops_is_not() {
        let found = |turns: usize, counts: &[Option<u64>]| {
            let mut waits = (0..turns).map(|_| None).chain([Some('x')]);
            let mut counts = counts.iter().copied();
            while_it_goes_on(|| waits.next().unwrap(), || counts.next().unwrap())
        };
        assert_eq!(found(0, &[None]), Some('x'), "it has ended");
        assert_eq!(found(3, &[Some(1), Some(2_000), Some(4_000), Some(70_000)]), Some('x'));
        assert_eq!(found(3, &[Some(1), Some(2_000), Some(2_000)]), None, "it has stopped");
        assert_eq!(found(3, &[Some(1), Some(2_000), Some(2_700)]), None, "it only keeps its network open");
        assert_eq!(found(3, &[Some(1), None]), None, "nobody knows");
    }

    /// Runs a script as ssh, with which nobody talks any more.
    fn script(text: &str) -> Carrier {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        Carrier::run(command).unwrap().0
    }

    #[test]
    fn ssh_finds_its_stdout_open_until_it_has_exited_and_is_not_read_for_ever() {
        let long = Duration::from_secs(60);
        let late = script("read line; head -c 2000000 /dev/zero; echo late; exit 7");
        assert_eq!(late.end(long, || false), Some(Exit::Status(7)));
        let endless = script("exec yes");
        assert_eq!(endless.end(Duration::from_millis(300), || false), None);
        let began = Instant::now();
        assert_eq!(script("exec sleep 1000").end(long, || true), None);
        assert!(began.elapsed() < long, "whoever is hurried does not wait");
        let mut unwanted = script("exec yes 2> /dev/null");
        unwanted.close_stdout();
        assert!(unwanted.end(long, || false).is_some());
    }

    #[test]
    fn no_configuration_takes_the_stdin_of_ssh_or_makes_it_a_master_and_no_command_of_the_users_is_replaced()
    {
        let plain = Resolved::default();
        let master = Resolved { shares: true, ..plain.clone() };
        let told = [&["-T"][..], &TELL_LOGIN].concat();
        let with = |option| [&["-T", option][..], &TELL_LOGIN].concat();
        for (resolved, options) in [
            (plain.clone(), told.clone()),
            (Resolved { persists: true, ..master.clone() }, told),
            (master, with("-oControlMaster=no")),
            (Resolved { no_input: true, ..plain.clone() }, with("-oStdinNull=no")),
            (Resolved { runs_locally: true, ..plain }, vec!["-T"]),
        ] {
            assert_eq!(overrides(&resolved), options, "{resolved:?}");
        }
    }

    #[test]
    fn the_far_line_is_one_that_every_shell_reads_alike() {
        let ports = Some(Ports { first: 5000, last: 5009 });
        for (program, ports, line) in [
            (None, None, "millipede far"),
            (None, ports, "millipede far ports 5000-5009"),
            (Some("/opt/millipede-2/bin/millipede"), None, "/opt/millipede-2/bin/millipede far"),
            (Some("~/bin/millipede"), None, "~/bin/millipede far"),
            (Some("~/my bin/$it"), None, "~/'my bin/$it' far"),
            (Some("a=b/millipede"), None, "'a=b/millipede' far"),
            (Some("it's"), None, r"'it'\''s' far"),
        ] {
            assert_eq!(far_line(program, ports), line);
        }
    }
}
