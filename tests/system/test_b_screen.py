"""The screen beside the serial line: its text is read back from the pixels."""

import re
import time

import pytest

from bulkhead import config, make_iso, vm
from screen import Monitor, on_screen

HALT = "when-done = halt\n"
SMALL = vm("p", "power.img", cmdline="off after=100", memory="16M")


def start(boot, tmp_path, core, text=SMALL, protocol=2, graphics=True):
    conf = config(text, core=core)
    monitor = Monitor(tmp_path)
    m = boot(conf, iso=make_iso(tmp_path, conf, protocol, graphics=graphics), extra=monitor.args)
    return m, monitor


@pytest.mark.parametrize("core", ["log = info\n", "console = screen, com1\n"], ids=["by-default", "asked-for"])
def test_the_log_is_on_the_screen(boot, tmp_path, core):
    m, monitor = start(boot, tmp_path, core + HALT)
    m.expect("screen: 128 x 48 characters on 1024 x 768 pixels", timeout=90, source="core")
    m.expect("the last VM has ended", timeout=60, source="core")
    m.send("\x010cpus\r")
    lines = monitor.wait_for(r"> cpus\n.*\nbulkhead>$")
    rows = on_screen(m.text(), 128)
    assert lines[:len(rows)] == rows
    assert any("p| READY" in row for row in rows)


def test_it_scrolls(boot, tmp_path):
    m, monitor = start(boot, tmp_path, HALT)
    m.expect("the last VM has ended", timeout=90, source="core")
    m.send("\x010" + "help\r" * 5 + "cpus\r")
    lines = monitor.wait_for(r"> cpus\n.*\nbulkhead>$")
    assert lines[-1] == "bulkhead>"
    assert [row.rstrip() for row in m.text().replace("\r", "").split("\n")[-40:]] == lines[-40:]


def test_errors_in_the_configuration(boot, tmp_path):
    """They end the boot before the core's own page tables."""
    m, monitor = start(boot, tmp_path, "log = loud\n")
    m.expect("boot stops", timeout=90)
    lines = "\n".join(monitor.wait_for("boot stops: bulkhead.conf has errors"))
    assert re.search(r'bulkhead.conf:\d+: log: found "loud"', lines)


def test_not_with_com1_alone(boot, tmp_path):
    m, monitor = start(boot, tmp_path, "console = com1\n" + HALT)
    m.expect("the last VM has ended", timeout=90, source="core")
    time.sleep(1)
    assert "Bulkhead 0" not in "\n".join(monitor.text() or [])
    assert not any("p| READY" in line for line in monitor.text() or [])
    assert "screen:" not in m.text()


@pytest.mark.parametrize("protocol, graphics", [(1, True), (2, False)], ids=["multiboot1", "multiboot2"])
def test_text_mode(boot, tmp_path, protocol, graphics):
    """What GRUB leaves for multiboot 1, whose header asks for no graphics, and where it is told to. Its font
    is not ours."""
    m, monitor = start(boot, tmp_path, HALT, protocol=protocol, graphics=graphics)
    m.expect("screen: 80 x 25 characters on 80 x 25 of VGA's text mode", timeout=90, source="core")
    m.expect("the last VM has ended", timeout=60, source="core")
    time.sleep(1)
    screen = "\n".join(monitor.vga_rows())
    assert "p| READY\n" in screen and "the last VM has ended" in screen
