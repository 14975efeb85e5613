"""Keeps the fuzz guest going (guest-images/fuzz/): it ends or hangs itself often, and is started again
with the block of rounds behind the one that it was at."""

import re
import time

from bulkhead import config, vm
from console import SCALE

CORE_CRASH = r"\*\*\* Bulkhead"
BLOCK = re.compile(r"block (\d+) of seed \d+: (\d+) instructions, (\d+) events")
ENDED = re.compile(r"info  fuzz: ended: (.*); its")
# What QEMU says when it gives up; it also dies by signals. A machine that ends in any other way, or boots
# again (a triple fault), is the core's fault.
EMULATOR_FAULT = re.compile(r"tcg fatal error|qemu: fatal: [^\r\n]*")
BOOTED = re.compile(r"info  Bulkhead .*booted by")
EMULATOR_FAULTS = 100
SILENCE = 3  # seconds without a line before an NMI, and then the end, are tried
BOOT = 30  # the same before the guest asks what to do: it has no handler for an NMI yet
BLOCK_MOST = 4096  # instructions in a block
NMIS = 4  # the guest's watchdog goes on behind the instruction at the second


class Campaign:
    """One machine with the fuzz guest and a healthy neighbour."""

    def __init__(self, boot, seed, cmdline="", **options):
        self.seed = seed
        conf = config(vm("fuzz", "fuzz.elf", memory="16M", cmdline="ask " + cmdline),
                      vm("good", "counter.img", cmdline="checksum period=500"))
        self.boot = lambda: boot(conf, **options)
        self.m = self.boot()
        self.next_block = 0
        self.emulator_faults = []
        self.instructions = self.events = self.starts = self.nmis = self.hangs = 0
        self.current = (0, 0)  # instructions and events since the VM was started
        self.ends = {}
        self.seen = 0  # lines looked at
        self.boots = 0
        self.booting = True

    def monitor(self, command):
        self.m.focus(0)
        self.m.send(command + "\n")

    def bank(self):
        self.instructions += self.current[0]
        self.events += self.current[1]
        self.current = (0, 0)

    def total(self):
        return self.instructions + self.current[0]

    def look(self, source, text):
        block = BLOCK.search(text)
        ended = ENDED.search(text)
        if source == "core" and re.search(CORE_CRASH, text):
            self.m.fail("the core crashed at block %d of seed %d" % (self.next_block, self.seed))
        if source == "core" and BOOTED.search(text):
            self.boots += 1
            if self.boots > 1:
                self.m.fail("the core started anew at block %d of seed %d" % (self.next_block, self.seed))
        if source == "good" and "FAIL" in text:
            self.m.fail("the neighbour was hurt at block %d of seed %d" % (self.next_block, self.seed))
        if source == "fuzz" and "ASK" in text:
            self.starts += 1
            self.booting = False
            self.m.focus(self.m.index_of("fuzz"))
            self.m.send("%d %d\n" % (self.seed, self.next_block))
        elif source == "fuzz" and block:
            self.next_block = max(self.next_block, int(block.group(1)) + 1)
            done = int(block.group(2))
            # The guest may have overwritten its own counter.
            if self.current[0] <= done <= self.current[0] + BLOCK_MOST:
                self.current = (done, int(block.group(3)))
        elif source == "core" and ended:
            why = re.sub(r"0x[0-9a-f]+", "*", ended.group(1))
            self.ends[why] = self.ends.get(why, 0) + 1
            self.bank()
            self.next_block += 1
            self.booting = True
            self.monitor("start fuzz")

    def step(self):
        """Looks at new lines; returns whether the fuzz guest said something."""
        with self.m.condition:
            new = self.m.lines[self.seen:]
            self.seen = len(self.m.lines)
        heard = False
        for _, source, text in new:
            heard |= source == "fuzz" or "fuzz: ended" in text
            self.look(source, text)
        return heard

    def run(self, seconds, instructions):
        """Until so many instructions or for so long. Fails when the core or the neighbour suffers."""
        end = time.time() + seconds * SCALE
        last, tries = time.time(), 0
        while time.time() < end and self.total() < instructions:
            if self.step():
                last, tries = time.time(), 0
            elif self.m.ended:
                self.emulator_ended()
                last, tries = time.time(), 0
            elif time.time() - last > (BOOT if self.booting else SILENCE) * SCALE:
                last, tries = time.time(), tries + 1
                self.wake(tries)
            with self.m.condition:
                self.m.condition.wait(0.2)
        self.step()
        self.bank()

    def emulator_ended(self):
        """Random instructions find the emulators' own assertions, too: a new machine goes on behind them."""
        fault = EMULATOR_FAULT.search(self.m.text() + "\n" + self.m.why_ended())
        signal = self.m.process.poll() or 0
        what = fault.group(0) if fault else "signal %d" % -signal
        if (not fault and signal >= 0) or len(self.emulator_faults) == EMULATOR_FAULTS:
            self.m.fail("the machine ended at block %d of seed %d" % (self.next_block, self.seed))
        self.emulator_faults.append("%s at block %d" % (what, self.next_block))
        self.bank()
        self.m.close()
        self.m = self.boot()
        self.seen = self.boots = 0
        self.booting = True
        self.next_block += 1

    def wake(self, tries):
        if tries == 1:
            self.nmis += 1
            for _ in range(NMIS):
                self.monitor("nmi fuzz")
        elif tries == 2:
            self.hangs += 1
            self.monitor("stop fuzz")
        else:
            self.m.fail("the monitor does not answer at block %d of seed %d"
                        % (self.next_block, self.seed))

    def check(self):
        """The core answers, the neighbour is well."""
        self.monitor("list")
        self.m.expect(r"^\s*\d+ good\b", source="core")
        self.monitor("isolation")
        self.m.expect(r"isolation", source="core")
        for _ in range(2):
            self.m.expect(r"^checksum ok \d+$", source="good", forbid="FAIL")
        text = self.m.text()
        assert not re.search(CORE_CRASH, text) and "FAIL" not in text

    def summary(self):
        return ("%s seed %d: %d instructions, %d exceptions, blocks 0 to %d, %d starts, %d woken by NMI, "
                "%d stopped; ends: %s; emulator gave up: %s"
                % (self.m.name, self.seed, self.instructions, self.events, self.next_block, self.starts,
                   self.nmis, self.hangs,
                   ", ".join("%s %d" % item for item in sorted(self.ends.items())) or "none",
                   ", ".join(self.emulator_faults) or "never"))
