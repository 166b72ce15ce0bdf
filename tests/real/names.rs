//! Names that cannot be resolved yet: at boot, or after a resume.

use super::MIB;
use crate::util::{Process, Rx, Signal, carry, pattern, server, shell, skip, tx};
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A resolver of which no server answers, since none has its address; names may be written into the file of hosts.
struct Resolver {
    directory: tempfile::TempDir,
    mount: String,
}

impl Resolver {
    /// None where that cannot be: what is missing was said.
    #[track_caller]
    fn down() -> Option<Resolver> {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            fs::write(directory.path().join(name), text).unwrap();
            format!("mount --bind {}/{name} /etc/{name}", directory.path().display())
        };
        let mounts = [
            file("hosts", "127.0.0.1 localhost\n"),
            file("resolv.conf", "nameserver 255.255.255.255\n"),
            file("nsswitch.conf", "hosts: files dns\n"),
        ];
        let mount = mounts.join(" && ");
        let possible = Command::new("unshare").args(["-rm", "sh", "-c", &mount]).status();
        if !possible.is_ok_and(|status| status.success()) {
            skip("needs user namespaces with mounts: unshare -rm");
            return None;
        }
        Some(Resolver { directory, mount })
    }

    /// A process that sees it, with these words.
    fn command(&self, words: &str) -> Command {
        let mut command = shell(&format!("exec unshare -rm sh -c '{} && exec $MP {words}'", self.mount));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// From now on the name is known.
    fn knows(&self, name: &str) {
        fs::write(self.directory.path().join("hosts"), format!("127.0.0.1 {name}\n")).unwrap();
    }
}

#[test]
fn a_resolver_that_is_not_up_yet_is_waited_for() {
    let Some(resolver) = Resolver::down() else { return };
    let rx = Rx::start(&[]);
    let line = format!("tx backup.example {} verbose 1", rx.port);
    let tx = Process::spawn(&mut resolver.command(&line));
    tx.expect("cannot resolve the name; giving up in ");
    resolver.knows("backup.example");
    carry(&rx, &tx, MIB);
}

/// The name of a receiver's own address, and that of a tunnel's target.
#[test]
fn a_resolver_is_waited_for_wherever_a_name_is_needed() {
    let Some(resolver) = Resolver::down() else { return };
    let listens = Process::spawn(&mut resolver.command("rx backup.example 0"));
    let (sender, received) = std::sync::mpsc::channel();
    let target = server(move |mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        sender.send(all).unwrap();
    });
    let initiates = Process::spawn(&mut resolver.command(&format!("rx 0 initiate backup.example {target}")));
    let tunnelled = tx(initiates.port("millipede: listening on port "), &[]);
    tunnelled.feed(1000);
    for process in [&listens, &initiates] {
        process.expect("cannot resolve backup.example: ");
    }
    resolver.knows("backup.example");
    let plain = tx(listens.port("millipede: listening on port "), &[]);
    carry(&listens, &plain, MIB);
    assert_eq!((tunnelled.end().0, initiates.end().0), (Some(0), Some(0)), "{tunnelled}\n{initiates}");
    assert!(received.recv().unwrap() == pattern(0, 1000));
}

#[test]
fn a_name_that_is_looked_up_stops_no_signal_and_patience_ends_it() {
    let Some(resolver) = Resolver::down() else { return };
    for words in ["rx backup.example 0", "rx 0 duplex terminate backup.example 0"] {
        let waits = Process::spawn(&mut resolver.command(words));
        waits.expect("cannot resolve backup.example: ");
        waits.signal(Signal::TERM);
        assert!(waits.ends_within(Duration::from_secs(1)), "{waits}");
        let ended = waits.finish();
        assert_eq!(ended.signal(), Some(15), "{ended:?}");
        assert!(ended.stderr.ends_with("millipede: ended by SIGTERM\n"), "{ended:?}");
    }
    let (code, said) = Process::spawn(&mut resolver.command("rx backup.example 4 patience 1")).end();
    assert_eq!(code, Some(1));
    assert!(said.starts_with("millipede: cannot listen on backup.example port 4: "), "{said}");
}
