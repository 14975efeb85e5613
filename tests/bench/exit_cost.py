"""What an exit costs, in instructions: runs the bench guest on each machine and prints a table.

  exit_cost.py                      all machines; also writes bench.json and bench.svg to the build folder
  exit_cost.py --base REV           the core of that revision and this one, row by row
  exit_cost.py --repeat N           N runs of each machine: which rows vary, and how far
  exit_cost.py --write-baseline     tests/bench/baseline.json, which tests/system/test_bench.py compares with
  exit_cost.py --machines A,B       only these
  exit_cost.py --off A,B            with the core's command line off=A,B (docs/configuration.md)

docs/performance.md says how to read the figures.
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))
sys.path.insert(0, HERE)

import bulkhead  # noqa: E402
from bochs import BochsMachine  # noqa: E402
from bulkhead import BUILD, CPU, ROOT, Failure, Machine, config, vm  # noqa: E402
from chart import bar_chart  # noqa: E402
from rows import ROWS  # noqa: E402

BASELINE = os.path.join(HERE, "baseline.json")
TIMEOUT = 180
# Rows of two vCPUs on two pCPUs, and of several vCPUs on one.
PAIR, SHARED = "2cpu-", "1cpu-"
# The other VM's turn, in ticks: of 1 ns in QEMU, of 1/50 us in Bochs.
SLICE_TICKS = 500000
# The core's command line.
CMDLINE = ""

# A qemu-system-x86_64 whose AMD-V has next-RIP saving and decode assists, which QEMU 7.2 lacks: a machine
# more, when the variable names one.
ASSIST_QEMU = os.environ.get("BULKHEAD_QEMU_ASSIST")
ASSIST_CPU = CPU.replace("-nrip-save,", "") + ",+nrip-save,+decodeassists,+flushbyasid"
FIRMWARE = ["-L", "/usr/share/seabios", "-L", "/usr/share/qemu"]


class AssistMachine(Machine):
    """Runs the binary that was named, and only if it has the assists: a stock QEMU ignores the CPU's flags."""

    def __init__(self, tmp, conf, extra=(), **options):
        os.symlink(os.path.abspath(ASSIST_QEMU), os.path.join(tmp, "qemu-system-x86_64"))
        with mock.patch.dict(os.environ, {"PATH": tmp + ":" + os.environ["PATH"]}):
            super().__init__(tmp, conf.replace("log = warn", "log = info"), machine="pc", cpu=ASSIST_CPU,
                             extra=FIRMWARE + list(extra), **options)

    def __enter__(self):
        machine = super().__enter__()
        machine.expect("svm: .* decode assists,", forbid="^bench ")
        return machine


# Name: (class, options, slice, whether the processor gives an instruction's length).
MACHINES = {
    "qemu-svm": (Machine, {}, "500us", False),
    "bochs-svm": (BochsMachine, {"model": "ryzen"}, "10ms", True),
    "bochs-vmx": (BochsMachine, {"model": "corei7_haswell_4770"}, "10ms", True),
}
if ASSIST_QEMU:
    MACHINES["qemu-svm-assist"] = (AssistMachine, {}, "500us", True)

# Rows whose median depends on when they run, by so many instructions: reading the PIC or the PIT also looks
# whether the PIT's output has risen meanwhile, which a few instructions before or after decide. With two
# processors Bochs lets each take five instructions in turn, in which a waiting one's loop falls as it may.
VARYING = {"in-pit": 26, "in-pic": 26, "out-pic": 26,
           **{row.name: 25 for row in ROWS if row.name.startswith(PAIR)}}

LINE = re.compile(r"^bench (\S+) (?:min=(\d+) median=(\d+) max=(\d+) n=(\d+)|skip: (.*))$")
SCALE = re.compile(r"^bench-scale ticks=(\d+) instructions=(\d+) empty=\d+$")


def run(machine, conf, has_scale=True, **more):
    """Boots a configuration with a VM `bench`; returns its rows, and checks the scale. `more`: of the machine."""
    kind, options, _, _ = MACHINES[machine]
    rows = {}
    options = {"icount": True, "cmdline": CMDLINE, **options, **more}
    with tempfile.TemporaryDirectory() as tmp, kind(tmp, conf, **options) as m:
        m.expect(r"^bench-end", timeout=TIMEOUT, source="bench", forbid=r"^FATAL|^\*\*\*|^LOST")
        lines = m.output_of("bench")
    scale = [found.groups() for found in map(SCALE.match, lines) if found]
    if has_scale and (not scale or scale[0][0] != scale[0][1]):
        raise Failure("%s: the TSC does not count instructions: %s" % (machine, scale))
    for found in filter(None, map(LINE.match, lines)):
        name, low, median, high, count, reason = found.groups()
        rows[name] = ({"skip": reason} if reason else
                      {"min": int(low), "median": int(median), "max": int(high), "n": int(count)})
    return rows


def measure_smp(machine):
    """The rows of the SMP guest."""
    def smp(vcpus, pcpus, words):
        guest = vm("bench", "smp.elf", memory="16M", vcpus=str(vcpus), cpus="0-%d" % (pcpus - 1) if pcpus > 1 else "0",
                   cmdline="smp measure x2apic " + words)
        core = "console = com1\nlog = warn\nslice = %s\n" % MACHINES[machine][2]
        return run(machine, config(guest, core=core), has_scale=False, cpus=pcpus)

    return {**smp(2, 2, ""), **smp(4, 1, "share")}


def measure(machine, before_smp=False):
    """All rows of a machine: {name: {"min", "median", "max", "n"} or {"skip": reason}}."""
    core = "console = com1\nlog = warn\nslice = %s\n" % MACHINES[machine][2]
    rows = run(machine, config(vm("bench", "bench.elf", cmdline="all"), core=core))
    rows.update(run(machine, config(vm("bench", "bench.elf", cmdline="two slice=%d" % SLICE_TICKS),
                                    vm("other", "bench.elf", cmdline="spin"), core=core)))
    if before_smp:
        rows.update((row.name, {"skip": "the core has no SMP"}) for row in ROWS
                    if row.name.startswith((PAIR, SHARED)))
    else:
        rows.update(measure_smp(machine))
    unknown = set(rows) ^ {row.name for row in ROWS}
    if unknown:
        raise Failure("%s: rows.py and the bench guest do not agree on: %s"
                      % (machine, ", ".join(sorted(unknown))))
    return rows


def value(result):
    """The figure that is compared, or None."""
    return result.get("median")


def text_of(result, goal=None):
    if "skip" in result:
        return "-"
    text = "%d" % result["median"]
    if result["min"] != result["median"]:
        text = "%d~%s" % (result["min"], text)
    return text + ("!" if goal and result["median"] > goal else " ")


def print_table(head, lines):
    widths = [max(len(line[i]) for line in [head] + lines) for i in range(len(head))]
    for line in [head] + lines:
        print("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(line, widths))).rstrip())


def table(results):
    machines = list(results)
    head = ["row"] + machines + ["goal stock", "goal assist", "KVM stock", "KVM assist", "Xen"]
    lines = []
    for row in ROWS:
        cells = [text_of(results[m][row.name], row.goal(MACHINES[m][3])) for m in machines]
        others = [row.goal(False), row.goal(True), row.kvm_stock, row.kvm_assisted, row.xen]
        lines.append([row.name] + cells + ["%d" % x if x else "" for x in others])
    print_table(head, lines)
    print("\nInstructions of one round trip, the guest's own included: 1 = no exit. Median; minimum~median where"
          "\nthey differ. ! = above the goal (stock: qemu-svm; assist: the others). - = the VM has no such thing.")
    for m in machines:
        above = [r.name for r in ROWS
                 if r.goal(MACHINES[m][3]) and (value(results[m][r.name]) or 0) > r.goal(MACHINES[m][3])]
        print("%s: %d of %d rows with a goal are above it%s" % (
            m, len(above), sum(1 for r in ROWS if r.kind), ": " + ", ".join(above) if above else ""))


def git(*args):
    return subprocess.run(["git", "-C", ROOT] + list(args), check=True, capture_output=True).stdout


def write_json(results):
    path = os.path.join(BUILD, "bench.json")
    with open(path, "w", encoding="utf-8") as out:
        json.dump({"revision": git("describe", "--always", "--dirty").decode().strip(),
                   "unit": "instructions of one round trip",
                   "goals": {r.name: {"stock": r.goal(False), "assisted": r.goal(True)}
                             for r in ROWS if r.kind},
                   "machines": results}, out, indent=1)
        out.write("\n")
    return path


def write_chart(results):
    path = os.path.join(BUILD, "bench.svg")
    bars = []
    for row in ROWS:
        values = [(m, value(results[m][row.name]), row.goal(MACHINES[m][3])) for m in results]
        if any(v and v > 1 for _, v, _ in values):
            bars.append((row.text, values + [("KVM, stock", row.kvm_stock, None)]))
    with open(path, "w", encoding="utf-8") as out:
        out.write(bar_chart("What an exit costs: instructions of one round trip", bars))
    return path


def core_of(revision):
    """Builds the core of a git revision in the build folder; returns its path."""
    commit = git("rev-parse", "--verify", revision + "^{commit}").decode().strip()
    folder = os.path.join(BUILD, "bench-base", commit)
    core = os.path.join(folder, "build", "bulkhead.elf32")
    if not os.path.exists(core):
        # Not `git worktree`: nothing of it stays behind in .git.
        with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", commit))) as tree:
            tree.extractall(folder)
        subprocess.run(["make", "-s", "-j2", "-C", folder, "BUILD=build", "VERSION=" + commit[:9],
                        "build/bulkhead.elf32"], check=True)
    return core


def measure_core(core, machines, before_smp=False):
    bulkhead.CORE = core
    return {m: measure(m, before_smp) for m in machines}


def is_before_smp(revision):
    return subprocess.run(["git", "-C", ROOT, "cat-file", "-e", revision + ":vmm/ipi.c"], check=False,
                          capture_output=True).returncode != 0


def compare(revision, machines):
    now_core = bulkhead.CORE
    before = measure_core(core_of(revision), machines, is_before_smp(revision))
    now = measure_core(now_core, machines)
    for m in machines:
        lines = []
        for row in ROWS:
            a, b = value(before[m][row.name]), value(now[m][row.name])
            cells = ["-" if x is None else "%d" % x for x in (a, b)]
            change = "%+d" % (b - a) if a is not None and b is not None else ""
            lines.append([row.name] + cells + [change, "%+.1f %%" % (100.0 * (b - a) / a)
                                               if change and a else ""])
        print("\n%s" % m)
        print_table(["row", revision, "now", "difference", ""], lines)
    return now


def repeat(count, machines):
    """Which rows are not the same each time."""
    for m in machines:
        runs = [measure(m) for _ in range(count)]
        varying = []
        for row in ROWS:
            values = [value(r[row.name]) for r in runs]
            if len(set(values)) > 1:
                varying.append("%s %s" % (row.name, values))
        print("%s, %d runs: %s" % (m, count, "; ".join(varying) or "every row the same"))


def write_baseline(machines):
    results = {m: measure(m) for m in machines}
    with open(BASELINE, "w", encoding="utf-8") as out:
        json.dump({m: {row.name: value(rows[row.name]) for row in ROWS} for m, rows in results.items()},
                  out, indent=1)
        out.write("\n")
    print("wrote %s" % os.path.relpath(BASELINE, ROOT))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base", metavar="REV")
    parser.add_argument("--repeat", type=int, metavar="N")
    parser.add_argument("--write-baseline", action="store_true")
    parser.add_argument("--machines", default=",".join(MACHINES))
    parser.add_argument("--off", metavar="A,B")
    args = parser.parse_args()
    if args.off:
        global CMDLINE
        CMDLINE = "off=" + args.off
    machines = args.machines.split(",")
    if args.repeat:
        repeat(args.repeat, machines)
        return
    if args.write_baseline:
        write_baseline(machines)
        return
    results = compare(args.base, machines) if args.base else measure_core(bulkhead.CORE, machines)
    if not args.base:
        table(results)
    print("\nwrote %s, %s" % (write_json(results), write_chart(results)))


if __name__ == "__main__":
    main()
