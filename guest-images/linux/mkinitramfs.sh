#!/bin/sh
# Packs busybox and the files beside this script into an initramfs. The same input gives the same
# bytes. Usage: mkinitramfs.sh OUT.cpio.gz BUSYBOX PROGRAM...
set -eu
umask 022

out=$1
busybox=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/proc" "$root/root" "$root/sys" "$root/tmp"
ln -s bin "$root/sbin"
cp "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
cp "$@" "$root/bin/"
cp "$here/init" "$root/init"
cp "$here/inittab" "$here/profile" "$here/rc" "$root/etc/"
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'root:x:0:' > "$root/etc/group"
chmod 755 "$root/init" "$root/etc/rc" "$root/bin/busybox"

find "$root" -exec touch -h -d @0 {} +
(cd "$root" && find . | LC_ALL=C sort |
    cpio --quiet --reproducible -H newc -o -R 0:0) | gzip -9n > "$out.new"
mv "$out.new" "$out"
