//! How the descriptors that this process may have are shared out: among the connections of its sessions, the programs of
//! `through`, the local connections of a tunnel, files that are sent, and the rest of the process.

use crate::message;
use crate::plan::{Common, EdgePlan, Plan};
use crate::proto::leg::CONNECTIONS_MAX;
use crate::sys::limits::descriptors;

/// Of a session's connection.
const OF_CONNECTION: u64 = 3;
/// Of the rest of a process, at most.
const OF_REST: u64 = 16;
/// With `through` two programs can be started as well, each with 7, and their guard with 2.
const OF_PROGRAMS: u64 = 2 * 7 + 2;
/// Of ssh: its exit, what it prints, and what is open while it is started.
const OF_SSH: u64 = 8;
/// Of a tunnel, without its local connections: its polls, bells and listener.
const OF_TUNNEL: u64 = 16;
/// Of who sends files, besides: what it watches, has opened to look at, and puts its files out with.
const OF_FILES: u64 = 8;
/// For files that are sent, before a session has more than one connection.
const FILES_LEAST: u64 = 8;
/// For a tunnel's local connections, before a session has more than one connection.
const LOCAL_LEAST: u64 = 8;

/// What a process has besides the connections of its sessions.
#[derive(Clone, Copy, Default)]
pub(crate) struct Others {
    /// Programs that legs go through.
    pub(crate) through: bool,
    /// A tunnel.
    pub(crate) tunnel: bool,
    /// The ssh that carries the last link, its pipes among them.
    pub(crate) ssh: bool,
    /// Files that are sent, each open until all of it has gone.
    pub(crate) files: bool,
}

impl Others {
    /// As planned.
    pub(crate) fn of(common: &Common) -> Self {
        let tunnel = matches!(common.edge, EdgePlan::Terminate(_) | EdgePlan::Initiate { .. });
        Others { through: common.through.is_some(), tunnel, ..Others::default() }
    }

    /// Of the near end of a command at another host.
    pub(crate) fn of_ssh() -> Self {
        Others { ssh: true, ..Others::default() }
    }

    /// Of who sends files.
    pub(crate) fn of_files() -> Self {
        Others { files: true, ..Others::default() }
    }

    /// What is set aside, before a session has more than one connection, for what there may be more or less of.
    fn least(self) -> u64 {
        (if self.tunnel { LOCAL_LEAST } else { 0 }) + if self.files { FILES_LEAST } else { 0 }
    }

    /// Without local connections and files.
    fn needed(self) -> u64 {
        let programs = if self.through { OF_PROGRAMS } else { 0 };
        let ssh = if self.ssh { OF_SSH } else { 0 };
        let files = if self.files { OF_FILES } else { 0 };
        OF_REST + programs + ssh + files + if self.tunnel { OF_TUNNEL } else { 0 }
    }
}

/// How many of so many connections a sender makes in this process: those that it has descriptors for. Fewer are told.
pub(crate) fn connections(threads: usize, others: Others) -> usize {
    let connections = affordable(threads, descriptors(), others);
    if connections < threads {
        message::note(1, || format!("{connections} connections: no more files may be open (ulimit -n)"));
    }
    connections
}

/// How many of so many connections a sender has descriptors for; at least one.
fn affordable(threads: usize, descriptors: u64, others: Others) -> usize {
    let left = descriptors.saturating_sub(others.needed() + others.least());
    usize::try_from(left / OF_CONNECTION).map_or(threads, |most| threads.min(most).max(1))
}

/// How many files a sender with so many connections may have open at once; at least one.
pub(crate) fn files(threads: usize) -> usize {
    files_of(threads, descriptors())
}

fn files_of(threads: usize, descriptors: u64) -> usize {
    let left = descriptors.saturating_sub(needed(threads, false, descriptors, Others::of_files()));
    usize::try_from(left).unwrap_or(usize::MAX).max(1)
}

/// Descriptors that the local connections of a tunnel leave alone, where it is planned like this: its sessions can always
/// dial, and be dialled.
pub(crate) fn beside_local(plan: &Plan) -> u64 {
    let others = Others::of(&plan.common);
    let threads = plan.transmit.as_ref().map_or(0, |transmit| transmit.threads);
    needed(threads, plan.receive.is_some(), descriptors(), others)
}

/// `threads`: connections that are dialled, 0 if none are. `listens`: others are let in.
fn needed(threads: usize, listens: bool, descriptors: u64, others: Others) -> u64 {
    let dialled = if threads > 0 { affordable(threads, descriptors, others) } else { 0 };
    let accepted = if listens { CONNECTIONS_MAX } else { 0 };
    OF_CONNECTION * (dialled + accepted) as u64 + others.needed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Others = Others { through: false, tunnel: false, ssh: false, files: false };
    const THROUGH: Others = Others { through: true, ..NONE };
    const TUNNEL: Others = Others { tunnel: true, ..NONE };

    #[test]
    fn where_few_files_may_be_open_there_are_fewer_connections() {
        assert_eq!(affordable(16, u64::MAX, THROUGH), 16);
        assert_eq!((affordable(16, 64, NONE), affordable(16, 64, THROUGH)), (16, 10));
        assert_eq!((affordable(16, 30, NONE), affordable(2, 30, NONE)), (4, 2));
        assert_eq!((affordable(16, 0, THROUGH), affordable(1, 16, NONE)), (1, 1));
    }

    #[test]
    fn files_that_are_sent_have_room_beside_the_connections() {
        let files =
            |descriptors| (affordable(16, descriptors, Others::of_files()), files_of(16, descriptors));
        assert_eq!(files(u64::MAX), (16, (u64::MAX - 72) as usize));
        assert_eq!((files(80), files(64), files(40)), ((16, 8), (10, 10), (2, 10)));
        assert_eq!((files(30), files(0)), ((1, 3), (1, 1)));
    }

    #[test]
    fn local_connections_and_those_of_the_sessions_have_room_beside_each_other() {
        for descriptors in 43..300 {
            for threads in [2, 16] {
                let local = descriptors - needed(threads, false, descriptors, TUNNEL);
                assert!(local >= LOCAL_LEAST, "{local} of {descriptors}");
            }
        }
        assert_eq!(48 - needed(2, false, 48, TUNNEL), 10);
        assert_eq!(1024 - needed(0, true, 1024, TUNNEL), 944);
        assert_eq!(1024 - needed(16, true, 1024, TUNNEL), 896, "two sessions");
    }
}
