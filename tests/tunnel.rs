//! Both directions in one process, and tunnels through them: between real processes.
//!
//! Each process reaches the other through a relay of the test, so that no port is fixed and carriers can be broken.

#[path = "util/relay.rs"]
mod relay;
mod util;

use relay::Relay;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use util::{DEADLINE, Process, Signal, check, eventually, feed, pattern, until_still};

/// Two processes, each of which receives from and transmits to the other.
struct Pair {
    a: Process,
    b: Process,
    relays: [Relay; 2],
}

impl Pair {
    fn start(words_a: &[&str], words_b: &[&str]) -> Pair {
        let relays = [Relay::start(), Relay::start()];
        let start = |to: &Relay, words: &[&str]| {
            Process::start(&[&["rx", "0", "tx", "127.0.0.1", &to.port.to_string()], words].concat())
        };
        let (a, b) = (start(&relays[1], words_a), start(&relays[0], words_b));
        relays[0].lead_to(port(&a, "millipede: listening on port "));
        relays[1].lead_to(port(&b, "millipede: listening on port "));
        Pair { a, b, relays }
    }

    /// A tunnel that leads to this port.
    fn tunnel(target: u16, words: &[&str]) -> Tunnel {
        let target = target.to_string();
        let near = [&["charmode", "terminate", "0"], words].concat();
        let pair = Pair::start(&near, &[&["charmode", "initiate", "127.0.0.1", &target], words].concat());
        Tunnel { entrance: port(&pair.a, "millipede: tunnel on port "), pair }
    }

    fn kill(&self) -> usize {
        self.relays.iter().map(Relay::kill).sum()
    }

    /// Both have ended with these statuses.
    fn assert_ended(&self, a: i32, b: i32) {
        assert_eq!(self.a.end().0, Some(a), "{}\n{}", self.a, self.b);
        assert_eq!(self.b.end().0, Some(b), "{}\n{}", self.b, self.a);
    }
}

struct Tunnel {
    pair: Pair,
    entrance: u16,
}

impl Tunnel {
    fn connect(&self) -> TcpStream {
        connect(self.entrance)
    }
}

fn port(process: &Process, before: &str) -> u16 {
    process.expect(before).strip_prefix(before).unwrap().parse().unwrap()
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // a test that would hang fails in place of it
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A server on a free port: `serve` is given each connection, in a thread of its own.
fn server(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Answers with what it is sent, up to the end.
fn echo(mut stream: TcpStream) {
    let mut chunk = [0; 65536];
    while let Ok(n) = stream.read(&mut chunk)
        && n > 0
        && stream.write_all(&chunk[..n]).is_ok()
    {}
    let _ = stream.shutdown(Shutdown::Write);
}

/// One byte there and back.
fn ping(stream: &mut TcpStream, byte: u8) {
    stream.write_all(&[byte]).unwrap();
    let mut back = [0];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, [byte]);
}

/// Writes the pattern in the background, ends, and checks that all of it comes back.
fn there_and_back(mut stream: TcpStream, bytes: u64) {
    let mut writer = stream.try_clone().unwrap();
    let feeder = thread::spawn(move || {
        feed(&mut writer, 0, bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert_eq!(back.len() as u64, bytes);
    check(0, &back);
    feeder.join().unwrap();
}

// ---- both directions in one process --------------------------------------------------------------------

#[test]
fn both_directions_carry_their_own_stream() {
    let pair = Pair::start(&[], &["charmode"]);
    let (at_a, at_b) = (pair.a.collect(), pair.b.collect());
    pair.a.feed(20_000_000);
    pair.b.feed(7_000_000);
    pair.assert_ended(0, 0);
    assert_eq!((at_a.join(), at_b.join()), (7_000_000, 20_000_000));
}

#[test]
fn one_direction_ending_does_not_end_the_other() {
    let pair = Pair::start(&["charmode"], &["charmode"]);
    let (at_a, at_b) = (pair.a.collect(), pair.b.collect());
    let mut input = pair.b.stdin();
    pair.a.feed(0);
    assert_eq!(at_b.join(), 0);
    for round in 0..10 {
        feed(&mut input, round * 1000, 1000).unwrap();
        at_a.await_bytes((round + 1) * 1000);
    }
    assert!(pair.a.is_running() && pair.b.is_running());
    drop(input);
    assert_eq!(at_a.join(), 10_000);
    pair.assert_ended(0, 0);
}

#[test]
fn the_status_is_that_of_the_first_failure() {
    let pair = Pair::start(&[], &[]);
    let at_a = pair.a.collect();
    drop(pair.b.stdout());
    let mut input = pair.b.stdin();
    pair.a.feed(1_000_000);
    pair.a.expect("has gone");
    pair.b.expect("has gone");
    // the other direction is not disturbed
    feed(&mut input, 0, 3_000_000).unwrap();
    drop(input);
    pair.assert_ended(5, 5);
    assert_eq!(at_a.join(), 3_000_000);
}

// ---- many connections ----------------------------------------------------------------------------------

#[test]
fn connections_come_after_and_beside_each_other() {
    let tunnel = Pair::tunnel(server(echo), &[]);
    let mut open = tunnel.connect();
    ping(&mut open, b'0');
    for byte in b'a'..b'k' {
        ping(&mut tunnel.connect(), byte);
    }
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| there_and_back(tunnel.connect(), 5_000_000));
        }
    });
    ping(&mut open, b'1');
    assert!(tunnel.pair.a.is_running() && tunnel.pair.b.is_running());
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    let greet = |mut stream: TcpStream| {
        stream.write_all(b"220 hello\r\n").unwrap();
        echo(stream);
    };
    let tunnel = Pair::tunnel(server(greet), &[]);
    let mut stream = tunnel.connect();
    let mut greeting = [0; 11];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 hello\r\n");
}

#[test]
fn half_a_close_is_half_a_close_at_the_other_end() {
    let answer_after_the_end = |mut stream: TcpStream| {
        let mut question = Vec::new();
        stream.read_to_end(&mut question).unwrap();
        question.reverse();
        stream.write_all(&question).unwrap();
    };
    let tunnel = Pair::tunnel(server(answer_after_the_end), &[]);
    let mut stream = tunnel.connect();
    stream.write_all(b"question").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "noitseuq");
}

#[test]
fn a_refused_target_closes_that_connection_alone() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = closed.local_addr().unwrap();
    let tunnel = Pair::tunnel(target.port(), &[]);
    drop(closed);
    let mut stream = tunnel.connect();
    let refused = stream.read(&mut [0]);
    assert!(matches!(refused, Ok(0) | Err(_)), "{refused:?}");
    tunnel.pair.b.expect(&format!("cannot connect to {target}: connection refused"));
    // as soon as there is a server, connections go through
    let listener = TcpListener::bind(target).unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(echo));
    ping(&mut tunnel.connect(), b'x');
}

#[test]
fn a_broken_connection_breaks_the_other_half() {
    let hang = |stream: TcpStream| {
        let mut byte = [0];
        (&stream).read_exact(&mut byte).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    };
    let tunnel = Pair::tunnel(server(hang), &[]);
    let mut stream = tunnel.connect();
    stream.write_all(b"x").unwrap();
    let error = stream.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_reader_that_sleeps_holds_up_no_one_else() {
    let tunnel = Pair::tunnel(server(echo), &[]);
    let stalled: Vec<TcpStream> = (0..3).map(|_| tunnel.connect()).collect();
    for stream in &stalled {
        let mut writer = stream.try_clone().unwrap();
        writer.set_write_timeout(None).unwrap();
        // never read: it will be blocked somewhere on the way, until the test ends
        thread::spawn(move || drop(feed(&mut writer, 0, 1 << 30)));
    }
    there_and_back(tunnel.connect(), 20_000_000);
    let total = || tunnel.pair.a.peak_memory() + tunnel.pair.b.peak_memory();
    until_still(total);
    ping(&mut tunnel.connect(), b'x');
    assert!(total() < 300 << 20, "{} MiB", total() >> 20);
}

#[test]
fn a_stalled_connection_goes_on_where_it_was() {
    let tunnel = Pair::tunnel(server(echo), &[]);
    let mut stream = tunnel.connect();
    let mut writer = stream.try_clone().unwrap();
    let feeder = thread::spawn(move || {
        feed(&mut writer, 0, 50_000_000).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    until_still(|| tunnel.pair.a.peak_memory());
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert_eq!(back.len(), 50_000_000);
    check(0, &back);
    feeder.join().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let tunnel = Pair::tunnel(server(echo), &[]);
    let churn = |count| {
        for byte in 0..count {
            let mut stream = tunnel.connect();
            ping(&mut stream, byte as u8);
        }
    };
    let processes = [&tunnel.pair.a, &tunnel.pair.b];
    let descriptors = |p: &Process| std::fs::read_dir(format!("/proc/{}/fd", p.pid())).unwrap().count();
    churn(100);
    let mut idle = [0, 0];
    // the last connection may not be closed yet
    assert!(eventually(DEADLINE, || {
        let before = std::mem::replace(&mut idle, processes.map(descriptors));
        before == idle
    }));
    let memory = processes.map(Process::peak_memory);
    churn(1000);
    for (i, process) in processes.into_iter().enumerate() {
        assert!(eventually(DEADLINE, || descriptors(process) <= idle[i]), "{process}");
        let grown = process.peak_memory().saturating_sub(memory[i]);
        assert!(grown < 8 << 20, "{} KiB more: {process}", grown >> 10);
    }
}

// ---- how it ends ---------------------------------------------------------------------------------------

#[test]
fn oneshot_ends_both_after_the_first_connection() {
    for words in [["oneshot"].as_slice(), &[]] {
        let target = server(echo).to_string();
        let pair = Pair::start(
            &["terminate", "0", "oneshot"],
            &[&["initiate", "127.0.0.1", &target], words].concat(),
        );
        let entrance = port(&pair.a, "millipede: tunnel on port ");
        there_and_back(connect(entrance), 3_000_000);
        pair.assert_ended(0, 0);
    }
}

#[test]
fn a_signal_ends_both() {
    for signal in [Signal::INT, Signal::TERM] {
        let tunnel = Pair::tunnel(server(echo), &[]);
        let mut stream = tunnel.connect();
        ping(&mut stream, b'x');
        tunnel.pair.a.signal(signal);
        assert_eq!(tunnel.pair.a.end().0, None);
        assert_eq!(tunnel.pair.b.end().0, Some(1), "{}", tunnel.pair.b);
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    }
}

#[test]
fn two_that_terminate_say_so_and_end() {
    let pair = Pair::start(&["terminate", "0"], &["terminate", "0"]);
    let _client = connect(port(&pair.a, "millipede: tunnel on port "));
    pair.b.expect("one of them must initiate");
    let (a, b) = (pair.a.end().0, pair.b.end().0);
    assert!(a.is_some_and(|code| code != 0) && b.is_some_and(|code| code != 0), "{a:?} {b:?}");
}

// ---- the far side does not tunnel ----------------------------------------------------------------------

#[test]
fn a_connection_meets_stdio_as_it_is() {
    let pair = Pair::start(&["terminate", "0"], &["charmode"]);
    let at_b = pair.b.collect();
    let mut stream = connect(port(&pair.a, "millipede: tunnel on port "));
    feed(&mut stream, 0, 1_000_000).unwrap();
    at_b.await_bytes(1_000_000);
    let mut input = pair.b.stdin();
    input.write_all(b"answer").unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(at_b.join(), 1_000_000);
    input.write_all(b"!").unwrap();
    drop(input);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"!");
    drop(stream);
    pair.assert_ended(0, 0);
}

#[test]
fn a_file_goes_to_a_connection_and_comes_from_one() {
    let (sender, received) = std::sync::mpsc::channel();
    let sink = server(move |mut stream: TcpStream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        sender.send(all).unwrap();
    });
    let rx = util::Rx::start(&["initiate", "127.0.0.1", &sink.to_string()]);
    let tx = util::tx(rx.port, &["terminate", "0"]);
    let mut stream = connect(port(&tx, "millipede: tunnel on port "));
    feed(&mut stream, 0, 5_000_000).unwrap();
    drop(stream);
    assert_eq!((tx.end().0, rx.end().0), (Some(0), Some(0)), "{tx}\n{rx}");
    assert!(received.recv_timeout(DEADLINE).unwrap() == pattern(0, 5_000_000));
}

#[test]
fn a_target_that_refuses_the_one_connection_fails_it() {
    let rx = util::Rx::start(&["initiate", "127.0.0.1", &util::free_port().to_string()]);
    let tx = util::tx(rx.port, &[]);
    tx.feed(1000);
    assert_eq!((tx.end().0, rx.end().0), (Some(5), Some(5)), "{tx}\n{rx}");
    rx.expect("connection refused");
}

// ---- carriers die --------------------------------------------------------------------------------------

#[test]
fn connections_live_on_when_every_carrier_is_killed() {
    let tunnel = Pair::tunnel(server(echo), &[]);
    let mut idle = tunnel.connect();
    ping(&mut idle, b'0');
    let mut stream = tunnel.connect();
    let mut writer = stream.try_clone().unwrap();
    const BYTES: u64 = 60_000_000;
    let feeder = thread::spawn(move || {
        feed(&mut writer, 0, BYTES).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = vec![0; 1 << 20];
    let (mut came, mut kills) = (0, 0);
    loop {
        let n = stream.read(&mut back).unwrap();
        if n == 0 {
            break;
        }
        check(came, &back[..n]);
        came += n as u64;
        if kills < 6 && came > (kills + 1) * BYTES / 8 {
            assert!(tunnel.pair.kill() > 0);
            kills += 1;
        }
    }
    assert_eq!((came, kills), (BYTES, 6));
    feeder.join().unwrap();
    ping(&mut idle, b'1');
}

// ---- the real thing ------------------------------------------------------------------------------------

/// An sshd of our own on a free port, a key for it, and how to call ssh.
struct Ssh {
    daemon: std::process::Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Ssh {
    /// `None`, and a line that says so, where there is no OpenSSH.
    fn start(test: &str) -> Option<Ssh> {
        let sshd =
            ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| std::fs::exists(path).unwrap());
        let (Some(sshd), true) = (sshd, Command::new("ssh").arg("-V").stderr(Stdio::null()).status().is_ok())
        else {
            eprintln!("SKIPPED {test}: needs ssh and sshd (openssh-server)");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for key in ["host", "user"] {
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]).status();
            assert!(made.unwrap().success());
        }
        if rustix::process::geteuid().is_root() {
            // where a daemon that is root puts its jail; packages make it when they start theirs
            let _ = std::fs::create_dir_all("/run/sshd");
        }
        let port = util::free_port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPermitRootLogin yes\nMaxStartups 100\nSubsystem sftp internal-sftp\n",
            path("host"),
            path("user")
        );
        std::fs::write(path("config"), config).unwrap();
        let log = std::fs::File::create(path("log")).unwrap();
        let daemon =
            Command::new(sshd).args(["-D", "-e", "-f", &path("config")]).stderr(log).spawn().unwrap();
        let ssh = Ssh { daemon, dir, port };
        let listens = eventually(DEADLINE, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(listens, "{}", std::fs::read_to_string(ssh.path("log")).unwrap());
        Some(ssh)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn options(&self) -> Vec<String> {
        let options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"];
        let key = ["-q".to_owned(), "-i".to_owned(), self.path("user")];
        key.into_iter().chain(options.iter().flat_map(|o| ["-o".to_owned(), (*o).to_owned()])).collect()
    }

    /// Runs a command through this port; its output.
    fn run(&self, port: u16, command: &str, input: Vec<u8>) -> Vec<u8> {
        let mut ssh = Command::new("ssh")
            .args(self.options())
            .args(["-p", &port.to_string(), "127.0.0.1", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = ssh.stdin.take().unwrap();
        // a command that does not read closes its input
        let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
        let output = ssh.wait_with_output().unwrap();
        feeder.join().unwrap();
        assert!(output.status.success(), "ssh {command}: {}", output.status);
        output.stdout
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn ssh_goes_through() {
    let Some(ssh) = Ssh::start("ssh_goes_through") else { return };
    let tunnel = Pair::tunnel(ssh.port, &[]);
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
    let Some(ssh) = Ssh::start("files_go_through_scp_and_rsync") else { return };
    let tunnel = Pair::tunnel(ssh.port, &[]);
    std::fs::write(ssh.path("file"), pattern(0, 10_000_000)).unwrap();
    let port = tunnel.entrance.to_string();
    let scp = Command::new("scp")
        .args(ssh.options())
        .args(["-P", &port, &ssh.path("file"), &format!("127.0.0.1:{}", ssh.path("copy"))])
        .status();
    assert!(scp.unwrap().success());
    check(0, &std::fs::read(ssh.path("copy")).unwrap());
    let shell = format!("ssh {} -p {port}", ssh.options().join(" "));
    let rsync = Command::new("rsync")
        .args(["-a", "-e", &shell, &format!("127.0.0.1:{}", ssh.path("file")), &ssh.path("synced")])
        .status();
    match rsync {
        Ok(status) => {
            assert!(status.success());
            check(0, &std::fs::read(ssh.path("synced")).unwrap());
        }
        Err(_) => eprintln!("SKIPPED the rsync part of files_go_through_scp_and_rsync: there is no rsync"),
    }
}

#[test]
fn ssh_survives_the_death_of_every_carrier() {
    let Some(ssh) = Ssh::start("ssh_survives_the_death_of_every_carrier") else { return };
    let tunnel = Pair::tunnel(ssh.port, &[]);
    const BYTES: usize = 100_000_000;
    let killed = thread::scope(|scope| {
        let transfer = scope.spawn(|| ssh.run(tunnel.entrance, "cat", pattern(0, BYTES)));
        // the first byte of a carrier that was dialled again is the sign to kill it
        let mut killed = 0;
        let all = eventually(DEADLINE, || {
            killed += usize::from(tunnel.pair.kill() > 0);
            thread::sleep(Duration::from_millis(400));
            killed == 6 || transfer.is_finished()
        });
        assert!(all);
        assert!(transfer.join().unwrap() == pattern(0, BYTES));
        killed
    });
    assert!(killed > 0);
}
