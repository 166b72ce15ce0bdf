//! An interactive shell on a terminal of its own, with the completion of this repository, to type into.
//!
//! Instead of millipede it finds a program of that name that shows its arguments and what it reads. Nothing of the
//! user's own configuration is read. Nothing here waits for a fixed time: the shell's prompt and the program's line
//! are waited for, for a minute at most.

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

use super::made::path;

const PATIENCE: Duration = Duration::from_secs(60);

/// In two pieces, so that a command line that is shown is no prompt.
const PROMPT: &str = "READY> ";

pub struct Shell {
    name: &'static str,
    child: Child,
    terminal: File,
    shown: Receiver<Vec<u8>>,
    seen: String,
    home: TempDir,
}

impl Shell {
    /// A shell that has shown its prompt; `bash`, `zsh` or `fish`.
    pub fn start(name: &str) -> Shell {
        let home = tempfile::tempdir().unwrap();
        furnish(home.path());
        let (name, mut command) = command(name, home.path());
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = open(ptsname(&master, Vec::new()).unwrap(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
        let slave = slave.unwrap();
        tcsetwinsize(&slave, Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end());
        // SAFETY: both are system calls that may be made between fork and exec, and touch no memory.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let terminal = File::from(master);
        let (sender, shown) = channel();
        let mut reader = terminal.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // the end of a terminal is an error
            while let Ok(n @ 1..) = reader.read(&mut chunk) {
                let _ = sender.send(chunk[..n].to_vec());
            }
        });
        let mut shell = Shell { name, child, terminal, shown, seen: String::new(), home };
        shell.await_text(PROMPT);
        shell
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Types a line and Enter; what the program in millipede's place had as its arguments and its input.
    pub fn run(&mut self, line: &str) -> String {
        fs::write(self.home.path().join("work/output-file"), "").unwrap();
        self.terminal.write_all(line.as_bytes()).unwrap();
        self.terminal.write_all(b"\r").unwrap();
        let shown = self.await_text("<<<") + "<<<".len();
        let end = self.await_text(">>>");
        let run = self.seen[shown..end].to_owned();
        self.seen.drain(..end);
        self.await_text(PROMPT);
        self.seen.clear();
        run
    }

    /// Waits until it shows this, and says where in what it has shown.
    fn await_text(&mut self, text: &str) -> usize {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                return at;
            }
            let left = end.saturating_duration_since(Instant::now());
            let Ok(shown) = self.shown.recv_timeout(left) else {
                panic!("{} never showed {text:?}, only:\n{}", self.name, self.seen)
            };
            self.seen += &String::from_utf8_lossy(&shown);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The programs, files and configurations of a home.
fn furnish(home: &Path) {
    let program = |name: &str, text: &str| {
        let file = home.join("bin").join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    };
    for folder in ["bin", "work", "zsh", "config/fish/completions"] {
        fs::create_dir_all(home.join(folder)).unwrap();
    }
    // the marks are in two pieces, so that only what the program shows has them
    program(
        "millipede",
        "#!/bin/sh\ntest -t 0 || input=$(cat)\nprintf '<<''<%s|%s>>''>\\n' \"$*\" \"$input\"\n",
    );
    program("takes-it-all", "#!/bin/sh\nsed 's/<<</<<<taken: /'\n");
    fs::write(home.join("work/input-file"), "the input").unwrap();
    fs::write(home.join("work/output-file"), "").unwrap();
    let copy = |from: &str, to: &str| {
        fs::copy(path(from), home.join(to)).unwrap();
    };
    copy("completions/_millipede", "zsh/_millipede");
    copy("completions/millipede.fish", "config/fish/completions/millipede.fish");
    let bash = format!(
        "PS1='{PROMPT}'\nbind 'set enable-bracketed-paste off'\nsource {:?}\n",
        path("completions/millipede.bash")
    );
    fs::write(home.join("bashrc"), bash).unwrap();
    let zsh = format!(
        "fpath=({:?} $fpath)\nautoload -Uz compinit\ncompinit -u\nPS1='{PROMPT}'\n",
        home.join("zsh")
    );
    fs::write(home.join("zsh/.zshrc"), zsh).unwrap();
    let fish = format!("function fish_prompt\n    echo -n '{PROMPT}'\nend\nset -g fish_greeting\n");
    fs::write(home.join("config/fish/config.fish"), fish).unwrap();
}

/// The shell with these configurations and nobody else's.
fn command(name: &str, home: &Path) -> (&'static str, Command) {
    let (name, args) = match name {
        "bash" => ("bash", vec!["--noprofile".into(), "--rcfile".into(), home.join("bashrc"), "-i".into()]),
        "zsh" => ("zsh", vec!["-d".into(), "-i".into()]),
        "fish" => ("fish", vec!["-i".into()]),
        other => panic!("no shell {other:?} is known"),
    };
    let mut command = Command::new(name);
    let search = format!("{}:{}", home.join("bin").display(), std::env::var("PATH").unwrap_or_default());
    command.args(args).current_dir(home.join("work")).env_clear().env("PATH", search);
    command.env("TERM", "xterm").env("HOME", home).env("ZDOTDIR", home.join("zsh"));
    command.env("XDG_CONFIG_HOME", home.join("config")).env("XDG_DATA_HOME", home.join("data"));
    (name, command)
}
