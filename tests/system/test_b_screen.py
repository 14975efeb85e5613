"""The screen beside the serial line: its text is read back from the pixels."""

import os
import re
import subprocess
import time

import pytest

from bulkhead import CORE_ELF, ROOT, config, make_iso, vm
from machines import BOCHS_SVM, BOCHS_VMX, on
from screen import BLOCKS, Monitor, on_screen

HALT = "when-done = halt\n"
SMALL = vm("p", "power.img", cmdline="off after=100", memory="16M")


def start(boot, tmp_path, core, text=SMALL, protocol=2, graphics=True, **options):
    conf = config(text, core=core)
    monitor = Monitor(tmp_path)
    m = boot(conf, iso=make_iso(tmp_path, conf, protocol, graphics=graphics), extra=monitor.args, **options)
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
    rows = monitor.vga_rows()
    assert "p| READY" in rows and "the last VM has ended" in "\n".join(rows)


def test_keyboard_and_screen_alone(boot, tmp_path):
    """No serial line at all: the monitor is used as on a PC."""
    m, monitor = start(boot, tmp_path, "console = screen\n" + HALT)
    monitor.wait_for("the last VM has ended", seconds=90)
    monitor.type("<ctrl-a>0")
    monitor.wait_for("keyboard: the core's monitor\nbulkhead>$")
    monitor.type("Moo <backspace><backspace><backspace><backspace><caps_lock>CPUS<caps_lock>\n")
    lines = monitor.wait_for(r"> cpus\nCPU 0: APIC id 0, running\nbulkhead>$")
    assert "keyboard: PS/2" in "\n".join(lines)
    monitor.type("!\"#$%&'()*+,-./:;<shift-comma>=>?@[\\]^_`{|}~<kp_7><kp_add>")
    monitor.wait_for(re.escape("bulkhead> !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~7+") + "$")
    assert "keyboard" not in m.text() and "READY" not in m.text()


def test_keyboard_of_a_vm(boot, tmp_path):
    """Its shell gets characters, control characters, and the arrow keys' sequences."""
    m, monitor = start(boot, tmp_path, "when-done = halt\n", text=vm("linux"))
    m.expect("keyboard: PS/2", timeout=90, source="core")
    m.shell("linux")
    monitor.type("echo Ab-$((6*7))\n")
    m.expect("^Ab-42$", source="linux")
    monitor.type("<up>\n")
    m.expect("^Ab-42$", source="linux")
    monitor.type("sleep 1000\n<ctrl-c>echo -x<left>a<end>y<home><delete>E\n")
    m.expect("Echo: not found", source="linux")
    m.run("linux", "echo the serial line types, too")
    monitor.type("<ctrl-a>0")
    monitor.wait_for("bulkhead>$")
    assert "Ab-42" in "\n".join(monitor.text())


def test_no_keyboard_without_a_screen(boot, tmp_path):
    m, monitor = start(boot, tmp_path, "console = com1\n" + HALT)
    m.expect("the last VM has ended", timeout=90, source="core")
    monitor.type("<ctrl-a>0cpus\n")
    m.send("\x010memory\r")
    m.expect("^core: ", source="core")
    assert "keyboard: PS/2" not in m.text() and "CPU 0: APIC" not in m.text()


def qr_modules(lines):
    """The dark modules of the QR code in the picture, as rows of its 25 columns."""
    picture = []
    for line in lines:
        halves = [BLOCKS.get(c, 0) for c in line.ljust(128)]
        picture += [[half & 1 for half in halves], [half >> 1 for half in halves]]
    light = [(x, y) for y, row in enumerate(picture) for x, on in enumerate(row) if on]
    left, top = min(x for x, _ in light) + 4, min(y for _, y in light) + 4  # the quiet zone
    assert max(x for x, _ in light) == left + 25 + 3 and max(y for _, y in light) >= top + 25 + 3
    assert all(row[x] for row in picture[top - 4:top] + picture[top + 25:top + 29] for x in range(left - 4, left + 29))
    return [[not picture[top + y][left + x] for x in range(25)] for y in range(25)]


def read_qr(dark):
    """The text of a QR code of version 2-M with mask 0; it may have no errors (ISO/IEC 18004)."""
    bits = []
    for turn, right in enumerate((24, 22, 20, 18, 16, 14, 12, 10, 8, 5, 3, 1)):  # two columns each, up and down
        for y in range(25) if turn % 2 else reversed(range(25)):
            for x in (right, right - 1):
                fixed = (min(x, y) < 9 and (max(x, y) < 9 or max(x, y) > 16)) or 6 in (x, y) or (16 <= x <= 20 and 16 <= y <= 20)
                if not fixed:
                    bits.append(int(dark[y][x]) ^ (x + y + 1) % 2)
    assert len(bits) == 359
    codewords = [int("".join(map(str, bits[i:i + 8])), 2) for i in range(0, 352, 8)]
    power = [1]
    for _ in range(254):
        power.append(power[-1] << 1 ^ (0x11D if power[-1] & 0x80 else 0))
    for root in range(16):  # Reed-Solomon: the polynomial is 0 at each
        total = 0
        for c in codewords:
            total = c ^ (power[(power.index(total) + root) % 255] if total else 0)
        assert total == 0
    take = iter(bits)
    number = lambda count: int("".join(str(next(take)) for _ in range(count)), 2)  # noqa: E731
    assert number(4) == 2
    left, text, alphabet = number(9), "", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
    for _ in range(left // 2):
        text += "%s%s" % tuple(alphabet[v] for v in divmod(number(11), 45))
    return text + (alphabet[number(6)] if left % 2 else "")


def read_code(m, code):
    """The crash code as tools/crash_code.py explains it, held against the serial line's trace."""
    done = subprocess.run([os.path.join(ROOT, "tools", "crash_code.py"), code, CORE_ELF], check=True,
                          stdout=subprocess.PIPE)
    said = done.stdout.decode().splitlines()
    trace = re.findall(r"^  (?:at|by) [0-9a-f]{16} (\S+)$", m.text(), re.M)
    assert [line.split()[1] for line in said[2:]] == trace[:3]
    return said


@pytest.mark.parametrize("where, cpus", [("core", 1), ("console", 1), ("1", 2)])
def test_crash(boot, tmp_path, where, cpus):
    """One page with the essentials, and a code that leads to the function."""
    counter = vm("c", "counter.img", cmdline="checksum period=500")
    m, monitor = start(boot, tmp_path, HALT, text=counter, cpus=cpus)
    m.expect("^checksum ok", timeout=90, source="c")
    monitor.type("<ctrl-a>0crash %s\n" % where)
    m.expect("the machine has stopped", source="core")
    lines = None
    while lines != monitor.wait_for(r"\A\*\*\* Bulkhead [\s\S]*\nthe machine has stopped"):
        lines = monitor.text()  # until nothing is drawn any more
    serial = m.text()
    assert lines[0] == re.search(r"^\*\*\* Bulkhead .*$", serial, re.M).group()
    code = re.match(r"crash code: (\S{29})$", lines[1]).group(1)
    assert "crash code: %s\n" % code in serial
    said = read_code(m, code)
    if where == "1":
        assert said[1].startswith("what   panic") and "smp_take_kick+" in said[2]
        assert re.match("on CPU 1, APIC id 1; the others have stopped", lines[2])
    else:
        assert said[1] == "what   #PF page fault in the core (vector 14): write to an address where nothing is"
        assert "command_crash+" in said[2] and re.match(r"rip \w{16} rsp \w{16} cr2 0{14}10$", lines[2])
    begin = lines.index("trace:")
    end = lines.index("last log lines:")
    trace = [line for line in serial.split("\n") if re.match("  (at|by) ", line)]
    assert lines[begin + 1:end] == trace[:10] and end > begin + 1
    assert read_qr(qr_modules(lines)) == "BULKHEAD " + code
    lines = [line.rstrip("".join(BLOCKS)) for line in lines]
    assert not lines[-1] and re.search("info  c: started", "\n".join(lines[end:]))
    assert any(line.startswith(("exit context: VM c", "no VM was loaded")) for line in lines)


def test_crash_in_text_mode(boot, tmp_path):
    m, monitor = start(boot, tmp_path, HALT, protocol=1)
    m.expect("the last VM has ended", timeout=90, source="core")
    m.send("\x010crash core\r")
    m.expect("the machine has stopped", source="core")
    rows = monitor.vga_rows()
    assert rows[0].startswith("*** Bulkhead ") and re.match(r"crash code: (\S{29})$", rows[1])
    assert rows[23].startswith("the machine has stopped") and not rows[24]
    assert "info  p: ended" in rows[21] or "info  p: ended" in rows[20]


@on(BOCHS_SVM, BOCHS_VMX)
def test_keyboard_elsewhere(boot):
    """Another emulator's controller; its screen is not looked at."""
    m = boot(config(SMALL, vm("c", "counter.img", cmdline="checksum period=500"), core="when-done = halt\n"))
    m.expect("keyboard: PS/2", source="core", timeout=60)
    m.expect("p: ended", source="core", timeout=60)
    m.press("\x010cpus\r")
    m.expect("^bulkhead> cpus", source="core")
    m.expect("^CPU 0: APIC id 0, running", source="core")
    m.press("list\r")
    m.expect("^2 c +running", source="core")
    m.expect("^checksum ok", source="c", forbid="FAIL")
