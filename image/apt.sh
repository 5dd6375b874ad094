# Sourced after lib.sh: Debian's packages from wherever this machine gets its own.
# The project names no mirror: the addresses are those in the machine's apt configuration, and
# nothing here changes that configuration.
# shellcheck shell=bash

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# apt_targets: "URI CODENAME" of each Debian source of this machine.
apt_targets() {
    # shellcheck disable=SC2016  # the dollar signs are apt's
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
        sed -n 's/^Debian //p' | sort -u
}

# apt_sources SUITE [backports]: a deb822 sources file for SUITE on standard output.
apt_sources() {
    local release=$1 pockets="$1 $1-updates" main security
    [ -z "${2-}" ] || pockets+=" $1-backports"
    main=$(apt_targets | awk '$2 ~ /^[a-z]+$/ { print $1; exit }')
    security=$(apt_targets | awk '$2 ~ /-security$/ { print $1; exit }')
    [ -n "$main" ] || die "apt has no Debian source on this machine" \
        "add one to /etc/apt/sources.list.d and run: apt-get update"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
        "$main" "$pockets" "$keyring"
    [ -z "$security" ] ||
        printf '\nTypes: deb\nURIs: %s\nSuites: %s-security\nComponents: main\nSigned-By: %s\n' \
            "$security" "$release" "$keyring"
}

# apt_settings: how this machine reaches its mirror (proxies, retries, date checks).
apt_settings() {
    apt-config dump --format '%f "%v";%n' Acquire |
        grep -Ei '^Acquire::(https?|Check-|Retries|ForceIPv)' || true
}

# apt_own NAME ARGUMENT...: apt-get with the sources in $cache/apt/NAME.sources, its lists beside it.
apt_own() {
    local home=$cache/apt name=$1
    shift
    mkdir -p "$home/$name.lists/partial" "$home/none"
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o APT::Sandbox::User=root \
        -o Dir::Etc::SourceList="$home/$name.sources" -o Dir::Etc::SourceParts="$home/none" \
        -o Dir::State::Lists="$home/$name.lists" "$@"
}

# apt_sandbox DIRECTORY: the same for mkosi, which ignores the machine's sources and would invent its own.
apt_sandbox() {
    mkdir -p "$1/etc/apt/sources.list.d" "$1/etc/apt/apt.conf.d"
    apt_sources "$suite" >"$1/etc/apt/sources.list.d/mkosi.sources"
    apt_settings >"$1/etc/apt/apt.conf.d/50warder"
}

# mkosi ARGUMENT...: the pinned version, from the cache, with the system's own Python.
mkosi() {
    local home=$cache/mkosi/$mkosi_version
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$home/usr/lib/python3/dist-packages \
        /usr/bin/python3 "$home/usr/bin/mkosi" "$@"
}
