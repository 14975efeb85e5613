"""The UEFI loader, in OVMF: what it loads, and what it says when something is wrong."""

import os
import re
import subprocess

import pytest

from bulkhead import CORE_ELF, config, find_module, make_uefi_disk, vm
from media import qmp_of

SMALL = config(vm("p", "power.img", cmdline="off after=100", memory="16M"))
ECAM, BUS_MASTER = 0xB0000000, 4  # OVMF's choice on q35; a bit of PCI's command register
KEY = "^Press a key to return to the firmware"


def start(boot, tmp_path, conf=SMALL, memory=512, machine="q35", extra=(), **files):
    return boot(conf, uefi=make_uefi_disk(tmp_path, conf, **files), memory=memory, machine=machine, extra=extra)


def test_boots_a_guest(boot, tmp_path):
    m = start(boot, tmp_path)
    size = os.path.getsize(find_module("power.img"))
    m.expect("^bulkhead: loading bulkhead.conf, %d bytes$" % len(SMALL), timeout=60)
    m.expect("^bulkhead: loading power.img, %d bytes$" % size)
    m.expect("^bulkhead: loading bulkhead.elf, %d bytes$" % os.path.getsize(CORE_ELF))
    m.expect("booted by the UEFI loader, 2 modules$", source="core", forbid="refused")
    m.expect(r"acpi: \d+ tables", source="core")
    m.expect("^READY", source="p")
    assert m.wait_exit() == 0


def test_module_above_4_gib_and_command_line(boot, tmp_path):
    """One that is read in several pieces; it comes to its VM as it was. A screen changes nothing."""
    big = tmp_path / "big.bin"
    big.write_bytes(bytes(range(256)) * 4096 * 50 + bytes(1 << 20) + b"\1" * 12345)
    conf = config(vm("m", "mbinfo.img", memory="96M") + "module = big.bin\n")
    m = start(boot, tmp_path, conf=conf, modules=[big, find_module("mbinfo.img")], memory=1024,
              machine="q35,max-ram-below-4g=128M", cmdline="log=debug\r\nlog=error\n", extra=["-device", "VGA"])
    size = big.stat().st_size
    found = m.expect(r"debug module: big\.bin, %d bytes at 0x([0-9a-f]+)$" % size, timeout=60, source="core")
    assert int(found.group(1), 16) >= 4 << 30
    m.expect("^module \"big.bin\" at [0-9a-f]+ size %08x sum %08x$" % (size, sum(big.read_bytes()) & 0xFFFFFFFF),
             timeout=60, source="m")
    assert m.wait_exit() == 0


def read_physical(qmp, address):
    """A 16-bit word of the machine's memory, by QEMU's monitor."""
    return int(qmp("human-monitor-command", **{"command-line": "xp /1hx 0x%x" % address}).split()[1], 16)


def test_devices_write_no_memory(boot, tmp_path):
    """Bus masters are off when the core has started: the disk's, which was read from, and a USB
    controller's, which its driver sets back when firmware ends; not a screen's."""
    path = str(tmp_path / "qmp")
    m = start(boot, tmp_path, conf=config(vm("p", "sleeper.img", memory="16M")),
              extra=["-device", "VGA", "-device", "qemu-xhci", "-qmp", "unix:%s,server,nowait" % path])
    m.expect("p: started", timeout=60, source="core")
    with qmp_of(path) as qmp:
        for device, function, is_on in ((0x1F, 2, False), (1, 0, True), (2, 0, False)):
            command = read_physical(qmp, ECAM + (device << 15) + (function << 12) + 4)
            assert bool(command & BUS_MASTER) == is_on, "device %x.%x" % (device, function)


def cut(keep):
    """The core's first `keep` bytes; less than none: all but so many."""
    return lambda whole: whole[:keep]


def patch(offset, data):
    return lambda whole: whole[:offset] + data + whole[offset + len(data):]


CORES = {
    "empty": (cut(0), "the file is cut: its bytes: found 0 .*, expected at least 64 "),
    "half": (cut(100000), "the file is cut: its bytes: found 100000 .*, expected at least [0-9]{6}"),
    "last-byte": (cut(-1), "the file is cut: its bytes: found ([0-9]+) .*, expected at least ([0-9]+) "),
    "text": (lambda _: b"kernel = x\n" * 20, r"ELF's magic number\): found .*, expected 1179403647 "),
    "other-info": (patch(0x1004, b"\1\2"), "struct boot_info .*: found .*, expected "),
}


@pytest.mark.parametrize("name", CORES)
def test_damaged_core(boot, tmp_path, name):
    damage, message = CORES[name]
    core = tmp_path / "damaged.elf"
    with open(CORE_ELF, "rb") as good:
        core.write_bytes(damage(good.read()))
    m = start(boot, tmp_path, core=str(core))
    m.expect("^bulkhead: refused: bulkhead.elf: .*" + message, timeout=60, forbid="starting the core")
    m.expect(KEY)


def test_missing_files(boot, tmp_path):
    """Each message names the file; a key leads back to the firmware."""
    def refusal(m, name):
        m.expect('^bulkhead: refused: %s: found "Not Found", expected a file of that name' % re.escape(name),
                 timeout=60, forbid="starting the core")
        m.expect(KEY)
        m.quiet_for(1)
        m.send("x")
        m.expect("BdsDxe: failed to (load|start)|EFI Shell|Not Found")
        m.close()

    refusal(start(boot, tmp_path, conf=None, modules=[find_module("power.img")]), "bulkhead.conf")
    refusal(start(boot, tmp_path, modules=[]), "power.img")
    refusal(start(boot, tmp_path, core=None), "bulkhead.elf")


def test_more_files_than_a_core_takes(boot, tmp_path):
    keys = "".join("module = m%d\n" % i for i in range(31))
    m = start(boot, tmp_path, conf=SMALL + keys, modules=[])
    m.expect("^bulkhead: refused: bulkhead.conf: found more than 31 files", timeout=60)
    m.expect(KEY)


def test_file_that_does_not_fit_into_memory(boot, tmp_path):
    big = tmp_path / "big.bin"
    with open(big, "wb") as out:
        out.truncate(600 << 20)
    m = start(boot, tmp_path, conf=SMALL + "module = big.bin\n", modules=[big, find_module("power.img")])
    m.expect("^bulkhead: refused: big.bin: found no memory for it in one piece, expected 629145600 bytes",
             timeout=60)
    m.expect(KEY)


def test_module_of_more_than_a_gib(boot, tmp_path):
    """All of it is in memory when its VM could start: the core says where, QEMU's monitor what is there."""
    size, end = (1 << 30) + (100 << 20) + 4710, b"it ends here"
    big, path = tmp_path / "big.bin", str(tmp_path / "qmp")
    with open(big, "wb") as out:
        out.truncate(size)
        out.seek(size - len(end))
        out.write(end)
    conf = SMALL.replace("[vm p]", "[vm p]\nmodule = big.bin\nautostart = no")
    m = start(boot, tmp_path, conf=conf, modules=[big, find_module("power.img")], memory=2048, cmdline="log=debug",
              extra=["-qmp", "unix:%s,server,nowait" % path])
    big.unlink()
    found = m.expect(r"debug module: big\.bin, %d bytes at 0x([0-9a-f]+)$" % size, timeout=120, source="core")
    (tmp_path / "uefi.img").unlink()
    with qmp_of(path) as qmp:
        last = int(found.group(1), 16) + size - len(end)
        words = [read_physical(qmp, last + i) for i in range(0, len(end), 2)]
    assert b"".join(word.to_bytes(2, "little") for word in words) == end


def test_menu_waits_for_nobody(boot, tmp_path):
    """Its time over, the first entry starts; a memory check that is not there is not offered."""
    m = start(boot, tmp_path, cmdline="log=debug menu=1 off=apicv\r\n")
    m.expect("^bulkhead: what to start", timeout=60)
    m.expect("debug module: power.img", timeout=60, source="core", forbid="Memory check|command line")
    m.expect("^READY", source="p")


@pytest.mark.parametrize("word", ["menu=soon", "menu=3601"])
def test_bad_menu_word(boot, tmp_path, word):
    m = start(boot, tmp_path, cmdline="log=debug " + word)
    m.expect('^bulkhead: refused: command line: found "%s", expected menu=SECONDS, 0 to 3600' % word, timeout=60)
    m.expect(KEY)


@pytest.mark.parametrize("text", ["\ufefflog=debug", "\r\n \r\n\tlog=debug\toff=apicv\r\n"], ids=["bom", "blanks"])
def test_command_line_of_an_editor(boot, tmp_path, text):
    m = start(boot, tmp_path, cmdline=text.replace("log", "menu=0 log"))
    m.expect("debug module: power.img", timeout=60, source="core", forbid="refused")
    m.expect("^READY", source="p")


def test_command_line_that_is_no_ascii(boot, tmp_path):
    """Half of it would mean something else."""
    m = start(boot, tmp_path, cmdline="log=debug \u201coff=all\u201d menu=0")
    m.expect("^bulkhead: refused: bulkhead.cmdline: found the byte 0xE2, expected words in ASCII", timeout=60)
    m.expect(KEY)


def test_options_of_a_shell(boot, tmp_path):
    """What somebody has chosen there asks for no menu, and goes before bulkhead.cmdline."""
    disk = make_uefi_disk(tmp_path, SMALL, cmdline="log=error menu=60")
    (tmp_path / "startup.nsh").write_text("fs0:\\loader.efi log=debug\r\n")
    for command in (["mmove", "-i", disk, "::/EFI/BOOT/BOOTX64.EFI", "::/loader.efi"],
                    ["mcopy", "-i", disk, str(tmp_path / "startup.nsh"), "::/"]):
        subprocess.run(command, check=True)
    m = boot(SMALL, uefi=disk, memory=512)
    m.expect("debug module: power.img", timeout=90, source="core", forbid="what to start")
    m.expect("^READY", source="p")
