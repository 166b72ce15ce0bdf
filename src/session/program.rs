//! How a command of the user's is started for each leg: by `sh -c`, or without the shell where that would do nothing
//! but start one program. To start a shell takes as long as to start the program, and there may be hundreds a second.

use rustix::fs::{Access, access};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

/// What a shell does itself although there is a program of that name, and not always in the same way.
const BUILT_IN: [&str; 9] = ["[", "echo", "false", "kill", "printf", "pwd", "test", "time", "true"];

/// The command, as `sh -c` runs it.
pub(super) fn command(text: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match alone(text, &path).as_deref() {
        Some([program, operands @ ..]) => {
            let mut command = Command::new(program);
            command.args(operands);
            command
        }
        _ => {
            let mut command = Command::new("sh");
            command.arg("-c").arg(text);
            command
        }
    }
}

/// The words of a command that only starts one program, and that a shell takes as they stand. None if it is more than
/// that, or there is no such program: then the shell says so.
fn alone<'a>(text: &'a str, path: &OsStr) -> Option<Vec<&'a str>> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " _-./:,+@=%".contains(c);
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let program = *words.first()?;
    // a word with = before the program would set a variable
    let is_name = text.chars().all(is_plain) && !program.contains('=') && !BUILT_IN.contains(&program);
    (is_name && is_there(program, path)).then_some(words)
}

fn is_there(program: &str, path: &OsStr) -> bool {
    let is_program = |file: &Path| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return is_program(Path::new(program));
    }
    // an empty part is the working directory, as the shell has it
    let folders = path.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes);
    folders.map(|folder| Path::new(folder).join(program)).any(|file| is_program(&file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_start_as_it_stands_goes_without_it() {
        let path = OsStr::new("/nowhere:/usr/bin:/bin");
        for (text, words) in [
            ("cat", &["cat"][..]),
            ("  head  -c 1000 ", &["head", "-c", "1000"]),
            ("dd bs=4k conv=notrunc", &["dd", "bs=4k", "conv=notrunc"]),
            ("/bin/sh -e", &["/bin/sh", "-e"]),
        ] {
            assert_eq!(alone(text, path).as_deref(), Some(words), "{text}");
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

    #[test]
    fn both_ways_do_the_same() {
        for (text, said) in
            [("head -c 3 /dev/zero", "\0\0\0"), ("printf 'a b'", "a b"), ("echo $((1 + 1))", "2\n")]
        {
            let output = command(text).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), said, "{text}");
        }
        assert_eq!(command("no-such-program").output().unwrap().status.code(), Some(127));
    }
}
