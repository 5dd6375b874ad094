# Sourced by the bash scripts in this directory: where things are, and how a script gives up.
# shellcheck shell=bash
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# What is slow to make and the same for every checkout; each entry is keyed by a hash or a version.
cache=${WARDER_CACHE:-${HOME:-/root}/.cache/warder}
out=$top/target/image
# The Debian release that the root, the example jail and the tools are made of.
suite=trixie
# 24 has other key names, 26 is not in Debian 13.
mkosi_version=25.3

# die MESSAGE [REMEDY...]
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    printf '  remedy: %s\n' "$@" >&2
    exit 1
}

# hash_of FILE_OR_DIRECTORY...: one hash over names, modes and contents.
hash_of() {
    find -H "$@" -type f -printf '%m %p\0' | sort -z | while IFS= read -r -d '' entry; do
        printf '%s ' "$entry"
        sha256sum <"${entry#* }"
    done | sha256sum | cut -c1-16
}

# need_space DIRECTORY MEGABYTES
need_space() {
    mkdir -p "$1"
    local free
    free=$(df --output=avail -m "$1" | tail -1 | tr -d ' ')
    [ "$free" -ge "$2" ] || die "$1 has $free MB free, $2 MB are needed" \
        "free some space, or put the cache elsewhere: WARDER_CACHE=/big/disk make ..."
}

# give_up WHAT LOG: shows the end of a log and says what most probably went wrong.
give_up() {
    tail -n 20 "$2" >&2
    if grep -q 'No space left on device' "$2"; then
        die "$1: the disk is full (log: $2)" "free space on the disks of $cache and $out" \
            "or put the cache elsewhere: WARDER_CACHE=/big/disk make ..."
    elif grep -Eq 'Could not resolve|Failed to fetch|Temporary failure resolving|Connection (refused|timed out)|Could not connect' "$2"; then
        die "$1: the package mirror could not be reached (log: $2)" \
            "check the network and the machine's apt sources with: apt-get update"
    fi
    die "$1 (log: $2)" "the log says why; if a cache is at fault, remove $cache and run it again"
}

# One build at a time uses the cache; held until the script ends.
lock_cache() {
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock --nonblock 9 || { echo "waiting for another build that uses $cache" >&2; flock 9; }
}
