//! The live line on a terminal: a pseudo-terminal, and a screen that shows what a person would see.
// nothing of a test program is seen from outside: `pub` is for its own modules
#![allow(unreachable_pub)]
#![cfg(target_os = "linux")]
// the process must have the terminal for itself before it is executed
#![allow(unsafe_code)]

mod util;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use util::{DEADLINE, Rx, eventually, millipede, pattern};

const COLUMNS: u16 = 100;
const ROWS: u16 = 40;

fn size(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

fn window(columns: u16) -> Winsize {
    Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// A process on a terminal of its own, and what that shows.
struct Shown {
    child: Child,
    input: Option<ChildStdin>,
    screen: Arc<Mutex<(vt100::Parser, Vec<u8>)>>,
    /// The terminal itself; closed by hanging up.
    terminal: Option<File>,
    /// Whether the terminal shall be gone after what is shown next, and whether it is.
    hang_up: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
}

impl Shown {
    /// With stderr on the terminal, and in its foreground; stdin is a pipe, stdout goes nowhere.
    fn start(command: &mut Command) -> Shown {
        Shown::start_on(command, COLUMNS, false)
    }

    /// The same on a terminal of this width, to which stdout goes too if that is wanted.
    fn start_on(command: &mut Command, columns: u16, stdout: bool) -> Shown {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave: OwnedFd = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        tcsetwinsize(&slave, window(columns)).unwrap();
        let out = if stdout { slave.try_clone().unwrap().into() } else { Stdio::null() };
        command.env("TERM", "xterm").stdin(Stdio::piped()).stdout(out).stderr(slave);
        // SAFETY: both are system calls that may be made between fork and exec, and touch no memory.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stderr())?;
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap();
        // the command holds the slave's end open
        *command = Command::new("true");
        let screen = Arc::new(Mutex::new((vt100::Parser::new(size(ROWS), size(columns), 0), Vec::new())));
        let (input, seen) = (child.stdin.take(), screen.clone());
        let (hang_up, gone) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (order, done) = (hang_up.clone(), gone.clone());
        let mut master = File::from(master);
        let terminal = Some(master.try_clone().unwrap());
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            // the end of a terminal is an error
            while let Ok(n @ 1..) = master.read(&mut chunk) {
                let mut seen = seen.lock().unwrap();
                seen.0.process(&chunk[..n]);
                seen.1.extend_from_slice(&chunk[..n]);
                if order.load(Ordering::SeqCst) {
                    break;
                }
            }
            drop(master);
            done.store(true, Ordering::SeqCst);
        });
        Shown { child, input, screen, terminal, hang_up, gone }
    }

    fn lines(&self) -> Vec<String> {
        let screen = self.screen.lock().unwrap();
        let (_, columns) = screen.0.screen().size();
        screen.0.screen().rows(0, columns.into()).filter(|line| !line.is_empty()).collect()
    }

    fn resize(&self, columns: u16) {
        let mut screen = self.screen.lock().unwrap();
        screen.0.screen_mut().set_size(size(ROWS), size(columns));
        tcsetwinsize(self.terminal.as_ref().unwrap(), window(columns)).unwrap();
    }

    fn bytes(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap().1).into_owned()
    }

    /// Waits until the screen shows a line that fits.
    fn expect(&self, what: &str, fits: impl Fn(&str) -> bool) {
        let shown = eventually(DEADLINE, || self.lines().iter().any(|line| fits(line)));
        assert!(shown, "{what}: {:#?}", self.lines());
    }

    fn signal(&self, signal: util::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends its input, and waits for its exit status.
    fn end(&mut self) -> Option<i32> {
        self.input = None;
        let mut status = None;
        let ended = eventually(DEADLINE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "{:#?}", self.lines());
        status.unwrap().code()
    }

    fn feed(&mut self, from: u64, bytes: usize) -> io::Result<()> {
        self.input.as_mut().unwrap().write_all(&pattern(from, bytes))
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A sender on a terminal.
fn sender(rx: &Rx, words: &[&str]) -> Shown {
    let port = rx.port.to_string();
    Shown::start(millipede(&["tx", "127.0.0.1", &port, "threads", "2"]).args(words))
}

#[test]
fn asked_for_it_shows_how_far_it_is_and_messages_stand_above_it() {
    let rx = Rx::start(&[]);
    let output = rx.collect();
    let mut tx = sender(&rx, &["progress", "size", "4M"]);
    tx.feed(0, 1 << 20).unwrap();
    let quarter =
        |line: &str| line.starts_with("tx  1.00 MiB") && line.contains("[==") && line.contains(" 25 %");
    tx.expect("a quarter", quarter);
    tx.signal(util::Signal::USR1);
    tx.expect("the report", |line| line.starts_with("  connections lost: 0"));
    tx.expect("the line again", quarter);
    for line in tx.lines() {
        let whole = line.starts_with("tx  ") || line.starts_with("millipede: tx: ") || line.starts_with("  ");
        assert!(whole, "garbled: {line:?} in {:#?}", tx.lines());
    }
    assert_eq!(tx.lines().iter().filter(|line| line.starts_with("tx  ")).count(), 1, "{:#?}", tx.lines());
    tx.feed(1 << 20, 3 << 20).unwrap();
    assert_eq!(tx.end(), Some(0), "{:#?}", tx.lines());
    tx.expect("the sum", |line| line.starts_with("millipede: sent 4194304 bytes (4.00 MiB) in "));
    assert!(!tx.lines().iter().any(|line| line.starts_with("tx  ")), "{:#?}", tx.lines());
    assert_eq!(rx.wait().code(), Some(0), "{rx}");
    assert_eq!(output.join(), 4 << 20);
}

#[test]
fn in_the_foreground_it_is_there_by_itself_after_a_moment() {
    let rx = Rx::start(&[]);
    // a pipe need not hold all of it
    let output = rx.collect();
    let mut tx = sender(&rx, &[]);
    tx.feed(0, 1 << 20).unwrap();
    tx.expect("the line", |line| line.starts_with("tx  1.00 MiB") && !line.contains('['));
    assert_eq!(tx.end(), Some(0), "{:#?}", tx.lines());
    assert_eq!(output.join(), 1 << 20);
}

#[test]
fn quiet_keeps_the_terminal_clean() {
    let rx = Rx::start(&[]);
    let output = rx.collect();
    let mut tx = sender(&rx, &["quiet"]);
    tx.feed(0, 1 << 20).unwrap();
    assert_eq!(tx.end(), Some(0));
    assert_eq!(output.join(), 1 << 20);
    assert_eq!(tx.bytes(), "");
}

#[test]
fn a_terminal_that_goes_away_stops_nothing() {
    let rx = Rx::start(&[]);
    let output = rx.collect();
    let port = rx.port.to_string();
    // as nohup does
    let mut tx = Shown::start(
        Command::new("sh")
            .args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_millipede")])
            .args(["tx", "127.0.0.1", &port, "progress", "verbose", "3"]),
    );
    tx.feed(0, 1 << 20).unwrap();
    tx.expect("the line", |line| line.starts_with("tx  1.00 MiB"));
    tx.terminal = None;
    tx.hang_up.store(true, Ordering::SeqCst);
    assert!(eventually(DEADLINE, || tx.gone.load(Ordering::SeqCst)));
    tx.signal(util::Signal::USR1);
    tx.feed(1 << 20, 1 << 20).unwrap();
    assert_eq!(tx.end(), Some(0), "{:#?}", tx.lines());
    assert_eq!(output.join(), 2 << 20);
}

#[test]
fn what_is_over_at_once_leaves_one_line_too() {
    let rx = Rx::start(&[]);
    let output = rx.collect();
    let mut tx = sender(&rx, &[]);
    tx.feed(0, 1000).unwrap();
    assert_eq!(tx.end(), Some(0), "{:#?}", tx.lines());
    assert_eq!(output.join(), 1000);
    tx.expect("the sum", |line| line.starts_with("millipede: sent 1000 bytes in "));
    assert_eq!(tx.lines().len(), 1, "{:#?}", tx.lines());
}

#[test]
fn it_fits_a_narrow_terminal_and_one_that_changes() {
    let rx = Rx::start(&[]);
    let output = rx.collect();
    let port = rx.port.to_string();
    let words = ["tx", "127.0.0.1", &port, "threads", "2", "progress", "size", "4M"];
    let mut tx = Shown::start_on(&mut millipede(&words), 40, false);
    tx.feed(0, 1 << 20).unwrap();
    for (columns, shows) in
        [(40, " 25 %"), (60, "MiB/s"), (80, "buffer"), (120, "[==="), (80, "buffer"), (40, " 25 %")]
    {
        tx.resize(columns);
        let drawn = || {
            let lines = tx.lines();
            let whole =
                |line: &String| line.contains(shows) && (line.ends_with(" left") || line.ends_with('%'));
            let fits = |line: &String| line.chars().count() < columns.into();
            lines.len() == 1
                && lines
                    .iter()
                    .all(|line| whole(line) && fits(line) && line.contains("[===") == (columns == 120))
        };
        assert!(eventually(DEADLINE, drawn), "{columns}: {:#?}", tx.lines());
    }
    tx.feed(1 << 20, 3 << 20).unwrap();
    assert_eq!(tx.end(), Some(0), "{:#?}", tx.lines());
    assert_eq!(output.join(), 4 << 20);
}

#[test]
fn at_the_end_the_output_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    rustix::fs::mkfifoat(rustix::fs::CWD, &gate, Mode::RUSR | Mode::WUSR).unwrap();
    let rx = Rx::start(&["exec", &format!("cat >/dev/null; cat {}", gate.display())]);
    let mut tx = sender(&rx, &["progress", "size", "1M"]);
    tx.feed(0, 1 << 20).unwrap();
    tx.input = None;
    tx.expect("whose turn it is", |line| line.ends_with("  waiting for the output"));
    assert!(!tx.lines().iter().any(|line| line.contains("left")), "{:#?}", tx.lines());
    File::options().write(true).open(&gate).unwrap();
    assert_eq!(tx.end(), Some(0), "{:#?}", tx.lines());
}

#[test]
fn nobody_wants_the_stream_on_a_terminal_by_mistake() {
    let mut rx = Shown::start_on(&mut millipede(&["rx", "127.0.0.1", "0"]), COLUMNS, true);
    assert_eq!(rx.end(), Some(2), "{:#?}", rx.lines());
    rx.expect("what to do", |line| line.contains("add > FILE or | COMMAND, or charmode"));
    assert_eq!(rx.lines().len(), 1, "{:#?}", rx.lines());
    let mut rx = Shown::start_on(&mut millipede(&["rx", "127.0.0.1", "0", "charmode"]), COLUMNS, true);
    rx.expect("that it listens", |line| line.starts_with("millipede: listening on port "));
    rx.signal(util::Signal::TERM);
    assert_eq!(rx.end(), None);
}

#[test]
fn a_terminal_is_told_where_it_listens_unless_quiet() {
    let port = util::free_port().to_string();
    let mut rx = Shown::start(&mut millipede(&["rx", "127.0.0.1", &port]));
    rx.expect("where", |line| line == format!("millipede: listening on port {port}"));
    rx.signal(util::Signal::TERM);
    assert_eq!(rx.end(), None);
    let words = ["rx", "127.0.0.1", "0", "terminate", &port];
    let mut tunnel = Shown::start(&mut millipede(&words));
    tunnel.expect("where", |line| line == format!("millipede: tunnel on port {port}"));
    tunnel.signal(util::Signal::TERM);
    assert_eq!(tunnel.end(), None);
    let mut quiet = Shown::start(&mut millipede(&["rx", "127.0.0.1", &port, "quiet"]));
    let tx = util::tx(port.parse().unwrap(), &["verbose", "1"]);
    tx.feed(5);
    assert_eq!(tx.wait().code(), Some(0), "{tx}");
    assert_eq!((quiet.end(), quiet.bytes().as_str()), (Some(0), ""));
}
