#!/bin/sh
# Downloads Debian's cloud kernel package into DIR (never installed). Usage: fetch-kernel.sh DIR
# Prints nothing but progress; the file is DIR/linux-image-*.deb, complete or not there at all.
set -eu

dir=$1
mkdir -p "$dir/partial"

real_package() { # the versioned package behind the metapackage
    apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

refresh() {
    echo "  APT     refreshing the package lists"
    if [ "$(id -u)" = 0 ]; then
        apt-get -q update
    elif command -v sudo >/dev/null; then
        sudo apt-get -q update
    else
        echo "fetch-kernel.sh: there is no sudo here. As root, run: apt-get update" >&2
        exit 1
    fi
}

package=$(real_package)
if [ -z "$package" ]; then
    refresh
    package=$(real_package)
fi
if [ -z "$package" ]; then
    echo "fetch-kernel.sh: apt knows no linux-image-cloud-amd64: no network, or not Debian amd64?" >&2
    exit 1
fi

# "signed" kernels come as real packages of that name; -dbg and -unsigned are others.
echo "  FETCH   $package (into $dir, not installed)"
cd "$dir/partial"
rm -f ./*.deb
sandbox=
[ "$(id -u)" = 0 ] && sandbox='-o APT::Sandbox::User=root'
# shellcheck disable=SC2086
download() { apt-get $sandbox download "$package"; }
download || {
    refresh
    package=$(real_package)
    download
}
# An index entry, a half-written file or a login page is not a package.
for deb in ./*.deb; do
    dpkg-deb --info "$deb" >/dev/null
    mv "$deb" ..
done
cd .. && rmdir partial
