#!/usr/bin/env bash
# Debian 12 trees for tests on a bare machine; sourced by fresh-machine.sh and systemd-test.sh.

# debian_tree NAME PACKAGES: makes the tree once, with this machine's mirrors, and prints where it lies.
debian_tree() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/torchgate/debian12-$1 mirror sources
    if [ ! -e "$cache.done" ] || [ "$(cat "$cache.done")" != "$2" ]; then
        command -v debootstrap >/dev/null ||
            DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends debootstrap >&2
        # shellcheck disable=SC2016 # apt-get fills these in
        sources=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
            grep -E ' bookworm(-updates|-security)? main$' | sort -u || true)
        mirror=$(awk '$2 == "bookworm" { print $1; exit }' <<<"$sources")
        rm -rf "$cache" "$cache.done"
        mkdir -p "$cache"
        # Without a mirror debootstrap takes its own.
        debootstrap --variant=minbase --include="$2" bookworm "$cache" ${mirror:+"$mirror"} >&2
        if [ -n "$sources" ]; then
            awk '{ print "deb", $0 }' <<<"$sources" >"$cache/etc/apt/sources.list"
        fi
        rm -f "$cache"/var/cache/apt/archives/*.deb
        printf '%s\n' "$2" >"$cache.done"
    fi
    printf '%s\n' "$cache"
}

# copy_tree FROM TO: a copy that may be spoilt, with this machine's way to the net: proxies, certificates.
copy_tree() {
    local file
    chmod 755 "$2"
    cp -a --reflink=auto "$1/." "$2/"
    mkdir -p "$2/etc/ssl/certs"
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/gitconfig /etc/ssl/certs/ca-certificates.crt; do
        if [ -e "$file" ]; then cat "$file" >"$2$file"; fi
    done
    # What apt is told here about proxies and certificates.
    apt-config dump 'Acquire::http::Proxy' >"$2/etc/apt/apt.conf.d/90host" || true
    apt-config dump 'Acquire::https::Proxy' >>"$2/etc/apt/apt.conf.d/90host" || true
    apt-config dump 'Acquire::Check-Date' >>"$2/etc/apt/apt.conf.d/90host" || true
    apt-config dump 'Acquire::Check-Valid-Until' >>"$2/etc/apt/apt.conf.d/90host" || true
}
