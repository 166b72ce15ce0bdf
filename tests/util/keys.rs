//! Keys for processes under test, and lists of who is let in.

use super::process::millipede;
use std::fs;
use tempfile::TempDir;

/// A folder with keys that the program has made: one for each name, which is also its comment.
pub struct Keys(TempDir);

impl Keys {
    /// A key for each of these.
    pub fn of(names: &[&str]) -> Keys {
        let keys = Keys(tempfile::tempdir().unwrap());
        for name in names {
            let made = millipede(&["keygen", keys.path(name)]).output().unwrap();
            assert!(made.status.success(), "{made:?}");
        }
        keys
    }

    /// A file's whole path. What a test says lives as long as the test's process.
    pub fn path(&self, name: &str) -> &'static str {
        self.0.path().join(name).to_str().unwrap().to_owned().leak()
    }

    /// The line of a public key, with its name.
    pub fn line(&self, name: &str) -> String {
        let public = fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
        let words: Vec<&str> = public.split_whitespace().take(2).collect();
        format!("{} {name}\n", words.join(" "))
    }

    /// Writes a list of these into a file of this name, in one step.
    pub fn list(&self, file: &str, names: &[&str]) {
        self.write(file, &names.iter().map(|name| self.line(name)).collect::<String>());
    }

    /// Writes a file of this name, in one step.
    pub fn write(&self, file: &str, text: &str) {
        let new = self.path("new");
        fs::write(new, text).unwrap();
        fs::rename(new, self.path(file)).unwrap();
    }

    /// The words of an end that has this key, which is a secret that both ends share.
    pub fn shared(&self, own: &str) -> [&'static str; 2] {
        ["key", self.path(own)]
    }

    /// The words of an end that has this key and lets in these.
    pub fn words(&self, own: &str, peers: &[&str]) -> [&'static str; 4] {
        let file = format!("{own} lets in {}", peers.join(" and "));
        self.list(&file, peers);
        ["key", self.path(own), "peers", self.path(&file)]
    }
}
