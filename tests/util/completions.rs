//! The completions for bash, zsh and fish, made from the table of words.
//!
//! All three walk along the arguments before the cursor to know what belongs there: a word, or an operand of the
//! word before, of which some can be completed. Redirections are left to the shell, file names with them.

use millipede::cli::{Operands, WORDS, Word};

/// The names of the words whose operands fit, joined.
fn names(separator: &str, fits: impl Fn(Operands) -> bool) -> String {
    let names: Vec<&str> = WORDS.iter().filter(|word| fits(word.operands)).map(|word| word.name).collect();
    names.join(separator)
}

/// What is wanted behind which words, with a name that the three scripts share.
type Kind = (&'static str, fn(Operands) -> bool);

fn kinds() -> [Kind; 10] {
    [
        ("host", |kind| kind == Operands::HostPort),
        ("address", |kind| kind == Operands::AddressPort),
        ("command", |kind| matches!(kind, Operands::Command(_))),
        ("interface", |kind| matches!(kind, Operands::Interface(_))),
        ("path", |kind| matches!(kind, Operands::File(_))),
        ("paths", |kind| matches!(kind, Operands::Files(_))),
        ("algorithm", |kind| matches!(kind, Operands::Algorithm(_))),
        ("value", |kind| {
            use Operands::{Number, Path, Phrase, Ports, Size, Text, Time};
            matches!(kind, Number(..) | Size(..) | Time(_) | Phrase(_) | Ports(_) | Path(_) | Text(_))
        }),
        ("peer", |kind| matches!(kind, Operands::Host(_))),
        ("rest", |kind| kind == Operands::Rest),
    ]
}

/// The walk along `arguments`, in the language that bash and zsh share: sets `wants`.
fn walk(arguments: &str) -> String {
    let kinds: String = kinds()
        .iter()
        .map(|(kind, fits)| format!("            {}) wants={kind} ;;\n", names(" | ", fits)))
        .collect();
    format!(
        r#"    local joined='^(\[.*\]|[^:]+):[0-9]+$' number='^[0-9]+$'
    for argument in {arguments}; do
        if [[ $wants == file ]]; then
            wants=$after
            continue
        fi
        argument=${{argument//[\"\']/}}
        case $argument in
            [\<\>]* | [0-9\&][\<\>]*)
                after=$wants wants=file
                continue
                ;;
        esac
        case $wants in
            word) ;;
            rest | paths) continue ;;
            host | address)
                if [[ $argument =~ $joined || ($wants == address && $argument =~ $number) ]]; then
                    wants=word
                else
                    wants=port
                fi
                continue
                ;;
            *)
                wants=word
                continue
                ;;
        esac
        case ${{argument#--}} in
{kinds}        esac
    done
"#
    )
}

pub fn bash() -> String {
    format!(
        r#"# bash completion for millipede; made from src/cli/words.rs by its tests
_millipede() {{
    local words='{words}'
    local wants=word after argument current word known i
    local -a arguments=()
    # bash also cuts at colons and equals signs: what was typed without a space before it is one argument,
    # except that "--word=value" is two
    local rest=${{COMP_LINE#*"${{COMP_WORDS[0]}}"}}
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}} known=$((${{#arguments[@]}} - 1))
        if ((known >= 0)) && [[ $word == = && $rest != [[:space:]]* && ${{arguments[known]}} == --* ]]; then
            ((i < COMP_CWORD)) || arguments+=("")
        elif ((known >= 0)) && [[ $rest != [[:space:]]* && ($word == :* || ${{arguments[known]}} == *:) ]]; then
            arguments[known]+=$word
        else
            arguments+=("$word")
        fi
        rest=${{rest#*"$word"}}
    done
    known=$((${{#arguments[@]}} - 1)) current=${{arguments[known]}}
{walk}
    COMPREPLY=()
    case $wants in
        file | path | paths) compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- "$current")) ;;
        word)
            [[ $current != -* ]] || words=" $words" words=${{words// / --}}
            COMPREPLY=($(compgen -W "$words" -- "$current"))
            ;;
        host | address | peer | rest) [[ $current == *:* ]] || COMPREPLY=($(compgen -A hostname -- "$current")) ;;
        interface) COMPREPLY=($(compgen -W "$(ls /sys/class/net 2>/dev/null)" -- "$current")) ;;
        command)
            case $current in
                *[[:space:]]*) compopt -o default 2>/dev/null ;;
                *) COMPREPLY=($(compgen -c -- "${{current#[\"\']}}")) ;;
            esac
            ;;
        algorithm)
            known=/proc/sys/net/ipv4/tcp_available_congestion_control
            COMPREPLY=($(compgen -W "$(cat $known 2>/dev/null)" -- "$current"))
            ;;
    esac
}}
complete -F _millipede millipede
"#,
        words = names(" ", |_| true),
        walk = walk(r#""${arguments[@]:0:known}""#),
    )
}

pub fn zsh() -> String {
    let described: String =
        WORDS.iter().map(|word| format!("        '{}:{}'\n", word.name, word.short)).collect();
    format!(
        r#"#compdef millipede
# zsh completion for millipede; made from src/cli/words.rs by its tests
_millipede() {{
    local wants=word after argument MATCH MBEGIN MEND
    local -a words_of_millipede arguments match mbegin mend
    words_of_millipede=(
{described}    )
    arguments=("${{(@Q)words[2,CURRENT-1]}}")
    # "--word=value" is two arguments
    arguments=("${{(@)arguments/(#s)(#b)(--[a-z0-9]##)=/$match[1]$'\0'}}")
    arguments=("${{(@ps:\0:)arguments}}")
    if compset -P 1 '--*='; then
        arguments+=("${{IPREFIX%=}}")
    fi
{walk}
    case $wants in
        word)
            [[ $PREFIX != -* ]] || words_of_millipede=(--${{^words_of_millipede}})
            _describe word words_of_millipede
            ;;
        host | address | peer | rest) _hosts ;;
        interface) _net_interfaces ;;
        command) _command_names -e ;;
        algorithm) compadd -- ${{=$(cat /proc/sys/net/ipv4/tcp_available_congestion_control 2>/dev/null)}} ;;
        file | path | paths) _files ;;
        *) _message $wants ;;
    esac
}}
_millipede "$@"
"#,
        walk = walk(r#""${(@)arguments}""#),
    )
}

pub fn fish() -> String {
    let kinds: String = kinds()
        .iter()
        .map(|(kind, fits)| {
            format!("                case {}\n                    set wants {kind}\n", names(" ", fits))
        })
        .collect();
    let words: String = WORDS.iter().map(fish_word).collect();
    format!(
        r#"# fish completion for millipede; made from src/cli/words.rs by its tests
function __millipede_wants
    set -l before (commandline -opc)
    set -e before[1]
    set -l wants word
    for argument in (string replace -r '^(--[a-z0-9]+)=' '$1\n' -- $before | string split \n)
        switch $wants
            case word
                switch (string replace -r '^--' '' -- $argument)
{kinds}                end
            case host
                string match -qr '^([^:]+|\[.*\]):[0-9]' -- $argument; and set wants word; or set wants port
            case address
                string match -qr '^(([^:]+|\[.*\]):)?[0-9]+$' -- $argument; and set wants word; or set wants port
            case rest paths
            case '*'
                set wants word
        end
    end
    contains -- $wants $argv
end
complete -c millipede -f
complete -c millipede -n '__millipede_wants host address peer rest' -a '(__fish_print_hostnames)'
complete -c millipede -n '__millipede_wants path paths' -F
complete -c millipede -n '__millipede_wants interface' -a '(__fish_print_interfaces)'
complete -c millipede -n '__millipede_wants command' -a '(__fish_complete_command)'
complete -c millipede -n '__millipede_wants algorithm' \
    -a '(string split " " < /proc/sys/net/ipv4/tcp_available_congestion_control 2>/dev/null)'
{words}"#
    )
}

/// The lines that offer a word, with hyphens or without.
fn fish_word(word: &Word) -> String {
    let (name, short) = (word.name, word.short);
    format!(
        "complete -c millipede -n '__millipede_wants word' -a {name} -d '{short}'\n\
         complete -c millipede -n '__millipede_wants word' -l {name}{takes} -d '{short}'\n",
        takes = match word.operands {
            Operands::None | Operands::Perhaps(..) => "",
            Operands::File(_) | Operands::Files(_) => " -rF",
            _ => " -x",
        },
    )
}
