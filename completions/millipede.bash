# bash completion for millipede; made by its tests from its words
_millipede() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} second=
    ((COMP_CWORD < 2)) || second=${COMP_WORDS[COMP_CWORD - 2]}
    local words='rx tx via duplex threads checkphrase checksum charmode exec terminate initiate oneshot prbs leglimit delayus congestion rate chaos buffer patience progress quiet size verbose help version'
    COMPREPLY=()
    case ${second#--} in
        tx | initiate) return ;;
    esac
    case ${before#--} in
        tx | initiate) COMPREPLY=($(compgen -A hostname -- "$current")) ;;
        via) COMPREPLY=($(compgen -W "$(ls /sys/class/net 2>/dev/null)" -- "$current")) ;;
        exec) COMPREPLY=($(compgen -c -- "$current")) ;;
        congestion)
            local known=/proc/sys/net/ipv4/tcp_available_congestion_control
            COMPREPLY=($(compgen -W "$(cat $known 2>/dev/null)" -- "$current"))
            ;;
        rx | threads | checkphrase | terminate | prbs | leglimit | delayus | rate | chaos | buffer | patience | size | verbose) ;;
        *)
            [[ $current != -* ]] || words=" $words" words=${words// / --}
            COMPREPLY=($(compgen -W "$words" -- "$current"))
            ;;
    esac
}
complete -F _millipede millipede
