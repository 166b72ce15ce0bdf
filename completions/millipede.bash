# bash completion for millipede; made from src/cli/words.rs by its tests
_millipede() {
    local words='rx tx ssh over ports program via ipv4 ipv6 duplex threads key peers keygen serve into then insecure sessions require replace sums quota keep keepfree name meta tag watch archive ignore put checkphrase checksum charmode exec terminate initiate oneshot prbs leglimit delayus congestion rate compress through chaos buffer patience progress quiet size verbose help version'
    local wants=word after argument current word known i
    local -a arguments=()
    # bash also cuts at colons and equals signs: what was typed without a space before it is one argument,
    # except that "--word=value" is two
    local rest=${COMP_LINE#*"${COMP_WORDS[0]}"}
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]} known=$((${#arguments[@]} - 1))
        if ((known >= 0)) && [[ $word == = && $rest != [[:space:]]* && ${arguments[known]} == --* ]]; then
            ((i < COMP_CWORD)) || arguments+=("")
        elif ((known >= 0)) && [[ $rest != [[:space:]]* && ($word == :* || ${arguments[known]} == *:) ]]; then
            arguments[known]+=$word
        else
            arguments+=("$word")
        fi
        rest=${rest#*"$word"}
    done
    known=$((${#arguments[@]} - 1)) current=${arguments[known]}
    local joined='^(\[.*\]|[^:]+):[0-9]+$' number='^[0-9]+$'
    for argument in "${arguments[@]:0:known}"; do
        if [[ $wants == file ]]; then
            wants=$after
            continue
        fi
        argument=${argument//[\"\']/}
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
        case ${argument#--} in
            tx | initiate) wants=host ;;
            rx | serve | terminate) wants=address ;;
            then | exec) wants=command ;;
            via) wants=interface ;;
            key | peers | keygen | into | meta | watch | archive) wants=path ;;
            put) wants=paths ;;
            congestion) wants=algorithm ;;
            ports | program | threads | sessions | require | quota | keep | keepfree | name | tag | ignore | checkphrase | prbs | leglimit | delayus | rate | chaos | buffer | patience | size | verbose) wants=value ;;
            over) wants=peer ;;
            ssh) wants=rest ;;
        esac
    done

    COMPREPLY=()
    case $wants in
        file | path | paths) compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- "$current")) ;;
        word)
            [[ $current != -* ]] || words=" $words" words=${words// / --}
            COMPREPLY=($(compgen -W "$words" -- "$current"))
            ;;
        host | address | peer | rest) [[ $current == *:* ]] || COMPREPLY=($(compgen -A hostname -- "$current")) ;;
        interface) COMPREPLY=($(compgen -W "$(ls /sys/class/net 2>/dev/null)" -- "$current")) ;;
        command)
            case $current in
                *[[:space:]]*) compopt -o default 2>/dev/null ;;
                *) COMPREPLY=($(compgen -c -- "${current#[\"\']}")) ;;
            esac
            ;;
        algorithm)
            known=/proc/sys/net/ipv4/tcp_available_congestion_control
            COMPREPLY=($(compgen -W "$(cat $known 2>/dev/null)" -- "$current"))
            ;;
    esac
}
complete -F _millipede millipede
