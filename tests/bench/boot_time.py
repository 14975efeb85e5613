"""How long Linux takes from its first instruction to the shell: under the core, and directly.

Counted in instructions, so that the figures are the same each time: by QEMU with -icount on AMD-V, where
the TSC counts one a virtual nanosecond, and with `--bochs` by Bochs on VT-x, where it counts ticks. The
TSC is read by the guest: at its entry by a small guest started in the same way, at the shell by /bin/tsc.
Prints both times, their ratio, and how often the guest was left, for what: with little output, and with
all of the kernel's log on the serial port. `--quiet`: the first of these only.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

from bochs import BochsMachine  # noqa: E402
import bochs_run  # noqa: E402
from bulkhead import CPU, GUESTS, TEST_GUESTS, Machine, config, vm  # noqa: E402

CMDLINE = "console=ttyS0 vmname=linux bh.tsc"
QUIET, WITH_LOG = " quiet", ""
# What takes an emulator minutes and says nothing about a hypervisor.
BOCHS_CMDLINE = CMDLINE + QUIET + " cryptomgr.notests mitigations=off"
TIMEOUT = 600
ENTRY, SHELL = r"READY tsc (\d+)", r"BULKHEAD-TSC (\d+)"

KERNEL, INITRD = GUESTS + "/vmlinuz", GUESTS + "/guest.cpio.gz"


class NativeQemu(Machine):
    """A kernel directly in QEMU."""

    def __init__(self, kernel, initrd=None, words=QUIET):
        self.boot_args = ["-kernel", kernel, "-append", CMDLINE + words]
        if initrd:
            self.boot_args += ["-initrd", initrd]
        # No SVM: the core does not show it to its guests, either.
        super().__init__(None, None, memory=256, cpu=CPU.replace("+svm,+npt,+vgif", "-svm"),
                         icount=True)

    def kernel_args(self, *_):
        return self.boot_args


def linux_iso(tmp, kernel):
    """An ISO on which GRUB starts this kernel, with the initramfs."""
    stage = os.path.join(tmp, "stage")
    os.makedirs(stage + "/boot/grub")
    with open(stage + "/boot/grub/grub.cfg", "w", encoding="utf-8") as out:
        out.write("linux16 /kernel %s\ninitrd16 /initrd\nboot\n" % BOCHS_CMDLINE)
    # GRUB takes as long to load the small guest as to load Linux.
    with open(kernel, "rb") as file, open(stage + "/kernel", "wb") as out:
        out.write(file.read().ljust(os.path.getsize(KERNEL), b"\0"))
    shutil.copy(INITRD, stage + "/initrd")
    subprocess.run(["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "--compress=no", "--locales=",
                    "--fonts=", "--themes=", "-o", tmp + "/native.iso", stage],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return tmp + "/native.iso"


def exits_of(machine):
    """The monitor's table of a VM's exits: lines of text."""
    machine.focus(0)
    machine.send("stat linux\rlist\r")
    machine.expect("^1 linux", timeout=TIMEOUT, source="core")
    lines = machine.output_of("core")
    head = max(i for i, line in enumerate(lines) if re.match(r"^ +exit +count", line))
    return [lines[head]] + [line for line in lines[head:] if re.match(r"^ +\w+( +\d+){5}$", line)]


def tsc_of(machine, pattern, exits=False):
    with machine:
        value = int(machine.expect(pattern, timeout=TIMEOUT).group(1))
        if exits:
            print("\n".join(exits_of(machine)))
        return value


def measure_qemu(tmp, words):
    def start(kernel, **keys):
        return Machine(tmp, config(vm("linux", kernel, **keys)), icount=True, cmdline="")

    return ((tsc_of(NativeQemu(TEST_GUESTS + "/tsc.img"), ENTRY),
             tsc_of(NativeQemu(KERNEL, INITRD, words), SHELL)),
            (tsc_of(start("tsc.img", memory="256M"), ENTRY),
             tsc_of(start("vmlinuz", cmdline=CMDLINE + words), SHELL, True)))


def measure_bochs(model):
    # Linux reads MSRs at its entry that Bochs does not have.
    lenient = bochs_run.CONFIGURATION.replace("ignore_bad_msrs=0", "ignore_bad_msrs=1")

    def native(kernel, pattern):
        with tempfile.TemporaryDirectory() as tmp, \
             mock.patch.object(bochs_run, "CONFIGURATION", lenient):
            return tsc_of(BochsMachine(tmp, None, iso=linux_iso(tmp, kernel), **options), pattern)

    def ours(pattern, kernel, **keys):
        with tempfile.TemporaryDirectory() as tmp:
            conf = config(vm("linux", kernel, memory="256M", **keys))
            return tsc_of(BochsMachine(tmp, conf, **options), pattern, kernel == "vmlinuz")

    options = {"model": model, "ips": 50000000, "memory": 512}
    return ((native(TEST_GUESTS + "/tsc.img", ENTRY), native(KERNEL, SHELL)),
            (ours(ENTRY, "tsc.img"), ours(SHELL, "vmlinuz", cmdline=BOCHS_CMDLINE)))


def report(native, ours, what):
    for name, (begin, end) in ((what, native), ("under Bulkhead", ours)):
        print("%-18s entry %9.3f  shell %9.3f  difference %9.3f million instructions"
              % (name, begin / 1e6, end / 1e6, (end - begin) / 1e6))
    print("ratio %.4f" % ((ours[1] - ours[0]) / (native[1] - native[0])))


def main():
    if sys.argv[1:2] == ["--bochs"]:
        report(*measure_bochs(*(sys.argv[2:] or ["corei7_haswell_4770"])), "directly in Bochs")
        return
    for words in (QUIET,) if sys.argv[1:2] == ["--quiet"] else (QUIET, WITH_LOG):
        with tempfile.TemporaryDirectory() as tmp:
            print("%s:" % ("quiet" if words else "with the log on the serial port"))
            report(*measure_qemu(tmp, words), "directly in QEMU")


if __name__ == "__main__":
    main()
