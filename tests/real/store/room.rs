//! What the tests of the standing receiver share: keys, folders, who serves and who sends.

use crate::util::{Process, millipede, until};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

pub const MIB: usize = 1 << 20;

/// A server's key and those of two senders, each in the other's list, and two folders.
pub struct Room {
    pub dir: TempDir,
}

impl Room {
    pub fn new() -> Self {
        let room = Room { dir: tempfile::tempdir().unwrap() };
        for name in ["server", "a", "b"] {
            let made = millipede(&["keygen", room.path(name).to_str().unwrap()]).output().unwrap();
            assert!(made.status.success(), "{made:?}");
        }
        let public = |name: &str| fs::read_to_string(room.path(name).with_extension("pub")).unwrap();
        let named = |name: &str| {
            let line = public(name);
            let mut words = line.split_whitespace();
            format!("{} {} {name}\n", words.next().unwrap(), words.next().unwrap())
        };
        fs::write(room.path("peers"), named("a") + &named("b")).unwrap();
        fs::write(room.path("store"), named("server")).unwrap();
        for folder in ["into", "from"] {
            fs::create_dir(room.path(folder)).unwrap();
        }
        room
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path("from").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn stored(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path("into").join(name)).ok()
    }

    /// How much of each unfinished file is there.
    pub fn partials(&self) -> Vec<u64> {
        let keys = fs::read_dir(self.path("into/.millipede/partial")).into_iter().flatten().flatten();
        let files = keys.filter_map(|key| fs::read_dir(key.path()).ok()).flatten().flatten();
        files.filter_map(|file| Some(file.metadata().ok()?.len())).collect()
    }

    /// How much of the only one is there.
    pub fn partial(&self) -> Option<u64> {
        self.partials().first().copied()
    }

    /// Waits until more than so many bytes of it are there.
    #[track_caller]
    pub fn await_partial(&self, bytes: u64) {
        until("a partial", || self.partial().filter(|size| *size > bytes));
    }

    /// Serves the folder `into`.
    pub fn serve(&self, words: &[&str]) -> Serve {
        let into = self.path("into");
        self.serve_as(&[&["into", into.to_str().unwrap()], words].concat())
    }

    /// The command line of who serves on a free port, with its key.
    pub fn serving(&self, words: &[&str]) -> Command {
        let mut command = millipede(&["serve", "127.0.0.1", "0"]);
        let [key, peers] = ["server", "peers"].map(|name| self.path(name));
        command.args(["key".as_ref(), key.as_os_str(), "peers".as_ref(), peers.as_os_str()]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir(self.dir.path());
        command
    }

    pub fn serve_as(&self, words: &[&str]) -> Serve {
        Serve::spawn(&mut self.serving(words))
    }

    /// Serves the folder `into` to anybody.
    pub fn serve_openly(&self) -> Serve {
        let mut command = millipede(&["serve", "127.0.0.1", "0", "insecure", "into"]);
        Serve::spawn(command.arg(self.path("into")).stdin(Stdio::null()).stdout(Stdio::null()))
    }

    /// Sends without a key, from the folder of what is to be sent.
    pub fn put_openly(&self, serve: &Serve, words: &[&str]) -> Process {
        let mut command = millipede(&["tx", "127.0.0.1", &serve.port.to_string(), "threads", "4"]);
        let command = command.args(words).current_dir(self.path("from"));
        Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()))
    }

    /// Sends with the key of this name, from the folder of what is to be sent.
    pub fn put(&self, serve: &Serve, key: &str, words: &[&str]) -> Process {
        self.put_at(serve.port, key, words)
    }

    /// The same to whoever listens on this port.
    pub fn put_at(&self, port: u16, key: &str, words: &[&str]) -> Process {
        let mut command = millipede(&["tx", "127.0.0.1", &port.to_string(), "threads", "4"]);
        let (key, store) = (self.path(key), self.path("store"));
        command.args(["key".as_ref(), key.as_os_str(), "peers".as_ref(), store.as_os_str()]).args(words);
        let command = command.current_dir(self.path("from"));
        Process::spawn(command.stdin(Stdio::piped()).stdout(Stdio::null()))
    }
}

/// Who serves, on this port.
pub struct Serve {
    pub process: Process,
    pub port: u16,
}

impl Serve {
    pub fn spawn(command: &mut Command) -> Self {
        let process = Process::spawn(command);
        let port = process.port("millipede: serving on port ");
        Serve { process, port }
    }
}

/// Bytes of this seed; a beginning of them is the same for any size.
pub fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..size).map(step).collect()
}
