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
    free=$(df --output=avail -m "$1" | tail -1)
    [ "$free" -ge "$2" ] || die "$1 has $free MB free, $2 MB are needed" \
        "free some space, or put the cache elsewhere: WARDER_CACHE=/big/disk make ..."
}
