"""A machine's screen, as QEMU's monitor shows it: text is read back from the pixels by the core's font.

Each screen that a test has looked at is kept as build/screenshots/<test>.png, for people."""

import os
import re
import socket
import struct
import time
import zlib

from bulkhead import BUILD, ROOT
from console import SCALE, Failure

SCREENSHOTS = os.path.join(BUILD, "screenshots")
WIDTH, HEIGHT, BAND = 8, 16, 8
BLOCKS = {" ": 0, "\u2580": 1, "\u2584": 2, "\u2588": 3}  # bit 0: the upper half is filled
CURSOR = 2  # lines of a character that are empty, but where the cursor is
VGA_TEXT, VGA_COLUMNS, VGA_ROWS = 0xB8000, 80, 25

NAMES = {" ": "spc", "\n": "ret", "-": "minus", "=": "equal", ",": "comma", ".": "dot", "/": "slash", ";": "semicolon",
         "'": "apostrophe", "[": "bracket_left", "]": "bracket_right", "\\": "backslash", "`": "grave_accent"}
SHIFTED = dict(zip('~!@#$%^&*()_+{}|:"<>?', "`1234567890-=[]\\;',./"))


def key_of(c):
    """The name that QEMU has for what types `c` on a US keyboard."""
    if c in SHIFTED or c.isupper():
        return "shift-" + key_of(SHIFTED.get(c, c.lower()))
    return NAMES.get(c, c)


def font():
    """The glyphs, as rows of ink, of the same drawing that the core's table is made of. Without the
    lowest lines, where a cursor may be."""
    glyphs, rows = {}, []
    with open(os.path.join(ROOT, "tools", "build", "font.txt"), encoding="ascii") as drawing:
        for line in drawing:
            if line[0] in ".#":
                rows.append(line.split())
    for band in range(0, len(rows), 12):
        for i in range(len(rows[band])):
            blank = ["." * WIDTH] * 2
            glyph = blank + [row[i] for row in rows[band:band + 12]]
            glyphs["".join(glyph)] = chr(0x20 + band // 12 * BAND + i)
    for block, halves in BLOCKS.items():
        ink = [".#"[halves >> (y * 2 // HEIGHT) & 1] * WIDTH for y in range(HEIGHT - CURSOR)]
        glyphs.setdefault("".join(ink), block)
    return glyphs


def png(width, height, pixels):
    """The bytes of a PNG file (its specification, 5.3, 11.2) with these RGB pixels."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + pixels[y * width * 3:(y + 1) * width * 3] for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class Monitor:
    """QEMU's, to look at the screen of `card` and to press keys. `args` are for the machine."""

    def __init__(self, folder, card="VGA"):
        self.path = os.path.join(str(folder), "monitor")
        self.args = ["-chardev", "socket,id=mon,path=%s,server=on,wait=off" % self.path,
                     "-mon", "chardev=mon,mode=readline", "-device", card]
        self.image = os.path.join(str(folder), "screen.ppm")
        test = os.environ.get("PYTEST_CURRENT_TEST", "screen").split("::")[-1].split(" ")[0]
        self.kept = os.path.join(SCREENSHOTS, re.sub(r"[^\w.-]+", "_", test).strip("_") + ".png")

    def connect(self, line):
        """QEMU may have only just begun."""
        end = time.time() + 10 * SCALE
        while True:
            try:
                return line.connect(self.path)
            except (FileNotFoundError, ConnectionRefusedError):
                if time.time() > end:
                    raise
                time.sleep(0.1)

    def ask(self, command):
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(20 * SCALE)
            self.connect(line)
            line.sendall(command.encode() + b"\n")
            seen = b""
            while seen.count(b"(qemu)") < 2:  # the prompt, and the one behind the answer
                data = line.recv(4096)
                if not data:
                    raise Failure("QEMU has ended: %s" % command)
                seen += data
        return seen.decode("latin1")

    def type(self, text):
        """Presses the machine's keys. In `text`, "<up>" is a key's name in QEMU (sendkey)."""
        for part in re.findall(r"<[^>]+>|.", text, re.S):
            self.ask("sendkey %s 20" % (part[1:-1] if len(part) > 1 else key_of(part)))

    def dump(self):
        """(width, height, pixels as bytes of RGB), which is kept as a picture, too."""
        self.ask("screendump " + self.image)
        with open(self.image, "rb") as dump:
            kind, size, depth, pixels = dump.read().split(b"\n", 3)
        assert (kind, depth) == (b"P6", b"255")
        width, height = (int(n) for n in size.split())
        os.makedirs(SCREENSHOTS, exist_ok=True)
        with open(self.kept, "wb") as out:
            out.write(png(width, height, pixels))
        return width, height, pixels

    def text(self):
        """The screen's lines; None when it shows something that the font has not."""
        width, height, pixels = self.dump()
        glyphs, lines = font(), []
        ink = ["".join(".#"[pixel > 64] for pixel in pixels[y * width * 3:(y + 1) * width * 3:3])
               for y in range(height)]
        for y in range(0, height - HEIGHT + 1, HEIGHT):
            lines.append("".join(glyphs.get("".join(ink[y + i][x:x + WIDTH] for i in range(HEIGHT - CURSOR)), "\0")
                                 for x in range(0, width - WIDTH + 1, WIDTH)).rstrip())
        return None if any("\0" in line for line in lines) else lines

    def vga_rows(self):
        """The lines of VGA's text mode, whose font is the card's."""
        self.dump()
        cells = re.findall(r"0x[0-9a-f]{2}([0-9a-f]{2})\b",
                           self.ask("xp /%dhx 0x%x" % (VGA_COLUMNS * VGA_ROWS, VGA_TEXT)))
        screen = bytes.fromhex("".join(cells[-VGA_COLUMNS * VGA_ROWS:])).decode("cp437")
        assert len(screen) == VGA_COLUMNS * VGA_ROWS
        return [screen[i:i + VGA_COLUMNS].rstrip() for i in range(0, len(screen), VGA_COLUMNS)]

    def wait_for(self, pattern, seconds=20, read=None):
        """The lines, once they match and all is drawn; `read` gets them, or else text()."""
        lines, end = None, time.time() + seconds * SCALE
        while time.time() < end:
            before, lines = lines, (read or self.text)()
            if lines and lines == before and re.search(pattern, "\n".join(lines).rstrip()):
                return lines
            time.sleep(0.3)
        raise Failure("%s is not on the screen (%s):\n%s"
                      % (pattern, self.kept, "\n".join(lines or ["(no text in the core's font)"])))

    def wait_for_rows(self, rows, seconds=20):
        """Until the screen shows these rows, and nothing below them."""
        end = time.time() + seconds * SCALE
        wanted, seen = "\n".join(rows).rstrip().split("\n"), None
        while seen != wanted and time.time() < end:
            time.sleep(0.3)
            seen = "\n".join(self.text() or []).rstrip().split("\n")
        assert seen == wanted


def on_screen(serial, columns):
    """Rows of a screen with what the serial line has said since the core began: long lines go on in the
    next row."""
    rows = []
    serial = serial.replace("\r", "")
    for line in serial[serial.index("[    -.------] info  Bulkhead"):].split("\n"):
        rows += [line[i:i + columns].rstrip() for i in range(0, max(len(line), 1), columns)]
    return rows
