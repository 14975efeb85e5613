#!/bin/sh
# Installs what Bulkhead's build, run and tests need from Debian, after saying what and why.
# Usage: tools/deps.sh [build] [run] [intel] [image] [test]
# Does nothing, quickly, when all is there. As root it uses apt-get directly, otherwise sudo, once.
set -eu

BUILD='gcc make nasm acpica-tools binutils python3 gnu-efi'
BUILD_WHY='compiler, assembler and ACPI compiler for the core and the small test guests; the UEFI loader'
RUN='qemu-system-x86 busybox-static cpio'
RUN_WHY='the emulator, and the shell that runs inside the Linux guests'
INTEL='bochs bochs-term bochsbios vgabios grub-pc-bin grub-common xorriso mtools dosfstools busybox-static cpio'
INTEL_WHY='the emulator with VT-x, a boot loader for it, and the shell of the Linux guests'
TEST='bochs bochs-term bochsbios vgabios python3-pytest-xdist libc6-dev libcmocka-dev clang libclang-rt-14-dev llvm lcov python3-pytest libcapstone-dev
    grub-pc-bin grub-common xorriso mtools dosfstools gdisk ovmf sbsigntool openssl swtpm'
TEST_WHY='unit tests, fuzzers, coverage, and system tests, in Bochs and with UEFI (signed, with a TPM) as well'
IMAGE='grub-pc-bin grub-common xorriso mtools dosfstools gdisk sbsigntool'
IMAGE_WHY='GRUB, what writes bootable images of a CD and a disk, and what signs them'

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null |
    sed -n 's/^installed //p')
is_installed() {
    case "
$installed
" in *"
$1
"*) return 0 ;; *) return 1 ;; esac
}

missing=
report=
for set in "$@"; do
    case $set in
    build) packages=$BUILD why=$BUILD_WHY ;;
    run) packages=$RUN why=$RUN_WHY ;;
    intel) packages=$INTEL why=$INTEL_WHY ;;
    test) packages=$TEST why=$TEST_WHY ;;
    image) packages=$IMAGE why=$IMAGE_WHY ;;
    *) echo "deps.sh: unknown set '$set' (build, run, intel, image, test)" >&2; exit 2 ;;
    esac
    list=
    for package in $packages; do
        is_installed "$package" || list="$list $package"
    done
    [ -z "$list" ] && continue
    missing="$missing$list"
    report="$report
   $list
        ($why)"
done
[ -z "$missing" ] && exit 0

echo "Bulkhead needs these Debian packages:$report"
if ! command -v apt-get >/dev/null; then
    echo "deps.sh: there is no apt-get here; please install them by hand" >&2
    exit 1
fi
by_hand="apt-get update && apt-get install --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
    echo "They are installed with apt-get, for which sudo may ask for your password."
else
    echo "deps.sh: only root can install them, and there is no sudo here. As root, run:" >&2
    echo "    $by_hand" >&2
    exit 1
fi
# One sudo for all steps. The lists may be missing (seen by a dry run) or too old to find the files.
# shellcheck disable=SC2016,SC2086
$as_root sh -c '
    export DEBIAN_FRONTEND=noninteractive
    refresh() { echo "Refreshing the package lists"; apt-get -q update; }
    install() { apt-get -q install -y --no-install-recommends "$@"; }
    if install --dry-run "$@" >/dev/null 2>&1; then
        install "$@" && exit 0
    fi
    refresh && install "$@"' sh $missing || {
    echo "deps.sh: that did not work. What is needed, as root:" >&2
    echo "    $by_hand" >&2
    exit 1
}
