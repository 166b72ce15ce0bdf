//! An sshd of our own, a key for it, and both ways to call it: with ssh, and with millipede.

use crate::util::{DEADLINE, MILLIPEDE, Process, Sshd, eventually, has, skip};
use std::fs::{File, read_to_string};
use std::process::{Command, Output, Stdio};

/// The server, on a free port.
pub struct Server {
    sshd: Sshd,
    pub port: u16,
    /// Whose network near ends are started in; None: ours.
    network: Option<u32>,
}

impl Server {
    /// None, and the test is skipped, where there is no OpenSSH.
    #[track_caller]
    pub fn start() -> Option<Server> {
        Server::with("")
    }

    /// The same with more lines of configuration.
    #[track_caller]
    pub fn with(config: &str) -> Option<Server> {
        // what the user's own login shell says is not part of this
        let sshd = Sshd::start(|folder| {
            let mark = format!("SetEnv {MARK}={folder} HOME={folder}");
            match config.strip_prefix("SetEnv") {
                Some(others) => format!("{mark}{others}"),
                None => format!("{config}\n{mark}"),
            }
        })?;
        let (port, key, file) = (sshd.port, sshd.path("user"), sshd.path("ssh_config"));
        let user = format!(
            "Host *\nHostName 127.0.0.1\nPort {port}\nIdentityFile {key}\nIdentityAgent none\nBatchMode yes\n\
             StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n"
        );
        std::fs::write(file, user).unwrap();
        Some(Server { port, sshd, network: None })
    }

    pub fn path(&self, name: &str) -> String {
        self.sshd.path(name)
    }

    /// More lines for whoever calls, before the others.
    pub fn configure(&self, lines: &str) {
        let config = read_to_string(self.path("ssh_config")).unwrap();
        std::fs::write(self.path("ssh_config"), format!("{lines}\n{config}")).unwrap();
    }

    /// The command line of ssh itself, as far as HOST.
    pub fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", &self.path("ssh_config"), "server"]);
        command
    }

    /// The same with millipede, with these words before `ssh`.
    pub fn millipede(&self, words: &[&str]) -> Command {
        let mut command = self.inside(MILLIPEDE);
        command.args(["program", MILLIPEDE]).args(words);
        command.args(["ssh", "-F", &self.path("ssh_config"), "server"]);
        command
    }

    /// For programs that take an ssh with its arguments in one word.
    pub fn shell(&self) -> String {
        format!("{MILLIPEDE} program {MILLIPEDE} ssh -F {}", self.path("ssh_config"))
    }

    /// A program that takes the name of an ssh, and gives it arguments: called like one, with nothing before them.
    pub fn wrapper(&self) -> String {
        let path = self.path("millipede-ssh");
        let line = format!("#!/bin/sh\nexec {} \"$@\"\n", self.shell());
        std::fs::write(&path, line).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    /// Runs a command there, with pipes at both ends.
    pub fn run(&self, words: &[&str], command: &str) -> Process {
        Process::spawn(self.millipede(words).arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()))
    }

    /// All processes that run by way of this server, whoever their parents are by now: they have its mark.
    pub fn left_behind(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.path("").trim_end_matches('/')).into_bytes();
        let marked = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark)
        };
        let entries = std::fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        pids.filter(marked).collect()
    }
}

/// In the environment of all that a server starts.
const MARK: &str = "REMOTE_TEST_SERVER";

/// All that has descended from a process.
pub fn children_of(pid: u32) -> Vec<u32> {
    let listed = Command::new("ps").args(["-eo", "pid=,ppid="]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let pairs: Vec<(u32, u32)> = listed
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap());
            numbers.next().zip(numbers.next())
        })
        .collect();
    let (mut found, mut at) = (vec![pid], 0);
    while let Some(parent) = found.get(at).copied() {
        found.extend(pairs.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        at += 1;
    }
    found.split_off(1)
}

/// What a command has come to, with an input that is given and ended.
pub fn output(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // a command that does not read closes its input
        scope.spawn(move || drop(std::io::Write::write_all(&mut stdin, input)));
        child.wait_with_output().unwrap()
    })
}

/// Servers whose users have another login shell.
impl Server {
    /// None, and the test is skipped, where there are no such mounts. SHELL is another one there, as what a login shell
    /// reads may have it.
    #[track_caller]
    pub fn with_login_shell(path: &str) -> Option<Server> {
        let mount = ["-m", "mount", "--bind", "/etc/passwd", "/etc/passwd"];
        let may_mount =
            || Command::new("unshare").args(mount).stderr(Stdio::null()).status().unwrap().success();
        if !has("unshare") || !may_mount() {
            skip("needs unshare, and mounts of its own");
            return None;
        }
        let mut server = Server::with("SetEnv SHELL=/bin/false")?;
        let accounts = read_to_string("/etc/passwd").unwrap();
        let changed = |line: &str| match line.rsplit_once(':') {
            Some((account, _)) if account.split(':').nth(2) == Some("0") => format!("{account}:{path}\n"),
            _ => format!("{line}\n"),
        };
        std::fs::write(server.path("passwd"), accounts.lines().map(changed).collect::<String>()).unwrap();
        let mount = format!("mount --bind {} /etc/passwd", server.path("passwd"));
        server.start_again("-m", &mount);
        server.await_login();
        Some(server)
    }

    /// The daemon ends, and another one is started in such a namespace of its own, after this line of shell.
    fn start_again(&mut self, namespace: &str, line: &str) {
        self.sshd.daemon.kill().unwrap();
        self.sshd.daemon.wait().unwrap();
        let line = format!("{line}; exec /usr/sbin/sshd -D -e -f {}", self.path("sshd_config"));
        let log = File::create(self.path("log")).unwrap();
        self.sshd.daemon =
            Command::new("unshare").args([namespace, "sh", "-c", &line]).stderr(log).spawn().unwrap();
    }

    fn await_login(&self) {
        let listens = eventually(DEADLINE, || {
            let mut ssh = self.inside("ssh");
            ssh.args(["-F", &self.path("ssh_config"), "server", "true"]);
            ssh.stderr(Stdio::null()).status().unwrap().success()
        });
        assert!(listens, "{}", read_to_string(self.path("log")).unwrap());
    }
}

/// Servers in a network of their own, where only the server's own port can be reached: to every other one this is done.
/// Near ends are started in that network too.
impl Server {
    /// None, and the test is skipped, where there are no such networks.
    #[track_caller]
    pub fn behind(verdict: &str) -> Option<Server> {
        let tools = ["unshare", "nsenter", "nft", "ip"].iter().all(|tool| has(tool));
        if !tools || !rustix::process::geteuid().is_root() {
            skip("needs root, unshare, nsenter, nft and ip");
            return None;
        }
        let mut server = Server::start()?;
        let rules = format!(
            "ip link set lo up; nft 'add table inet t; add chain inet t i {{ type filter hook input priority 0; }}; \
             add rule inet t i tcp dport != {} tcp flags & (syn | ack) == syn {verdict}'",
            server.port
        );
        server.start_again("-n", &rules);
        server.network = Some(server.sshd.daemon.id());
        server.await_login();
        Some(server)
    }

    /// A program in the server's network.
    fn inside(&self, program: &str) -> Command {
        match self.network {
            None => Command::new(program),
            Some(pid) => {
                let mut command = Command::new("nsenter");
                command.args(["-t", &pid.to_string(), "-n", program]);
                command
            }
        }
    }
}
