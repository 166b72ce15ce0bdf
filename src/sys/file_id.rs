//! Which file it is, whatever it is called.

use rustix::fs::Stat;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// A file or a folder on its disk. It is no other's for as long as anybody has it open or it has a name; after that it may
/// be given to a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    /// The disk.
    pub(crate) device: u64,
    /// The file on it.
    pub(crate) inode: u64,
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl From<&Stat> for FileId {
    fn from(stat: &Stat) -> Self {
        FileId { device: stat.st_dev, inode: stat.st_ino }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, hard_link, write};

    #[test]
    fn a_file_is_the_same_by_all_its_names_and_no_other_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(at("a"), "a").unwrap();
        write(at("b"), "a").unwrap();
        hard_link(at("a"), at("c")).unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| FileId::from(&fs::metadata(at(name)).unwrap()));
        assert!(a == c && a != b);
        assert_eq!(a, FileId::from(&rustix::fs::stat(at("c")).unwrap()));
    }
}
