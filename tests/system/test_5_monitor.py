"""The core's own command line."""

import re

import pytest

from bulkhead import config, vm
from machines import EVERYWHERE, QEMU_SVM, on

pytestmark = EVERYWHERE
LOG_LINE = re.compile(r"\[ *[-0-9]+\.[-0-9]+\] (error|warn |info |debug) ")


@pytest.fixture
def machine(boot):
    m = boot(config(vm("a", "counter.img", cmdline="checksum period=500"),
                    vm("b", "counter.img", cmdline="checksum period=500"),
                    core="console = com1\nwhen-done = halt\n"), memory=256)
    for name in ("a", "b"):
        m.expect("^checksum ok", source=name)
    m.focus(0)
    m.expect("bulkhead> ?$", source="core", partial=True)
    return m


def test_help_and_unknown(machine):
    machine.send("help\r")
    machine.expect(r"^  list\b", source="core")
    machine.expect(r"^  help\b", source="core")
    machine.send("nonsense\r")
    machine.expect(r"nonsense", source="core")
    machine.send("dump nobody\r")
    machine.expect(r'found "nobody", expected', source="core")


def test_list_and_memory(machine):
    machine.send("list\r")
    machine.expect(r"^1 a +running +32 MiB +\d+", source="core")
    machine.expect(r"^2 b +running +32 MiB +\d+", source="core")
    machine.send("memory\r")
    machine.expect(r"^core: \d+ KiB of pages, \d+ KiB free", source="core")
    machine.expect(r"^guests: \d+ MiB, \d+ MiB free", source="core")
    machine.send("stat\r")
    machine.expect(r"^b:", source="core")


def free_guest_memory(machine):
    machine.send("memory\r")
    return int(machine.expect(r"^guests: \d+ MiB, (\d+) MiB free", source="core").group(1))


def test_stop_start_and_reset(machine):
    before = free_guest_memory(machine)
    for _ in range(3):
        machine.send("stop a\r")
        machine.expect("a: ended: stopped by the monitor", source="core")
        assert free_guest_memory(machine) == before + 32
        machine.send("start a\r")
        machine.expect("^READY", source="a")
        machine.expect("^checksum ok", source="a", forbid="FAIL")
        assert free_guest_memory(machine) == before
    machine.send("start a\r")
    machine.expect("a is running already", source="core")
    machine.send("reset b\r")
    machine.expect("^READY", source="b")
    machine.expect("^checksum ok", source="b", forbid="FAIL")


def test_dump_shows_registers(machine):
    machine.send("dump a\r")
    machine.expect(r"(?i)rip\W+[0-9a-f]{4,}", source="core")


def test_guest_memory_is_not_mapped_in_the_core(machine):
    machine.send("isolation\r")
    machine.expect("^isolation: guest memory mapped in the core: no; found while in the window: yes",
                   source="core")
    machine.expect("^isolation: writable and executable pages in the core: none", source="core")


@pytest.mark.parametrize("where", ["core", "console"])
def test_crash_report(machine, where):
    """Also inside of the console's lock, which the report needs."""
    machine.send("crash %s\r" % where)
    machine.expect(r"(?i)page fault|exception|#PF", source="core")
    machine.expect(r"^crash code: (\w{4}-){5}\w{4}$", source="core")
    # The trace names functions.
    machine.expect(r"command_crash", source="core")
    machine.expect(r"answer\+", source="core")


def test_all_stopped_and_the_monitor_stays(machine):
    machine.send("stop a\r")
    machine.expect("a: ended", source="core")
    machine.send("stop b\r")
    machine.expect("the last VM has ended", source="core")
    machine.send("start b\r")
    machine.expect("^checksum ok", source="b")


def test_power_off_by_key(machine):
    machine.send("\x01q")
    assert machine.wait_exit(20) == 0


def test_dump_of_a_vm_that_never_ran(boot):
    m = boot(config(vm("a", "counter.img", cmdline="checksum period=500"), vm("b", "power.img", autostart="no")))
    m.expect("^checksum ok", source="a")
    m.focus(0)
    m.send("dump b\r")
    # Its own state, not that of the VM that has the processor.
    m.expect(r"rip 0{16}", source="core")
    m.expect("^checksum ok", source="a", forbid="FAIL")


def ring(m):
    """What `log` prints: how many lines are lost, and the others."""
    m.send("\x010log\r")
    m.expect("bulkhead> log$", source="core")
    m.send("nonsense\r")
    m.expect('found "nonsense"', source="core")
    text = m.text()
    answer = text[text.rindex("bulkhead> log\n"):].split("\n")[1:]
    lost = re.match("--- the first ([0-9]+) lines are lost", answer[0])
    lines = [line for line in answer[lost is not None:] if LOG_LINE.match(line)]
    return int(lost.group(1)) if lost else 0, lines


@on(QEMU_SVM)
def test_the_log_from_its_first_line(boot):
    """All of it, and when there is more than fits into memory, the last of it and how much is missing."""
    m = boot(config(vm("p", "power.img", cmdline="off"), core="console = com1\nlog = debug\nwhen-done = halt\n"),
             cmdline="log=debug")
    m.expect("the last VM has ended", source="core", timeout=60)
    said = [line for line in m.text().split("\n") if LOG_LINE.match(line)]
    lost, lines = ring(m)
    assert "Bulkhead" in lines[0] and lines == said and lost == 0
    for _ in range(300):
        m.send("start p\r")
        m.expect("the last VM has ended", source="core")
        said = [line for line in m.text().split("\n") if LOG_LINE.match(line)]
        if sum(len(line) + 1 for line in said) > 40000:
            break
    said = [line for line in m.text().split("\n") if LOG_LINE.match(line)][len(lines):]
    lost, lines = ring(m)
    assert lost > 50 and lost + len(lines) == len(said) and lines == said[lost:]
    assert 32000 < sum(len(line) + 1 for line in lines) <= 32768
