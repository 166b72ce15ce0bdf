//! OpenSSH through a tunnel: commands, copies, and carriers that die under them.

use crate::util::pair::Pair;
use crate::util::{
    DEADLINE, Sshd, check, connect, echo, eventually, feed, free_port, pattern, ping, server, skip,
    there_and_back,
};
use std::io::{self, Write};
use std::net::TcpStream;
use std::process::{ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// An sshd of our own, and how to call ssh.
struct Ssh(Sshd);

impl Ssh {
    /// `None`, and the test is skipped, where there is no OpenSSH.
    #[track_caller]
    fn start() -> Option<Ssh> {
        Sshd::start(|_| String::new()).map(Ssh)
    }

    fn options(&self) -> Vec<String> {
        // without a word of its own, but for errors
        let options =
            ["LogLevel=ERROR", "BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"];
        let key = ["-i".to_owned(), self.0.path("user")];
        key.into_iter().chain(options.iter().flat_map(|o| ["-o".to_owned(), (*o).to_owned()])).collect()
    }

    /// Runs a command through this port; its output.
    fn run(&self, port: u16, command: &str, input: Vec<u8>) -> Vec<u8> {
        self.run_fed(port, command, move |stdin| stdin.write_all(&input))
    }

    /// The same, with an input that `feed` writes.
    fn run_fed(
        &self,
        port: u16,
        command: &str,
        feed: impl FnOnce(&mut ChildStdin) -> io::Result<()> + Send,
    ) -> Vec<u8> {
        let mut ssh = Command::new("ssh")
            .args(self.options())
            .args(["-p", &port.to_string(), "127.0.0.1", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = ssh.stdin.take().unwrap();
        let output = thread::scope(|scope| {
            // a command that does not read closes its input
            scope.spawn(move || drop(feed(&mut stdin)));
            ssh.wait_with_output().unwrap()
        });
        assert!(output.status.success(), "ssh {command}: {}", output.status);
        output.stdout
    }
}

#[test]
fn ssh_goes_through() {
    let Some(ssh) = Ssh::start() else { return };
    let tunnel = Pair::tunnel(ssh.0.port, &[]);
    for n in 0..3 {
        assert_eq!(ssh.run(tunnel.entrance, &format!("echo {n}"), Vec::new()), format!("{n}\n").as_bytes());
    }
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                assert!(ssh.run(tunnel.entrance, "cat", pattern(0, 5_000_000)) == pattern(0, 5_000_000))
            });
        }
    });
}

#[test]
fn files_go_through_scp_and_rsync() {
    let Some(ssh) = Ssh::start() else { return };
    let tunnel = Pair::tunnel(ssh.0.port, &[]);
    std::fs::write(ssh.0.path("file"), pattern(0, 10_000_000)).unwrap();
    let port = tunnel.entrance.to_string();
    let scp = Command::new("scp")
        .args(ssh.options())
        .args(["-P", &port, &ssh.0.path("file"), &format!("127.0.0.1:{}", ssh.0.path("copy"))])
        .status();
    assert!(scp.unwrap().success());
    check(0, &std::fs::read(ssh.0.path("copy")).unwrap());
    let shell = format!("ssh {} -p {port}", ssh.options().join(" "));
    let rsync = Command::new("rsync")
        .args(["-a", "-e", &shell, &format!("127.0.0.1:{}", ssh.0.path("file")), &ssh.0.path("synced")])
        .status();
    match rsync {
        Ok(status) => {
            assert!(status.success());
            check(0, &std::fs::read(ssh.0.path("synced")).unwrap());
        }
        Err(_) => skip("the part with rsync needs rsync"),
    }
}

#[test]
fn a_repository_is_cloned() {
    let Some(ssh) = Ssh::start() else { return };
    let git = |args: &[&str]| {
        Command::new("git")
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_SSH_COMMAND", format!("ssh {}", ssh.options().join(" ")))
            .output()
    };
    let (from, to) = (ssh.0.path("repository"), ssh.0.path("clone"));
    if git(&["init", "-q", &from]).is_err() {
        return skip("needs git");
    }
    std::fs::write(format!("{from}/file"), pattern(0, 3_000_000)).unwrap();
    git(&["-C", &from, "add", "file"]).unwrap();
    let author = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
    git(&[&["-C", &from], &author[..], &["commit", "-qm", "file"]].concat()).unwrap();
    let tunnel = Pair::tunnel(ssh.0.port, &[]);
    let cloned = git(&["clone", "-q", &format!("ssh://127.0.0.1:{}{from}", tunnel.entrance), &to]).unwrap();
    let said = String::from_utf8_lossy(&cloned.stderr);
    assert!(cloned.status.success(), "{said}\n{}\n{}", tunnel.pair.a, tunnel.pair.b);
    check(0, &std::fs::read(format!("{to}/file")).unwrap());
}

#[test]
fn ssh_survives_the_death_of_every_carrier_six_times() {
    let Some(ssh) = Ssh::start() else { return };
    let tunnel = Pair::tunnel(ssh.0.port, &[]);
    const BYTES: u64 = 100_000_000;
    let output = ssh.run_fed(tunnel.entrance, "cat", |stdin| {
        for part in 0..8 {
            feed(stdin, part * BYTES / 8, BYTES / 8)?;
            if (1..7).contains(&part) {
                assert!(tunnel.pair.kill() > 0);
            }
        }
        Ok(())
    });
    assert!(output == pattern(0, BYTES as usize));
}

/// Measures, with an optimised program on a quiet machine: `cargo test --release --test real ssh -- --ignored --nocapture`.
#[test]
#[ignore = "measures: wants a release build and an idle machine"]
fn as_quick_as_ssh_itself() {
    let Some(ssh) = Ssh::start() else { return };
    let target = server(echo);
    let forward = free_port();
    let mut forwarder = Command::new("ssh")
        .args(ssh.options())
        .args([
            "-N",
            "-L",
            &format!("{forward}:127.0.0.1:{target}"),
            "-p",
            &ssh.0.port.to_string(),
            "127.0.0.1",
        ])
        .spawn()
        .unwrap();
    assert!(eventually(DEADLINE, || TcpStream::connect(("127.0.0.1", forward)).is_ok()));
    let tunnel = Pair::tunnel(target, &[]);
    let (ssh_echo, echo) = (median_echo(forward), median_echo(tunnel.entrance));
    println!("echo of a byte: ssh -L {ssh_echo:?}, millipede {echo:?}");
    let (ssh_time, time) = (round_trip(forward), round_trip(tunnel.entrance));
    println!("200 MB there and back: ssh -L {ssh_time:?}, millipede {time:?}");
    forwarder.kill().unwrap();
    forwarder.wait().unwrap();
    assert!(echo <= ssh_echo + Duration::from_micros(200));
    assert!(ssh_time.as_secs_f64() >= 1.5 * time.as_secs_f64());
}

fn median_echo(port: u16) -> Duration {
    let mut stream = connect(port);
    stream.set_nodelay(true).unwrap();
    let mut times: Vec<Duration> = (0..300)
        .map(|_| {
            let began = Instant::now();
            ping(&mut stream, b'x');
            began.elapsed()
        })
        .collect();
    times.sort();
    times[150]
}

fn round_trip(port: u16) -> Duration {
    let began = Instant::now();
    there_and_back(connect(port), 200_000_000);
    began.elapsed()
}
