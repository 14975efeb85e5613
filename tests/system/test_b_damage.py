"""Media that are damaged, full or taken out: what the UEFI loader, GRUB and the core say, and whether the
report of the word `check` comes onto the stick."""

import os
import re
import shutil

import pytest

from bulkhead import CORE, UEFI_LOADER, config, find_module, make_image, make_uefi_disk, module_files, uefi_firmware, vm
from media import qmp_of, run

SMALL = config(vm("p", "power.img", cmdline="off after=100", memory="16M"))
KEY = "^Press a key to return to the firmware"
CHECK = "menu=0 check"
REPORT = "bulkhead-check.txt"
FILES_AT = 1 << 20  # where the file system of the usb image begins
SECTOR = 512


def saved(files):
    """The report on that file system, whose files are as they should be."""
    run("fsck.fat", "-n", files)
    text = run("mtype", "-i", files, "::/" + REPORT)
    assert all(line.endswith("\r") for line in text.split("\n")[:-1]), text
    return text.replace("\r", "")


def not_saved(boot, image, why, **options):
    m = boot(SMALL, memory=512, **options)
    message = r"bulkhead-check\.txt: found %s, expected to write \d+: not saved$" % why
    m.expect("^bulkhead: " + message, timeout=60)
    m.expect("check: file: " + message, source="core")
    m.expect("check: end: no VM is started", source="core")
    m.close()
    run("fsck.fat", "-n", image)
    return run("mdir", "-b", "-i", image, "::/")


def test_report_is_saved(boot, tmp_path):
    """The page on the medium says what the core's says, but for what only one of them knows."""
    disk = make_uefi_disk(tmp_path, SMALL, cmdline=CHECK, modules=[])
    old = tmp_path / "old.txt"
    old.write_text("an older report\n" * 1000)
    run("mcopy", "-i", disk, old, "::/" + REPORT)
    m = boot(SMALL, uefi=disk, memory=512, cpus=2, machine="q35,kernel-irqchip=split",
             extra=["-device", "intel-iommu,intremap=on", "-rtc", "base=2031-02-03T04:05:06"])
    m.expect(r"^bulkhead: saved as bulkhead-check\.txt beside bulkhead\.conf, \d+ bytes$", timeout=60,
             forbid="loading bulkhead.conf")
    m.expect("check: file: saved as", source="core")
    m.expect("check: end: no VM is started", source="core")
    m.close()
    text = saved(disk)
    for line in ("^What this machine has, as Bulkhead [^ ]+'s loader for UEFI sees it$", "^time: 2031-02-03 04:05:[0-9]{2} ",
                 "^machine: QEMU Standard PC", r"^firmware: EDK II, .*UEFI 2\.", "^processors: 2 that the firmware lists$"):
        assert re.search(line, text, re.M), text
    assert "older" not in text
    page = [re.sub(r"^\[.*\] info  check: ", "", line) for line in m.output_of("core") if "info  check: " in line]
    both = [line for line in page if line in text.split("\n")]
    assert [line.split(":")[0] for line in both] == ["processor", "virtualization", "IOMMU", "other clocks", "x2APIC", "screen",
                                                     "serial port"]
    mhz = [float(re.search(r"TSC: ([0-9.]+) MHz", lines).group(1)) for lines in (text, "\n".join(page))]
    assert mhz[0] == pytest.approx(mhz[1], rel=0.01)


def test_report_without_virtualization(boot, tmp_path):
    disk = make_uefi_disk(tmp_path, SMALL, cmdline=CHECK, modules=[])
    m = boot(SMALL, uefi=disk, memory=512, cpu="qemu64,-svm")
    m.expect("check: end: no VM is started", timeout=60, source="core")
    m.close()
    assert "\nvirtualization: NO: this processor has neither VT-x nor AMD-V\n" in saved(disk)


def test_report_on_a_usb_stick(boot, tmp_path):
    """The image as it is written, on a USB controller, by the menu's key."""
    image = make_image("usb", tmp_path / "stick.img", module_files(tmp_path, SMALL) + [
        "EFI/BOOT/BOOTX64.EFI=" + UEFI_LOADER, "bulkhead.elf=" + CORE[:-len("32")]], "--timeout=60", "--size=42")
    m = boot(SMALL, disk=image + ",snapshot=off", memory=512, extra=uefi_firmware(tmp_path))
    m.expect("it starts by itself", timeout=60, partial=True)
    m.send("h")
    m.expect("check: file: saved as", timeout=60, source="core")
    m.close()
    files = tmp_path / "files.fat"
    with open(image, "rb") as whole:
        whole.seek(FILES_AT)
        files.write_bytes(whole.read()[:-FILES_AT])
    assert "\nvirtualization: yes" in saved(files)


def test_report_on_a_full_disk(boot, tmp_path):
    disk = make_uefi_disk(tmp_path, SMALL, cmdline=CHECK, modules=[])
    free = int("".join(re.findall(r"\d+", run("mdir", "-i", disk, "::/").splitlines()[-2])))
    with open(tmp_path / "fill", "wb") as out:
        out.truncate(free)
    run("mcopy", "-i", disk, tmp_path / "fill", "::/EFI/")
    assert REPORT not in not_saved(boot, disk, '"Volume Full" after 0 bytes', uefi=disk)


def test_report_on_a_medium_that_cannot_be_written(boot, tmp_path):
    disk = make_uefi_disk(tmp_path, SMALL, cmdline=CHECK, modules=[])
    read_only = {"disk": disk + ",snapshot=off,readonly=on", "extra": uefi_firmware(tmp_path)}
    assert REPORT not in not_saved(boot, disk, '"Write Protected" after 0 bytes', **read_only)


def test_report_where_a_folder_has_its_name(boot, tmp_path):
    disk = make_uefi_disk(tmp_path, SMALL, cmdline=CHECK, modules=[])
    run("mmd", "-i", disk, "::/" + REPORT)
    assert REPORT in not_saved(boot, disk, "a folder of that name", uefi=disk)


CONFIGS = {
    "empty": (b"", "error bulkhead.conf:1: file: found no VM, expected at least one"),
    "zero-byte": (SMALL.replace("memory", "mem\0ory").encode(), "error bulkhead.conf:[0-9]+: line: found byte 0x00, expected"),
    "binary": (bytes(range(256)) * 8, "error bulkhead.conf:1: line: found byte 0x00, expected printable text"),
    "cut": (SMALL[:SMALL.index("memory")].encode(), r"error bulkhead.conf:[0-9]+: memory: found nothing in \[vm p\], expected"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_damaged_configuration(boot, tmp_path, name):
    text, message = CONFIGS[name]
    disk = make_uefi_disk(tmp_path, SMALL)
    (tmp_path / "bulkhead.conf").write_bytes(text)
    run("mcopy", "-o", "-i", disk, tmp_path / "bulkhead.conf", "::/")
    m = boot(SMALL, uefi=disk, memory=512)
    m.expect(message, timeout=60, source="core")
    m.expect("boot stops: bulkhead.conf has errors; no VM was started", source="core")
    assert "READY" not in m.text()


def test_configuration_that_is_a_folder(boot, tmp_path):
    disk = make_uefi_disk(tmp_path, None, modules=[])
    run("mmd", "-i", disk, "::/bulkhead.conf")
    m = boot(SMALL, uefi=disk, memory=512)
    m.expect("^bulkhead: refused: bulkhead.conf: found a folder, expected a file", timeout=60)
    m.expect(KEY)
    m.quiet_for(1)


def test_empty_module(boot, tmp_path):
    kernel = tmp_path / "empty.img"
    kernel.write_bytes(b"")
    conf = SMALL.replace("power.img", "empty.img")
    m = boot(conf, uefi=make_uefi_disk(tmp_path, conf, modules=[kernel]), memory=512)
    m.expect('vm p: kernel "empty.img": found no known signature in its 0 bytes', timeout=60, source="core")


def disk_with_big_module(tmp_path, cmdline=None):
    """And the image's offset of the module's middle."""
    mark = b"the middle".ljust(SECTOR, b".")
    big = tmp_path / "big.bin"
    big.write_bytes(b"\xa5" * (20 << 20) + mark + b"\x5a" * (4 << 20))
    conf = SMALL + "module = big.bin\n"
    disk = make_uefi_disk(tmp_path, conf, modules=[big, find_module("power.img")], cmdline=cmdline)
    with open(disk, "rb") as image:
        offset = image.read().find(mark)
    assert offset > 0 and offset % SECTOR == 0
    return conf, disk, offset, big.stat().st_size


def test_memory_check_that_cannot_be_started(boot, tmp_path):
    """Back in the menu, whose clock stands still."""
    disk = make_uefi_disk(tmp_path, SMALL, cmdline="menu=2")
    (tmp_path / "memtest.efi").write_text("no program\n")
    run("mcopy", "-i", disk, tmp_path / "memtest.efi", "::/EFI/BOOT/")
    m = boot(SMALL, uefi=disk, memory=512)
    m.expect("^  m  Memory check", timeout=60)
    m.send("m")
    m.expect(r'^bulkhead: refused: EFI\\BOOT\\memtest\.efi: found "[A-Z].*", expected a program that firmware starts$')
    m.expect("^A key of the list, or Enter for the first$")
    m.quiet_for(3)
    m.send("\r")
    m.expect("^READY", timeout=60, source="p")


@pytest.mark.parametrize("kind", ["usb", "ide", "ahci"])
def test_unreadable_sector(boot, tmp_path, kind):
    conf, disk, offset, size = disk_with_big_module(tmp_path)
    rules = tmp_path / "rules"
    rules.write_text('[inject-error]\nevent = "read_aio"\nerrno = "5"\nonce = "off"\nsector = "%d"\n' % (offset // SECTOR))
    bad = "blkdebug:%s:%s" % (rules, disk)
    m = boot(conf, memory=512, **{"usb": {"disk": bad, "extra": uefi_firmware(tmp_path)}, "ide": {"uefi": bad, "machine": "pc"},
                                  "ahci": {"uefi": bad}}[kind])
    m.expect(r'^bulkhead: refused: big\.bin: found "Device Error" at byte \d+, expected %d bytes; is the medium '
             "damaged, or was it taken out" % size, timeout=60, forbid="starting the core")
    m.expect(KEY)


def take_out(path):
    """The stick; `path` is the socket of QEMU's monitor."""
    with qmp_of(path) as qmp:
        qmp("device_del", id="usbstick")


@pytest.mark.parametrize("when", ["in-the-menu", "while-reading"])
def test_stick_taken_out(boot, tmp_path, when):
    """Firmware tries again for some time; it may still know a small file by heart."""
    conf, disk, _, size = disk_with_big_module(tmp_path, "menu=60" if when == "in-the-menu" else None)
    path = str(tmp_path / "qmp")
    m = boot(conf, memory=512, disk=disk + ",throttling.bps-read=4000000",
             extra=uefi_firmware(tmp_path) + ["-qmp", "unix:%s,server,nowait" % path])
    if when == "in-the-menu":
        m.expect("it starts by itself", timeout=60, partial=True)
        take_out(path)
        m.send("b")
        message = r'(bulkhead\.conf|power\.img): found "[A-Z][A-Za-z ]+"( at byte \d+)?, expected '
    else:
        m.expect("^bulkhead: loading big.bin", timeout=60)
        take_out(path)
        message = r'big\.bin: found "[A-Z][A-Za-z ]+" at byte \d+, expected %d bytes; is the medium' % size
    m.expect("^bulkhead: refused: " + message, timeout=120, forbid="starting the core")
    m.expect(KEY)


STICKS = {
    "no-kernel": (None, "power.img", 'bulkhead.conf:[0-9]+: kernel: found "power.img", expected one of the boot modules: '),
    "no-configuration": (None, "bulkhead.conf", "found no boot module called bulkhead.conf, expected one beside"),
    "no-core": (None, "boot/bulkhead.elf32", "^error: file .*/boot/bulkhead.elf32. not found"),
    "half-core": (100000, "boot/bulkhead.elf32", "^error: premature end of file /boot/bulkhead.elf32"),
    "last-byte": (-1, "boot/bulkhead.elf32", "^error: premature end of file /boot/bulkhead.elf32"),
}


@pytest.mark.parametrize("name", STICKS)
def test_damaged_stick_by_bios(boot, tmp_path, name):
    """GRUB's messages, and the core's on what GRUB passes over in silence."""
    keep, place, message = STICKS[name]
    stick = make_image("usb", tmp_path / "stick.img", module_files(tmp_path, SMALL), "--timeout=0", "--size=42")
    files = "%s@@%d" % (stick, FILES_AT)
    run("mdel", "-i", files, "::/" + place)
    if keep is not None:
        cut = tmp_path / "cut"
        shutil.copy(CORE, cut)
        os.truncate(cut, keep % os.path.getsize(CORE))
        run("mcopy", "-i", files, cut, "::/" + place)
    m = boot(SMALL, memory=256, disk=stick)
    m.expect(message, timeout=60, source="core", forbid="READY")
    m.expect("boot stops: .*no VM was started|Press any key to continue", source="core", partial=True)
