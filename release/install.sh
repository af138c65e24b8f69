#!/bin/sh
# Installs kestack and kes: `install.sh [--version VERSION] [--to FOLDER]`. By default the newest release, into ~/.local/bin.
# It needs no root, compares the SHA-256 of what it downloads, and changes nothing before that is right.
# KESTACK_RELEASES names another place than GitHub's releases.
set -eu

releases=${KESTACK_RELEASES:-https://github.com/kestack/kestack/releases}

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '  %s\n' "$2" >&2
    exit 1
}

usage() { sed -n '2,4s/^# //p' "$0" 2>/dev/null || true; }

target() {
    [ "$(uname -s)" = Linux ] || fail "kestack runs on Linux; this is $(uname -s)" "use a Linux machine, a virtual one or a container"
    case $(uname -m) in
    x86_64 | amd64) echo x86_64-unknown-linux-gnu ;;
    aarch64 | arm64) echo aarch64-unknown-linux-gnu ;;
    *) fail "there are no programs for $(uname -m)" "build them: cargo install --locked --git https://github.com/kestack/kestack kes-server kestack" ;;
    esac
}

# fetch URL FILE
fetch() {
    if command -v curl >/dev/null; then
        curl -fsSL --retry 2 --connect-timeout 20 --max-time 600 -o "$2" "$1"
    elif command -v wget >/dev/null; then
        wget -q -T 60 -t 3 -O "$2" "$1"
    else
        fail "neither curl nor wget is here" "install one of them"
    fi || fail "cannot download $1" "look at the message above, and run it again"
}

# the folder, writable; nothing is asked of root
writable() {
    mkdir -p "$1" 2>/dev/null || true
    { [ -d "$1" ] && [ -w "$1" ]; } || fail "cannot write to '$1'" "choose another folder with --to, or run it as a user who may"
}

# put FILE FOLDER: in its place at once, also where it runs; both are on one file system
put() {
    chmod 755 "$1"
    mv -f "$1" "$2/"
}

main() {
    version='' to=${HOME:+$HOME/.local/bin}
    while [ $# -gt 0 ]; do
        case $1 in
        --version) version=${2:?--version needs a version} && shift 2 ;;
        --to) to=${2:?--to needs a folder} && shift 2 ;;
        -h | --help) usage && exit ;;
        *) fail "'$1' is not known" "usage: install.sh [--version VERSION] [--to FOLDER]" ;;
        esac
    done
    version=${version#v}
    [ -n "$to" ] || fail "HOME is not set" "name a folder with --to"
    target=$(target)
    writable "$to"
    # programs may not run in the temporary folder
    work=$(mktemp -d "$to/.kestack.XXXXXX") || fail "cannot write to '$to'" "choose another folder with --to"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM

    if [ -n "$version" ]; then from=$releases/download/v$version; else from=$releases/latest/download; fi
    fetch "$from/SHA256SUMS" "$work/SHA256SUMS"
    file=$(awk -v end="-$target.tar.gz" '$2 ~ /^kestack-/ && substr($2, length($2) - length(end) + 1) == end { print $2; exit }' "$work/SHA256SUMS")
    case $file in
    '') fail "this release has no programs for $target" "see $releases" ;;
    */*) fail "SHA256SUMS names the unexpected file '$file'" "see $releases" ;;
    esac
    fetch "$from/$file" "$work/$file"
    (cd "$work" && awk -v file="$file" '$2 == file' SHA256SUMS | sha256sum -c - >/dev/null 2>&1) ||
        fail "the SHA-256 of $file is wrong: the download is incomplete or was changed" "nothing was installed; run it again"
    tar -xzf "$work/$file" -C "$work"
    folder=$work/${file%.tar.gz}
    said=$("$folder/kestack" --version) || fail "the program does not run in '$to'" "nothing was installed; if that folder is mounted with noexec, choose another one with --to"
    # kestack takes the kes next to it: that one first
    put "$folder/kes" "$to"
    put "$folder/kestack" "$to"
    printf '%s, with kes, is in %s\n' "$said" "$to"
    case :$PATH: in *:"$to":*) ;; *) printf 'add it to PATH: export PATH="%s:%s"\n' "$to" "\$PATH" ;; esac
}

# at the end: of a script that was cut on its way nothing runs
main "$@"
