"""The serial line of a machine that runs Bulkhead: taken apart by VM, waited for, typed into.

What is the same whichever emulator runs the machine. The console protocol that this relies on: lines of
VM `x` begin with "x| ", the core's log lines with "[ seconds]", the monitor's prompt is "bulkhead> ".
When a line comes in between, an unfinished line is shown again after it.
"""

import codecs
import ctypes
import os
import re
import signal
import subprocess
import threading
import time

# A slow or busy machine: all time-outs times this.
SCALE = float(os.environ.get("BULKHEAD_TEST_SCALE", "1"))
TAIL_LINES = 40
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CORE_SOURCE = "core"


class Failure(AssertionError):
    """What was expected did not come; says what did."""


def end_with_parent():
    """In the child: killed tests leave no emulator behind (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.setsid()


class Found:
    def __init__(self, match, when):
        self.match = match
        self.time = when

    def group(self, *args):
        return self.match.group(*args)


class Console:
    """A machine as seen through its serial line. A class for one emulator calls reset(), sets
    `process`, `output` (a file descriptor) and starts `watch()`; it has write() and, when the
    emulator's exit status needs reading, exit_status()."""

    emulator = "the emulator"

    def reset(self, conf):
        """Forgets all output; `conf` (the text of bulkhead.conf, or None) names the VMs."""
        self.lines = []  # (time, source, text), whole lines in order
        self.partial = ""
        self.cursors = {}
        self.condition = threading.Condition()
        self.ended = False
        self.nonce = 0
        self.started = time.time()
        self.names = re.findall(r"^\s*\[vm\s+([^\]\s]+)\s*\]", conf or "", re.M)

    def watch(self):
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- output ---

    def read(self):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            data = self.read_some()
            with self.condition:
                if not data:
                    self.ended = True
                    self.take("\n" if self.partial else "")
                    self.condition.notify_all()
                    return
                self.take(decoder.decode(data))
                self.condition.notify_all()

    def read_some(self):
        """The next bytes of the serial line, none at its end."""
        return os.read(self.output, 65536)

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
        state = "%s is running" % self.emulator
        if self.ended:
            state = "%s has ended (%s)" % (self.emulator, self.why_ended())
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
        """Waits until the emulator has ended by itself; returns 0 when the machine was powered off."""
        try:
            self.process.wait(timeout * SCALE)
        except subprocess.TimeoutExpired:
            self.fail("%s did not end within %.0f s" % (self.emulator, timeout * SCALE))
        self.thread.join(5)
        return self.exit_status()

    def quiet_for(self, seconds):
        """Lets time pass; fails when the emulator ends meanwhile."""
        end = time.time() + seconds
        with self.condition:
            while time.time() < end:
                if self.ended:
                    self.fail("the machine ended")
                self.condition.wait(min(0.5, max(0.01, end - time.time())))

    def why_ended(self):
        """For messages: how the emulator ended. Its line ends a moment before."""
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            return "its serial line"
        return "status %s" % self.process.poll()

    def exit_status(self):
        return self.process.returncode

    # --- input ---

    def send(self, text):
        try:
            self.write(text.encode() if isinstance(text, str) else text)
        except (BrokenPipeError, ConnectionError):
            self.fail("%s takes no input" % self.emulator)

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
        self.release()

    def release(self):
        """Closes what the emulator's class has opened."""
