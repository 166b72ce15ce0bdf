# fish completion for millipede; made by its tests from its words
function __millipede_after
    set -l before (commandline -opc)
    set -e before[1]
    test (count $before) -gt 0; and contains -- (string replace -r '^--' '' -- $before[-1]) $argv
end
function __millipede_wants_word
    set -l before (commandline -opc)
    set -e before[1]
    if test (count $before) -gt 1
        contains -- (string replace -r '^--' '' -- $before[-2]) tx initiate; and return 1
    end
    not __millipede_after rx tx via threads checkphrase exec terminate initiate prbs leglimit delayus congestion rate chaos buffer patience size verbose
end
complete -c millipede -f
complete -c millipede -n '__millipede_after tx initiate' -a '(__fish_print_hostnames)'
complete -c millipede -n '__millipede_after via' -a '(__fish_print_interfaces)'
complete -c millipede -n '__millipede_after exec' -a '(__fish_complete_command)'
complete -c millipede -n '__millipede_after congestion' \
    -a '(string split " " < /proc/sys/net/ipv4/tcp_available_congestion_control 2>/dev/null)'
complete -c millipede -n __millipede_wants_word -a rx -d 'receive, and write to stdout'
complete -c millipede -n __millipede_wants_word -a tx -d 'transmit stdin; repeat it for more links'
complete -c millipede -n __millipede_wants_word -a via -d 'bind the link before it to this address or interface'
complete -c millipede -n __millipede_wants_word -a duplex -d 'both directions over the same connections'
complete -c millipede -n __millipede_wants_word -a threads -d 'connections, 1 to 16 (default 16)'
complete -c millipede -n __millipede_wants_word -a checkphrase -d '4 bytes that must be the same at both ends'
complete -c millipede -n __millipede_wants_word -a checksum -d 'verify every leg and the whole stream'
complete -c millipede -n __millipede_wants_word -a charmode -d 'pass on whatever has been read, at once'
complete -c millipede -n __millipede_wants_word -a exec -d 'pipe into (rx) or from (tx) a command'
complete -c millipede -n __millipede_wants_word -a terminate -d 'tunnel from TCP connections accepted here'
complete -c millipede -n __millipede_wants_word -a initiate -d 'tunnel to TCP connections opened from here'
complete -c millipede -n __millipede_wants_word -a oneshot -d 'end the tunnel after its first connection'
complete -c millipede -n __millipede_wants_word -a prbs -d 'send and verify a pseudorandom stream'
complete -c millipede -n __millipede_wants_word -a leglimit -d 'end the stream after N times 2 MiB'
complete -c millipede -n __millipede_wants_word -a delayus -d 'wait N microseconds before each 2 MiB'
complete -c millipede -n __millipede_wants_word -a congestion -d 'congestion control of the connections, e.g. bbr'
complete -c millipede -n __millipede_wants_word -a rate -d 'at most this many bytes a second, such as 10M'
complete -c millipede -n __millipede_wants_word -a chaos -d 'break the connection in use at every Nth frame'
complete -c millipede -n __millipede_wants_word -a buffer -d 'memory per direction, at most (default 128M)'
complete -c millipede -n __millipede_wants_word -a patience -d 'give up after this long without a connection'
complete -c millipede -n __millipede_wants_word -a progress -d 'a live line on stderr'
complete -c millipede -n __millipede_wants_word -a quiet -d 'no live line'
complete -c millipede -n __millipede_wants_word -a size -d 'how large the stream is, for the time left'
complete -c millipede -n __millipede_wants_word -a verbose -d 'say more, 0 to 20'
complete -c millipede -n __millipede_wants_word -a help -d 'explain, or explain one word'
complete -c millipede -n __millipede_wants_word -a version -d 'show the version'
