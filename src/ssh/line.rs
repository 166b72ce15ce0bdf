//! ssh's command line: which one is "HOST COMMAND without a terminal", and of which parts.
//!
//! Read as OpenSSH reads it: letters may stand together, the value of one that takes a value follows at once or is the
//! next argument, options may stand before HOST and between HOST and COMMAND, and `--` ends them. Whatever is not
//! understood, or is not a command without a terminal, is for ssh itself.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Letters without a value that a command without a terminal may have.
const PLAIN: &[u8] = b"1246AaCgKknqTvXxYy";

/// Letters with a value that it may have.
const VALUED: &[u8] = b"BbcDEeFIiJLlmopRSw";

/// Letters that mean something else than a command without a terminal, or belong to ssh's own business; and
/// `-P`, which has a value since OpenSSH 9.4 and had none before: only the ssh that is there knows where HOST is.
#[cfg(test)]
const OTHERS: &[u8] = b"fGMNOPQstVW";

/// What a command line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// HOST COMMAND without a terminal.
    Command(Line),
    /// Anything else.
    Other,
}

/// A command at a host, without a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Options as typed, in their order, without `-n`.
    pub options: Vec<OsString>,
    /// Whether `-n` was there: the input is empty.
    pub(crate) no_input: bool,
    /// `--` stood before HOST: no option follows it.
    pub(crate) terminated: bool,
    /// As typed: `[user@]host` or a URI.
    pub host: OsString,
    /// What the login shell shall run: the remaining arguments with a space between any two. Never empty.
    pub command: Vec<u8>,
}

/// Reads a command line, given without the name of the program.
pub fn read(args: &[OsString]) -> Reading {
    let mut options = Options::default();
    let Some(rest) = options.take(args) else { return Reading::Other };
    let Some((host, mut rest)) = rest.split_first() else { return Reading::Other };
    let terminated = options.terminated;
    if !terminated {
        let Some(after) = options.take(rest) else { return Reading::Other };
        rest = after;
    }
    // one argument after another, as ssh does: an empty one leaves its space
    let command = rest.iter().map(|arg| arg.as_bytes()).collect::<Vec<_>>().join(&b' ');
    if host.is_empty() || rest.is_empty() || command.is_empty() {
        return Reading::Other;
    }
    let Options { kept, no_input, .. } = options;
    Reading::Command(Line { options: kept, no_input, terminated, host: host.clone(), command })
}

/// The options so far.
#[derive(Default)]
struct Options {
    kept: Vec<OsString>,
    no_input: bool,
    /// The last ones ended with `--`.
    terminated: bool,
}

impl Options {
    /// Takes options off the front; what follows them. None if one of them is for ssh itself.
    fn take<'a>(&mut self, mut args: &'a [OsString]) -> Option<&'a [OsString]> {
        self.terminated = false;
        while let Some((first, rest)) = args.split_first() {
            let letters = match first.as_bytes() {
                b"--" => {
                    self.terminated = true;
                    return Some(rest);
                }
                [b'-', letters @ ..] if !letters.is_empty() => letters,
                _ => return Some(args),
            };
            args = self.cluster(first, letters, rest)?;
        }
        Some(args)
    }

    /// Takes the letters of one argument, and the next one if the last of them has its value there.
    fn cluster<'a>(&mut self, whole: &OsStr, letters: &[u8], rest: &'a [OsString]) -> Option<&'a [OsString]> {
        let valued = letters.iter().position(|letter| VALUED.contains(letter));
        let (plain, value) = letters.split_at(valued.unwrap_or(letters.len()));
        if !plain.iter().all(|letter| PLAIN.contains(letter)) {
            return None;
        }
        self.no_input |= plain.contains(&b'n');
        let kept: Vec<u8> = letters
            .iter()
            .enumerate()
            .filter(|(at, letter)| **letter != b'n' || *at >= plain.len())
            .map(|(_, letter)| *letter)
            .collect();
        if kept.len() == letters.len() {
            self.kept.push(whole.to_owned());
        } else if !kept.is_empty() {
            self.kept.push(OsString::from_vec([b"-", &kept[..]].concat()));
        }
        if value.len() != 1 {
            return Some(rest);
        }
        let (next, rest) = rest.split_first()?;
        self.kept.push(next.clone());
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    fn command(text: &str) -> Option<(String, String, String)> {
        match read(&args(text)) {
            Reading::Command(Line { options, host, command, .. }) => {
                let options = options.join(OsStr::new(" ")).into_string().unwrap();
                Some((options, host.into_string().unwrap(), String::from_utf8(command).unwrap()))
            }
            Reading::Other => None,
        }
    }

    #[test]
    fn every_letter_is_in_one_list() {
        // from the manual of OpenSSH 10: [-46AaCfGgKkMNnqsTtVvXxYy], and those with values
        for letter in b"46AaCfGgKkMNnqsTtVvXxYyBbcDEeFIiJLlmOoPpQRSWw12" {
            let lists = [PLAIN, VALUED, OTHERS].iter().filter(|list| list.contains(letter)).count();
            assert_eq!(lists, 1, "{}", char::from(*letter));
        }
    }

    #[test]
    fn a_command_has_its_parts() {
        for (line, options, host, right) in [
            ("backup true", "", "backup", "true"),
            ("-p 2222 me@backup zfs recv tank/x", "-p 2222", "me@backup", "zfs recv tank/x"),
            ("-p2222 -4vC backup true", "-p2222 -4vC", "backup", "true"),
            ("-vp 22 backup true", "-vp 22", "backup", "true"),
            ("backup -p 22 -l me true -v -t", "-p 22 -l me", "backup", "true -v -t"),
            ("-o Port=22 backup -o User=me -- true", "-o Port=22 -o User=me", "backup", "true"),
            ("-- backup true -t", "", "backup", "true -t"),
            ("-- backup -t true", "", "backup", "-t true"),
            ("-oBatchMode=yes ssh://me@backup:22 true", "-oBatchMode=yes", "ssh://me@backup:22", "true"),
            ("-i -n backup true", "-i -n", "backup", "true"),
            ("backup - x", "", "backup", "- x"),
        ] {
            let parts = (options.to_owned(), host.to_owned(), right.to_owned());
            assert_eq!(command(line), Some(parts), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_without_a_terminal_is_for_ssh() {
        for line in [
            "",
            "backup",
            "-p 22 backup",
            "-p",
            "backup -p",
            "--",
            "-- backup",
            "-t backup true",
            "-tt backup true",
            "backup -t true",
            "-vt backup true",
            "-N backup true",
            "-f backup true",
            "-G backup true",
            "-V",
            "-Q cipher",
            "-O check backup",
            "-M backup true",
            "-W host:22 backup",
            "-s backup sftp",
            "-oForwardX11=no backup -s sftp",
            "-P backup true",
            "-P tag backup true",
            "-4Ptag backup true",
            "backup -P true",
            "-Z backup true",
            "--help",
        ] {
            assert_eq!(command(line), None, "{line}");
        }
        assert_eq!(read(&["backup".into(), "".into()]), Reading::Other, "a shell, as ssh has it");
    }

    #[test]
    fn no_input_is_not_passed_on() {
        for (line, options) in
            [("-n backup true", ""), ("-nT backup true", "-T"), ("-vnp 22 backup -n true", "-vp 22")]
        {
            assert_eq!(command(line).unwrap().0, options);
            assert!(matches!(read(&args(line)), Reading::Command(Line { no_input: true, .. })));
        }
    }

    #[test]
    fn arguments_are_joined_as_they_are() {
        let typed = ["backup", "printf", "a  b", "", "it's", "$HOME"].map(OsString::from);
        let Reading::Command(line) = read(&typed) else { panic!() };
        assert_eq!(line.command, b"printf a  b  it's $HOME");
        let bytes = [OsString::from("backup"), OsString::from_vec(vec![0xff, b'*'])];
        assert!(matches!(read(&bytes), Reading::Command(Line { command, .. }) if command == b"\xff*"));
    }
}
