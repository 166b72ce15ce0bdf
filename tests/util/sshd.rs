//! An sshd of our own on a free port, and a key that it lets in.

use super::skip::{has, skip};
use super::tcp::free_port;
use super::{DEADLINE, eventually};
use std::fs::{File, read_to_string};
use std::process::{Child, Command};

/// The daemon, which ends when this is dropped, and a folder with its files.
pub struct Sshd {
    pub daemon: Child,
    dir: tempfile::TempDir,
    pub port: u16,
}

impl Sshd {
    /// With these lines more of configuration, made from the folder's path. None, and the test is skipped, where there is
    /// no OpenSSH.
    #[track_caller]
    pub fn start(config: impl FnOnce(&str) -> String) -> Option<Sshd> {
        let sshd =
            ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| std::fs::exists(path).unwrap());
        let (Some(sshd), true) = (sshd, has("ssh")) else {
            skip("needs ssh and sshd");
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
        let port = free_port();
        let lines = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPermitRootLogin yes\nMaxStartups 100\nSubsystem sftp internal-sftp\n{}\n",
            path("host"),
            path("user"),
            config(dir.path().to_str().unwrap())
        );
        std::fs::write(path("sshd_config"), lines).unwrap();
        let log = File::create(path("log")).unwrap();
        let daemon =
            Command::new(sshd).args(["-D", "-e", "-f", &path("sshd_config")]).stderr(log).spawn().unwrap();
        let mut server = Sshd { daemon, dir, port };
        // a connection that comes about would not show whose server it is
        let line = format!("Server listening on 127.0.0.1 port {port}.");
        let listens = eventually(DEADLINE, || server.log().contains(&line) || server.has_ended())
            && !server.has_ended();
        assert!(listens, "{}", server.log());
        Some(server)
    }

    /// What the daemon has said.
    fn log(&self) -> String {
        read_to_string(self.path("log")).unwrap()
    }

    fn has_ended(&mut self) -> bool {
        self.daemon.try_wait().unwrap().is_some()
    }

    /// A file in its folder; `user` is the key that is let in.
    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
