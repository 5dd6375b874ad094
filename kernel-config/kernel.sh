# Sourced by the scripts in this directory: the profiles, Debian's source, and how to run a command in the tools tree.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../image/lib.sh"
. "$top/image/apt.sh"

configuration=$top/kernel-config
kernel_version=$(cat "$configuration/version")
source_tree=$cache/kernel/source/$kernel_version
# Where things are for the compiler, on every machine and in every checkout.
inside_source=/srv inside_objects=/mnt

# fragments PROFILE: its files, in order.
fragments() {
    local topics="00-base 10-defaults 20-jails 30-storage 40-network 50-hardening 60-virt" topic
    case $1 in
        vm) ;;
        server) topics+=" 70-hw-server" ;;
        *) die "there is no kernel $1" "KERNEL=vm or KERNEL=server (KERNEL=debian is not built here)" ;;
    esac
    for topic in $topics 90-debug; do echo "$configuration/$topic.config"; done
}

# options PROFILE: the fragments without their reasons.
options() {
    local files
    mapfile -t files < <(fragments "$1")
    python3 -B "$configuration/kconfig.py" options "${files[@]}"
}

# compiler: the versions of what takes part in the kernel's making, from the tools tree's package database.
compiler() {
    awk '/^Package: / { name = $2 } /^Version: / && name ~ /^(gcc-[0-9]+|binutils|dwarves|zstd)$/ { print name, $2 }' \
        "$tools/var/lib/dpkg/status" | sort
}

# key PROFILE: a hash of all that goes into a kernel. Reasons in the fragments do not count.
key() {
    { echo "$kernel_version"; options "$1"; compiler; cat "$configuration/build" "$configuration/kernel.sh"; } | sha256sum | cut -c1-16
}

# The tools tree and Debian's source, made or fetched when they are not in the cache.
prepare() {
    mkdir -p "$cache/kernel"
    tools=$("$top/image/tools" "$configuration/tools" --cached) && [ -e "$source_tree/Makefile" ] && return
    lock_cache
    tools=$("$top/image/tools" "$configuration/tools")
    [ -e "$source_tree/Makefile" ] || fetch_source
    exec 9>&-
}

# available: the versions of linux-source that apt can fetch, the newest first.
available() {
    apt-cache -o Dir::Etc::SourceList="$cache/apt/$suite.sources" -o Dir::Etc::SourceParts="$cache/apt/none" \
        -o Dir::State::Lists="$cache/apt/$suite.lists" madison "linux-source-${kernel_version%.*}" |
        awk '{ print $3 }' | sort -rVu | head -n 5
}

fetch_source() {
    local new=$source_tree.new deb
    echo "fetching linux-source $kernel_version" >&2
    need_space "$cache" 4000
    mkdir -p "$cache/apt"
    apt_sources "$suite" >"$cache/apt/$suite.sources"
    rm -rf "$new" && mkdir -p "$new"
    (cd "$new" && apt_own "$suite" update &&
        apt_own "$suite" download "linux-source-${kernel_version%.*}=$kernel_version") >"$cache/apt.log" 2>&1 || {
        tail -n 5 "$cache/apt.log" >&2
        die "apt has no linux-source-${kernel_version%.*} of version $kernel_version" \
            "Debian may have replaced it: make kernel-bump VERSION=... (docs/kernel.md)"
    }
    deb=$(echo "$new"/linux-source-*.deb)
    dpkg-deb --fsys-tarfile "$deb" | tar --extract --to-stdout --wildcards './usr/src/linux-source-*.tar.xz' |
        tar --extract --xz --strip-components=1 --directory "$new"
    rm "$deb"
    mv "$new" "$source_tree"
}

# in_tools OBJECTS COMMAND...: runs it in the tools tree, with the source (read-only) and the objects mounted. The
# mounts are in a namespace of its own and go with it.
in_tools() {
    local objects=$1
    shift
    # shellcheck disable=SC2016  # the inner shell's
    unshare --mount --propagation private --pid --fork /bin/sh -euc '
        tools=$1 source=$2 inside_source=$3 objects=$4 inside_objects=$5
        shift 5
        mount --bind "$source" "$tools$inside_source"
        mount -o remount,bind,ro "$tools$inside_source"
        mount --bind "$objects" "$tools$inside_objects"
        mount -t proc proc "$tools/proc"
        mount --rbind /dev "$tools/dev"
        mount -t tmpfs tmpfs "$tools/tmp"
        exec chroot "$tools" env -i PATH=/usr/sbin:/usr/bin LC_ALL=C HOME=/tmp "$@"
    ' sh "$tools" "$source_tree" "$inside_source" "$objects" "$inside_objects" "$@" </dev/null
}

# kbuild OBJECTS ARGUMENT...: the kernel's make. All that could differ between two builds is fixed.
kbuild() {
    local objects=$1
    shift
    in_tools "$objects" make --silent -C "$inside_source" O="$inside_objects" ARCH=x86_64 \
        KBUILD_BUILD_TIMESTAMP="@$(sed -n 's/^SourceDateEpoch=//p' "$top/image/mkosi.conf")" \
        KBUILD_BUILD_USER=warder KBUILD_BUILD_HOST=warder KBUILD_BUILD_VERSION=1 "$@"
}

# configure PROFILE OBJECTS [START]: writes OBJECTS/.config from START (allnoconfig) and the profile's options.
configure() {
    mkdir -p "$2"
    options "$1" >"$2/options"
    kbuild "$2" KCONFIG_ALLCONFIG="$inside_objects/options" "${3:-allnoconfig}" >"$2/configure.log" 2>&1 ||
        { tail -n 20 "$2/configure.log" >&2; die "the kernel could not be configured (log: $2/configure.log)"; }
}
