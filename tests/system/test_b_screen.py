"""The screen beside the serial line: its text is read back from the pixels."""

import os
import re
import socket
import time

import pytest

from bulkhead import ROOT, config, make_iso, vm

HALT = "when-done = halt\n"
SMALL = vm("p", "power.img", cmdline="off after=100", memory="16M")
WIDTH, HEIGHT, BAND = 8, 16, 8


def font():
    """The glyphs, as rows of ink, of the same drawing that the core's table is made of."""
    glyphs, rows = {}, []
    with open(os.path.join(ROOT, "tools", "build", "font.txt"), encoding="ascii") as drawing:
        for line in drawing:
            if line[0] in ".#":
                rows.append(line.split())
    for band in range(0, len(rows), 12):
        for i in range(len(rows[band])):
            blank = ["." * WIDTH] * 2
            glyph = blank + [row[i] for row in rows[band:band + 12]] + blank
            glyphs["".join(glyph)] = chr(0x20 + band // 12 * BAND + i)
    return glyphs


class Monitor:
    """QEMU's, to look at the screen."""

    def __init__(self, folder):
        self.path = os.path.join(str(folder), "monitor")
        self.args = ["-vga", "std", "-chardev", "socket,id=mon,path=%s,server=on,wait=off" % self.path,
                     "-mon", "chardev=mon,mode=readline"]
        self.image = os.path.join(str(folder), "screen.ppm")

    def ask(self, command):
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(20)
            line.connect(self.path)
            line.sendall(command.encode() + b"\n")
            seen = b""
            while seen.count(b"(qemu)") < 2:  # the prompt, and the one behind the answer
                seen += line.recv(4096)
        return seen.decode("latin1")

    def dump(self):
        """(width, height, pixels as bytes of RGB)"""
        self.ask("screendump " + self.image)
        with open(self.image, "rb") as dump:
            kind, size, depth, pixels = dump.read().split(b"\n", 3)
        assert (kind, depth) == (b"P6", b"255")
        return tuple(int(n) for n in size.split()) + (pixels,)

    def text(self):
        """The screen's lines; None when it shows something that the font has not."""
        width, height, pixels = self.dump()
        glyphs, lines = font(), []
        ink = ["".join(".#"[pixel > 64] for pixel in pixels[y * width * 3:(y + 1) * width * 3:3])
               for y in range(height)]
        for y in range(0, height - HEIGHT + 1, HEIGHT):
            lines.append("".join(glyphs.get("".join(ink[y + i][x:x + WIDTH] for i in range(HEIGHT)), "\0")
                                 for x in range(0, width - WIDTH + 1, WIDTH)).rstrip())
        return None if any("\0" in line for line in lines) else lines

    def wait_for(self, pattern, seconds=20):
        """The lines, once they match."""
        lines = None
        for _ in range(seconds * 2):
            lines = self.text()
            if lines and re.search(pattern, "\n".join(lines).rstrip()):
                return lines
            time.sleep(0.5)
        pytest.fail("%s is not on the screen: %s" % (pattern, lines))


def start(boot, tmp_path, core, text=SMALL, protocol=2):
    conf = config(text, core=core)
    monitor = Monitor(tmp_path)
    m = boot(conf, iso=make_iso(tmp_path, conf, protocol, graphics=True), extra=monitor.args)
    return m, monitor


@pytest.mark.parametrize("core", ["log = info\n", "console = screen, com1\n"], ids=["by-default", "asked-for"])
def test_the_log_is_on_the_screen(boot, tmp_path, core):
    m, monitor = start(boot, tmp_path, core + HALT)
    m.expect("screen: 128 x 48 characters on 1024 x 768 pixels", timeout=90, source="core")
    m.expect("the last VM has ended", timeout=60, source="core")
    m.send("\x010cpus\r")
    lines = monitor.wait_for(r"> cpus\n.*\nbulkhead>$")
    # All that the serial line has said since the core began, where long lines go on in the next row.
    serial = m.text().replace("\r", "")
    rows = []
    for line in serial[serial.index("[    -.------] info  Bulkhead"):].split("\n"):
        rows += [line[i:i + 128].rstrip() for i in range(0, max(len(line), 1), 128)]
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


def test_text_mode(boot, tmp_path):
    """What GRUB leaves for multiboot 1, whose header asks for no graphics. Its font is not ours."""
    m, monitor = start(boot, tmp_path, HALT, protocol=1)
    m.expect("screen: 80 x 25 characters on 80 x 25 of VGA's text mode", timeout=90, source="core")
    m.expect("the last VM has ended", timeout=60, source="core")
    time.sleep(1)
    cells = re.findall(r"0x07([0-9a-f]{2})\b", monitor.ask("xp /2000hx 0xb8000"))
    screen = bytes.fromhex("".join(cells)).decode("ascii")
    assert len(screen) == 80 * 25
    assert "p| READY   " in screen and "the last VM has ended" in screen
