# fish completion for millipede; made from src/cli/words.rs by its tests
function __millipede_wants
    set -l before (commandline -opc)
    set -e before[1]
    set -l wants word
    for argument in (string replace -r '^(--[a-z0-9]+)=' '$1\n' -- $before | string split \n)
        switch $wants
            case word
                switch (string replace -r '^--' '' -- $argument)
                case tx initiate
                    set wants host
                case rx serve terminate
                    set wants address
                case then exec
                    set wants command
                case via
                    set wants interface
                case key peers keygen into meta watch archive
                    set wants path
                case put
                    set wants paths
                case congestion
                    set wants algorithm
                case ports program threads sessions require quota keep keepfree name tag ignore checkphrase prbs leglimit delayus rate chaos buffer patience size verbose
                    set wants value
                case over
                    set wants peer
                case ssh
                    set wants rest
                end
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
complete -c millipede -n '__millipede_wants word' -a rx -d 'receive, and write to stdout'
complete -c millipede -n '__millipede_wants word' -l rx -x -d 'receive, and write to stdout'
complete -c millipede -n '__millipede_wants word' -a tx -d 'transmit stdin; repeat it for more links'
complete -c millipede -n '__millipede_wants word' -l tx -x -d 'transmit stdin; repeat it for more links'
complete -c millipede -n '__millipede_wants word' -a ssh -d 'run COMMAND at HOST, over many connections'
complete -c millipede -n '__millipede_wants word' -l ssh -x -d 'run COMMAND at HOST, over many connections'
complete -c millipede -n '__millipede_wants word' -a over -d 'reach HOST at this address for the data'
complete -c millipede -n '__millipede_wants word' -l over -x -d 'reach HOST at this address for the data'
complete -c millipede -n '__millipede_wants word' -a ports -d 'ports that the far end may listen on'
complete -c millipede -n '__millipede_wants word' -l ports -x -d 'ports that the far end may listen on'
complete -c millipede -n '__millipede_wants word' -a program -d 'where millipede is at HOST'
complete -c millipede -n '__millipede_wants word' -l program -x -d 'where millipede is at HOST'
complete -c millipede -n '__millipede_wants word' -a via -d 'bind the link before it to this address or interface'
complete -c millipede -n '__millipede_wants word' -l via -x -d 'bind the link before it to this address or interface'
complete -c millipede -n '__millipede_wants word' -a ipv4 -d 'use IPv4 only between the two hosts'
complete -c millipede -n '__millipede_wants word' -l ipv4 -d 'use IPv4 only between the two hosts'
complete -c millipede -n '__millipede_wants word' -a ipv6 -d 'use IPv6 only between the two hosts'
complete -c millipede -n '__millipede_wants word' -l ipv6 -d 'use IPv6 only between the two hosts'
complete -c millipede -n '__millipede_wants word' -a duplex -d 'both directions over the same connections'
complete -c millipede -n '__millipede_wants word' -l duplex -d 'both directions over the same connections'
complete -c millipede -n '__millipede_wants word' -a threads -d 'connections, 1 to 16 (default 16)'
complete -c millipede -n '__millipede_wants word' -l threads -x -d 'connections, 1 to 16 (default 16)'
complete -c millipede -n '__millipede_wants word' -a key -d 'encrypt, and let in only who has a known key'
complete -c millipede -n '__millipede_wants word' -l key -rF -d 'encrypt, and let in only who has a known key'
complete -c millipede -n '__millipede_wants word' -a peers -d 'with key, let in whoever has a key listed here'
complete -c millipede -n '__millipede_wants word' -l peers -rF -d 'with key, let in whoever has a key listed here'
complete -c millipede -n '__millipede_wants word' -a keygen -d 'make a key, in FILE and FILE.pub'
complete -c millipede -n '__millipede_wants word' -l keygen -rF -d 'make a key, in FILE and FILE.pub'
complete -c millipede -n '__millipede_wants word' -a serve -d 'receive files of many senders, for ever'
complete -c millipede -n '__millipede_wants word' -l serve -x -d 'receive files of many senders, for ever'
complete -c millipede -n '__millipede_wants word' -a into -d 'with serve, store files below this folder'
complete -c millipede -n '__millipede_wants word' -l into -rF -d 'with serve, store files below this folder'
complete -c millipede -n '__millipede_wants word' -a then -d 'with serve, run this after each file'
complete -c millipede -n '__millipede_wants word' -l then -x -d 'with serve, run this after each file'
complete -c millipede -n '__millipede_wants word' -a insecure -d 'with serve, let in everybody, without a key'
complete -c millipede -n '__millipede_wants word' -l insecure -d 'with serve, let in everybody, without a key'
complete -c millipede -n '__millipede_wants word' -a sessions -d 'with serve, so many at once (default 4)'
complete -c millipede -n '__millipede_wants word' -l sessions -x -d 'with serve, so many at once (default 4)'
complete -c millipede -n '__millipede_wants word' -a require -d 'with serve, metadata that files must have'
complete -c millipede -n '__millipede_wants word' -l require -x -d 'with serve, metadata that files must have'
complete -c millipede -n '__millipede_wants word' -a replace -d 'with serve, let newer files replace older ones'
complete -c millipede -n '__millipede_wants word' -l replace -d 'with serve, let newer files replace older ones'
complete -c millipede -n '__millipede_wants word' -a sums -d 'with serve, put NAME.sha256 beside each file'
complete -c millipede -n '__millipede_wants word' -l sums -d 'with serve, put NAME.sha256 beside each file'
complete -c millipede -n '__millipede_wants word' -a quota -d 'with serve, the most bytes of each key'
complete -c millipede -n '__millipede_wants word' -l quota -x -d 'with serve, the most bytes of each key'
complete -c millipede -n '__millipede_wants word' -a keep -d 'with serve, keep unfinished files (default 7)'
complete -c millipede -n '__millipede_wants word' -l keep -x -d 'with serve, keep unfinished files (default 7)'
complete -c millipede -n '__millipede_wants word' -a keepfree -d 'with serve, leave so much of the disk free'
complete -c millipede -n '__millipede_wants word' -l keepfree -x -d 'with serve, leave so much of the disk free'
complete -c millipede -n '__millipede_wants word' -a name -d 'send stdin to serve, as the file NAME'
complete -c millipede -n '__millipede_wants word' -l name -x -d 'send stdin to serve, as the file NAME'
complete -c millipede -n '__millipede_wants word' -a meta -d 'with put, name or watch, what there is to say'
complete -c millipede -n '__millipede_wants word' -l meta -rF -d 'with put, name or watch, what there is to say'
complete -c millipede -n '__millipede_wants word' -a tag -d 'with put, name or watch, one thing to say of it'
complete -c millipede -n '__millipede_wants word' -l tag -x -d 'with put, name or watch, one thing to say of it'
complete -c millipede -n '__millipede_wants word' -a watch -d 'send each complete file of DIR to serve, for ever'
complete -c millipede -n '__millipede_wants word' -l watch -rF -d 'send each complete file of DIR to serve, for ever'
complete -c millipede -n '__millipede_wants word' -a archive -d 'with watch, move files to DIR once stored'
complete -c millipede -n '__millipede_wants word' -l archive -rF -d 'with watch, move files to DIR once stored'
complete -c millipede -n '__millipede_wants word' -a ignore -d 'with watch, pass over files of such a name'
complete -c millipede -n '__millipede_wants word' -l ignore -x -d 'with watch, pass over files of such a name'
complete -c millipede -n '__millipede_wants word' -a put -d 'send these files to serve; it stands last'
complete -c millipede -n '__millipede_wants word' -l put -rF -d 'send these files to serve; it stands last'
complete -c millipede -n '__millipede_wants word' -a checkphrase -d '4 bytes that must be the same at both ends'
complete -c millipede -n '__millipede_wants word' -l checkphrase -x -d '4 bytes that must be the same at both ends'
complete -c millipede -n '__millipede_wants word' -a checksum -d 'verify every leg and the whole stream'
complete -c millipede -n '__millipede_wants word' -l checksum -d 'verify every leg and the whole stream'
complete -c millipede -n '__millipede_wants word' -a charmode -d 'pass on whatever has been read, at once'
complete -c millipede -n '__millipede_wants word' -l charmode -d 'pass on whatever has been read, at once'
complete -c millipede -n '__millipede_wants word' -a exec -d 'pipe into (rx) or from (tx) a command'
complete -c millipede -n '__millipede_wants word' -l exec -x -d 'pipe into (rx) or from (tx) a command'
complete -c millipede -n '__millipede_wants word' -a terminate -d 'tunnel from TCP connections accepted here'
complete -c millipede -n '__millipede_wants word' -l terminate -x -d 'tunnel from TCP connections accepted here'
complete -c millipede -n '__millipede_wants word' -a initiate -d 'tunnel to TCP connections opened from here'
complete -c millipede -n '__millipede_wants word' -l initiate -x -d 'tunnel to TCP connections opened from here'
complete -c millipede -n '__millipede_wants word' -a oneshot -d 'end the tunnel after its first connection'
complete -c millipede -n '__millipede_wants word' -l oneshot -d 'end the tunnel after its first connection'
complete -c millipede -n '__millipede_wants word' -a prbs -d 'send and verify a pseudorandom stream'
complete -c millipede -n '__millipede_wants word' -l prbs -x -d 'send and verify a pseudorandom stream'
complete -c millipede -n '__millipede_wants word' -a leglimit -d 'end the stream after N times 2 MiB'
complete -c millipede -n '__millipede_wants word' -l leglimit -x -d 'end the stream after N times 2 MiB'
complete -c millipede -n '__millipede_wants word' -a delayus -d 'wait N microseconds before each 2 MiB'
complete -c millipede -n '__millipede_wants word' -l delayus -x -d 'wait N microseconds before each 2 MiB'
complete -c millipede -n '__millipede_wants word' -a congestion -d 'congestion control of the connections, e.g. bbr'
complete -c millipede -n '__millipede_wants word' -l congestion -x -d 'congestion control of the connections, e.g. bbr'
complete -c millipede -n '__millipede_wants word' -a rate -d 'at most this many bytes a second, such as 10M'
complete -c millipede -n '__millipede_wants word' -l rate -x -d 'at most this many bytes a second, such as 10M'
complete -c millipede -n '__millipede_wants word' -a compress -d 'compress legs in parallel, if that is faster'
complete -c millipede -n '__millipede_wants word' -l compress -d 'compress legs in parallel, if that is faster'
complete -c millipede -n '__millipede_wants word' -a through -d 'pass each leg through a program and its inverse'
complete -c millipede -n '__millipede_wants word' -l through -x -d 'pass each leg through a program and its inverse'
complete -c millipede -n '__millipede_wants word' -a chaos -d 'break the connection in use at every Nth frame'
complete -c millipede -n '__millipede_wants word' -l chaos -x -d 'break the connection in use at every Nth frame'
complete -c millipede -n '__millipede_wants word' -a buffer -d 'memory per direction, at most (default 128M)'
complete -c millipede -n '__millipede_wants word' -l buffer -x -d 'memory per direction, at most (default 128M)'
complete -c millipede -n '__millipede_wants word' -a patience -d 'give up after this long without a connection'
complete -c millipede -n '__millipede_wants word' -l patience -x -d 'give up after this long without a connection'
complete -c millipede -n '__millipede_wants word' -a progress -d 'a live line on stderr'
complete -c millipede -n '__millipede_wants word' -l progress -d 'a live line on stderr'
complete -c millipede -n '__millipede_wants word' -a quiet -d 'no live line and no last line'
complete -c millipede -n '__millipede_wants word' -l quiet -d 'no live line and no last line'
complete -c millipede -n '__millipede_wants word' -a size -d 'how large the stream is, for the time left'
complete -c millipede -n '__millipede_wants word' -l size -x -d 'how large the stream is, for the time left'
complete -c millipede -n '__millipede_wants word' -a verbose -d 'say more, 0 to 20'
complete -c millipede -n '__millipede_wants word' -l verbose -x -d 'say more, 0 to 20'
complete -c millipede -n '__millipede_wants word' -a help -d 'explain, or explain one word'
complete -c millipede -n '__millipede_wants word' -l help -x -d 'explain, or explain one word'
complete -c millipede -n '__millipede_wants word' -a version -d 'show the version'
complete -c millipede -n '__millipede_wants word' -l version -d 'show the version'
