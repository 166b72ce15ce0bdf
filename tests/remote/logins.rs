//! Login shells, forced commands, proxies, masters; and what is said when there is no millipede at the other end.

use crate::server::{Server, output};
use crate::util::{DEADLINE, MILLIPEDE, check, eventually, has, pattern, skip};
use std::process::{Command, Output, Stdio};

fn said(found: &Output) -> String {
    String::from_utf8_lossy(&found.stderr).into_owned()
}

#[test]
fn any_login_shell_will_do() {
    for name in ["bash", "dash", "zsh", "fish"] {
        let Some(path) = ["/bin", "/usr/bin"]
            .map(|dir| format!("{dir}/{name}"))
            .into_iter()
            .find(|path| std::fs::exists(path).unwrap())
        else {
            skip(&format!("the part with {name} needs {name}"));
            continue;
        };
        let Some(server) = Server::with_login_shell(&path) else { return };
        let program = server.path("it's a millipede");
        std::os::unix::fs::symlink(MILLIPEDE, &program).unwrap();
        for command in ["cat", "echo \"$SHELL\"; exit 3", "printf '%s\\n' \"a  b\" \"it's\"", "nothing-there"]
        {
            let right = output(server.ssh().arg(command), b"x");
            let mut near = Command::new(MILLIPEDE);
            near.args(["program", &program, "ssh", "-F", &server.path("ssh_config"), "server", command]);
            let found = output(&mut near, b"x");
            let code = found.status.code();
            assert_eq!(
                (code, &found.stdout),
                (right.status.code(), &right.stdout),
                "{name}: {command}: {}",
                said(&found)
            );
        }
    }
}

#[test]
fn what_a_login_shell_prints_is_passed_over() {
    for noise in ["echo Welcome to this host;", "printf 'no end of line';", "head -c 60000 /dev/urandom;"] {
        let forced = format!("ForceCommand {noise} exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"");
        let Some(server) = Server::with(&forced) else { return };
        let found = output(server.millipede(&[]).arg("cat"), &pattern(0, 100_000));
        assert_eq!((found.status.code(), said(&found)), (Some(0), String::new()));
        check(0, &found.stdout);
    }
}

#[test]
fn who_is_no_millipede_is_told_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let refused = &|n: usize, forced: &str, told: &str| {
        let taken = dir.path().join(n.to_string());
        let line = format!("ForceCommand {}", forced.replace("TAKEN", &taken.to_string_lossy()));
        let Some(server) = Server::with(&line) else { return };
        let found = output(server.millipede(&[]).arg("secret command"), b"secret input");
        assert_eq!((found.status.code(), &found.stdout[..]), (Some(255), &b""[..]), "{forced}");
        let said = said(&found);
        let lines: Vec<_> = said.lines().collect();
        let [line] = lines[..] else { panic!("{said}") };
        assert!(line.starts_with("millipede: ") && line.contains(told), "{said}");
        assert_eq!(std::fs::read(&taken).unwrap(), b"", "nothing of ours may get there");
    };
    let restricted = "It said: This account is restricted.";
    // each waits for half a minute
    std::thread::scope(|scope| {
        for (n, (forced, told)) in [
            ("echo This account is restricted.; cat > TAKEN; exit 0", restricted),
            ("echo This account is restricted.; cat > TAKEN; exit 1", restricted),
            ("echo This account is restricted.; cat > TAKEN", restricted),
            ("cat > TAKEN", "no millipede answers at server: a forced command? It said nothing"),
        ]
        .into_iter()
        .enumerate()
        {
            scope.spawn(move || refused(n, forced, told));
        }
    });
}

#[test]
fn a_forced_command_that_says_nothing_is_told_of_while_it_is_waited_for() {
    let Some(server) = Server::with("ForceCommand cat > /dev/null") else { return };
    // a command of the user's own after the login: so ssh cannot be asked to tell of it
    let config = server.path("ssh_config");
    let own = "PermitLocalCommand yes\nLocalCommand true\n";
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + own).unwrap();
    let near = server.run(&[], "true");
    let line = near.expect("no greeting from server yet");
    assert!(line.contains("a password to type, or a forced command?") && line.len() <= 80, "{line}");
    near.signal(crate::util::Signal::TERM);
    assert_eq!(near.finish().signal(), Some(15));
}

#[test]
fn without_a_millipede_there_one_line_says_what_to_do() {
    let Some(server) = Server::start() else { return };
    let near = |program: &str| {
        let mut near = Command::new(MILLIPEDE);
        near.args(["program", program, "ssh", "-F", &server.path("ssh_config"), "server", "true"]);
        output(&mut near, b"")
    };
    let absent = near("/nowhere/millipede");
    let lines: Vec<_> = absent.stderr.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let last = String::from_utf8_lossy(lines.last().unwrap());
    assert_eq!(absent.status.code(), Some(255));
    assert!(last.contains("no /nowhere/millipede at server"), "{last}");
    let another = near("/bin/true");
    assert_eq!(another.status.code(), Some(255));
    assert!(said(&another).contains("no start at server (status 0)"), "{another:?}");
}

#[test]
fn what_ssh_fails_with_is_its_own() {
    let Some(server) = Server::start() else { return };
    let config = server.path("ssh_config");
    std::fs::write(
        server.path("known"),
        "*  ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1z1Yg2Zk3pPq0m3Yx5m9c7mZ8R1oT2n0v7kq3u5w9A\n",
    )
    .unwrap();
    let known = format!("UserKnownHostsFile={}", server.path("known"));
    for args in [
        &["-l", "nobody-of-this-name", "server", "true"][..],
        &["-o", "Port=1", "server", "true"],
        &["-o", "HostName=nobody.invalid", "server", "true"],
        &["-o", &known, "-o", "StrictHostKeyChecking=yes", "server", "true"],
    ] {
        let all = [&["-F", &config], args].concat();
        let right = output(Command::new("ssh").args(&all), b"");
        let found = output(Command::new(MILLIPEDE).args(["program", MILLIPEDE, "ssh"]).args(&all), b"");
        assert_eq!((found.status.code(), found.stdout.len()), (Some(255), 0), "{args:?}");
        assert_eq!(said(&found), said(&right), "{args:?}");
    }
}

#[test]
fn forwarding_may_be_forbidden_and_cleared() {
    let Some(server) = Server::with("AllowTcpForwarding no\nPermitOpen none\nX11Forwarding no") else {
        return;
    };
    let mut near = Command::new(MILLIPEDE);
    near.args([
        "program",
        MILLIPEDE,
        "ssh",
        "-F",
        &server.path("ssh_config"),
        "-o",
        "ClearAllForwardings=yes",
    ]);
    let found = output(near.args(["server", "cat"]), &pattern(0, 1_000_000));
    assert_eq!((found.status.code(), said(&found)), (Some(0), String::new()));
    check(0, &found.stdout);
}

#[test]
fn a_jump_host_is_gone_through() {
    let Some(server) = Server::start() else { return };
    let ours = format!(
        "Host inner\nProxyCommand ssh -F {} -W 127.0.0.1:{} server",
        server.path("ssh_config"),
        server.port
    );
    server.configure(&ours);
    let mut near = Command::new(MILLIPEDE);
    near.args([
        "verbose",
        "2",
        "program",
        MILLIPEDE,
        "ssh",
        "-F",
        &server.path("ssh_config"),
        "inner",
        "cat",
    ]);
    let found = output(&mut near, &pattern(0, 10_000_000));
    assert_eq!(found.status.code(), Some(0), "{}", said(&found));
    check(0, &found.stdout);
    assert!(!said(&found).contains("connection 0 from 127"), "nothing direct is tried: {}", said(&found));
    let told = "inner: reached through a jump host or a proxy; the data goes through ssh instead";
    assert_eq!(said(&found).matches(told).count(), 1, "{}", said(&found));
}

#[test]
fn a_master_that_runs_already_is_made_use_of() {
    let Some(server) = Server::start() else { return };
    // a socket's path may be no longer than this
    let short = tempfile::Builder::new().prefix("m").tempdir_in("/tmp").unwrap();
    server.configure(&format!("Host *\nControlPath {}/s", short.path().display()));
    let mut master = server.ssh().args(["-M", "-N"]).stdin(Stdio::null()).spawn().unwrap();
    assert!(eventually(DEADLINE, || short.path().join("s").exists()));
    for _ in 0..3 {
        let found = output(server.millipede(&[]).arg("cat; exit 4"), &pattern(0, 3_000_000));
        assert_eq!((found.status.code(), said(&found)), (Some(4), String::new()));
        check(0, &found.stdout);
    }
    let _ = server.ssh().args(["-O", "exit"]).stderr(Stdio::null()).status();
    master.wait().unwrap();
    // one that ssh starts itself, and leaves in the background
    server.configure("Host *\nControlMaster auto\nControlPersist 5");
    let found =
        output(server.millipede(&[]).arg("cat; exit 4").stderr(Stdio::null()), &pattern(0, 3_000_000));
    assert_eq!(found.status.code(), Some(4));
    let _ = server.ssh().args(["-O", "exit"]).stderr(Stdio::null()).status();
}

#[test]
fn a_password_is_asked_for_as_ssh_does() {
    let Some(server) = Server::start() else { return };
    if !has("setsid") {
        return skip("needs setsid");
    }
    // a key with a passphrase, asked for by the program that ssh is told to ask with
    let key = server.path("locked");
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "open sesame", "-f", &key]).status();
    assert!(made.unwrap().success());
    std::fs::copy(format!("{key}.pub"), server.path("user.pub")).unwrap();
    let ask = server.path("ask");
    std::fs::write(&ask, "#!/bin/sh\necho 'open sesame'\n").unwrap();
    std::fs::set_permissions(&ask, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    server.configure(&format!("Host *\nBatchMode no\nIdentityFile {key}\nIdentitiesOnly yes"));
    let mut near = server.millipede(&[]);
    near.arg("cat").env("SSH_ASKPASS", &ask).env("SSH_ASKPASS_REQUIRE", "force");
    let found = output(&mut near, b"inside");
    assert_eq!((found.status.code(), &found.stdout[..]), (Some(0), &b"inside"[..]), "{}", said(&found));
}

#[test]
fn nobody_comes_to_depend_on_a_connection_that_ends_with_the_command() {
    let Some(server) = Server::start() else { return };
    let control = server.path("control");
    server.configure(&format!("Host *\nControlMaster auto\nControlPath {control}"));
    let near = server.run(&[], "echo ready; cat; exit 4");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(near.stdout()));
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    assert!(!std::fs::exists(&control).unwrap(), "it is no master");
    // ssh is one as ever, and its connection is used
    let mut master = server.ssh();
    let mut master = master.arg("cat; exit 5").stdin(Stdio::piped()).spawn().unwrap();
    assert!(eventually(DEADLINE, || std::fs::exists(&control).unwrap()));
    let through = output(server.millipede(&[]).arg("echo $SSH_CONNECTION"), b"");
    let own = output(server.ssh().args(["-S", "none"]).arg("echo $SSH_CONNECTION"), b"");
    let with = output(server.ssh().arg("echo $SSH_CONNECTION"), b"");
    assert_eq!((through.status.code(), &through.stdout), (Some(0), &with.stdout));
    assert_ne!(own.stdout, with.stdout);
    drop(near.stdin());
    assert_eq!(near.wait().code(), Some(4));
    drop(master.stdin.take());
    assert_eq!(master.wait().unwrap().code(), Some(5));
}
