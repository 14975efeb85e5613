#!/bin/sh
# Makes a GRUB ISO that boots the core. Usage: mkiso.sh [-p 1|2] [-t SECONDS] OUT CORE MODULE...
#   -p  which multiboot protocol the default entry uses (2); the other stays in the menu
#   -t  how long the menu waits (0)
#   -c  the core's command line
#   -a  an ACPI table, which GRUB puts in the place of the machine's MADT (tests)
set -eu

protocol=2
timeout=0
cmdline=
madt=
while getopts p:t:c:a: option; do
    case $option in
    p) protocol=$OPTARG ;;
    t) timeout=$OPTARG ;;
    c) cmdline=$OPTARG ;;
    a) madt=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
out=$1
core=$2
shift 2

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage/boot/grub"
cp "$core" "$stage/boot/bulkhead.elf32"
cp "$@" "$stage/boot/"
[ -z "$madt" ] || cp "$madt" "$stage/boot/madt.aml"

# GRUB hands over only what follows the file's name, so the module's name stands there again.
# --nounzip: the modules reach the core as they are, whatever GRUB modules are loaded.
entry() { # TITLE LOAD MODULE FILES...
    echo "menuentry '$1' {"
    echo "    $2 /boot/bulkhead.elf32 $cmdline"
    module=$3
    shift 3
    for file in "$@"; do
        echo "    $module --nounzip /boot/${file##*/} ${file##*/}"
    done
    echo "}"
}
{
    echo 'serial --unit=0 --speed=115200'
    echo 'terminal_input serial console'
    echo 'terminal_output serial console'
    echo "set timeout=$timeout"
    echo "set default=$((2 - protocol))"
    [ -z "$madt" ] || echo 'acpi --exclude=APIC /boot/madt.aml'
    entry 'Bulkhead (multiboot 2)' multiboot2 module2 "$@"
    entry 'Bulkhead (multiboot 1)' multiboot module "$@"
} > "$stage/boot/grub/grub.cfg"

modules='biosdisk iso9660 normal configfile serial terminal multiboot multiboot2 halt reboot'
[ -z "$madt" ] || modules="$modules acpi"
log=$stage.log
grub-mkrescue -d /usr/lib/grub/i386-pc --compress=no --locales= --fonts= --themes= \
    --install-modules="$modules" --modules="$modules" \
    -o "$out.new" "$stage" > "$log" 2>&1 || {
    cat "$log" >&2
    rm -f "$log" "$out.new"
    exit 1
}
rm -f "$log"
mv "$out.new" "$out"
