"""Who gets the machine's processors: weights, caps, slots, dedicated ones, balancing.

Measured by the core's own books (monitor `sched`) and, in places, by what the guests see. Where time counts,
it is counted in instructions: QEMU's -icount, one processor only, and Bochs, whose processors run side by side.
"""

import os
import re

import pytest

from bulkhead import ROOT, config, vm
from machines import BOCHS_SVM, BOCHS_VMX, QEMU_SVM, on
from test_config_tool import check, examples

BOTH = on(QEMU_SVM, BOCHS_VMX)
CORE = "console = com1\nlog = info\nwhen-done = halt\n"
SHORT_TURNS = CORE + "slice = 1ms\n"
# What hostile.img may delay a slot by, in instructions: the core's log has a line about some of what it does,
# each once. The longest exit else takes 5000: an operand in two pages, neither of them memory.
LONGEST_EXIT = 20000


def small(name, image="spread", cmdline="-", memory="16M", **keys):
    keys = {"class" if key == "kind" else key: value for key, value in keys.items()}
    return vm(name, image + ".img", cmdline=cmdline, memory=memory, **keys)


def slots(cpu, frame, *lines):
    return "\n[cpu %d]\nframe = %s\n%s" % (cpu, frame, "".join("slot = %s\n" % line for line in lines))


class Books:
    """What `sched` said: `now`, and of each vCPU the milliseconds that it ran and its pCPU."""

    def __init__(self, machine, *vcpus):
        machine.send("sched\r")
        self.idle, self.ran, self.cpu = {}, {}, {}
        idle, self.now = self.numbers(machine, r"CPU 0: idle (\d+) ms of (\d+)")
        self.idle[0] = idle
        for vcpu in vcpus:
            name = vcpu if "." in vcpu else vcpu + ".0"
            self.cpu[vcpu], ran = self.numbers(
                machine, r"%s: CPU (\d+), .*, ran ([\d.]+) ms" % re.escape(name))
            self.ran[vcpu] = ran

    @staticmethod
    def numbers(machine, pattern):
        found = machine.expect("^" + pattern, source="core", timeout=60)
        return [float(text) if "." in text else int(text) for text in found.match.groups()]


def monitor(machine, *ready):
    for name in ready:
        machine.expect("^READY", source=name, timeout=60)
    machine.focus(0)
    machine.expect("bulkhead> ?$", source="core", partial=True, timeout=60)


def measure(machine, ms, *vcpus):
    """Lets `ms` of the machine's time pass. Returns each one's time in percent of that."""
    first = last = Books(machine, *vcpus)
    while last.now < first.now + ms:
        machine.quiet_for(0.2)
        last = Books(machine, *vcpus)
    took = last.now - first.now
    return [100 * (last.ran[v] - first.ran[v]) / took for v in vcpus], last


def near(value, expected, part):
    return abs(value - expected) <= expected * part


@BOTH
def test_weights(boot):
    """1 : 2 : 4, alone and beside two that sleep and work in turns."""
    nap = {"image": "sleeper", "cmdline": "sleep=4000 work=400", "autostart": "no"}
    m = boot(config(small("a", "counter", "share period=300 gap=20000"), small("b", weight="200"),
                    small("c", weight="400"), small("s1", **nap), small("s2", **nap), core=SHORT_TURNS), icount=True)
    monitor(m, "a", "b", "c")
    m.expect("^share", source="a", timeout=60)
    seen = float(m.expect(r"^share ([\d.]+) %", source="a", timeout=60).group(1))
    assert abs(seen - 100 / 7) < 0.5  # what it costs to switch is its own
    for names in ((), ("s1", "s2")):
        for name in names:
            m.send("start %s\r" % name)
            m.expect("^READY", source=name, timeout=60)
        (a, b, c, *rest), _ = measure(m, 500, "a", "b", "c", *names)
        whole = a + b + c
        assert near(a, whole / 7, 0.02) and near(b, whole * 2 / 7, 0.02) and near(c, whole * 4 / 7, 0.02), (a, b, c)
        assert 97 < whole + sum(rest) <= 100.5
        assert all(1 < part < 11 for part in rest), rest  # they work by the clock


@BOTH
def test_cap(boot):
    """It holds with nobody else there, and beside another one."""
    m = boot(config(small("c", cap="25"), small("o", autostart="no"), core=CORE), icount=True)
    monitor(m, "c")
    (alone,), _ = measure(m, 200, "c")
    assert 24 <= alone <= 26
    m.send("start o\r")
    m.expect("^READY", source="o", timeout=60)
    (capped, other), _ = measure(m, 300, "c", "o")
    assert 24 <= capped <= 26 and capped + other > 97, (capped, other)


@on(BOCHS_VMX)  # QEMU's processors wait for the host's
def test_cap_of_two(boot):
    """Of a VM's vCPUs together, on two processors."""
    m = boot(config(small("c", vcpus="2", cap="50"), core=CORE), cpus=2)
    monitor(m, "c")
    parts, books = measure(m, 1500, "c.0", "c.1")
    assert 49 <= sum(parts) <= 51 and min(parts) > 15, parts
    assert {books.cpu["c.0"], books.cpu["c.1"]} == {0, 1}


def late(machine, slot):
    """Starts of a slot, how many were missed, and how late they were at most, in instructions."""
    machine.send("sched\r")
    return Books.numbers(machine, r"  slot %s: (\d+) starts, (\d+) missed, late by (\d+) ticks"
                         % re.escape(slot))


NOISE = {
    "": [small("storm", "storm"), small("fpu", "fpu", "seed=3 period=20"),
         small("naps", "sleeper", "sleep=300 work=50")],
    " share": [small("hostile", "hostile", memory="64M"), small("spin", "spin"), small("exits", "spin", "exits")],
}


@BOTH
@pytest.mark.parametrize("share", NOISE)
def test_slots(boot, machine_name, share):
    """Begin on time beside noisy VMs; the rest of the frame is theirs, and of an idle slot with `share`."""
    cpu = 1 if machine_name == BOCHS_VMX else 0
    noise = [text + "cpus = %d\n" % cpu for text in NOISE[share]]
    names = [re.search(r"vm (\w+)", text).group(1) for text in noise]
    m = boot(config(small("rt", kind="slots"), small("halt", "power", "halt", kind="slots"), *noise, core=CORE) +
             slots(cpu, "2ms", "rt.0 200us 500us", "halt.0 1000us 500us" + share),
             cpus=1 + cpu, icount=True, memory=300)
    monitor(m, "rt", "halt", *names)
    measure(m, 20)
    m.send("sched reset\r")  # what it takes to start VMs, which is much at Bochs's 50 MHz, is not meant
    (rt, halt, *others), _ = measure(m, 150, "rt", "halt", *names)
    starts, missed, late_max = late(m, "200+500 us rt.0")
    assert starts >= 70 and missed == 0
    assert late_max < (LONGEST_EXIT if share else 2000)
    if not share and machine_name == QEMU_SVM:  # what it takes to end a VM, and to clear its memory, is done between slots
        m.send("stop %s\r" % names[0])
        m.expect("%s: ended: stopped" % names[0], source="core", timeout=60)
        starts, missed, late_max = late(m, "200+500 us rt.0")
        assert missed == 0 and late_max < 4000
    assert 23 <= rt <= 25.5 and halt < 0.1
    assert near(sum(others), 75 if share else 50, 0.04)


def exits(machine, name):
    """How many exits of each kind a VM has made."""
    machine.send("stat %s\r" % name)
    machine.expect("^  exit +count", source="core", timeout=60)
    found = {}
    while True:
        line = machine.expect(r"^(?:bulkhead> |  (\w+) +(\d+) )", source="core", timeout=20, partial=True)
        if not line.group(1):
            return found
        found[line.group(1)] = int(line.group(2))


@BOTH
def test_dedicated(boot):
    """On processor 0, which leaves the console to another one: no exit but what it causes itself."""
    m = boot(config(small("d", kind="dedicated", cpus="0"), small("hostile", "hostile", memory="64M"),
                    small("a", "counter", "checksum period=300"), small("b"), core=CORE), cpus=3, memory=300)
    m.expect("console: served by CPU 1", source="core")
    monitor(m, "d", "a")
    before = exits(m, "d")
    (ran,), books = measure(m, 1000, "d")
    m.send("list\rhelp\r")
    after = exits(m, "d")
    assert before and after == before
    # The two sides of the quotient are read by another processor, which a busy host may stop in between.
    assert ran > (95 if m.name == QEMU_SVM else 99) and books.cpu["d"] == 0
    m.expect("^checksum ok", source="a", timeout=60)


@BOTH
def test_balance(boot):
    """Four that compute, on two processors: equal shares. One of them must not leave its own."""
    names = ["v%d" % i for i in range(4)]
    m = boot(config(*[small(name, **({"cpus": "1"} if name == "v3" else {})) for name in names], core=CORE), cpus=2)
    monitor(m, *names)
    measure(m, 100, *names)
    parts, books = measure(m, 800, *names)
    assert all(near(part, 50, 0.1) for part in parts), parts
    assert books.cpu["v3"] == 1 and sorted(books.cpu.values()) == [0, 0, 1, 1]


@BOTH
def test_woken_goes_to_an_idle_one(boot):
    m = boot(config(small("spin", cpus="0"), small("naps", "sleeper", "sleep=3000 work=1000 period=100"), core=CORE),
             cpus=2)
    monitor(m, "spin", "naps")
    (spin, naps), books = measure(m, 500, "spin", "naps")
    assert books.cpu == {"spin": 0, "naps": 1}
    assert spin > 95 and naps > 15, (spin, naps)


@BOTH
def test_resets_beside_one_that_computes(boot):
    """Nothing but what ends and starts the one makes the other leave the processor, which has not the console."""
    m = boot(config(small("spin", cpus="1"), small("again", "power", "reset", cpus="1"), core=CORE), cpus=2)
    for _ in range(4):
        m.expect("^READY", source="again", timeout=20)


def refused(boot, text):
    m = boot(text, cpus=2, memory=256)
    m.expect("boot stops: .*; no VM was started", source="core")
    return m.text()


@pytest.mark.parametrize("text, error", [
    (config(small("a", kind="dedicated", cpus="0,5", vcpus="2")),
     r"bulkhead.conf:\d+: cpus: found CPU 5, which has not started, expected only such that have"),
    (config(small("a", cpus="4-6")),
     r"bulkhead.conf:\d+: cpus: found CPU 4, which has not started, expected one or more that have"),
    (config(small("a", kind="slots")) + slots(7, "1ms", "a.0 0us 100us"),
     r"bulkhead.conf:\d+: cpu: found CPU 7, which has not started, expected slots on such as have"),
], ids=["dedicated", "fair", "slots"])
def test_processors_that_are_not_there(boot, text, error):
    output = refused(boot, text)
    line = int(re.search(error, output).group(0).split(":")[1])
    assert re.match(r"cpus = |\[cpu 7\]", text.splitlines()[line - 1])


PAGE = os.path.join(ROOT, "docs", "scheduling.md")


def test_examples(tmp_path):
    assert len(examples(PAGE)) == 3
    for text in examples(PAGE):
        assert check(tmp_path, text)[::2] == (0, ""), text


@on(BOCHS_SVM)
def test_example_of_three_classes(boot):
    """The last example, with small guests in place of its own: all start, where they should."""
    text = re.sub(r"(?m)^(initrd|memory|cmdline|kernel).*\n", "", examples(PAGE)[-1])
    text = re.sub(r"(?m)^(\[vm .*\])$", r"\1\nkernel = spread.img\nmemory = 16M", text)
    m = boot(text, cpus=4, memory=256)
    names = re.findall(r"\[vm (\S+)\]", text)
    monitor(m, *names)
    parts, books = measure(m, 400, "rt.0", "control.0", "linux.0", "linux.1", "log.0")
    assert (books.cpu["rt.0"], books.cpu["control.0"]) == (3, 2)
    assert {books.cpu["linux.0"], books.cpu["linux.1"], books.cpu["log.0"]} <= {0, 1, 2}
    assert parts[0] > 99 and near(parts[1], 20, 0.1)
