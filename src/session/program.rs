//! How a command of the user's is started for each leg: by `sh -c`, or without the shell where that would do nothing
//! but start one program. To start a shell takes as long as to start the program, and there may be hundreds a second.

use crate::sys::start::Program;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a shell does itself although there is a program of that name, and not always in the same way.
const BUILT_IN: [&str; 9] = ["[", "echo", "false", "kill", "printf", "pwd", "test", "time", "true"];

/// Where a shell is looked for where there is no `PATH`, as the C library looks for one.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The command, as `sh -c` runs it.
///
/// # Errors
/// There is no shell, or a byte 0 in the command.
pub(super) fn command(text: &str) -> io::Result<Program> {
    command_within(text, std::env::var_os("PATH").as_deref())
}

/// The same with this `PATH`. Where there is none, each shell has one of its own: then none is gone without.
fn command_within(text: &str, path: Option<&OsStr>) -> io::Result<Program> {
    let (file, words) = match path.and_then(|path| alone(text, path)) {
        Some(alone) => alone,
        None => {
            let shell = found("sh", path.unwrap_or(DEFAULT_PATH.as_ref())).ok_or(Errno::NOENT)?;
            (shell, vec!["sh", "-c", text])
        }
    };
    Program::new(file.as_os_str(), words.into_iter().map(OsStr::new))
}

/// The words of a command that only starts one program, and that a shell takes as they stand. None if it is more than
/// that, or there is no such program: then the shell says so.
fn alone<'a>(text: &'a str, path: &OsStr) -> Option<(PathBuf, Vec<&'a str>)> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " _-./:,+@=%".contains(c);
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let program = *words.first()?;
    // a word with = before the program would set a variable
    let is_name = text.chars().all(is_plain) && !program.contains('=') && !BUILT_IN.contains(&program);
    Some((found(program, path).filter(|_| is_name)?, words))
}

/// The file of a program.
fn found(program: &str, path: &OsStr) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return Some(program.into()).filter(is_program);
    }
    // an empty part is the working directory, as the shell has it
    let folders = path.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes);
    folders.map(|folder| Path::new(folder).join(program)).find(is_program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::reason;
    use crate::sys::child::{Exit, await_exit, reap};
    use crate::sys::wards::Ward;
    use std::fs::File;
    use std::io::{Read, pipe};
    use std::os::fd::OwnedFd;

    #[test]
    fn only_what_a_shell_would_start_as_it_stands_goes_without_it() {
        let path = OsStr::new("/nowhere:/usr/bin:/bin");
        for (text, words) in [
            ("cat", &["cat"][..]),
            ("  head  -c 1000 ", &["head", "-c", "1000"]),
            ("dd bs=4k conv=notrunc", &["dd", "bs=4k", "conv=notrunc"]),
            ("/bin/sh -e", &["/bin/sh", "-e"]),
        ] {
            let (file, found) = alone(text, path).unwrap();
            assert_eq!(found, words, "{text}");
            assert!(file.is_absolute() && file.ends_with(words[0].trim_start_matches('/')), "{file:?}");
        }
        for text in [
            "",
            " ",
            "no-such-program -x",
            "/bin/no-such-program",
            "/bin",
            "exec cat",
            "echo -n x",
            "LANG=C cat",
            "cat; cat",
            "cat | cat",
            "cat &",
            "cat > file",
            "cat $HOME",
            "cat ~",
            "cat *",
            "cat 'a b'",
            "cat\t-n",
            "cat\n",
            "cat #x",
        ] {
            assert_eq!(alone(text, path), None, "{text}");
        }
    }

    /// What it writes to stdout, and how it ends.
    fn run(program: &Program) -> (String, Exit) {
        let (mut from, to) = pipe().unwrap();
        let null = || OwnedFd::from(File::options().read(true).write(true).open("/dev/null").unwrap());
        let ward = Ward::claim().unwrap();
        let pid = program.start([null(), to.into(), null()], &ward).unwrap();
        let mut said = String::new();
        from.read_to_string(&mut said).unwrap();
        let exit = await_exit(pid).unwrap();
        reap(pid).unwrap();
        (said, exit)
    }

    #[test]
    fn both_ways_do_the_same() {
        for (text, said) in
            [("head -c 3 /dev/zero", "\0\0\0"), ("printf 'a b'", "a b"), ("echo $((1 + 1))", "2\n")]
        {
            for path in [Some("/usr/bin:/bin"), None] {
                let program = command_within(text, path.map(OsStr::new)).unwrap();
                assert_eq!(run(&program), (said.to_owned(), Exit::Status(0)), "{text}");
            }
        }
        assert_eq!(run(&command("no-such-program").unwrap()).1, Exit::Status(127));
    }

    #[test]
    fn where_there_is_no_shell_the_words_are_the_kernels() {
        let Err(error) = command_within("cat", Some("/nowhere".as_ref())) else { panic!("there is none") };
        assert_eq!(reason(&error), "no such file or directory");
    }
}
