"""The images that `make image` makes (tools/make_image.py): what is in them, and that they boot."""

import os
import re
import shutil
import subprocess
import time

import pytest

from bulkhead import BUILD, CORE, GUESTS, ROOT, config, find_module, make_image, uefi_firmware, vm
from machines import BOCHS_SVM, BOCHS_VMX, NO_APICV, on
from media import run

SMALL = config(vm("p", "power.img", cmdline="off after=100", memory="16M"))
ALL_ENDED = "the last VM has ended: powering off"
LOADER = os.path.join(BUILD, "BOOTX64.EFI")
MEMTEST = "boot/memtest.bin=" + os.path.join(GUESTS, "memtest", "memtest86+x64.bin")
USB_SIZE = "--size=42"
FILES_AT = 1 << 20  # where the file system of the usb image begins


def contents(folder, conf=SMALL, guests=("power.img",)):
    path = os.path.join(str(folder), "bulkhead.conf")
    with open(path, "w", encoding="ascii") as out:
        out.write(conf)
    uefi = ["EFI/BOOT/BOOTX64.EFI=" + LOADER, "bulkhead.elf=" + os.path.splitext(CORE)[0] + ".elf"]
    return [path] + [find_module(guest) for guest in guests] + uefi


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Both images with a small guest; the menu waits for nobody."""
    folder = tmp_path_factory.mktemp("images")
    files = contents(folder)
    return {kind: make_image(kind, folder / ("image." + kind), files, "--timeout=0", USB_SIZE)
            for kind in ("iso", "usb")}


def put_in(images, medium):
    """Options of `boot` for a machine with that medium in it."""
    return {"iso-cd": {"iso": images["iso"]}, "iso-stick": {"disk": images["iso"]},
            "usb-stick": {"disk": images["usb"]}}[medium]


def ready_and_off(machine, timeout=60):
    machine.expect("^READY", timeout=timeout, source="p")
    machine.expect(ALL_ENDED, source="core")
    assert machine.wait_exit() == 0


# The other media, and graphics: test_b_matrix.py.
@pytest.mark.parametrize("medium, machine", [("iso-stick", "pc")])
def test_bios(boot, images, medium, machine):
    m = boot(SMALL, machine=machine, memory=256, **put_in(images, medium))
    m.expect("(?i)booted by multiboot ?2, 2 modules", timeout=60, source="core")
    ready_and_off(m)


@on(BOCHS_SVM, BOCHS_VMX)
@pytest.mark.slow
def test_iso_in_bochs(boot, tmp_path, machine_name):
    """All that is in the ISO of `make image`, by another BIOS, as a CD: menu, core and, where it is quick enough, Linux.
    Without a graphics mode, at which Bochs's display `term` gives up."""
    conf, guests = SMALL, ("power.img", "vmlinuz", "guest.cpio.gz")
    if machine_name == BOCHS_VMX:
        conf = config(vm("linux", memory="128M",
                         cmdline="console=ttyS0 vmname=linux quiet cryptomgr.notests mitigations=off"))
    iso = make_image("iso", tmp_path / "full.iso", contents(tmp_path, conf, guests) + [MEMTEST], "--timeout=60",
                     "--cmdline=" + NO_APICV)
    m = boot(conf, iso=iso)
    m.expect("Memory check", timeout=60, partial=True)
    m.send("v\r")
    m.expect("(?i)booted by multiboot ?2, 4 modules", timeout=120, source="core")
    m.expect(r"module: vmlinuz, \d{7,} bytes", source="core")
    if machine_name == BOCHS_VMX:
        m.shell("linux", timeout=600)
        assert m.run("linux", "uname -s; hostname", timeout=120)[0] == ["Linux", "linux"]
    else:
        ready_and_off(m)


@pytest.mark.parametrize("medium, machine", [("iso-stick", "q35")])
def test_uefi(boot, images, tmp_path, medium, machine):
    m = boot(SMALL, machine=machine, memory=512, extra=uefi_firmware(tmp_path), **put_in(images, medium))
    m.expect("booted by .*UEFI.*, 2 modules", timeout=90, source="core")
    ready_and_off(m)


def test_edited_stick(boot, images, tmp_path):
    """What a person does: another configuration, another kernel beside it, and what systems leave there."""
    stick = shutil.copy(images["usb"], tmp_path / "stick.img")
    files = "%s@@%d" % (stick, FILES_AT)
    conf = config(vm("Mine", "My_Kernel-2.img", cmdline="checksum period=300", memory="16M"))
    (tmp_path / "bulkhead.conf").write_bytes(conf.replace("\n", "\r\n").encode())
    (tmp_path / "dots").write_bytes(b"Mac OS X" + bytes(4088))
    run("mcopy", "-o", "-i", files, tmp_path / "bulkhead.conf", "::/")
    run("mcopy", "-i", files, find_module("counter.img"), "::/My_Kernel-2.img")
    run("mdel", "-i", files, "::/power.img")
    run("mmd", "-i", files, "::/System Volume Information")
    run("mcopy", "-i", files, tmp_path / "dots", "::/System Volume Information/IndexerVolumeGuid")
    run("mcopy", "-i", files, tmp_path / "dots", "::/._bulkhead.conf")
    run("mcopy", "-i", files, tmp_path / "dots", "::/.DS_Store")
    run("mcopy", "-i", files, tmp_path / "dots", "::/read me.txt")
    m = boot(conf, memory=256, disk=stick)
    m.expect("booted by .*, 3 modules", timeout=60, source="core")
    m.expect("^checksum ok", source="Mine", forbid="FAIL")


MENU_KEYS = {"v": r"debug +module: power\.img", "s": "nested pages up to 2 MiB", "m": r"(?i)memtest86\+? v?6",
             "h": "check: end: no VM is started"}


def image_with_menu(folder, kind="iso", *options):
    memtest = os.path.join(GUESTS, "memtest", "memtest86+x64.")
    return make_image(kind, folder / "menu.img", contents(folder) + ["boot/memtest.bin=%sbin" % memtest,
                      "EFI/BOOT/memtest.efi=%sefi" % memtest], *options)


@pytest.mark.parametrize("firmware, key", [("bios", "v"), ("bios", "s"), ("bios", "m"), ("bios", "h"), ("uefi", "v"),
                                           ("uefi", "m")])
def test_menu(boot, tmp_path, firmware, key):
    extra = uefi_firmware(tmp_path) + ["-device", "VGA"] if firmware == "uefi" else []  # memtest.efi wants a screen
    m = boot(SMALL, memory=512, iso=image_with_menu(tmp_path, "iso", "--timeout=60"), extra=extra)
    m.expect("Memory check", timeout=60, partial=True)
    m.send(key + "\r" if firmware == "bios" else key)
    m.expect(MENU_KEYS[key], timeout=60, partial=True)
    if key in "vs":
        ready_and_off(m)


def test_both_menus_are_the_same(boot, tmp_path):
    """Entries, keys and words. What is no key only stops the clock."""
    image = image_with_menu(tmp_path, "usb", "--timeout=2", USB_SIZE)
    grub = run("mtype", "-i", "%s@@%d" % (image, FILES_AT), "::/boot/grub/grub.cfg")
    entries = [(key, title, (re.search("bulkhead.elf32 *(.*)", body) or [None, ""])[1]) for title, key, body in
               re.findall(r"^menuentry '(.*) \(key (.)\)' --hotkey=\2 {\n((?:    .*\n)*)", grub, re.M)]
    assert [key for key, _, _ in entries] == list("bvshm")
    m = boot(SMALL, memory=512, disk=image, extra=uefi_firmware(tmp_path))
    m.expect("^bulkhead: what to start", timeout=60)
    for key, title, words in entries:
        m.expect("^  %s  %s$" % (key, re.escape(title + (": " + words if words else ""))), timeout=1)
    m.expect("in 2 s it starts by itself", partial=True)
    m.send(" ")
    m.expect("^A key of the list, or Enter for the first$")
    m.quiet_for(3)
    assert "loading bulkhead.conf" not in m.text()
    m.send("S")
    m.expect("nested pages up to 2 MiB", timeout=60)
    ready_and_off(m)


@pytest.mark.parametrize("kind", ["iso", "usb"])
def test_same_input_same_bytes(tmp_path, monkeypatch, kind):
    made = []
    for name, zone, reverse in (("one", "UTC", False), ("two", "Asia/Tokyo", True)):
        folder = tmp_path / name
        folder.mkdir()
        time.sleep(2.1 * reverse)  # FAT counts in steps of 2 s
        # Copies: other inodes, other times, another order in the folder.
        files = [f if "=" in f else shutil.copy(f, folder / os.path.basename(f)) if
                 os.path.dirname(f) != str(folder) else f for f in contents(folder)]
        monkeypatch.setenv("TZ", zone)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        mask = os.umask(0o077 if reverse else 0o022)
        try:
            made.append(make_image(kind, folder / "out", files[::-1] if reverse else files, USB_SIZE))
        finally:
            os.umask(mask)
    assert subprocess.run(["cmp", *made], check=False).returncode == 0


def test_stick_is_sound(images, tmp_path):
    """Both partition tables and the file system, as other programs see them."""
    assert "No problems found" in run("sgdisk", "--verify", images["usb"])
    table = run("sgdisk", "--print", images["usb"])
    assert " EF02 " in table and " 0700 " in table
    files = tmp_path / "files.fat"
    with open(images["usb"], "rb") as image:
        image.seek(FILES_AT)
        files.write_bytes(image.read()[:-FILES_AT])
    run("fsck.fat", "-n", files)
    assert files.read_bytes()[82:90] == b"FAT32   "
    assert SMALL in run("mtype", "-i", files, "::/bulkhead.conf")


@pytest.mark.parametrize("given, options, line", [
    (None, [], "menu=3\n"), (None, ["--cmdline=log=debug", "--timeout=0"], "log=debug menu=0\n"),
    ("\ufeffoff=apicv \r\nmore\r\n", ["--cmdline=log=debug", "--timeout=7"], "off=apicv log=debug menu=7\n")])
def test_command_line_by_uefi(tmp_path, given, options, line):
    files = contents(tmp_path)
    if given:
        (tmp_path / "bulkhead.cmdline").write_bytes(given.encode())
        files.append(tmp_path / "bulkhead.cmdline")
    image = make_image("usb", tmp_path / "image", files, USB_SIZE, *options)
    assert run("mtype", "-i", "%s@@%d" % (image, FILES_AT), "::/bulkhead.cmdline") == line


@pytest.mark.parametrize("words, error", [
    (["bulkhead.conf"], "found no boot/bulkhead.elf32=FILE"),
    (["/nowhere/vmlinuz"], "no such file: /nowhere/vmlinuz"),
    (["VMLINUZ=" + CORE, "vmlinuz=" + CORE], "two files for vmlinuz"),
    (["--timeout=3601", "x"], "--timeout: found 3601, expected 0 to 3600 seconds")], ids=["no-core", "no-file", "twice", "timeout"])
def test_refused(tmp_path, words, error):
    (tmp_path / "bulkhead.conf").write_text(SMALL)
    done = subprocess.run([os.path.join(ROOT, "tools", "make_image.py"), "usb", "out.img", *words], cwd=tmp_path,
                          check=False, stderr=subprocess.PIPE)
    assert done.returncode != 0 and error in done.stderr.decode()
    assert os.listdir(tmp_path) == ["bulkhead.conf"]
