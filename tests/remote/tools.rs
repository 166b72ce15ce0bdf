//! Programs that call ssh, calling millipede instead.

use crate::server::{Server, output};
use crate::util::{Process, Signal, check, has, pattern, skip, until};
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

#[track_caller]
fn well(output: &Output) {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// Many small files, and a large one.
fn files(root: &str, count: usize) {
    for n in 0..count {
        let dir = format!("{root}/{}", n % 50);
        fs::create_dir_all(&dir).unwrap();
        fs::write(format!("{dir}/{n}"), pattern(n as u64 * 977, n % 4096)).unwrap();
    }
    fs::write(format!("{root}/large"), pattern(0, 5_000_000)).unwrap();
}

#[track_caller]
fn assert_alike(one: &str, other: &str) {
    let compared = Command::new("diff").args(["-r", one, other]).output().unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
}

#[test]
fn rsync_goes_both_ways_and_deletes() {
    let Some(server) = Server::start() else { return };
    if !has("rsync") {
        return skip("needs rsync");
    }
    let (from, to, back) = (server.path("from"), server.path("to"), server.path("back"));
    files(&from, 5000);
    let rsync = |args: &[&str]| {
        let shell = server.shell();
        well(&Command::new("rsync").args(["-a", "--delete", "-e", &shell]).args(args).output().unwrap());
    };
    rsync(&[&format!("{from}/"), &format!("server:{to}/")]);
    assert_alike(&from, &to);
    fs::remove_dir_all(format!("{from}/7")).unwrap();
    fs::write(format!("{from}/large"), pattern(9, 5_000_000)).unwrap();
    fs::write(format!("{from}/a new  one"), "new").unwrap();
    rsync(&[&format!("{from}/"), &format!("server:{to}/")]);
    assert_alike(&from, &to);
    rsync(&[&format!("server:{to}/"), &format!("{back}/")]);
    assert_alike(&from, &back);
}

#[test]
fn an_rsync_that_fails_or_is_ended_gets_no_report_into_its_last_words() {
    let Some(server) = Server::start() else { return };
    if !has("rsync") {
        return skip("needs rsync");
    }
    let (from, to) = (server.path("from"), server.path("to"));
    fs::write(&from, pattern(0, 8_000_000)).unwrap();
    let rsync = |args: &[&str]| {
        let mut rsync = Command::new("rsync");
        rsync.args(["-e", &server.shell()]).args(args).args([&from, &format!("server:{to}")]);
        Process::spawn(rsync.stdin(Stdio::null()).stdout(Stdio::null()))
    };
    let reported = |said: &str| said.lines().any(|line| line.starts_with("millipede: "));
    let (code, said) = rsync(&["--rsync-path=/nonexistent"]).end();
    assert!(code != Some(0) && !reported(&said), "{said}");
    // it sends SIGUSR1 to its ssh, and goes
    let ended = rsync(&["--bwlimit=500"]);
    until("some of the file", || is_coming(&to).then_some(()));
    ended.signal(Signal::INT);
    let (code, said) = ended.end();
    assert!(code != Some(0) && !reported(&said), "{said}");
}

/// Whether rsync has begun to write this file, under a name for the time being.
fn is_coming(file: &str) -> bool {
    let (folder, name) = file.rsplit_once('/').unwrap();
    let mut entries = fs::read_dir(folder).unwrap().flatten();
    entries.any(|entry| entry.file_name().to_str().is_some_and(|had| had.starts_with(&format!(".{name}."))))
}

#[test]
fn who_is_there_gets_a_report() {
    let Some(server) = Server::start() else { return };
    let near = server.run(&[], "cat");
    let mut stdin = near.stdin();
    std::io::Write::write_all(&mut stdin, b"x").unwrap();
    // handlers are there once bytes have come back
    let mut byte = [0];
    std::io::Read::read_exact(&mut near.stdout(), &mut byte).unwrap();
    near.signal(Signal::USR1);
    near.expect("millipede: rx: ");
    near.expect("millipede: tx: ");
}

#[test]
fn git_clones_fetches_and_pushes() {
    let Some(server) = Server::start() else { return };
    if !has("git") {
        return skip("needs git");
    }
    let (there, here) = (server.path("there"), server.path("here"));
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.version=2"])
            .args(args);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_SSH_COMMAND", server.shell());
        well(&git.output().unwrap());
    };
    git(&["init", "-q", "-b", "main", &there]);
    fs::write(format!("{there}/file"), pattern(0, 3_000_000)).unwrap();
    git(&["-C", &there, "add", "file"]);
    git(&["-C", &there, "commit", "-qm", "one"]);
    git(&["clone", "-q", &format!("server:{there}"), &here]);
    check(0, &fs::read(format!("{here}/file")).unwrap());
    fs::write(format!("{there}/file"), pattern(5, 2_000_000)).unwrap();
    git(&["-C", &there, "commit", "-qam", "two"]);
    git(&["-C", &here, "pull", "-q"]);
    check(5, &fs::read(format!("{here}/file")).unwrap());
    fs::write(format!("{here}/other"), pattern(7, 1_000_000)).unwrap();
    git(&["-C", &here, "add", "other"]);
    git(&["-C", &here, "commit", "-qm", "three"]);
    git(&["-C", &here, "push", "-q", "origin", "main:pushed"]);
    git(&["-C", &there, "checkout", "-q", "pushed"]);
    check(7, &fs::read(format!("{there}/other")).unwrap());
    // and by the configuration of a repository
    let command = format!("core.sshCommand={}", server.shell());
    let mut fetch = Command::new("git");
    well(&fetch.args(["-C", &here, "-c", &command, "fetch", "-q"]).output().unwrap());
}

#[test]
fn tar_goes_through_a_pipe() {
    let Some(server) = Server::start() else { return };
    let (from, to) = (server.path("from"), server.path("to"));
    files(&from, 300);
    fs::create_dir(&to).unwrap();
    let line = format!("tar -C {from} -c . | {} server tar -C {to} -x", server.shell());
    well(&Command::new("sh").args(["-c", &line]).output().unwrap());
    assert_alike(&from, &to);
}

#[test]
fn scp_and_sftp_take_another_program() {
    let Some(server) = Server::start() else { return };
    let (wrapper, config) = (server.wrapper(), server.path("ssh_config"));
    let (file, copy) = (server.path("a file"), server.path("copy"));
    fs::write(&file, pattern(0, 3_000_000)).unwrap();
    for protocol in [&["-O"][..], &[]] {
        for (from, to) in
            [(file.clone(), format!("server:{copy}")), (format!("server:{copy}"), server.path("back"))]
        {
            let mut scp = Command::new("scp");
            well(
                &scp.args(protocol).args(["-q", "-S", &wrapper, "-F", &config, &from, &to]).output().unwrap(),
            );
        }
        check(0, &fs::read(server.path("back")).unwrap());
        fs::remove_file(&copy).unwrap();
        fs::remove_file(server.path("back")).unwrap();
    }
    let batch = format!("put \"{file}\" {copy}\nls -l {copy}\n");
    fs::write(server.path("batch"), batch).unwrap();
    let mut sftp = Command::new("sftp");
    well(
        &sftp
            .args(["-q", "-S", &wrapper, "-F", &config, "-b", &server.path("batch"), "server"])
            .output()
            .unwrap(),
    );
    check(0, &fs::read(&copy).unwrap());
}

#[test]
fn borg_keeps_its_repository_there() {
    let Some(server) = Server::start() else { return };
    if !has("borg") {
        return skip("needs borg");
    }
    let (from, repository, back) = (server.path("from"), server.path("repository"), server.path("back"));
    files(&from, 200);
    fs::create_dir(&back).unwrap();
    let borg = |dir: &str, args: &[&str]| {
        let mut borg = Command::new("borg");
        borg.args(args)
            .current_dir(dir)
            .env("BORG_RSH", server.shell())
            .env("BORG_BASE_DIR", server.path("base"));
        borg.env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
        borg.env("BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes");
        well(&borg.output().unwrap());
    };
    let place = format!("ssh://server{repository}");
    borg(&from, &["init", "-e", "none", &place]);
    borg(&from, &["create", &format!("{place}::one"), "."]);
    borg(&back, &["extract", &format!("{place}::one")]);
    assert_alike(&from, &back);
    borg(&from, &["check", &place]);
}

#[test]
fn restic_keeps_its_repository_there() {
    let Some(server) = Server::start() else { return };
    if !has("restic") {
        return skip("needs restic");
    }
    let (from, repository, back) = (server.path("from"), server.path("repository"), server.path("back"));
    files(&from, 200);
    // restic has the subsystem asked for, which ssh does; a program of its own is a command
    let sftp =
        ["/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server", "/usr/libexec/openssh/sftp-server"];
    let Some(sftp) = sftp.into_iter().find(|path| Path::new(path).exists()) else {
        return skip("needs sftp-server");
    };
    let command = format!("sftp.command={} server {sftp}", server.shell());
    let restic = |args: &[&str]| {
        let mut restic = Command::new("restic");
        restic.args(["-o", &command, "-r", &format!("sftp:server:{repository}"), "--no-cache"]).args(args);
        well(&restic.env("RESTIC_PASSWORD", "secret").output().unwrap());
    };
    restic(&["init"]);
    restic(&["backup", &from]);
    restic(&["restore", "latest", "--target", &back]);
    assert_alike(&from, &format!("{back}{from}"));
    restic(&["check"]);
}

#[test]
fn a_snapshot_is_sent_and_received() {
    let Some(server) = Server::start() else { return };
    let disk = server.path("disk");
    let root = rustix::process::geteuid().is_root() && has("btrfs");
    let mounted = root && {
        fs::File::create(&disk).unwrap().set_len(300 << 20).unwrap();
        let mount = server.path("mount");
        fs::create_dir(&mount).unwrap();
        let line = format!("mkfs.btrfs -q {disk} && mount -o loop {disk} {mount}");
        Command::new("sh").args(["-c", &line]).output().unwrap().status.success()
    };
    if !mounted {
        return skip("needs root, btrfs and a loop device");
    }
    let mount = Mounted(server.path("mount"));
    let line = format!(
        "set -e; cd {}; btrfs subvolume create a; mkdir there; head -c 30000000 /dev/urandom > a/file; \
         btrfs subvolume snapshot -r a one; btrfs send -q one | {} server btrfs receive -q {}/there; \
         cmp a/file there/one/file",
        mount.0,
        server.shell(),
        mount.0
    );
    well(&Command::new("bash").args(["-o", "pipefail", "-c", &line]).output().unwrap());
}

struct Mounted(String);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_program_that_gives_its_ssh_arguments_is_understood() {
    let Some(server) = Server::start() else { return };
    let wrapper = server.wrapper();
    let found = output(
        Command::new(&wrapper).args(["-o", "ServerAliveInterval=60", "-l", "root", "server", "--", "cat"]),
        b"in",
    );
    // whoever runs the tests may not be root, and then ssh says no as well
    let right = output(server.ssh().args(["-l", "root", "--", "cat"]), b"in");
    assert_eq!((found.status.code(), found.stdout), (right.status.code(), right.stdout));
}
