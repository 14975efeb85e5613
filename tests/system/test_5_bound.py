"""No exit and no step of the run loop takes the core longer than HANDLER_BOUND_NS: the core that checks itself
says so, on a machine whose time goes by the instructions."""

import os
import re

import pytest

from bulkhead import CHECKED_CORE, config, vm

STARTS = 6


@pytest.fixture
def checked(boot):
    if not os.path.exists(CHECKED_CORE):
        pytest.fail("no core that checks itself: make CHECKS=1")
    return lambda *vms, **options: boot(
        config(*vms, core="console = com1\nlog = debug\nwhen-done = halt\n"), icount=True, core=CHECKED_CORE,
        **options)


def worst(machine):
    """What `worst` says: (what, ns, the line), and that nothing is above the bound."""
    machine.send("worst\rmemory\r")
    machine.expect("^the longest since boot; bound: 100000 ns", source="core", timeout=60)
    machine.expect("^guests: ", source="core", timeout=60)
    rows = re.findall(r"^(CPU \d+: (\w+ +\S.*?) +\d+ cycles +(\d+) ns.*)$", machine.text(), re.M)
    assert rows
    print("\n".join(row[0] for row in rows))
    assert "TOO LONG" not in machine.text()
    assert "expected at most 100000" not in machine.text()
    return rows


def monitor(machine):
    machine.focus(0)
    machine.expect("bulkhead> ?$", source="core", partial=True)


def test_linux_and_bad_neighbours(checked):
    """Linux with two vCPUs boots; then others storm, crash and start again and again."""
    bad = [vm("storm", "storm.img", autostart="no"), vm("hostile", "hostile.img", autostart="no"),
           vm("exits", "spin.img", cmdline="exits", autostart="no"),
           vm("again", "power.img", cmdline="reset", memory="16M", autostart="no")]
    m = checked(vm("linux", vcpus="2"), *bad)
    m.shell("linux", timeout=400)
    monitor(m)
    for name in ("storm", "hostile", "exits", "again"):
        m.send("start %s\r" % name)
        m.expect("%s: started" % name, source="core", timeout=60)
    for _ in range(STARTS):
        m.expect("again: ended: reset", source="core", timeout=60)
    for name in ("linux", "storm", "exits"):
        m.send("reset %s\r" % name)
        m.expect("%s: started" % name, source="core", timeout=60)
    for command in ("list", "stat", "sched", "cpus", "log", "help", "isolation", "dump linux"):
        m.send(command + "\r")
        m.expect("bulkhead> ?$", source="core", partial=True, timeout=60)
    worst(m)


def test_many(checked):
    """64 vCPUs on one CPU, and 100 VMs: their starts, ends and answers."""
    m = checked(vm("wide", "counter.img", cmdline="checksum period=500", vcpus="64"),
                *[vm("v%u" % i, "power.img", cmdline="off after=%u" % (20 + i % 7), memory="2M") for i in range(100)],
                memory=1024)
    m.expect("^checksum ok", source="wide", timeout=300)
    monitor(m)
    for command in ("stat wide", "list", "sched", "reset wide"):
        m.send(command + "\r")
        m.expect("bulkhead> ?$", source="core", partial=True, timeout=60)
    m.expect("wide: started", source="core", timeout=60)
    worst(m)


def test_memory_that_is_taken_away_is_gone_on_all(boot):
    """The monitor takes a page from a VM whose vCPUs read it all the time: the next time they look it is gone,
    on each of them, whether it runs or waits."""
    m = boot(config(vm("w", "smp.elf", memory="16M", vcpus="4", cpus="0-1", cmdline="smp work=watch"),
                    core="console = com1\nlog = info\nwhen-done = halt\n"), memory=256, cpus=2, core=CHECKED_CORE)
    m.expect("^watch: gone on 0 of 3", source="w", timeout=60)
    monitor(m)
    m.send("hole 13\r")
    m.expect("^hole: found 13, expected an even number", source="core")
    for _ in range(3):
        m.send("hole 12\r")
        m.expect("^w: 2 MiB at 12 MiB are taken", source="core")
        m.expect("^watch: gone on 3 of 3", source="w", timeout=30)
        m.send("hole 12\r")
        m.expect("^w: 2 MiB at 12 MiB are back", source="core")
        m.expect("^watch: gone on 0 of 3", source="w", timeout=30)
