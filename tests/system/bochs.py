"""A machine that runs Bulkhead in Bochs, from a GRUB ISO.

Bochs has what no other emulator has, VT-x; and AMD-V, as a second opinion. Its time is counted in
instructions (`ips` of them are a second), so that a run takes the same course each time, whatever
the host does meanwhile.
"""

import os
import re
import sys
import tempfile

from bulkhead import ROOT, make_iso
from console import Console, Failure

sys.path.insert(0, os.path.join(ROOT, "tools"))

from bochs_run import Bochs, BochsError  # noqa: E402

# More memory costs seconds of start-up.
MOST_MEMORY = 512
SMALL_IPS = 4000000  # small guests: waiting for a time is cheap
LINUX_IPS = 50000000  # Linux: its timer interrupt leaves it time to get on. Also where time is measured


class BochsMachine(Console):
    """Bochs with the core in it. `model` is one of `bochs --help cpu`; the rest as for QEMU,
    where `icount` only means that what is measured needs a fine clock: Bochs always counts."""

    emulator = "Bochs"

    def __init__(self, tmp, conf, model="ryzen", memory=256, ips=None, modules=None, iso=None,
                 cmdline=None, icount=False, cpus=1):
        self.reset(conf)
        if ips is None:
            linux = re.search(r"kernel\s*=\s*vmlinuz", conf or "")
            ips = LINUX_IPS if linux or icount else SMALL_IPS
        folder = tempfile.mkdtemp(prefix="bochs-", dir=str(tmp))
        iso = iso or make_iso(folder, conf, modules=modules, cmdline=cmdline)
        try:
            self.bochs = Bochs(folder, iso, model, min(memory, MOST_MEMORY), ips, cpus=cpus)
        except BochsError as error:
            raise Failure(str(error)) from None
        self.process = self.bochs.process
        self.watch()

    def read_some(self):
        try:
            return self.bochs.line.recv(65536)
        except ConnectionError:
            return b""

    def write(self, data):
        self.bochs.line.sendall(data)

    def press(self, text):
        """Types on the machine's own keyboard: into the terminal that its screen is on."""
        terminal = os.open(re.search(r'connected to screen "([^"]+)"', self.bochs.messages()).group(1),
                           os.O_RDWR | os.O_NOCTTY)
        os.write(terminal, text.encode())
        os.close(terminal)

    def exit_status(self):
        """0 when the machine was powered off, whatever Bochs makes of that."""
        return 0 if self.bochs.powered_off() else self.process.returncode or -1

    def why_ended(self):
        return self.bochs.panic() or super().why_ended()

    def release(self):
        self.bochs.end()
