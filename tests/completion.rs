//! Completion for shells, made from the table of words. The files in `completions/` are what this makes;
//! after a change of the table: `UPDATE=1 cargo test --test completion`.

#[path = "util/skip.rs"]
mod skip;

use millipede::cli::{Operands, WORDS, Word};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("completions").join(name)
}

/// The words of which this holds, joined.
fn names(separator: &str, which: impl Fn(&Word) -> bool) -> String {
    let names: Vec<&str> = WORDS.iter().filter(|word| which(word)).map(|word| word.name).collect();
    names.join(separator)
}

fn has_host(word: &Word) -> bool {
    word.operands == Operands::HostPort
}

/// Whether an operand follows that no shell can know.
fn has_secret(word: &Word) -> bool {
    let known = ["exec", "congestion"].contains(&word.name);
    matches!(word.operands, Operands::Number(_) | Operands::Text(_) | Operands::AddressPort) && !known
}

fn bash() -> String {
    format!(
        r#"# bash completion for millipede; made by its tests from its words
_millipede() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} second=
    ((COMP_CWORD < 2)) || second=${{COMP_WORDS[COMP_CWORD - 2]}}
    local words='{words}'
    COMPREPLY=()
    case ${{second#--}} in
        {hosts}) return ;;
    esac
    case ${{before#--}} in
        {hosts}) COMPREPLY=($(compgen -A hostname -- "$current")) ;;
        via) COMPREPLY=($(compgen -W "$(ls /sys/class/net 2>/dev/null)" -- "$current")) ;;
        exec) COMPREPLY=($(compgen -c -- "$current")) ;;
        congestion)
            local known=/proc/sys/net/ipv4/tcp_available_congestion_control
            COMPREPLY=($(compgen -W "$(cat $known 2>/dev/null)" -- "$current"))
            ;;
        {secrets}) ;;
        *)
            [[ $current != -* ]] || words=" $words" words=${{words// / --}}
            COMPREPLY=($(compgen -W "$words" -- "$current"))
            ;;
    esac
}}
complete -F _millipede millipede
"#,
        words = names(" ", |_| true),
        hosts = names(" | ", has_host),
        secrets = names(" | ", has_secret),
    )
}

fn zsh() -> String {
    let described: String =
        WORDS.iter().map(|word| format!("        '{}:{}'\n", word.name, word.short)).collect();
    format!(
        r#"#compdef millipede
# zsh completion for millipede; made by its tests from its words
_millipede() {{
    local -a words_of_millipede
    words_of_millipede=(
{described}    )
    if ((CURRENT > 3)); then
        case ${{words[CURRENT - 2]#--}} in
            {hosts}) _message port; return ;;
        esac
    fi
    case ${{words[CURRENT - 1]#--}} in
        {hosts}) _hosts ;;
        via) _net_interfaces ;;
        exec) _command_names -e ;;
        congestion) compadd -- ${{=$(cat /proc/sys/net/ipv4/tcp_available_congestion_control 2>/dev/null)}} ;;
        {secrets}) _message value ;;
        *) _describe word words_of_millipede ;;
    esac
}}
_millipede "$@"
"#,
        hosts = names("|", has_host),
        secrets = names("|", has_secret),
    )
}

fn fish() -> String {
    let words: String = WORDS
        .iter()
        .map(|word| {
            format!("complete -c millipede -n __millipede_wants_word -a {} -d '{}'\n", word.name, word.short)
        })
        .collect();
    format!(
        r#"# fish completion for millipede; made by its tests from its words
function __millipede_after
    set -l before (commandline -opc)
    set -e before[1]
    test (count $before) -gt 0; and contains -- (string replace -r '^--' '' -- $before[-1]) $argv
end
function __millipede_wants_word
    set -l before (commandline -opc)
    set -e before[1]
    if test (count $before) -gt 1
        contains -- (string replace -r '^--' '' -- $before[-2]) {hosts}; and return 1
    end
    not __millipede_after {operands}
end
complete -c millipede -f
complete -c millipede -n '__millipede_after {hosts}' -a '(__fish_print_hostnames)'
complete -c millipede -n '__millipede_after via' -a '(__fish_print_interfaces)'
complete -c millipede -n '__millipede_after exec' -a '(__fish_complete_command)'
complete -c millipede -n '__millipede_after congestion' \
    -a '(string split " " < /proc/sys/net/ipv4/tcp_available_congestion_control 2>/dev/null)'
{words}"#,
        hosts = names(" ", has_host),
        operands = names(" ", |word| !matches!(word.operands, Operands::None | Operands::Maybe(_))),
    )
}

#[test]
fn the_files_are_made_from_the_words() {
    for (name, made) in [("millipede.bash", bash()), ("_millipede", zsh()), ("millipede.fish", fish())] {
        if std::env::var_os("UPDATE").is_some() {
            fs::write(path(name), &made).unwrap();
        }
        let kept = fs::read_to_string(path(name)).unwrap_or_default();
        assert!(kept == made, "completions/{name} is old: UPDATE=1 cargo test --test completion");
    }
}

#[test]
fn a_description_cannot_end_its_quotes() {
    for word in WORDS {
        assert!(!word.short.contains(['\'', ':', '\\']), "{}: {}", word.name, word.short);
    }
}

/// Whether a shell is here; says that a test is skipped if not.
#[track_caller]
fn here(shell: &str) -> bool {
    let found = Command::new(shell).args(["-c", "true"]).output().is_ok();
    if !found {
        skip::skip(&format!("needs {shell}"));
    }
    found
}

#[test]
fn each_shell_reads_its_file() {
    for (shell, name) in [("bash", "millipede.bash"), ("zsh", "_millipede"), ("fish", "millipede.fish")] {
        if here(shell) {
            let read = Command::new(shell).arg("-n").arg(path(name)).output().unwrap();
            assert!(read.status.success() && read.stderr.is_empty(), "{name}: {read:?}");
        }
    }
}

#[test]
fn bash_completes_words_and_leaves_operands_alone() {
    if !here("bash") {
        return;
    }
    let complete = |line: &[&str]| {
        let script = r#"source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _millipede
            printf '%s\n' "${COMPREPLY[@]}""#;
        let file = path("millipede.bash");
        let output = Command::new("bash").args(["-c", script, "bash"]).arg(file).args(line).output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let all: Vec<&str> = WORDS.iter().map(|word| word.name).collect();
    assert_eq!(complete(&["millipede", ""]), all);
    assert_eq!(complete(&["millipede", "help", ""]), all);
    assert_eq!(complete(&["millipede", "tx", "host", "8834", "thr"]), ["threads"]);
    assert_eq!(complete(&["millipede", "tx", "host", "8834", "--thr"]), ["--threads"]);
    assert_eq!(complete(&["millipede", "tx", "host", ""]), [""; 0]);
    assert_eq!(complete(&["millipede", "rx", "8834", "checkphrase", ""]), [""; 0]);
    assert_eq!(complete(&["millipede", "--threads", ""]), [""; 0]);
    assert!(complete(&["millipede", "rx", "8834", "exec", "tru"]).contains(&"true".to_owned()));
}
