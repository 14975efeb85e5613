"""How long Linux takes from its first instruction to the shell: under the core, and directly in QEMU.

Both under -icount, where the TSC counts instructions (1 a virtual nanosecond), so that the figures are
the same each time. The TSC is read by the guest: at its entry by a small guest started in the same way,
at the shell by /bin/tsc. Prints milliseconds and their ratio, and the core's own boot time.
"""

import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

from bulkhead import CPU, GUESTS, TEST_GUESTS, Machine, config, vm  # noqa: E402

CMDLINE = "console=ttyS0 vmname=linux quiet bh.tsc"
TIMEOUT = 600


class Native(Machine):
    """The kernel directly in QEMU."""

    def __init__(self, kernel, initrd=None):
        self.boot_args = ["-kernel", kernel, "-append", CMDLINE]
        if initrd:
            self.boot_args += ["-initrd", initrd]
        # No SVM: the core does not show it to its guests, either.
        super().__init__(None, None, memory=256, cpu=CPU.replace("+svm,+npt,+vgif", "-svm"),
                         icount=True)

    def kernel_args(self, *_):
        return self.boot_args


def tsc_of(machine, pattern):
    with machine:
        return int(machine.expect(pattern, timeout=TIMEOUT).group(1))


def main():
    entry, shell = r"READY tsc (\d+)", r"BULKHEAD-TSC (\d+)"
    native = (tsc_of(Native(TEST_GUESTS + "/tsc.img"), entry),
              tsc_of(Native(GUESTS + "/vmlinuz", GUESTS + "/guest.cpio.gz"), shell))
    with tempfile.TemporaryDirectory() as tmp:
        small = Machine(tmp, config(vm("linux", "tsc.img", memory="256M")), icount=True)
        first = tsc_of(small, entry)
        for line in re.findall(r"(?m)^\[.*", small.text()):
            print(line)
        with Machine(tmp, config(vm("linux", cmdline=CMDLINE)), icount=True) as machine:
            last = int(machine.expect(shell, timeout=TIMEOUT).group(1))
            print("\n".join(re.findall(r"(?m)^\[.*", machine.text())))
    ours = (first, last)
    for name, (begin, end) in (("directly in QEMU", native), ("under Bulkhead", ours)):
        print("%-18s entry %9.3f ms  shell %9.3f ms  difference %9.3f ms"
              % (name, begin / 1e6, end / 1e6, (end - begin) / 1e6))
    print("ratio %.4f" % ((ours[1] - ours[0]) / (native[1] - native[0])))


if __name__ == "__main__":
    main()
