#!/bin/sh
# Starts Bulkhead in QEMU with this terminal as the serial console.
# Usage: run.sh kernel CORE MODULE...   or   run.sh iso IMAGE
# MEMORY (MiB, 2048) and QEMU_EXTRA (more arguments) may be set in the environment.
set -eu

# TCG warns of each feature of the model that it does not emulate: those are taken out.
TCG_CPU='EPYC,-rdseed,-sha-ni,-fxsr-opt,-misalignsse,-3dnowprefetch,-osvw,-topoext,-nrip-save'
TCG_CPU=$TCG_CPU,-xsavec,+svm,+npt,+vgif

nested=$(cat /sys/module/kvm_amd/parameters/nested 2>/dev/null || echo 0)
if [ -r /dev/kvm ] && [ -w /dev/kvm ] && { [ "$nested" = 1 ] || [ "$nested" = Y ]; }; then
    accel='-accel kvm' cpu=host
    echo "QEMU with KVM: nested SVM is on (kvm_amd nested=$nested)."
else
    accel='-accel tcg' cpu=$TCG_CPU
    if [ -e /dev/kvm ]; then
        why='KVM here offers no nested AMD-V (kvm_amd nested=1, and access to /dev/kvm)'
    else
        why='there is no /dev/kvm'
    fi
    echo "QEMU in pure emulation (TCG), slower than real hardware: $why."
fi

what=$1
shift
case $what in
kernel)
    core=$1
    shift
    modules=
    for file in "$@"; do modules="${modules:+$modules,}$file"; done
    set -- -kernel "$core" -initrd "$modules"
    ;;
iso) set -- -cdrom "$1" -boot d ;;
*) echo "run.sh: unknown '$what'" >&2; exit 2 ;;
esac

# Ctrl-C and the like belong to the guests; the terminal comes back as it was, however QEMU ends.
if [ -t 0 ]; then
    saved=$(stty -g)
    trap 'stty "$saved"' EXIT
    trap 'exit 130' INT TERM HUP
fi
echo 'Keys: Ctrl-A then a digit = that VM (0 the monitor), n next, ? help, q power off.'
# Module names are the files' base names: the core takes the last part of the path.
# shellcheck disable=SC2086
qemu-system-x86_64 $accel -machine q35 -cpu "$cpu" -smp "${CPUS:-2}" -m "${MEMORY:-2048}" -nodefaults \
    -display none -monitor none -chardev stdio,id=con,signal=off -serial chardev:con \
    ${QEMU_EXTRA:-} "$@"
