"""The machine's other processors: started and set up; and stopped when the machine ends."""

import re
import struct

import pytest

from bulkhead import config, make_iso, vm
from machines import BOCHS_SVM, BOCHS_VMX, EVERYWHERE, QEMU_SVM, on

CONF = config(vm("a", "counter.img", cmdline="checksum period=500"),
              core="console = com1\nlog = info\nwhen-done = halt\n")
# How many processors each machine gets here.
CPUS = {QEMU_SVM: 4}


def started(machine, count):
    line = machine.expect(r"cpus: (\d+) started(.*)", source="core", forbid="left out|does not").group(0)
    assert line == "cpus: %d started" % count + (", TSC consistent" if count > 1 else "")
    machine.expect("^checksum ok", source="a", timeout=60, forbid="does not answer")


def monitor(machine):
    machine.focus(0)
    machine.expect("bulkhead> ?$", source="core", partial=True)


@pytest.fixture
def count(machine_name):
    return CPUS.get(machine_name, 2)


@pytest.fixture
def machine(boot, count):
    """All processors started, the monitor has the keyboard."""
    m = boot(CONF, memory=256, cpus=count)
    started(m, count)
    monitor(m)
    return m


@EVERYWHERE
def test_all_are_started(machine, count):
    machine.send("cpus\r")
    machine.expect("^CPU 0: APIC id 0, running", source="core")
    for i in range(1, count):
        machine.expect("^CPU %d: APIC id %d, running" % (i, i), source="core")
    machine.send("isolation\r")
    machine.expect("^isolation: guest memory mapped in the core: no", source="core")
    machine.expect("^isolation: writable and executable pages in the core: none", source="core")
    machine.expect("^checksum ok", source="a", forbid="FAIL|unexpected")


@EVERYWHERE
def test_power_off(machine):
    machine.send("poweroff\r")
    machine.expect("powering off", source="core")
    assert machine.wait_exit(20) == 0
    assert "have not stopped" not in machine.text()


@EVERYWHERE
def test_reset(boot, count):
    m = boot(config(vm("p", "power.img", cmdline="off after=100", memory="16M"),
                    core="console = com1\nlog = info\nwhen-done = reboot\n"), memory=256, cpus=count)
    m.expect("cpus: %d started, TSC consistent" % count, source="core")
    m.expect("the last VM has ended: resetting the machine", source="core", forbid="have not stopped")
    if m.emulator == "Bochs":  # its script ends it at a reset
        m.wait_exit(20)
        return
    # Processors that were in VMX or SVM operation start again.
    m.expect("cpus: %d started, TSC consistent" % count, source="core", timeout=60)


@EVERYWHERE
@pytest.mark.parametrize("where", ["core", "1"])
def test_crash_stops_all(machine, where):
    machine.send("crash %s\r" % where)
    machine.expect(r"^\*\*\* Bulkhead .*(#PF|a crash of CPU 1 was asked for)", source="core")
    machine.expect("^on CPU %s, APIC id .; the others have stopped$" % where.replace("core", "0"), source="core")
    machine.expect("command_crash" if where == "core" else r"smp_take_kick\+", source="core")
    machine.expect("^the machine has stopped", source="core")
    machine.quiet_for(2)


def test_crash_wants_another_one(machine):
    for name in ("0", "4", "x", "11"):
        machine.send("crash %s\r" % name)
        machine.expect("type .crash core", source="core")
    machine.expect("^checksum ok", source="a")


def test_many(boot):
    m = boot(CONF, memory=256, cpus=16)
    started(m, 16)


@pytest.mark.parametrize("smp, count", [("1", 1), ("2,maxcpus=4", 2)])
def test_disabled_entries_are_no_processors(boot, smp, count):
    m = boot(CONF, memory=256, extra=["-smp", smp])
    started(m, count)
    assert not re.search("left out|APIC id", m.text())


@pytest.mark.parametrize("cpus", [65, 255])
def test_more_than_the_core_uses(boot, cpus):
    m = boot(config(vm("a", "counter.img", cmdline="checksum period=500"),
                    core="console = com1\nlog = info\n"), memory=512, cpus=cpus)
    m.expect("APIC id 64 is one more than the limit of 64: left out", source="core", timeout=60)
    m.expect("MADT: %d CPUs more than the limit of 64 are ignored" % (cpus - 64), source="core")
    m.expect("cpus: 64 started", source="core", timeout=60, forbid="does not")
    m.expect("^checksum ok", source="a", timeout=60)


def test_too_little_memory_for_all(boot):
    m = boot(config(vm("a", "counter.img", cmdline="checksum period=500"),
                    core="console = com1\nlog = info\nmemory = 2M\n"), memory=256, cpus=24)
    found = m.expect("memory has room for ([0-9]+) of 24: raise .core. memory", source="core").group(1)
    m.expect("cpus: %s started" % found, source="core", forbid="left out")
    m.expect("^checksum ok", source="a", timeout=60)


# Bochs's processors have x2APIC mode, but its BIOS leaves it off.
@on(BOCHS_VMX)
def test_x2apic_mode(boot):
    m = boot(CONF, memory=256, cpus=2, cmdline="on=x2apic")
    m.expect("lapic: id 0, x2APIC mode", source="core")
    started(m, 2)
    monitor(m)
    m.send("crash 1\r")
    m.expect("^on CPU 1, APIC id 1; the others have stopped", source="core")
    m.expect("^the machine has stopped", source="core")


@on(BOCHS_SVM)
def test_no_x2apic_mode_there(boot):
    m = boot(CONF, memory=256, cpus=2, cmdline="on=x2apic")
    m.expect("lapic: id 0, xAPIC mode", source="core")
    started(m, 2)


def lapic(apic_id, enabled=1):
    return struct.pack("<BBBBI", 0, 8, apic_id, apic_id, enabled)


def x2apic(apic_id, enabled=1):
    return struct.pack("<BBHIII", 9, 16, 0, apic_id, enabled, apic_id)


def madt(*processors):
    """Those processors, and the rest of q35's: I/O APIC, IRQ 0 at input 2, level for the PCI ones."""
    body = struct.pack("<II", 0xfee00000, 1) + b"".join(processors)
    body += struct.pack("<BBBBII", 1, 12, 0, 0, 0xfec00000, 0) + struct.pack("<BBBBIH", 2, 10, 0, 0, 2, 0)
    body += b"".join(struct.pack("<BBBBIH", 2, 10, 0, irq, irq, 13) for irq in (5, 9, 10, 11))
    header = struct.pack("<4sIBB6s8sI4sI", b"APIC", 36 + len(body), 3, 0, b"BULKHD", b"TESTTABL", 1, b"TEST", 1)
    table = bytearray(header + body)
    table[9] = -sum(table) & 0xff
    return bytes(table)


def test_processors_that_are_not_there(boot, tmp_path):
    """Holes, both kinds of entries, one twice, some disabled, two that never answer, one out of reach."""
    path = tmp_path / "madt"
    path.write_bytes(madt(lapic(7), x2apic(1), lapic(9, 0), lapic(1), lapic(0), lapic(9, 2), x2apic(300),
                          lapic(200), lapic(2)))
    m = boot(CONF, memory=256, cpus=3, iso=make_iso(tmp_path, CONF, madt=path))
    m.expect("APIC id 300 is left out: without x2APIC mode 254 is the highest", source="core", timeout=90)
    for name in (7, 200):
        m.expect("APIC id %d does not start within [0-9]+ ms: left out" % name, source="core")
    m.expect("cpus: 3 started, TSC consistent", source="core", forbid="left out")
    m.expect("^checksum ok", source="a", timeout=60)
    monitor(m)
    m.send("cpus\r")
    m.expect("^CPU 1: APIC id 7, left out: does not answer", source="core")
    m.expect("^CPU 2: APIC id 1, running", source="core")
    m.expect("^CPU 3: APIC id 200, left out: does not answer", source="core")
    m.expect("^CPU 4: APIC id 2, running", source="core")


def test_linux(boot):
    m = boot(config(vm("linux1")), memory=1024, cpus=4)
    m.expect("cpus: 4 started, TSC consistent", source="core")
    m.shell("linux1", timeout=170)
    assert m.run("linux1", "nproc")[0] == ["1"]
