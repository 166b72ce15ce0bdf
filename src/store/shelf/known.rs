//! What is known of the files that are finished, and whose they are.

use super::super::disk::{Disk, Found, Standing, read_whole};
use super::super::name::{BadName, Name, PART_MAX};
use super::super::place;
use super::super::sidecar::{Identity, SIDECAR_MAX, Sidecar};
use super::super::sum::{Running, Sum};
use super::base::Shelf;
use super::no::{No, disk_failed, in_the_way};
use rustix::io::Errno;
use std::io;

impl<D: Disk> Shelf<D> {
    /// What is known of the finished file of this name; none if there is none.
    pub(super) fn kept(&self, key: &str, name: &Name) -> Result<Option<Sidecar>, No> {
        match self.disk.look(name.as_str()).map_err(in_the_way)? {
            Found::Nothing => Ok(None),
            Found::Folder => Err(No::Taken),
            Found::Other => Err(No::Refused("something that is no file has this name".into())),
            Found::File(standing) => self.known(key, name, &standing)?.map(Some).ok_or(No::Taken),
        }
    }

    /// What is known of a file that is there, if it is this key's.
    pub(super) fn known(&self, key: &str, name: &Name, standing: &Standing) -> Result<Option<Sidecar>, No> {
        let Some(sidecar) = self.sidecar(name)? else { return Ok(None) };
        let old = sidecar.replaced.clone().map(|old| *old);
        let known: Vec<Sidecar> = [Some(sidecar), old].into_iter().flatten().collect();
        if let Some(kept) = known.iter().find(|known| known.is_of(standing)) {
            return Ok(Some(kept.clone()).filter(|kept| kept.key == key));
        }
        // it was copied here, with all else, from another disk: then it is the one whose sum it has
        let mut known =
            known.into_iter().filter(|known| known.key == key && known.size == standing.size).peekable();
        if known.peek().is_none() {
            return Ok(None);
        }
        let file = self.disk.open(name.as_str(), false).map_err(disk_failed)?;
        let sum = Running::of(&file, self.rules.stride).map_err(disk_failed)?.sum();
        let Some(kept) = known.find(|known| known.sum() == Some(sum)) else { return Ok(None) };
        let kept = Sidecar { file: Identity::of(standing), ..kept };
        self.write(&place::sidecar(name), &kept.encode())?;
        Ok(Some(kept))
    }

    /// What stands beside a file of this name, whether or not it tells of that; none if nothing of ours does.
    ///
    /// # Errors
    /// It cannot be read at this moment: then nobody knows whose the file is.
    pub(super) fn sidecar(&self, name: &Name) -> Result<Option<Sidecar>, No> {
        let text = self.text(&place::sidecar(name), SIDECAR_MAX)?;
        let sidecar = text.and_then(|text| Sidecar::parse(&text));
        Ok(sidecar.filter(|sidecar| sidecar.name == name.as_str()))
    }

    /// What a small file has in it; none if there is none, or something that was not written here.
    fn text(&self, path: &str, at_most: usize) -> Result<Option<Vec<u8>>, No> {
        match self.disk.open(path, false).and_then(|file| read_whole(&file, at_most)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if is_none_of_ours(&error) => Ok(None),
            Err(error) => Err(disk_failed(error)),
        }
    }

    /// With sums, a file has two names, and neither may be somebody else's.
    pub(super) fn check_sum_place(&self, name: &Name) -> Result<(), No> {
        if !self.rules.sums {
            return Ok(());
        }
        if name.as_str().ends_with(place::SUM_ENDING) {
            return Err(BadName::Sum(place::SUM_ENDING).into());
        }
        let most = PART_MAX - place::SUM_ENDING.len();
        if name.last().len() > most {
            return Err(BadName::LongPart(most).into());
        }
        let path = place::sum(name);
        match self.disk.look(&path).map_err(in_the_way)? {
            Found::Nothing => Ok(()),
            Found::File(_) if self.is_sum(name, &path)? => Ok(()),
            _ => Err(No::Refused(format!("another file has the place of its sum, {path}"))),
        }
    }

    /// Whether a file is one of ours that hold a sum.
    fn is_sum(&self, name: &Name, path: &str) -> Result<bool, No> {
        let text = self.text(path, 2 * PART_MAX + 100)?;
        let stored = Name::stored(path).ok().map(|name| self.sidecar(&name)).transpose()?.flatten().is_some();
        Ok(!stored && text.is_some_and(|text| is_sum_line(name, &text)))
    }
}

/// Whether a file cannot be read because there is none, or none that was written here. Any other error may be over the
/// next time, as where there are no descriptors left.
fn is_none_of_ours(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound};
    matches!(
        error.kind(),
        NotFound | NotADirectory | IsADirectory | InvalidInput | InvalidFilename | FileTooLarge
    ) || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// What `sha256sum` writes of a file, and checks.
pub(super) fn sum_line(name: &Name, sum: &str) -> String {
    let last = name.last();
    // names with a backslash are told so there
    if last.contains('\\') {
        format!("\\{sum}  {}\n", last.replace('\\', "\\\\"))
    } else {
        format!("{sum}  {last}\n")
    }
}

/// Whether a file is one that holds this name's sum, whichever that is.
fn is_sum_line(name: &Name, text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    debug_assert!(name.last().len() <= PART_MAX, "names are checked");
    let digits = text.strip_prefix('\\').unwrap_or(text).get(..64);
    digits.is_some_and(|sum| Sum::parse(sum).is_some() && text == sum_line(name, sum))
}
