#!/bin/sh
# Builds millipede and sends a file from one process to another on this host. Usage: ./demo.sh [MiB]
# The receiver takes a free port and says which; everything it writes is in a directory that is removed.
set -eu

mib=${1:-256}
program=${MILLIPEDE:-${CARGO_TARGET_DIR:-$(dirname "$0")/target}/release/millipede}
dir=$(mktemp -d)
rx=
trap '[ -z "$rx" ] || kill "$rx" 2>/dev/null || :; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

hash_of() {
    { sha256sum "$1" 2>/dev/null || shasum -a 256 "$1"; } | cut -c 1-64
}

[ -n "${MILLIPEDE:-}" ] || cargo build --release --locked --manifest-path "$(dirname "$0")/Cargo.toml"

echo "making $mib MiB of random bytes"
head -c $((mib * 1048576)) /dev/urandom >"$dir/sent"

"$program" rx 127.0.0.1 0 >"$dir/received" 2>"$dir/rx.log" &
rx=$!
port= tries=100
until [ -n "$port" ]; do
    if [ "$tries" -eq 0 ]; then
        cat "$dir/rx.log" >&2
        echo "the receiver did not say on which port it listens" >&2
        exit 1
    fi
    tries=$((tries - 1))
    sleep 0.1
    port=$(sed -n 's/^millipede: listening on port \([0-9]*\)$/\1/p' "$dir/rx.log")
done

echo "receiver:  millipede rx 127.0.0.1 0 > received    (it took port $port)"
echo "sender:    millipede tx 127.0.0.1 $port threads 8 < sent"
status=0
"$program" tx 127.0.0.1 "$port" threads 8 <"$dir/sent" || status=$?
echo "sender's exit status:   $status"
if [ "$status" -ne 0 ]; then
    cat "$dir/rx.log" >&2
    exit 1
fi
wait "$rx" || status=$?
rx=
echo "receiver's exit status: $status"

sent=$(hash_of "$dir/sent")
received=$(hash_of "$dir/received")
echo "sent:     $sent"
echo "received: $received"
if [ "$status" -ne 0 ] || [ -z "$sent" ] || [ "$sent" != "$received" ]; then
    echo "NOT the same"
    exit 1
fi
echo "the same $mib MiB"
