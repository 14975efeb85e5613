"""A machine that runs Bulkhead in QEMU, with its serial line in our hands.

The console protocol that this relies on: lines of VM `x` begin with "x| ", the core's log lines with
"[ seconds]", the monitor's prompt is "bulkhead> ". When a line comes in between, an unfinished line is
shown again after it.
"""

import codecs
import ctypes
import os
import re
import shutil
import signal
import subprocess
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BULKHEAD_BUILD", os.path.join(ROOT, "build"))
CORE = os.path.join(BUILD, "bulkhead.elf32")
GUESTS = os.path.join(BUILD, "guest")
TEST_GUESTS = os.path.join(GUESTS, "tests")

# TCG warns of each feature of the model that it does not emulate: those are taken out.
CPU = ("EPYC,-rdseed,-sha-ni,-fxsr-opt,-misalignsse,-3dnowprefetch,-osvw,-topoext,-nrip-save,"
       "-xsavec,+svm,+npt,+vgif")
# A slow or busy machine: all time-outs times this.
SCALE = float(os.environ.get("BULKHEAD_TEST_SCALE", "1"))
TAIL_LINES = 40
# A run under this many instructions a virtual nanosecond is the same each time.
ICOUNT = ["-icount", "shift=0,sleep=off", "-rtc", "base=2024-01-01T00:00:00,clock=vm", "-seed", "42"]

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CORE_SOURCE = "core"


class Failure(AssertionError):
    """What was expected did not come; says what did."""


def vm(name, kernel="vmlinuz", memory=None, **keys):
    """The text of a [vm] section. A key with value None is left out."""
    linux = kernel == "vmlinuz"
    values = {"kernel": kernel, "memory": memory or ("256M" if linux else "32M"), "vcpus": "1"}
    if linux:
        values["initrd"] = "guest.cpio.gz"
        values["cmdline"] = "console=ttyS0 vmname=%s quiet" % name
    values.update(keys)
    lines = ["%s = %s" % (key, value) for key, value in values.items() if value is not None]
    return "[vm %s]\n%s\n" % (name, "\n".join(lines))


def config(*vms, core="console = com1\nlog = info\n"):
    return "[core]\n" + core + "\n" + "\n".join(vms)


def find_module(name):
    for folder in (GUESTS, TEST_GUESTS):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    raise FileNotFoundError("no guest file %s: make guests" % name)


def modules_of(text):
    """The files that a configuration names, each once."""
    names = re.findall(r"^\s*(?:kernel|initrd)\s*=\s*(\S+)", text, re.M)
    return [find_module(name) for name in dict.fromkeys(names)]


def end_with_parent():
    """In the child: killed tests leave no QEMU behind (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.setsid()


class Machine:
    """QEMU with the core in it. `conf` is the text of bulkhead.conf (None: no such module)."""

    def __init__(self, tmp, conf, memory=1024, machine="q35", cpu=CPU, icount=False, extra=(),
                 modules=None, iso=None, cmdline=None):
        self.reset(conf)
        args = ["qemu-system-x86_64", "-accel", "tcg", "-machine", machine, "-m", str(memory),
                "-cpu", cpu, "-nodefaults", "-display", "none", "-monitor", "none",
                "-chardev", "stdio,id=con,signal=off", "-serial", "chardev:con"]
        if icount:
            args += ICOUNT
        if iso:
            args += ["-cdrom", iso, "-boot", "d"]
        else:
            args += self.kernel_args(tmp, conf, modules, cmdline)
        self.args = args + list(extra)
        self.started = time.time()
        self.process = subprocess.Popen(self.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, preexec_fn=end_with_parent)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def reset(self, conf):
        self.lines = []  # (time, source, text), whole lines in order
        self.partial = ""
        self.cursors = {}
        self.condition = threading.Condition()
        self.ended = False
        self.nonce = 0
        self.names = re.findall(r"^\s*\[vm\s+([^\]\s]+)\s*\]", conf or "", re.M)

    @staticmethod
    def kernel_args(tmp, conf, modules, cmdline):
        files = []
        if conf is not None:
            files.append(os.path.join(str(tmp), "bulkhead.conf"))
            with open(files[0], "w", encoding="utf-8", newline="") as out:
                out.write(conf)
        files += modules_of(conf or "") if modules is None else [str(m) for m in modules]
        args = ["-kernel", CORE]
        if files:
            args += ["-initrd", ",".join(files)]
        if cmdline:
            args += ["-append", cmdline]
        return args

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- output ---

    def read(self):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            data = os.read(self.process.stdout.fileno(), 65536)
            with self.condition:
                if not data:
                    self.ended = True
                    self.take("\n" if self.partial else "")
                    self.condition.notify_all()
                    return
                self.take(decoder.decode(data))
                self.condition.notify_all()

    def take(self, text):
        now = time.time()
        *whole, self.partial = (self.partial + text).split("\n")
        for line in whole:
            source, line = self.split(line)
            self.lines.append((now, source, line))

    def split(self, line):
        """A physical line's source and text, without what only a terminal wants."""
        line = ESCAPES.sub("", line).rstrip("\r")
        line = line.rsplit("\r", 1)[-1] if "\r" in line else line
        name, bar, rest = line.partition("| ")
        if not bar and line.endswith("|"):
            name, bar, rest = line[:-1], "|", ""
        if bar and name.strip() in self.names:
            return name.strip(), rest
        return CORE_SOURCE, line

    def output_of(self, source):
        """Whole lines of one source. A line that another one came in between of stands once."""
        result = []
        with self.condition:
            lines = list(self.lines)
        broken = None
        for _, who, text in lines:
            if who != source:
                broken = result[-1] if result else None
                continue
            if broken and text.startswith(broken) and text != broken:
                result.pop()
            broken = None
            result.append(text)
        return result

    def text(self):
        with self.condition:
            lines = ["%s| %s" % (s, t) if s != CORE_SOURCE else t for _, s, t in self.lines]
            return "\n".join(lines + [self.partial])

    def tail(self, count=TAIL_LINES):
        return "\n".join("    " + line for line in self.text().splitlines()[-count:])

    def fail(self, what):
        state = "QEMU has ended (%s)" % self.process.poll() if self.ended else "QEMU is running"
        raise Failure("%s; %s after %.0f s. The last lines:\n%s"
                      % (what, state, time.time() - self.started, self.tail()))

    def expect(self, pattern, timeout=30, source=None, forbid=None, partial=False):
        """Waits for a line of `source` (None: any) that matches, behind what was expected last time;
        with `partial`, an unfinished line will do. Returns the match; its .time is when it came."""
        regex = re.compile(pattern)
        end = time.time() + timeout * SCALE
        with self.condition:
            while True:
                found = self.search(regex, source, forbid, partial)
                if found:
                    return found
                left = end - time.time()
                if self.ended or left <= 0:
                    break
                self.condition.wait(min(left, 1))
        return self.fail("%s: no line matches %r within %.0f s"
                         % (source or "output", pattern, timeout * SCALE))

    def search(self, regex, source, forbid, partial):
        start = self.cursors.get(source, 0)
        for index in range(start, len(self.lines)):
            when, who, text = self.lines[index]
            if source is not None and who != source:
                continue
            match = regex.search(text)
            if match:
                self.cursors[source] = index + 1
                return Found(match, when)
            if forbid and re.search(forbid, text):
                self.cursors[source] = index + 1
                self.fail("%s: %r came" % (source or "output", text))
        self.cursors[source] = len(self.lines)
        who, text = self.split(self.partial)
        if partial and (source is None or who == source):
            match = regex.search(text)
            if match:
                return Found(match, time.time())
        return None

    def wait_exit(self, timeout=30):
        """Waits until QEMU has ended by itself; returns its exit status."""
        try:
            self.process.wait(timeout * SCALE)
        except subprocess.TimeoutExpired:
            self.fail("QEMU did not end within %.0f s" % (timeout * SCALE))
        self.thread.join(5)
        return self.process.returncode

    def quiet_for(self, seconds):
        """Lets time pass; fails when QEMU ends meanwhile."""
        end = time.time() + seconds
        with self.condition:
            while time.time() < end:
                if self.ended:
                    self.fail("QEMU ended")
                self.condition.wait(min(0.5, max(0.01, end - time.time())))

    # --- input ---

    def send(self, text):
        try:
            self.process.stdin.write(text.encode() if isinstance(text, str) else text)
            self.process.stdin.flush()
        except BrokenPipeError:
            self.fail("QEMU takes no input")

    def focus(self, index):
        """Gives the keyboard to VM `index` (from 1, in the file's order), or 0, the monitor."""
        self.send(b"\x01" + str(index).encode())

    def index_of(self, name):
        return self.names.index(name) + 1

    def run(self, name, command, timeout=30):
        """Runs a command in the shell of VM `name`; returns (lines, exit status)."""
        self.nonce += 1
        n = self.nonce
        self.focus(self.index_of(name))
        # Quotes keep what is typed, and echoed, from looking like what is printed.
        self.send("echo @B'%d'; %s; echo @E'%d' $?\n" % (n, command, n))
        found = self.expect(r"^@E%d (\d+)$" % n, timeout, source=name)
        lines = self.output_of(name)
        begin = max(i for i, line in enumerate(lines) if line == "@B%d" % n)
        end = max(i for i, line in enumerate(lines) if line.startswith("@E%d " % n))
        return lines[begin + 1:end], int(found.group(1))

    def shell(self, name, timeout=120):
        """Waits for the shell's prompt of VM `name`, which has to have the keyboard for that."""
        self.focus(self.index_of(name))
        self.expect(re.escape(name) + r":/# ?$", timeout, source=name, partial=True)

    # --- end ---

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.thread.join(5)
        self.process.stdin.close()
        self.process.stdout.close()


class Found:
    def __init__(self, match, when):
        self.match = match
        self.time = when

    def group(self, *args):
        return self.match.group(*args)


def make_iso(tmp, conf, protocol=2, modules=None):
    """A GRUB ISO in `tmp` with the core, this configuration and what it names."""
    path = os.path.join(str(tmp), "bulkhead.conf")
    with open(path, "w", encoding="utf-8") as out:
        out.write(conf)
    files = [path] + (modules_of(conf) if modules is None else [str(m) for m in modules])
    iso = os.path.join(str(tmp), "bulkhead.iso")
    subprocess.run([os.path.join(ROOT, "tools", "mkiso.sh"), "-p", str(protocol), iso, CORE] + files,
                   check=True)
    return iso


def have_iso_tools():
    return shutil.which("grub-mkrescue") and os.path.isdir("/usr/lib/grub/i386-pc")
