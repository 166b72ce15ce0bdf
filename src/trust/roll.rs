//! The list of those who are let in, read anew when its file changes.
//!
//! A file that cannot be used keeps the list as it was, and says why once. A file is read only when it has not
//! changed from one look to the next: in the middle of being written it may have less keys than it is to have, and
//! whoever is missing would lose a session.

use super::open::{self, Stamp};
use super::peers::{Peers, told};
use super::public::PublicKey;
use crate::error::reason;
use crate::sync::Unpoisoned;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

/// Who is let in, now. Seen by every connection, and read anew by whoever calls [`Self::refresh`].
#[derive(Debug)]
pub struct Roll {
    peers: RwLock<Arc<Peers>>,
    watch: Option<WatchedFile>,
}

/// What became of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that counts.
    None,
    /// It was read anew. These keys, with the names they had, are no longer let in.
    Read(Vec<(PublicKey, Arc<str>)>),
    /// The file changed and cannot be used, so the list is as before: a sentence for the user.
    Broken(String),
}

/// A file that is looked at again and again.
#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    looks: Mutex<Looks>,
}

/// What was seen of the file.
#[derive(Debug)]
struct Looks {
    /// What the list was read from, or what was wrong when it was to be read last.
    read: Look,
    /// At the last look.
    last: Look,
}

/// A file's state, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    File(Stamp),
    Nothing(String),
}

impl Roll {
    /// The list in a file, which is watched from now on.
    ///
    /// # Errors
    /// A sentence that names the word, the file, and the line where there is one.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let opened = open::open(path).map_err(|wrong| told(path, &wrong))?;
        let peers = Peers::of(&opened).map_err(|wrong| told(path, &wrong))?;
        let read = Look::File(Stamp::of(&opened.meta));
        let looks = Mutex::new(Looks { last: read.clone(), read });
        let watch = Some(WatchedFile { path: path.to_owned(), looks });
        Ok(Self { peers: RwLock::new(Arc::new(peers)), watch })
    }

    /// This key alone, for ever.
    pub fn only(key: PublicKey) -> Self {
        Self { peers: RwLock::new(Arc::new(Peers::only(key))), watch: None }
    }

    /// Whether the list may change.
    pub(crate) fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// The name of a key that is let in now; `None`: it is not. Takes no system call and waits for no file.
    pub(crate) fn allows(&self, key: &PublicKey) -> Option<Arc<str>> {
        self.peers.read().unpoisoned().name(key).cloned()
    }

    /// Looks at the file, and reads it if it has changed since it was read but not since the last look. To be called
    /// about once a second, by one thread: only one caller is told of a change.
    pub(crate) fn refresh(&self) -> Change {
        let Some(watch) = &self.watch else { return Change::None };
        match watch.look() {
            None => Change::None,
            Some(Err(wrong)) => {
                Change::Broken(told(&watch.path, &format!("{wrong}; the list stays as it was")))
            }
            Some(Ok(peers)) => Change::Read(self.replace(peers)),
        }
    }

    /// Puts a list in the place of the one there is; returns who is not let in any more.
    fn replace(&self, new: Peers) -> Vec<(PublicKey, Arc<str>)> {
        let mut place = self.peers.write().unpoisoned();
        let old = std::mem::replace(&mut *place, Arc::new(new));
        let gone = old.iter().filter(|(key, _)| !place.is_allowed(key));
        gone.map(|(key, name)| (*key, name.clone())).collect()
    }
}

impl WatchedFile {
    /// The list, if the file is another one than the one that was read, and is not being changed.
    fn look(&self) -> Option<Result<Peers, String>> {
        self.look_with(|now| self.read(now))
    }

    /// [`Self::look`] with what reads a file that is in this state.
    fn look_with(
        &self,
        read: impl FnOnce(&Look) -> Result<Option<Peers>, String>,
    ) -> Option<Result<Peers, String>> {
        let mut looks = self.looks.lock().unpoisoned();
        let now = match fs::metadata(&self.path) {
            Ok(meta) => Look::File(Stamp::of(&meta)),
            Err(error) => Look::Nothing(reason(&error)),
        };
        if !looks.is_due(&now) {
            return None;
        }
        let found = match &now {
            Look::Nothing(wrong) => Err(wrong.clone()),
            Look::File(_) => read(&now).transpose()?,
        };
        // A file that cannot be used is read at each look: what is wrong may be that this process has no descriptor left
        // for a moment, and the file would be right. It is said once.
        let read = found.as_ref().err().map_or(now, |wrong| Look::Nothing(wrong.clone()));
        let is_news = found.is_ok() || looks.read != read;
        looks.read = read;
        is_news.then_some(found)
    }

    /// The list in the file; None if the file is not in this state before and after it was read.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(&self, now: &Look) -> Result<Option<Peers>, String> {
        let opened = open::open(&self.path)?;
        let found = Peers::of(&opened);
        let same = opened.stamp().map(Look::File).as_ref() == Some(now);
        same.then_some(found).transpose()
    }
}

impl Looks {
    /// Remembers what is there now. Whether it is to be read: it is not what was read, and it stays as it is.
    fn is_due(&mut self, now: &Look) -> bool {
        let settled = *now == std::mem::replace(&mut self.last, now.clone());
        settled && *now != self.read
    }
}

#[cfg(test)]
mod tests;
