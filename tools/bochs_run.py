#!/usr/bin/python3
"""Starts Bulkhead in Bochs from an ISO image, with this terminal as the serial console.

Usage: bochs_run.py ISO     MEMORY (MiB, at most 1024), MODEL (bochs --help cpu) from the environment.

The class Bochs is what the system tests use, too (tests/system/bochs.py).
"""

import ctypes
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import tty

CONNECT_SECONDS = 30
# After Ctrl-A q the core has this long to power off.
QUIT_SECONDS = 60
KEY_ESCAPE, KEY_QUIT = b"\x01", b"q"

# The display "term" writes to a pseudo-terminal that nobody looks at: unlike "rfb" it opens no network
# port. panic: what Bochs cannot emulate ends it. A reset ends it, too: see `commands` below.
CONFIGURATION = """\
plugin_ctrl: unmapped=1, biosdev=1, extfpuirq=1, serial=1, iodebug=1, speaker=0, parallel=0, gameport=0
config_interface: textconfig
display_library: term
romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
megs: {memory}
cpu: model={model}, count={cpus}, ips={ips}, ignore_bad_msrs=0
pci: enabled=1, chipset=i440fx
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path="{iso}", status=inserted
boot: cdrom
clock: sync={sync}, time0={time}
com1: enabled=1, mode=socket-client, dev=127.0.0.1:{port}
log: {folder}/log
panic: action=fatal
error: action={report}
info: action={report}
debug: action=ignore
debugger_log: -
"""
# Debian's Bochs has its debugger in it: go on; a reset of the machine comes back to it, and ends.
COMMANDS = "c\nquit\n"
# What Bochs prints when it ends because of ACPI's sleep state S5 (it calls that a panic, status 1).
POWERED_OFF = "soft power off"
NEEDED = (("/usr/bin/bochs", "bochs"), ("/usr/share/bochs/BIOS-bochs-latest", "bochsbios"),
          ("/usr/share/bochs/VGABIOS-lgpl-latest", "vgabios"))
TERM_PLUGIN = "libbx_term_gui.so"


class BochsError(Exception):
    """Bochs is not there, or does not start; says why."""


def end_with_parent():
    """In the child: no emulator is left behind (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.setsid()


def check_installed():
    missing = [package for path, package in NEEDED
               if not (os.path.exists(path) or shutil.which(os.path.basename(path)))]
    if not missing and not any(TERM_PLUGIN in names
                               for _, _, names in os.walk("/usr/lib/%s-linux-gnu/bochs" % os.uname().machine)):
        missing = ["bochs-term"]
    if missing:
        raise BochsError("Bochs is not installed (Debian packages: %s): tools/deps.sh intel"
                         % ", ".join(missing))


class Bochs:
    """A running Bochs: `process`, and `line`, the socket that is its COM1. `folder` takes its files."""

    def __init__(self, folder, iso, model, memory, ips, sync="none", time0=1700000000,
                 cpus=1):
        check_installed()
        self.folder = folder
        # Bochs is the client: no other program can take a port that is ours already.
        with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
            # Its log has a line for each port that a guest uses: only on demand.
            report = "report" if os.environ.get("BULKHEAD_BOCHS_LOG") else "ignore"
            self.write("bochsrc", CONFIGURATION.format(
                model=model, memory=memory, ips=ips, sync=sync, time=time0, report=report,
                iso=os.path.abspath(iso), cpus=cpus, folder=folder, port=server.getsockname()[1]))
            self.write("commands", COMMANDS)
            with open(self.path("output"), "wb") as output:
                self.process = subprocess.Popen(
                    ["bochs", "-q", "-f", self.path("bochsrc"), "-rc", self.path("commands")],
                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    env={**os.environ, "TERM": "dumb"}, preexec_fn=end_with_parent)
            self.connect(server)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as out:
            out.write(text)

    def connect(self, server):
        server.settimeout(0.1)
        for _ in range(CONNECT_SECONDS * 10):
            try:
                self.line = server.accept()[0]
                self.line.settimeout(None)
                return
            except socket.timeout:
                if self.process.poll() is not None:
                    break
        self.process.kill()
        self.process.wait()
        raise BochsError("Bochs did not start: " + (self.panic() or self.messages()[-2000:]))

    def messages(self):
        with open(self.path("output"), encoding="utf-8", errors="replace") as text:
            return text.read()

    def panic(self):
        """What Bochs says that it ended for, or None."""
        found = re.search(r"exiting with the following message:\s*(.+)", self.messages())
        return found.group(1).strip() if found else None

    def powered_off(self):
        return POWERED_OFF in (self.panic() or "")

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.line.close()


def relay(bochs):
    """Passes bytes between the terminal and the serial line until Bochs has ended."""
    selector = selectors.DefaultSelector()
    selector.register(bochs.line, selectors.EVENT_READ)
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    deadline, escaped = None, False
    while deadline is None or time.monotonic() < deadline:
        for key, _ in selector.select(timeout=0.5):
            if key.fileobj is bochs.line:
                try:
                    data = bochs.line.recv(65536)
                except ConnectionError:
                    data = b""
                if not data:
                    return
                os.write(sys.stdout.fileno(), data)
                continue
            data = os.read(sys.stdin.fileno(), 1024)
            if not data:
                selector.unregister(sys.stdin.fileno())
                continue
            for byte in (data[i:i + 1] for i in range(len(data))):
                if escaped and byte == KEY_QUIT:
                    deadline = time.monotonic() + QUIT_SECONDS
                escaped = byte == KEY_ESCAPE and not escaped
            bochs.line.sendall(data)
    print("\r\nThe core has not powered off for %d s: Bochs is ended." % QUIT_SECONDS, end="\r\n")


def on_signal(number, _):
    sys.exit(128 + number)


def console(bochs):
    """The terminal as console; it comes back as it was, however this ends."""
    saved = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        if saved:
            tty.setraw(sys.stdin)
        relay(bochs)
    finally:
        bochs.end()
        if saved:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def main():
    if len(sys.argv) != 2:
        sys.exit("Usage: bochs_run.py ISO")
    model = os.environ.get("MODEL", "corei7_haswell_4770")
    memory = os.environ.get("MEMORY", "512")
    print("""\
Bochs, an Intel processor with VT-x (model %s), %s MiB. It emulates every instruction, some 20 million
a second: expect the core's first lines after 2 to 5 s, and a shell in each Linux after 1 to 3 minutes.
Keys: Ctrl-A then a digit = that VM (0 the monitor), n next, ? help, q power off."""
          % (model, memory), flush=True)
    with tempfile.TemporaryDirectory(prefix="bulkhead-bochs-") as folder:
        try:
            # The guest's clock does not run ahead of ours.
            bochs = Bochs(folder, sys.argv[1], model, int(memory), ips=50000000, sync="slowdown",
                          time0=int(time.time()))
        except (BochsError, ValueError) as error:
            sys.exit("bochs_run.py: %s" % error)
        console(bochs)
        if not bochs.powered_off():
            sys.exit("\nBochs has ended: %s" % (bochs.panic() or "the machine was reset, or Bochs ended"))
    print("\nThe machine is powered off.")


if __name__ == "__main__":
    main()
