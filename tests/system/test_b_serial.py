"""Serial ports other than COM1: what the firmware's tables name, PCI cards, several at once."""

import os
import re
import socket
import struct
import threading

import pytest

from bulkhead import config, make_uefi_disk, vm

HALT = "when-done = halt\n"
SMALL = vm("p", "power.img", cmdline="off after=100", memory="16M")
FIRST_LINE = r"^\[    -\.------\] info  Bulkhead .*, booted by"
PCI_ALONE = ("-serial", "none", "-device", "pci-serial,chardev=con,addr=3")
COM2_ALONE = ("-serial", "null", "-serial", "chardev:con")


def works(m, *lines, timeout=60):
    """The console is complete from its first line, has `lines`, and takes keys."""
    m.expect(FIRST_LINE, timeout=timeout, source="core")
    for line in lines:
        m.expect(line, source="core")
    m.expect("^READY", source="p")
    m.expect("the last VM has ended", source="core")
    m.send("\x010cpus\r")
    m.expect("^bulkhead> cpus", source="core")
    m.expect("^bulkhead> $", source="core", partial=True)


def acpi_table(folder, signature, body, revision):
    """A file for QEMU's -acpitable, which puts the length and the checksum in."""
    path = os.path.join(str(folder), signature)
    with open(path, "wb") as out:
        out.write(struct.pack("<4sIBB6s8sI4sI", signature.encode(), 36 + len(body), revision, 0, b"BHTEST",
                              b"SERIAL  ", 1, b"BHTS", 1) + body)
    return ["-acpitable", "file=" + path]


def gas(port):
    """An I/O port of 8 bits as a generic address (ACPI 6.5, 5.2.3.2)."""
    return struct.pack("<BBBBQ", 1, 8, 0, 1, port)


def spcr(folder, port, baud=7):
    body = struct.pack("<B3x12sBBIBBBBBBHHBBBIBI", 0, gas(port), 1, 3, 3, baud, 0, 1, 3, 0, 0, 0xffff, 0xffff,
                       0, 0, 0, 0, 0, 0)
    return acpi_table(folder, "SPCR", body, 2)


def dbg2(folder, port):
    device = struct.pack("<BHBHHHHHHHHH", 0, 22 + 12 + 4 + 2, 1, 2, 38, 0, 0, 0x8000, 0, 0, 22, 34)
    return acpi_table(folder, "DBG2", struct.pack("<II", 44, 1) + device + gas(port) +
                      struct.pack("<I2s", 8, b".\0"), 0)


class Line:
    """A second serial line: a socket, without which QEMU does not begin."""

    def __init__(self, folder):
        self.path = os.path.join(str(folder), "line")
        self.args = ["-chardev", "socket,id=second,path=%s,server=on,wait=on" % self.path]
        self.line = socket.socket(socket.AF_UNIX)
        self.seen = b""

    def connect(self):
        for _ in range(200):
            try:
                self.line.connect(self.path)
                break
            except OSError:
                threading.Event().wait(0.05)

    def begin(self):
        self.connect()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            try:
                data = self.line.recv(65536)
            except OSError:
                return
            if not data:
                return
            self.seen += data

    def text(self):
        return self.seen.decode("latin1").replace("\r", "")

    def wait_for(self, pattern, seconds=30):
        for _ in range(seconds * 10):
            if re.search(pattern, self.text(), re.M):
                return
            threading.Event().wait(0.1)
        pytest.fail("%s did not come: %s" % (pattern, self.text()))


@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_a_card_alone(boot, machine):
    """By default, and with all that was said before it was found."""
    m = boot(config(SMALL, core=HALT), memory=256, machine=machine, serial=PCI_ALONE)
    works(m, "console: the serial card pci:00:03.0")


@pytest.mark.parametrize("word", ["console = pci:00:03.0\n", "console = com3, pci:00:03.0, screen\n"])
def test_a_card_by_name(boot, word):
    m = boot(config(SMALL, core=word + HALT), memory=256, serial=PCI_ALONE)
    works(m, *["console: 0x3e8: found no 16550 UART at that port"] if "com3" in word else [])


def test_a_card_with_four_ports(boot):
    m = boot(config(SMALL, core="console = pci:00:03.0/3,57600\n" + HALT), memory=256,
             serial=("-serial", "null", "-chardev", "null,id=a", "-device",
                     "pci-serial-4x,chardev1=a,chardev3=con,addr=3"))
    works(m)


def test_a_card_behind_a_bridge(boot):
    m = boot(config(SMALL, core=HALT), memory=256, machine="pc",
             serial=("-serial", "none", "-device", "pci-bridge,id=b,chassis_nr=1,addr=4", "-device",
                     "pci-serial,chardev=con,bus=b,addr=5"))
    works(m, "console: the serial card pci:01:05.0")


def test_com1_and_a_card(boot, tmp_path):
    """The same on both, and keys from both."""
    line = Line(tmp_path)
    m = boot(config(SMALL, core="console = com1, pci:00:03.0\n" + HALT), memory=256,
             extra=line.args + ["-device", "pci-serial,chardev=second,addr=3"])
    line.begin()
    works(m, "no interrupt from the serial port: it is polled")
    line.wait_for("^bulkhead> cpus\n(.*\n)+bulkhead> $")
    serial = m.text().replace("\r", "")
    assert line.text() == serial[serial.index("[    -.------] info  Bulkhead"):]
    line.line.sendall(b"memory\r")
    m.expect("^bulkhead> memory", source="core")
    line.wait_for("^bulkhead> memory\n(.*\n)+bulkhead> $")


def test_com2_and_com1(boot, tmp_path):
    """Two interrupts."""
    line = Line(tmp_path)
    m = boot(config(SMALL, core="console = com2, com1\n" + HALT), memory=256, extra=line.args + ["-serial", "chardev:second"])
    line.begin()
    works(m)
    assert "polled" not in m.text()
    line.wait_for(r"^p\| READY")
    line.line.sendall(b"list\r")
    line.wait_for("^bulkhead> list\n(.*\n)+bulkhead> $")
    m.expect("^bulkhead> list", source="core")


def test_two_of_which_nobody_reads_the_second(boot, tmp_path):
    line = Line(tmp_path)
    m = boot(config(SMALL, core="console = com1, com2\n" + HALT), memory=256,
             extra=line.args + ["-serial", "chardev:second"])
    line.line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    line.connect()
    works(m)
    m.send("help\r" * 400)
    for _ in range(400):
        m.expect("^bulkhead> help", source="core")


@pytest.mark.parametrize("table", [spcr, dbg2])
def test_what_the_firmware_names(boot, tmp_path, table):
    m = boot(config(SMALL, core=HALT), memory=256, serial=COM2_ALONE, extra=table(tmp_path, 0x2f8))
    works(m, "console: the serial port at 0x2f8, which the %s table names" % table.__name__.upper())
    assert "polled" not in m.text()


def test_a_table_that_is_wrong(boot, tmp_path):
    m = boot(config(SMALL, core=HALT), memory=256, extra=spcr(tmp_path, 0x2e8))
    works(m, "warn  console: the serial port at 0x2e8, which the SPCR table names, does not answer")


def test_the_file_wins_over_the_table(boot, tmp_path):
    m = boot(config(SMALL, core="console = com1\n" + HALT), memory=256, extra=spcr(tmp_path, 0x2f8) +
             ["-serial", "null"])
    works(m)


@pytest.mark.parametrize("word,said", [
    ("com3", r"console: 0x3e8: found no 16550 UART at that port"),
    ("pci:00:1e.0", r"console: pci:00:1e\.0: found no serial card there"),
    ("pci:00:03.0/2", r"console: pci:00:03\.0/2: found a serial card with fewer ports"),
    ("mmio:0x4000000/4", r"console: 0x4000000 is not a device's address"),
    ("mmio:0xfeb00000/4", r"console: mmio:0xfeb00000/4: found no 16550 UART there"),
    ("mmio:0x8000000000000/4", r"found no way to map 4096 bytes of device registers at 0x8000000000000"),
])
def test_nothing_there(boot, word, said):
    m = boot(config(SMALL, core="console = %s\n" % word + HALT), memory=256,
             extra=["-device", "pci-serial,addr=3"])
    works(m, "error " + said, "error console: no port of the list works: using COM1")
    assert re.search(said, m.text())


@pytest.mark.parametrize("word", ["com1,com1", "com1,0x3fa", "mmio:0xfe000000/3", "pci:00:03.9", "screen,screen"])
def test_errors_reach_a_card(boot, word):
    """Also those that end the boot before the core has looked for one."""
    m = boot(config(SMALL, core="console = %s\n" % word), memory=256, serial=PCI_ALONE)
    m.expect(FIRST_LINE, timeout=60)
    m.expect(r'bulkhead.conf:2: console: found "%s", expected ' % re.escape(word))
    m.expect("boot stops: bulkhead.conf has errors; no VM was started")


def test_check(boot, tmp_path):
    m = boot(None, modules=[], cmdline="check", memory=256, extra=dbg2(tmp_path, 0x2f8) + [
        "-serial", "null", "-chardev", "null,id=a", "-chardev", "null,id=b", "-device",
        "pci-serial-2x,chardev1=a,chardev2=b,addr=3"], serial=("-serial", "null", "-serial", "chardev:con"))
    m.expect("check: serial port: COM1 at port 0x3f8: console = com1", timeout=60)
    m.expect("check: serial port: COM2 at port 0x2f8: console = com2")
    m.expect(r"check: serial port: the firmware's debug port \(DBG2 table\): console = 0x2f8")
    m.expect("check: serial port: PCI card 1b36:0003, port 1 of 2: console = pci:00:03.0$")
    m.expect("check: serial port: PCI card 1b36:0003, port 2 of 2: console = pci:00:03.0/2$")
    m.expect("check: end")


def test_a_card_and_uefi(boot, tmp_path):
    conf = config(SMALL, core=HALT)
    m = boot(conf, memory=512, serial=PCI_ALONE, uefi=make_uefi_disk(tmp_path, conf))
    works(m, "console: the serial card pci:00:03.0", timeout=120)
