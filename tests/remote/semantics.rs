//! What ssh does, millipede does: bytes, statuses, stderr, and when it ends.

use crate::server::{Server, output};
use crate::util::{DEADLINE, Process, check, eventually, has, pattern, skip};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn statuses_output_and_errors_are_those_of_ssh() {
    let Some(server) = Server::start() else { return };
    let cases: &[(&[&str], &[u8])] = &[
        (&["cat"], b"hi\n"),
        (&["true"], b""),
        (&["exit 1"], b""),
        (&["exit", "7"], b""),
        (&["exit 255"], b""),
        (&["kill -TERM $$"], b""),
        (&["kill -KILL $$"], b""),
        (&["no-such-command"], b""),
        (&["printf", "%s\\\\n", "\"a  b\"", "'$HOME'", "\"it's\""], b""),
        (&["printf '%s|' \"a  b\" '$HOME' \"it's\" \"$HOME\" *.none \\\\ '' é"], b""),
        (&["echo", "a  b", "", " c"], b""),
        (&["echo out; echo err >&2; exit 3"], b""),
        (&["cat >/dev/null; exit 4"], b"some"),
        (&["cat; cat >&2"], b"once"),
        (&["exec <&-; exit 5"], b"unread"),
        (&["exec >&- 2>&-; exit 9"], b""),
        (&["head -c 10"], &[7; 1_000_000]),
        (&["wc -c"], &[7; 3_000_000]),
        (&["head -c 3000000 /dev/zero"], b""),
        (&["cd /; pwd; echo $0 $# $-"], b""),
        (&["echo started; sleep 30 >/dev/null 2>&1 </dev/null &"], b""),
        (&["tty; test -t 0 -o -t 1 -o -t 2"], b""),
    ];
    for (args, input) in cases {
        let right = output(server.ssh().args(*args), input);
        let found = output(server.millipede(&[]).args(*args), input);
        let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        assert_eq!(found.status.code(), right.status.code(), "{args:?}: {}", shown(&found.stderr));
        assert!(found.stdout == right.stdout, "{args:?}: {}", shown(&found.stdout));
        assert_eq!(shown(&found.stderr), shown(&right.stderr), "{args:?}");
    }
}

/// A terminal that nobody types on.
fn terminal() -> (File, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    (File::from(master), File::from(slave))
}

#[test]
fn a_job_in_the_background_of_a_terminal_is_not_stopped_while_nobody_types() {
    if !has("setsid") || !has("bash") {
        skip("needs setsid and bash");
        return;
    }
    let Some(server) = Server::start() else { return };
    let (_master, slave) = terminal();
    let job = server.millipede(&[]);
    let typed = slave.try_clone().unwrap();
    let mut shell = Command::new("setsid");
    let line = "\"$@\" 'echo done; exit 7' & wait $!; status=$?; kill -9 $! 2>/dev/null; exit $status";
    shell.args(["--ctty", "--wait", "bash", "-mc", line, "bash"]);
    // bash has its jobs on the terminal that its stderr is
    shell.arg(job.get_program()).args(job.get_args()).stdin(typed).stdout(Stdio::piped()).stderr(slave);
    let found = shell.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((found.status.code(), found.stdout), (Some(7), b"done\n".to_vec()));
}

#[test]
fn a_command_that_reads_nothing_ends_whatever_stdin_is() {
    let Some(server) = Server::start() else { return };
    let (_master, slave) = terminal();
    let (_reader, writer) = std::io::pipe().unwrap();
    let idle = std::io::pipe().unwrap();
    let endless = File::open("/dev/zero").unwrap();
    for (name, stdin) in [
        ("a terminal", Stdio::from(slave)),
        ("nothing", Stdio::null()),
        ("a pipe that says nothing", Stdio::from(idle.0)),
        ("an endless input", Stdio::from(endless)),
    ] {
        let mut command = server.millipede(&[]);
        let child = command.arg("head -c 1000 /dev/zero").stdin(stdin).stdout(Stdio::piped()).spawn();
        let found = child.unwrap().wait_with_output().unwrap();
        assert_eq!((found.status.code(), found.stdout.len()), (Some(0), 1000), "{name}");
    }
    drop((writer, idle.1));
}

#[test]
fn an_input_that_nobody_reads_to_its_end_does_not_hold_anybody_up() {
    let Some(server) = Server::start() else { return };
    let near = server.run(&[], "head -c 10; exit 6");
    let mut stdin = near.stdin();
    let feeder = std::thread::spawn(move || while stdin.write_all(&[1; 65536]).is_ok() {});
    near.keep();
    let ended = near.finish();
    assert_eq!((ended.code(), ended.stdout.len()), (6, 10));
    feeder.join().unwrap();
}

#[test]
fn a_command_that_closes_its_input_and_goes_on_stops_who_writes_it() {
    let Some(server) = Server::start() else { return };
    let (mark, zero) = (server.path("mark"), File::open("/dev/zero").unwrap());
    let command = format!("exec <&-; until test -e {mark}; do sleep 0.05; done; echo done; exit 5");
    let near = server.run(&[], &command);
    let mut stdin = near.stdin();
    let feeder = std::thread::spawn(move || while stdin.write_all(&[1; 65536]).is_ok() {});
    // one that nobody writes, and that never ends
    let mut other = server.millipede(&[]);
    let other = Process::spawn(other.arg(&command).stdin(zero).stdout(Stdio::piped()));
    let reads = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", other.pid())).unwrap();
        let mut files = open.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        files.any(|file| file.to_str() == Some("/dev/zero"))
    };
    assert!(eventually(DEADLINE, || feeder.is_finished()), "it writes, or waits, for ever");
    assert!(eventually(DEADLINE, || !reads()), "it is read for ever");
    assert!(!near.has_ended() && !other.has_ended());
    std::fs::write(mark, "").unwrap();
    for near in [near, other] {
        near.keep();
        let ended = near.finish();
        assert_eq!((ended.code(), ended.text()), (5, "done\n"), "{ended:?}");
    }
}

#[test]
fn without_input_nothing_is_read() {
    let Some(server) = Server::start() else { return };
    for option in ["-n", "-oStdinNull=yes"] {
        let mut command = server.millipede(&[]);
        let found = output(command.args([option, "cat; echo end; exit 3"]), b"not this");
        assert_eq!((found.status.code(), &found.stdout[..]), (Some(3), &b"end\n"[..]), "{option}");
    }
}

#[test]
fn an_input_that_cannot_be_read_is_no_end_of_it() {
    let Some(server) = Server::start() else { return };
    let ended = server.path("ended");
    // the first page of a process is nobody's
    for input in ["/proc/self/mem", "/"] {
        let mut near = server.millipede(&[]);
        near.arg(format!("cat; echo end > {ended}; exit 3")).stdin(File::open(input).unwrap());
        let found = near.output().unwrap();
        let said = String::from_utf8_lossy(&found.stderr).into_owned();
        assert_eq!(found.status.code(), Some(255), "{input}: {said}");
        assert!(!std::fs::exists(&ended).unwrap(), "{input}: {said}");
        let lines = said.lines().filter(|line| line.contains("cannot read stdin: ")).count();
        assert_eq!((lines, said.lines().count()), (1, 1), "{said}");
        assert!(eventually(DEADLINE, || server.left_behind().is_empty()));
    }
}

#[test]
fn small_writes_pass_at_once_both_ways() {
    let Some(server) = Server::start() else { return };
    let near = server.run(&[], "cat");
    let (mut stdin, mut stdout) = (near.stdin(), near.stdout());
    for n in 0..50u8 {
        stdin.write_all(&[n]).unwrap();
        let mut came = [0];
        stdout.read_exact(&mut came).unwrap();
        assert_eq!(came, [n]);
    }
    drop(stdin);
    assert_eq!(near.wait().code(), Some(0));
}

#[test]
fn much_goes_both_ways_at_once() {
    let Some(server) = Server::start() else { return };
    const BYTES: u64 = 60_000_000;
    for words in
        [&[][..], &["threads", "1"], &["buffer", "4M"], &["rate", "200M"], &["compress", "1"], &["compress"]]
    {
        let near = server.run(words, "cat");
        let output = near.collect();
        near.feed(BYTES);
        assert_eq!(near.finish().code(), 0, "{words:?}");
        assert_eq!(output.join(), BYTES, "{words:?}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_command_as_with_ssh() {
    let Some(server) = Server::start() else { return };
    let near = server.run(&[], "yes; echo $? >&2; exit 8");
    let mut first = [0; 2];
    let mut stdout = near.stdout();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let (code, said) = near.end();
    assert_eq!((&first, code), (b"y\n", Some(8)), "{said}");
}

#[test]
fn an_output_that_is_lost_to_a_full_disk_is_a_failure() {
    let Some(server) = Server::start() else { return };
    // the second one ends well long before all of its output is written
    for command in ["yes", "head -c 3000000 /dev/zero", "echo small"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut near = server.millipede(&[]);
        let near = near.arg(command).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped());
        let found = near.spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&found.stderr).into_owned();
        assert_eq!(found.status.code(), Some(255), "{command}: {said}");
        assert!(
            said.lines().count() == 1 && said.contains("cannot write to stdout: no space left"),
            "{said}"
        );
    }
    assert!(eventually(DEADLINE, || server.left_behind().is_empty()), "{:?}", server.left_behind());
}

#[test]
fn who_reads_the_output_later_holds_nobody_up() {
    let Some(server) = Server::start() else { return };
    let near = server.run(&[], "echo early");
    let stdout = near.stdout();
    // as programs do that first wait for the end and then read
    assert_eq!(near.wait().code(), Some(0));
    let mut text = String::new();
    { stdout }.read_to_string(&mut text).unwrap();
    assert_eq!(text, "early\n");
}

#[test]
fn what_the_command_says_on_stderr_is_there_when_it_ends() {
    let Some(server) = Server::start() else { return };
    let found = output(server.millipede(&[]).arg("head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 2"), b"");
    assert_eq!((found.status.code(), found.stderr.len()), (Some(2), 3_000_000));
    assert!(found.stderr.iter().all(|byte| *byte == b'x'));
}

/// As over a slow line: for longer than it may be silent at the end.
#[test]
fn a_stderr_that_takes_its_time_comes_whole() {
    let Some(server) = Server::start() else { return };
    let mut near = server.millipede(&[]);
    near.arg("head -c 3000000 /dev/zero >&2").stdin(Stdio::null()).stdout(Stdio::null());
    let mut near = near.stderr(Stdio::piped()).spawn().unwrap();
    let (mut stderr, mut came) = (near.stderr.take().unwrap(), 0);
    let mut some = vec![0; 60_000];
    while let n @ 1.. = stderr.read(&mut some).unwrap() {
        came += n;
        thread::sleep(Duration::from_millis(60));
    }
    assert_eq!((came, near.wait().unwrap().code()), (3_000_000, Some(0)));
}

#[test]
fn what_is_no_command_is_left_to_ssh() {
    let Some(server) = Server::start() else { return };
    let config = server.path("ssh_config");
    for args in [
        &["-G", "server"][..],
        &["-V"],
        &["-Q", "mac"],
        &["-F", &config, "-O", "check", "server"],
        &["-F", &config, "-Z", "server", "true"],
        &["-F", &config],
        &["-F", &config, "-tt", "server", "test -t 0 && echo terminal"],
        &["-F", &config, "-s", "server", "no-such-subsystem"],
        &[],
    ] {
        let right = output(Command::new("ssh").args(args), b"");
        let found = output(Command::new(crate::util::MILLIPEDE).arg("ssh").args(args), b"");
        assert_eq!(found, right, "{args:?}");
    }
    // a shell, whose input is a script
    let mut command = server.millipede(&[]);
    let found = output(&mut command, b"echo $((6 * 7))\nexit 3\n");
    assert_eq!((found.status.code(), &found.stdout[..]), (Some(3), &b"42\n"[..]));
}

#[test]
fn it_answers_to_the_name_that_takes_no_words_and_to_another_ssh() {
    let Some(server) = Server::start() else { return };
    let name = server.path("millipede-ssh");
    std::os::unix::fs::symlink(crate::util::MILLIPEDE, &name).unwrap();
    let found = output(Command::new(&name).arg("-V"), b"");
    assert!(found.status.success() && found.stderr.starts_with(b"OpenSSH"), "{found:?}");
    let other = server.path("other");
    std::fs::write(&other, "#!/bin/sh\necho other \"$@\"\n").unwrap();
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let found = output(Command::new(&name).args(["-N", "server"]).env("MILLIPEDE_SSH", &other), b"");
    assert_eq!(found.stdout, b"other -N server\n");
}

#[test]
fn many_after_another_and_beside_each_other_leave_nothing() {
    let Some(server) = Server::start() else { return };
    for n in 0..50 {
        let found = output(server.millipede(&[]).arg(format!("cat; exit {n}")), &pattern(n, 10_000));
        assert_eq!(found.status.code(), Some(n as i32), "{}", String::from_utf8_lossy(&found.stderr));
        check(n, &found.stdout);
    }
    let both: Vec<Process> = (0..2).map(|_| server.run(&[], "cat")).collect();
    let outputs: Vec<_> = both.iter().map(Process::collect).collect();
    both.iter().for_each(|near| near.feed(5_000_000));
    for (near, output) in both.iter().zip(outputs) {
        assert_eq!((near.finish().code(), output.join()), (0, 5_000_000));
    }
    let began = Instant::now();
    assert!(eventually(DEADLINE, || server.left_behind().is_empty()), "{:?}", server.left_behind());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn where_few_files_may_be_open_there_are_fewer_connections() {
    let Some(server) = Server::start() else { return };
    let found = output(&mut limited(&server, "ulimit -n 40", "cat; exit 3"), b"some bytes");
    let said = String::from_utf8_lossy(&found.stderr);
    assert_eq!((found.status.code(), &found.stdout[..]), (Some(3), &b"some bytes"[..]), "{said}");
}

#[test]
fn memory_that_is_refused_to_the_near_end_gives_no_status_that_may_be_the_commands() {
    let Some(server) = Server::start() else { return };
    for kib in (80_000..240_000).step_by(20_000) {
        let limit = format!("ulimit -v {kib}");
        let found = output(&mut limited(&server, &limit, "head -c 3000000 /dev/zero; exit 7"), b"");
        let said = String::from_utf8_lossy(&found.stderr);
        let is_whole = found.stdout.len() == 3_000_000;
        match found.status.code() {
            Some(7) => assert!(is_whole, "{limit}: {} bytes: {said}", found.stdout.len()),
            code => assert_eq!(code, Some(255), "{limit}: {said}"),
        }
    }
}

/// The near end with a command, under a limit of the shell's.
fn limited(server: &Server, limit: &str, command: &str) -> Command {
    let mut limited = Command::new("sh");
    let near = server.millipede(&[]);
    limited.args(["-c", &format!(r#"{limit}; exec "$@""#), "sh"]);
    limited.arg(near.get_program()).args(near.get_args()).arg(command);
    limited
}
