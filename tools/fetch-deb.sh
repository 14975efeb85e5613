#!/bin/sh
# Downloads a Debian package into DIR (never installed). Usage: fetch-deb.sh DIR PACKAGE
# Of a metapackage for kernels, the kernel that it names. Prints nothing but progress; the file is
# DIR/PACKAGE_*.deb (or the kernel's), complete or not there at all.
set -eu

dir=$1
wanted=$2
partial=$dir/partial-$wanted
mkdir -p "$partial"

real_package() {
    apt-cache show "$wanted" >/dev/null 2>&1 || return 0
    kernel=$(apt-cache depends "$wanted" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    echo "${kernel:-$wanted}"
}

refresh() {
    echo "  APT     refreshing the package lists"
    if [ "$(id -u)" = 0 ]; then
        apt-get -q update
    elif command -v sudo >/dev/null; then
        sudo apt-get -q update
    else
        echo "fetch-deb.sh: there is no sudo here. As root, run: apt-get update" >&2
        exit 1
    fi
}

package=$(real_package)
if [ -z "$package" ]; then
    refresh
    package=$(real_package)
fi
if [ -z "$package" ]; then
    echo "fetch-deb.sh: apt knows no $wanted: no network, or not Debian amd64?" >&2
    exit 1
fi

# "signed" kernels come as real packages of that name; -dbg and -unsigned are others.
echo "  FETCH   $package (into $dir, not installed)"
cd "$partial"
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
cd .. && rmdir "partial-$wanted"
