//! How many descriptors this process may have, and how much memory: what the machine has, what its control groups allow,
//! what `ulimit` allows.
//!
//! Only limits are asked for, not what is free now. What cannot be read limits nothing.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::read_to_string;
use std::io;
use std::path::{Path, PathBuf};

/// Buffers take one part in so many of the memory that the process may have. The rest is for the kernel's buffers,
/// which count for the control group too, for commands, and for other processes.
const PARTS: u64 = 4;

/// The files of a control group that limit its memory: version 2's two, version 1's one.
const GROUP_FILES: [&str; 3] = ["memory.max", "memory.high", "memory.limit_in_bytes"];

/// What may be taken for buffers without being asked for, in bytes: `most`, or a quarter of what the process may have
/// if that is less, but at least `least`.
pub(crate) fn memory_share(most: u64, least: u64) -> u64 {
    memory().map_or(most, |memory| (memory / PARTS).min(most)).max(least)
}

/// Descriptors that this process may have.
pub(crate) fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Asks for so many descriptors, if this process has fewer: often it has 1024 at first, though it may have more. With
/// fewer, connections wait to be accepted. How many it may have then.
pub(crate) fn allow_descriptors(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let current = Some(maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    }
    descriptors()
}

/// Whether the kernel did not do something because this process, or the machine, has no descriptors or no memory left for
/// it: the next time it may.
pub(crate) fn is_short(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// Bytes of memory that this process may have at all, by the tightest limit there is; none where nothing is known.
pub(crate) fn memory() -> Option<u64> {
    let text = |path: &Path| read_to_string(path).unwrap_or_default();
    let (groups, mounts) = (text(Path::new("/proc/self/cgroup")), text(Path::new("/proc/self/mountinfo")));
    let groups = memory_groups(&groups, &mounts);
    let files = groups.iter().flat_map(|group| GROUP_FILES.map(|file| group.join(file)));
    let of_groups = files.filter_map(|file| limit(&text(&file)));
    let of_process = [Resource::As, Resource::Data].into_iter().filter_map(|kind| getrlimit(kind).current);
    of_groups.chain(of_process).chain(machine()).min()
}

/// What the machine has.
#[cfg(target_os = "linux")]
fn machine() -> Option<u64> {
    let info = rustix::system::sysinfo();
    // the kernel's `unsigned long`: 32 bits on 32-bit machines, where this is no useless conversion
    #[allow(clippy::useless_conversion)]
    let total = u64::from(info.totalram);
    Some(total.saturating_mul(u64::from(info.mem_unit).max(1)))
}

#[cfg(not(target_os = "linux"))]
fn machine() -> Option<u64> {
    None
}

/// The number in a limit's file; none for `max`, and for what is no number.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The folders of the control groups that limit this process's memory: its own and those around it, as far as they are
/// to be seen, from what /proc/self/cgroup and /proc/self/mountinfo say.
fn memory_groups(groups: &str, mounts: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in groups.lines() {
        // number:controllers:path
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let unified = controllers.is_empty();
        if !unified && !controllers.split(',').any(|controller| controller == "memory") {
            continue;
        }
        for (root, mount) in mounts.lines().filter_map(|line| mount_of_groups(line, unified)) {
            // a group outside of what is mounted here, as another namespace's: the mounted one is the closest
            let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
            let outermost = Path::new(mount);
            let own: PathBuf = outermost.join(below).components().collect();
            found.extend(own.ancestors().take_while(|group| group.starts_with(outermost)).map(PathBuf::from));
        }
    }
    found
}

/// From a line of mountinfo: which group is mounted where, if these are the unified hierarchy's, or version 1's of
/// memory.
fn mount_of_groups(line: &str, unified: bool) -> Option<(&str, &str)> {
    // number parent device root mount options optional... - type source options
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ').skip(3);
    let (root, mount) = (front.next()?, front.next()?);
    let mut back = back.split(' ');
    let (kind, options) = (back.next()?, back.nth(1)?);
    let is_it = match unified {
        true => kind == "cgroup2",
        false => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
    };
    is_it.then_some((root, mount))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(groups: &str, mounts: &str) -> Vec<String> {
        let found = memory_groups(groups, mounts);
        found.into_iter().map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    const UNIFIED: &str = "24 1 0:5 / /proc rw - proc proc rw\n\
        30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_unified_hierarchy_is_read_from_the_own_group_up() {
        assert_eq!(
            groups("0::/system.slice/millipede.service\n", UNIFIED),
            [
                "/sys/fs/cgroup/system.slice/millipede.service",
                "/sys/fs/cgroup/system.slice",
                "/sys/fs/cgroup"
            ]
        );
        assert_eq!(groups("0::/\n", UNIFIED), ["/sys/fs/cgroup"], "a namespace of its own");
        assert_eq!(groups("0::/a\n", ""), [""; 0], "not mounted");
    }

    #[test]
    fn version_1_has_a_hierarchy_for_memory() {
        let mounts = "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
        let own = "9:name=systemd:/x\n4:memory:/a/b\n2:cpuacct:/c\n";
        let found = ["/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory"];
        assert_eq!(groups(own, mounts), found);
        assert_eq!(groups("4:cpu,memory:/a/b\n", mounts), found, "mounted together");
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_outermost() {
        let mounts = "35 31 0:32 /docker/1f /sys/fs/cgroup/memory ro master:11 - cgroup cgroup rw,memory\n";
        assert_eq!(groups("4:memory:/docker/1f\n", mounts), ["/sys/fs/cgroup/memory"]);
        assert_eq!(
            groups("4:memory:/docker/1f/in\n", mounts),
            ["/sys/fs/cgroup/memory/in", "/sys/fs/cgroup/memory"]
        );
        assert_eq!(groups("4:memory:/elsewhere\n", mounts), ["/sys/fs/cgroup/memory"]);
    }

    #[test]
    fn what_makes_no_sense_limits_nothing() {
        assert_eq!(groups("\n0:\n::\nmemory\n", "- \n1 2 3\n a - cgroup2\n"), [""; 0]);
        for (text, bytes) in [("104857600\n", Some(104_857_600)), ("max\n", None), ("", None), ("-1", None)] {
            assert_eq!(limit(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn a_quarter_is_taken_between_the_bounds() {
        let memory = memory().unwrap_or(u64::MAX);
        assert_eq!(memory_share(u64::MAX, 0), if memory == u64::MAX { memory } else { memory / 4 });
        assert_eq!((memory_share(1, 0), memory_share(1, 7)), (1, 7));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_machine_has_what_it_says() {
        let meminfo = read_to_string("/proc/meminfo").unwrap();
        let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
        let kib: u64 = total.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        assert_eq!(machine(), Some(kib << 10));
    }
}
