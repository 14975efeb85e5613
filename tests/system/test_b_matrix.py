"""Every way that a PC boots: media, firmware, chipset, with and without a serial line and a screen."""

import os
import re

import pytest

from bulkhead import GUESTS, config, make_image, make_iso, make_uefi_disk, uefi_firmware, vm
from screen import Monitor, on_screen
from test_b_images import USB_SIZE, contents

HALT = "log = info\nwhen-done = halt\n"
CONF = config(vm("p", "power.img", cmdline="off after=100", memory="16M"), core=HALT)
FIRST = r"^\[    -\.------\] info  Bulkhead .*, booted by (multiboot 2|the UEFI loader), 2 modules$"
LAST = r"^\[ *\d+\.\d+\] info  the last VM has ended: waiting in the monitor"
READY = r"^p\| READY$"
LINE = re.compile(r"\[ *[\d-]+\.[\d-]{6}\] info  |p\| |$")
MEMORY = {"bios": 256, "uefi": 512}
COLUMNS = {"bios": 128, "uefi": 160}  # of the mode that GRUB sets, and of OVMF's own
USB_KEYBOARD = ["-device", "qemu-xhci", "-device", "usb-kbd"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """As `make image` makes them, with a small guest; the menu waits for nobody."""
    folder = tmp_path_factory.mktemp("matrix")
    files = contents(folder, CONF)
    return {kind: make_image(kind, folder / ("image." + kind), files, "--timeout=0", "--graphics", USB_SIZE)
            for kind in ("iso", "usb")}


def start(boot, tmp_path, images, medium, firmware="bios", extra=(), **options):
    drive = {"iso-cd": {"iso": images["iso"]}, "usb-stick": {"disk": images["usb"]}}[medium]
    more = uefi_firmware(tmp_path) if firmware == "uefi" else []
    return boot(CONF, memory=MEMORY[firmware], extra=[*more, *extra], **drive, **options)


def check_log(lines, columns):
    """All of a boot without a warning, whole and in order. Long lines go on in the next row."""
    whole = []
    for before, row in zip([""] + lines, lines):
        if len(before) == columns and not LINE.match(row):
            whole[-1] += row
        else:
            whole.append(row)
    assert re.match(FIRST, whole[0])
    assert [line for line in whole if not LINE.match(line)] == []
    ready, last = ([i for i, line in enumerate(whole) if re.match(pattern, line)] for pattern in (READY, LAST))
    assert len(ready) == len(last) == 1 and ready < last


@pytest.mark.parametrize("machine", ["pc", "q35"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
@pytest.mark.parametrize("medium", ["iso-cd", "usb-stick"])
class TestBoots:
    def test_serial_only(self, boot, tmp_path, images, medium, firmware, machine):
        m = start(boot, tmp_path, images, medium, firmware, machine=machine)
        m.expect(LAST, timeout=40, source="core")
        check_log([line.rstrip() for line in on_screen(m.text(), 1000)], 1000)
        assert not re.search("(?i)warning|error|press any key", m.text())

    def test_screen_only(self, boot, tmp_path, images, medium, firmware, machine):
        monitor = Monitor(tmp_path)
        start(boot, tmp_path, images, medium, firmware, machine=machine, serial=(), extra=monitor.args)
        lines = monitor.wait_for("(?m)" + LAST, 40)
        check_log(lines, COLUMNS[firmware])

    def test_both(self, boot, tmp_path, images, medium, firmware, machine):
        monitor = Monitor(tmp_path)
        m = start(boot, tmp_path, images, medium, firmware, machine=machine, extra=monitor.args)
        m.expect(LAST, timeout=40, source="core")
        monitor.wait_for_rows(on_screen(m.text(), COLUMNS[firmware]))


@pytest.mark.parametrize("firmware, card, columns, rows", [
    ("uefi", "virtio-vga", 160, 50), ("uefi", "bochs-display", 160, 50), ("uefi", "ramfb", 100, 37),
    ("uefi", "VGA,xres=640,yres=480", 80, 30), ("bios", "cirrus-vga", 128, 48)])
def test_cards(boot, tmp_path, firmware, card, columns, rows):
    """Framebuffers elsewhere, in memory, of other sizes and pixels."""
    monitor = Monitor(tmp_path, card)
    made = {"uefi": make_uefi_disk(tmp_path, CONF)} if firmware == "uefi" else \
        {"iso": make_iso(tmp_path, CONF, graphics=True)}
    m = boot(CONF, memory=MEMORY[firmware], extra=monitor.args, **made)
    m.expect("screen: %d x %d characters" % (columns, rows), timeout=40, source="core")
    m.expect(LAST, source="core")
    monitor.wait_for_rows(on_screen(m.text(), columns))


def test_card_without_a_framebuffer(boot, tmp_path):
    """One that only firmware can draw on: it says so there, and nothing else is different."""
    monitor = Monitor(tmp_path, "virtio-gpu-pci")
    m = boot(CONF, uefi=make_uefi_disk(tmp_path, CONF), memory=MEMORY["uefi"], extra=monitor.args)
    m.expect("^bulkhead: found no screen with memory to draw in", timeout=40)
    m.expect(LAST, source="core")
    check_log([line.rstrip() for line in on_screen(m.text(), 1000)], 1000)
    assert "info  screen:" not in m.text()


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_errors_are_on_the_screen(boot, tmp_path, firmware):
    """Without a serial line, and before the core has page tables of its own."""
    conf = CONF.replace("log = info", "log = loud")
    monitor = Monitor(tmp_path)
    made = {"iso": make_iso(tmp_path, conf, graphics=True)} if firmware == "bios" else \
        {"uefi": make_uefi_disk(tmp_path, conf)}
    boot(conf, serial=(), memory=MEMORY[firmware], extra=monitor.args, **made)
    lines = monitor.wait_for("boot stops: bulkhead.conf has errors", 40)
    assert any(re.search(r'bulkhead.conf:2: log: found "loud", expected ', line) for line in lines)


@pytest.mark.parametrize("keyboard", [[], USB_KEYBOARD], ids=["ps2", "usb"])
def test_menu_and_check_on_a_screen(boot, tmp_path, keyboard):
    """GRUB's menu takes keys, and the page on the hardware is one page."""
    memtest = os.path.join(GUESTS, "memtest", "memtest86+x64.bin")
    iso = make_image("iso", tmp_path / "menu.iso", contents(tmp_path, CONF) + ["boot/memtest.bin=" + memtest],
                     "--timeout=60", "--graphics")
    monitor = Monitor(tmp_path)
    boot(CONF, iso=iso, serial=(), memory=MEMORY["bios"], extra=monitor.args + keyboard)
    menu = monitor.wait_for(r"in \d+s", 40, monitor.vga_rows)
    for key in "bvshm":
        assert any(line.strip(" *\u2502").endswith("(key %s)" % key) for line in menu)
    os.replace(monitor.kept, monitor.kept.replace(".png", "_menu.png"))
    monitor.type("h\n")
    lines = monitor.wait_for("check: end: no VM is started", 40)
    assert re.match(FIRST, lines[0])  # nothing has scrolled away
    page = [line for line in lines if "info  check: " in line]
    assert max(len(line) for line in page) < COLUMNS["bios"]
    for what in ("processor: AMD EPYC", "virtualization: yes", "IOMMU: ", "screen: graphics, 1024x768",
                 "serial port: none"):
        assert any("info  check: " + what in line for line in page)


def test_first_mile(boot, tmp_path):
    """The screen costs little of the 50 ms: one is made blank and a boot's log drawn on it (virtual time)."""
    m = boot(CONF, iso=make_iso(tmp_path, CONF, graphics=True), memory=4096, icount=True, extra=Monitor(tmp_path).args)
    m.expect("screen: 128 x 48", timeout=90, source="core")
    started = float(m.expect(r"^\[ *([\d.]+)\] info  p: started", source="core").group(1))
    print("started after %.1f ms" % (1000 * started))
    assert started < 0.025
