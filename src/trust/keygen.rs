//! Makes a key where there is no ssh-keygen: the same two files, FILE and FILE.pub.
//!
//! Nothing that exists is ever written to, and nothing half done stays behind.

use super::private::PrivateKey;
use super::public::PublicKey;
use crate::error::{Failure, Status, reason};
use crate::message::text::cleaned;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A key that was made. Displayed as a sentence that names its file and its fingerprint.
#[derive(Debug)]
pub struct Made {
    /// Who it is.
    pub(crate) key: PublicKey,
    /// The file with the private half; the public half is beside it.
    pub(crate) file: PathBuf,
    /// The line in the file with the public half.
    pub line: String,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "made {}, {}", self.file.display(), self.key)
    }
}

/// Makes a key: the private half in `file`, for its owner alone, and the public half beside it in `file`.pub.
///
/// # Errors
/// A file exists already, or cannot be written. Then neither is there that was not before.
pub fn keygen(file: &Path) -> Result<Made, Failure> {
    let own = PrivateKey::generate().map_err(Failure::network)?;
    let comment = comment();
    let private = own.openssh(&comment).map_err(Failure::network)?;
    let line = own.public().openssh(&comment);
    let mut public = file.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    let first = New::create(file, 0o600)?;
    let second = New::create(&public, 0o644)?;
    let (first, second) = (first.write(&private)?, second.write(&format!("{line}\n"))?);
    first.keep();
    second.keep();
    Ok(Made { key: own.public(), file: file.to_owned(), line })
}

/// A file that was made here, and is removed again unless it is kept.
struct New<'a> {
    path: &'a Path,
    file: File,
    kept: bool,
}

impl<'a> New<'a> {
    fn create(path: &'a Path, mode: u32) -> Result<Self, Failure> {
        let created = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        let file = created.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::usage(format!("keygen {}: it exists, and is left as it is", path.display()))
            }
            _ => cannot(path, &error),
        })?;
        Ok(Self { path, file, kept: false })
    }

    fn write(mut self, text: &str) -> Result<Self, Failure> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all());
        written.map_err(|error| cannot(self.path, &error))?;
        Ok(self)
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure { status: Status::Output, sentence: format!("keygen {}: {}", path.display(), reason(error)) }
}

/// Whose key it is, as far as that is known: USER@HOST.
fn comment() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let parts: Vec<String> = user.into_iter().chain([host]).filter(|part| !part.is_empty()).collect();
    // a comment is one line, and its ends are cut off where it is read
    cleaned(&parts.join("@")).split_whitespace().collect()
}

impl Drop for New<'_> {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Roll;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_made_can_be_loaded_and_is_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let made = keygen(&file).unwrap();
        assert_eq!(made.to_string(), format!("made {}, {}", file.display(), made.key));
        let public = folder.path().join("key.pub");
        assert_eq!(PrivateKey::load(&file).unwrap().public(), made.key);
        assert_eq!(fs::read_to_string(&public).unwrap(), format!("{}\n", made.line));
        assert_eq!(*Roll::load(&public).unwrap().allows(&made.key).unwrap(), *comment());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(&public) & 0o133, 0);
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_half_made_stays() {
        let folder = tempfile::tempdir().unwrap();
        let names = || {
            let mut names: Vec<_> =
                fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        for existing in ["key", "key.pub"] {
            let existing = folder.path().join(existing);
            fs::write(&existing, "mine").unwrap();
            let failure = keygen(&folder.path().join("key")).unwrap_err();
            let told = format!("keygen {}: it exists, and is left as it is", existing.display());
            assert_eq!((failure.status, failure.sentence), (Status::Usage, told));
            assert_eq!(names(), [existing.file_name().unwrap()]);
            assert_eq!(fs::read_to_string(&existing).unwrap(), "mine");
            fs::remove_file(&existing).unwrap();
        }
        // a link that leads nowhere is not followed
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), folder.path().join("key.pub")).unwrap();
        assert!(keygen(&folder.path().join("key")).is_err());
        assert_eq!(names(), ["key.pub"]);
        let nowhere = folder.path().join("no/key");
        let failure = keygen(&nowhere).unwrap_err();
        let told = format!("keygen {}: no such file or directory", nowhere.display());
        assert_eq!((failure.status, failure.sentence), (Status::Output, told));
    }
}
