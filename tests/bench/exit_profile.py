"""Where a round trip's instructions go: runs one row of the bench guest one instruction at a time, and
prints how many each function of the core takes.

  exit_profile.py ROW [--machine bochs-vmx] [--listing] [--order] [--path]

--listing: the instructions that ran, each with its count; --order: the functions in the order of execution;
--path: all instructions in that order.
"""

import argparse
import bisect
import collections
import os
import re
import subprocess
import sys
import tempfile
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools"))

import bochs_run  # noqa: E402
from bochs import BochsMachine  # noqa: E402
from bulkhead import BUILD, TEST_GUESTS, Failure, config, vm  # noqa: E402
from exit_cost import MACHINES  # noqa: E402

CORE_ELF = os.path.join(BUILD, "bulkhead.elf")
GUEST_ELF = os.path.join(TEST_GUESTS, "bench.elf64")
# One line an instruction: Trace 0: host address [cs base/pc/flags/cflags] symbol
TRACE = re.compile(r"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/")
# (0).[ticks] [physical address] cs:rip (symbol): instruction. In a guest of AMD-V: ???
BOCHS_TRACE = re.compile(r"^\(0\)\.\[\d+\] (?:\[\w+\] [0-9a-f]{4}:([0-9a-f]+) |\?\?\?)")
SOMEWHERE = 0  # in the guest
BOCHS_COMMANDS = "c\ntrace on\nc\nquit\n"
MODELS = {"bochs-svm": "ryzen", "bochs-vmx": "corei7_haswell_4770"}
GAPS = ("host-interrupt", "timer-tick", "2vm-")  # rows that are no instruction between two RDTSC
STUB = "s_"  # functions of the guest that measure


class Program:
    """Functions and instructions of an ELF file."""

    def __init__(self, path):
        self.names, self.code = {}, {}
        for line in subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], check=True,
                                   capture_output=True, text=True).stdout.splitlines():
            head = re.match(r"^([0-9a-f]+) <(.+)>:$", line)
            insn = re.match(r"^\s*([0-9a-f]+):\t(.*)$", line)
            if head:
                self.names[int(head.group(1), 16)] = head.group(2)
            elif insn:
                self.code[int(insn.group(1), 16)] = re.sub(r"\s+", " ", insn.group(2)).strip()
        self.starts = sorted(self.names)

    def function(self, pc):
        return self.names[self.starts[bisect.bisect_right(self.starts, pc) - 1]]


def ranges(path):
    """Executable sections but those of the boot, as QEMU's -dfilter takes them."""
    text = subprocess.run(["objdump", "-h", "-w", path], check=True, capture_output=True, text=True).stdout
    found = re.findall(r"^\s*\d+ (\.\S+)\s+([0-9a-f]+)\s+([0-9a-f]+)\s.*CODE", text, re.M)
    return ["0x%s+0x%s" % (start, size) for name, size, start in found
            if "init" not in name and "boot" not in name]


def configuration(row, words):
    return config(vm("bench", "bench.elf", cmdline="rows=%s samples=4 quick %s" % (row, words)),
                  core="console = com1\nlog = warn\n")


def trace_qemu(row, tmp, kind):
    """All program counters of a run of that row, in order."""
    log = os.path.join(tmp, "log")
    with kind(tmp, configuration(row, ""), icount=True, cmdline="",
              extra=["-singlestep", "-d", "exec,nochain", "-D", log,
                     "-dfilter", ",".join(ranges(CORE_ELF) + ranges(GUEST_ELF))]) as m:
        m.expect("^bench-end", timeout=300, source="bench")
    with open(log, encoding="ascii", errors="replace") as lines:
        return [int(found.group(1), 16) for found in map(TRACE.match, lines) if found]


def trace_bochs(row, tmp, model):
    """The same, of the last sample only: the debugger stops before it, and behind it, at XCHG BX, BX."""
    text = bochs_run.CONFIGURATION + "magic_break: enabled=1\n"
    with mock.patch.object(bochs_run, "CONFIGURATION", text), \
         mock.patch.object(bochs_run, "COMMANDS", BOCHS_COMMANDS):
        with BochsMachine(tmp, configuration(row, "magic"), model=model, icount=True) as m:
            m.process.wait(300)
            lines = m.bochs.messages().splitlines()
    lines = lines[lines.index("Tracing enabled for CPU0"):]
    return [int(found.group(1) or "0", 16) for found in map(BOCHS_TRACE.match, lines) if found]


def last_round_trip(pcs, guest):
    """From behind the stub's first RDTSC to before its second one, in the last sample."""
    if SOMEWHERE in pcs:
        inside = [i for i, pc in enumerate(pcs) if pc != SOMEWHERE]
        return pcs[inside[0]:inside[-1] + 1]
    stub = [i for i, pc in enumerate(pcs) if pc in guest.code and guest.function(pc).startswith(STUB)]
    stops = [i for i in stub if guest.code[pcs[i]] == "rdtsc"]
    if len(stops) < 2:
        raise Failure("this row has no stub of its own: it cannot be profiled")
    return pcs[stops[-2] + 1:stops[-1]]


def show_functions(trip, core):
    calls, counts, previous = collections.Counter(), collections.Counter(), None
    for pc in trip:
        name = core.function(pc) if pc in core.code else "(guest)"
        counts[name] += 1
        entry = pc in core.names
        if entry or (name == "(guest)" and previous != name):
            calls[name] += 1
        previous = name
    print("%7s %6s  %s" % ("insns", "calls", "function"))
    for name, count in counts.most_common():
        print("%7d %6d  %s" % (count, calls[name], name))


def show_listing(trip, core):
    """Executed instructions by function, each with its count."""
    counts = collections.Counter(pc for pc in trip if pc in core.code)
    order = dict.fromkeys(core.function(pc) for pc in trip if pc in core.code)
    for name in order:
        mine = sorted(pc for pc in counts if core.function(pc) == name)
        print("\n%s: %d instructions" % (name, sum(counts[pc] for pc in mine)))
        for pc in mine:
            print("%6d  %x  %s" % (counts[pc], pc, core.code[pc]))


def show_order(trip, core):
    """Each piece of a function in turn."""
    at = 0
    while at < len(trip):
        name = core.function(trip[at]) if trip[at] in core.code else "(guest)"
        end = at
        while end < len(trip) and name == (core.function(trip[end]) if trip[end] in core.code
                                           else "(guest)"):
            end += 1
        print("%5d  %3d  %s" % (at, end - at, name))
        at = end


def show_path(trip, core):
    """Every instruction in turn, without addresses, which differ from build to build."""
    previous = None
    for pc in trip:
        if pc not in core.code:
            continue
        name = core.function(pc)
        if name != previous:
            print("%s:" % name)
            previous = name
        print("    " + re.sub(r"\b[0-9a-f]{16} (?=<)", "", re.sub(r"\s*#.*", "", core.code[pc])))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("row")
    parser.add_argument("--machine", default="qemu-svm", choices=list(MACHINES))
    parser.add_argument("--listing", action="store_true")
    parser.add_argument("--order", action="store_true")
    parser.add_argument("--path", action="store_true")
    args = parser.parse_args()
    if args.row.startswith(GAPS):
        parser.error("%s is measured from outside, as a gap: it cannot be profiled" % args.row)
    core, guest = Program(CORE_ELF), Program(GUEST_ELF)
    with tempfile.TemporaryDirectory() as tmp:
        pcs = (trace_bochs(args.row, tmp, MODELS[args.machine]) if args.machine in MODELS
               else trace_qemu(args.row, tmp, MACHINES[args.machine][0]))
    trip = last_round_trip(pcs, guest)
    print("%s on %s: %d instructions of the core" % (args.row, args.machine,
                                                     sum(1 for pc in trip if pc in core.code)))
    show_functions(trip, core)
    if args.order:
        show_order(trip, core)
    if args.path:
        show_path(trip, core)
    if args.listing:
        show_listing(trip, core)


if __name__ == "__main__":
    main()
