//! A disk in memory that loses its power: what was not synced is lost then, or not, or in part.
//!
//! Names: an operation that was not synced may be lost alone, but not one that another, kept one needs: those on the
//! same folder or file are lost from some moment on. Syncing a folder keeps the names in it, and what these need, but not
//! its own. Syncing a file keeps its bytes, and not its name. Bytes that were not synced: what was there before, what is there
//! now, the first half of that, or zeros as far as it is longer.

use crate::store::disk::{Contents, Disk, Found, Standing};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Clone)]
pub(super) struct Frail(Arc<Mutex<World>>);

#[derive(Clone, Default)]
struct World {
    files: Vec<Inode>,
    names: Names,
    durable: Names,
    pending: Vec<Op>,
    steps: usize,
    crash_at: Option<usize>,
    linking: bool,
    clock: i64,
    /// Cannot be opened.
    barred: Option<String>,
    /// Writes until it is full.
    room: Option<usize>,
    /// Called once, see [`Frail::when_named`].
    named: Option<Hook>,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

type Names = BTreeMap<String, Entry>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Folder,
    File(usize),
}

#[derive(Clone, Default)]
struct Inode {
    now: (Vec<u8>, i64),
    durable: (Vec<u8>, i64),
}

#[derive(Clone)]
struct Op {
    changes: Vec<(String, Option<Entry>)>,
    touches: BTreeSet<Touch>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Touch {
    Folder(String),
    File(usize),
}

/// What becomes of bytes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    Lost,
    Kept,
    Half,
    Zeros,
}

const BYTES: [Bytes; 4] = [Bytes::Lost, Bytes::Kept, Bytes::Half, Bytes::Zeros];

impl Frail {
    /// `linking`: it can't rename without replacing, except by a link and one name less.
    pub(super) fn new(linking: bool) -> Self {
        Frail(Arc::new(Mutex::new(World { linking, ..World::default() })))
    }

    /// The same, apart from this one from now on: as another process finds it after this one was killed.
    pub(super) fn copy(&self) -> Self {
        let mut world = self.world().clone();
        (world.steps, world.crash_at) = (0, None);
        Frail(Arc::new(Mutex::new(world)))
    }

    /// Fails at its so manieth change from now on, and at everything after that.
    pub(super) fn crash_at(&self, step: usize) {
        let mut world = self.world();
        (world.steps, world.crash_at) = (0, Some(step));
    }

    /// This file cannot be opened from now on, as where a process has no descriptors left.
    pub(super) fn bar(&self, path: Option<&str>) {
        self.world().barred = path.map(str::to_owned);
    }

    /// After so many writes more it is full; none: it has room again.
    pub(super) fn fill(&self, writes: Option<usize>) {
        self.world().room = writes;
    }

    /// The next time that a file has got a name that was free, this is called before whoever gave it goes on.
    pub(super) fn when_named(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.world().named = Some(Arc::new(hook));
    }

    pub(super) fn has_crashed(&self) -> bool {
        let world = self.world();
        world.crash_at.is_some_and(|at| world.steps > at)
    }

    /// All that may be there after the power is back, and what became of what.
    pub(super) fn after_power_loss(&self) -> Vec<(String, Frail)> {
        let world = self.world();
        let count = world.pending.len();
        assert!(count <= 14, "too many: {count}");
        let sets = (0..1u32 << count).filter(|kept| world.is_closed(*kept));
        let dirty = world.files.iter().any(|file| file.now != file.durable);
        let bytes = if dirty { &BYTES[..] } else { &BYTES[..1] };
        sets.flat_map(|kept| bytes.iter().map(move |bytes| (kept, *bytes)))
            .map(|(kept, bytes)| {
                (format!("names {kept:b} of {count}, bytes {bytes:?}"), world.left(kept, bytes))
            })
            .collect()
    }

    /// What is there if all is lost that can be.
    pub(super) fn after_the_worst(&self) -> Frail {
        self.world().left(0, Bytes::Lost)
    }

    /// Every file, with its bytes.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let world = self.world();
        let files = world.names.iter().filter_map(|(path, entry)| match entry {
            Entry::File(file) => Some((path.clone(), world.files[*file].now.0.clone())),
            Entry::Folder => None,
        });
        files.collect()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }
}

impl World {
    /// Whether all that these need of each other is among them.
    fn is_closed(&self, kept: u32) -> bool {
        let is_kept = |index: usize| kept >> index & 1 == 1;
        (0..self.pending.len()).filter(|index| is_kept(*index)).all(|later| {
            (0..later).all(|earlier| {
                is_kept(earlier) || self.pending[earlier].touches.is_disjoint(&self.pending[later].touches)
            })
        })
    }

    fn left(&self, kept: u32, bytes: Bytes) -> Frail {
        let mut names = self.durable.clone();
        for (index, op) in self.pending.iter().enumerate() {
            if kept >> index & 1 == 1 {
                op.apply(&mut names);
            }
        }
        // a folder that is lost takes along what is in it
        let there = names.clone();
        names.retain(|path, _| above(path).all(|folder| there.contains_key(folder)));
        let files = self.files.iter().map(|file| file.left(bytes)).collect();
        let durable = names.clone();
        Frail(Arc::new(Mutex::new(World {
            files,
            names,
            durable,
            linking: self.linking,
            clock: self.clock,
            ..World::default()
        })))
    }

    /// Something is changed: unless this is the moment of the crash.
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        self.alive()
    }

    fn alive(&self) -> io::Result<()> {
        match self.crash_at {
            Some(at) if self.steps > at => Err(io::Error::other("the power is gone")),
            _ => Ok(()),
        }
    }

    fn change(&mut self, changes: &[(&str, Option<Entry>)], file: Option<usize>) {
        let mut touches: BTreeSet<Touch> = file.map(Touch::File).into_iter().collect();
        for (path, _) in changes {
            touches.insert(Touch::Folder(folder(path).to_owned()));
        }
        let changes = changes.iter().map(|(path, entry)| ((*path).to_owned(), *entry)).collect();
        let op = Op { changes, touches };
        op.apply(&mut self.names);
        self.pending.push(op);
    }

    fn entry(&self, path: &str) -> io::Result<Option<Entry>> {
        if path.is_empty() {
            return Ok(Some(Entry::Folder));
        }
        match self.entry(folder(path))? {
            None => Ok(None),
            Some(Entry::Folder) => Ok(self.names.get(path).copied()),
            Some(Entry::File(_)) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&self, path: &str) -> io::Result<usize> {
        match self.entry(path)? {
            Some(Entry::File(file)) => Ok(file),
            Some(Entry::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// That the folder is there for a new name.
    fn room_for(&self, path: &str) -> io::Result<()> {
        match self.entry(folder(path))? {
            Some(Entry::Folder) => Ok(()),
            Some(Entry::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn standing(&self, file: usize) -> Standing {
        let links = self.names.values().filter(|entry| **entry == Entry::File(file)).count() as u64;
        let (bytes, modified) = &self.files[file].now;
        Standing { size: bytes.len() as u64, inode: file as u64, links, modified: *modified }
    }

    fn touch(&mut self, file: usize) -> &mut Vec<u8> {
        self.clock += 1;
        self.files[file].now.1 = self.clock;
        &mut self.files[file].now.0
    }
}

impl Op {
    fn apply(&self, names: &mut Names) {
        for (path, entry) in &self.changes {
            match entry {
                Some(entry) => drop(names.insert(path.clone(), *entry)),
                None => drop(names.remove(path)),
            }
        }
    }
}

impl Inode {
    fn left(&self, bytes: Bytes) -> Inode {
        let (now, durable) = (&self.now.0, &self.durable.0);
        let bytes = match bytes {
            Bytes::Lost => durable.clone(),
            Bytes::Kept => now.clone(),
            Bytes::Half => {
                let half = now.len().min(durable.len()) + now.len().saturating_sub(durable.len()) / 2;
                let old = durable.get(half / 2..).unwrap_or_default();
                // half of what is longer, or half of what is other
                if now.starts_with(durable) { now[..half].to_vec() } else { [&now[..half / 2], old].concat() }
            }
            Bytes::Zeros => {
                let mut bytes = durable.clone();
                bytes.resize(now.len().max(durable.len()), 0);
                bytes
            }
        };
        let modified = if bytes == self.durable.0 { self.durable.1 } else { self.now.1 };
        Inode { now: (bytes.clone(), modified), durable: (bytes, modified) }
    }
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The folders that a path stands in.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

impl Disk for Frail {
    type File = Open;

    fn look(&self, path: &str) -> io::Result<Found> {
        let world = self.world();
        world.alive()?;
        Ok(match world.entry(path)? {
            None => Found::Nothing,
            Some(Entry::Folder) => Found::Folder,
            Some(Entry::File(file)) => Found::File(world.standing(file)),
        })
    }

    fn open(&self, path: &str, _write: bool) -> io::Result<Open> {
        let world = self.world();
        world.alive()?;
        if world.barred.as_deref() == Some(path) {
            return Err(Errno::MFILE.into());
        }
        Ok(Open { disk: self.clone(), file: world.file(path)? })
    }

    fn create(&self, path: &str) -> io::Result<Open> {
        let mut world = self.world();
        world.room_for(path)?;
        if world.entry(path)?.is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        world.step()?;
        let file = world.files.len();
        world.files.push(Inode::default());
        world.change(&[(path, Some(Entry::File(file)))], Some(file));
        Ok(Open { disk: self.clone(), file })
    }

    fn make_folder(&self, path: &str, _private: bool) -> io::Result<()> {
        let mut world = self.world();
        world.room_for(path)?;
        match world.entry(path)? {
            Some(Entry::Folder) => return Ok(()),
            Some(Entry::File(_)) => return Err(ErrorKind::NotADirectory.into()),
            None => {}
        }
        world.step()?;
        world.change(&[(path, Some(Entry::Folder))], None);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        let file = world.file(from)?;
        world.room_for(to)?;
        if world.entry(to)?.is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        world.step()?;
        if world.linking {
            world.change(&[(to, Some(Entry::File(file)))], Some(file));
            world.step()?;
            world.change(&[(from, None)], Some(file));
        } else {
            world.change(&[(from, None), (to, Some(Entry::File(file)))], Some(file));
        }
        let hook = world.named.take();
        drop(world);
        hook.into_iter().for_each(|hook| hook());
        Ok(())
    }

    fn replace(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        let file = world.file(from)?;
        world.room_for(to)?;
        if world.entry(to)? == Some(Entry::Folder) {
            return Err(ErrorKind::IsADirectory.into());
        }
        world.step()?;
        world.change(&[(from, None), (to, Some(Entry::File(file)))], Some(file));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut world = self.world();
        world.alive()?;
        if let Some(Entry::File(file)) = world.entry(path)? {
            world.step()?;
            world.change(&[(path, None)], Some(file));
        }
        Ok(())
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        let mut world = self.world();
        if world.entry(path)? != Some(Entry::Folder) {
            return Err(ErrorKind::NotFound.into());
        }
        world.step()?;
        let mut kept = 0u32;
        for index in (0..world.pending.len()).rev() {
            let needed = |later: usize| {
                kept >> later & 1 == 1
                    && !world.pending[index].touches.is_disjoint(&world.pending[later].touches)
            };
            let here = world.pending[index].touches.contains(&Touch::Folder(path.to_owned()));
            if here || (index + 1..world.pending.len()).any(needed) {
                kept |= 1 << index;
            }
        }
        let pending = std::mem::take(&mut world.pending);
        for (index, op) in pending.into_iter().enumerate() {
            if kept >> index & 1 == 1 { op.apply(&mut world.durable) } else { world.pending.push(op) }
        }
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let world = self.world();
        world.alive()?;
        let below = world.names.keys().filter(|name| folder(name) == path);
        Ok(below.map(|name| name.rsplit('/').next().unwrap().to_owned()).collect())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }
}

pub(super) struct Open {
    disk: Frail,
    file: usize,
}

impl Contents for Open {
    fn read_at(&self, space: &mut [u8], offset: u64) -> io::Result<usize> {
        let world = self.disk.world();
        world.alive()?;
        let rest = world.files[self.file].now.0.get(offset as usize..).unwrap_or_default();
        let here = rest.len().min(space.len());
        space[..here].copy_from_slice(&rest[..here]);
        Ok(here)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        match &mut world.room {
            Some(0) => return Err(ErrorKind::StorageFull.into()),
            Some(left) => *left -= 1,
            None => {}
        }
        world.step()?;
        let (file, offset) = (world.touch(self.file), offset as usize);
        file.resize(file.len().max(offset + bytes.len()), 0);
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step()?;
        world.touch(self.file).truncate(length as usize);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step()?;
        let file = &mut world.files[self.file];
        file.durable = file.now.clone();
        Ok(())
    }

    fn standing(&self) -> io::Result<Standing> {
        let world = self.disk.world();
        world.alive()?;
        Ok(world.standing(self.file))
    }
}
