#!/usr/bin/python3
"""Makes an image that boots Bulkhead. The same input gives the same bytes, in any folder.

Usage: make_image.py [OPTIONS] iso|usb OUT CONTENT...

  iso   an ISO 9660 image, for a CD or (hybrid) a USB stick
  usb   a disk image: GPT, a FAT32 partition that any system can edit, GRUB in a BIOS boot partition

CONTENT is FILE (it stands in the root, under its base name) or PLACE=FILE. Files in the root are what
bulkhead.conf names, and itself: GRUB hands all of them to the core. These places mean more:

  boot/bulkhead.elf32     the core that GRUB starts
  bulkhead.elf, EFI/BOOT/BOOTX64.EFI    the core for UEFI, and the program that starts it
  boot/memtest.bin        a memory test, for the menu
  boot/madt.aml           an ACPI table that GRUB puts in the place of the machine's MADT (tests)
  bulkhead.cmdline        the core's command line by UEFI; --cmdline and --timeout are appended to it

Both images hold one FAT file system with all this, which UEFI reads, too. Times are SOURCE_DATE_EPOCH.
With --sign-key and --sign-cert, the loader for UEFI gets a list of all files in the root, and is signed.
"""

import argparse
import os
import struct
import subprocess
import sys
import tempfile

from sign_loader import LOADER, MEMTEST as MEMTEST_UEFI, REPORT, sign_contents

MIB = 1 << 20
SECTOR = 512
GRUB_DIR = os.environ.get("GRUB_DIR", "/usr/lib/grub/i386-pc")
GRUB_MODULES = ("biosdisk part_gpt fat iso9660 loopback normal test true regexp echo serial terminal "
                "multiboot multiboot2 vbe linux16 acpi halt reboot configfile").split()
# FAT cannot tell of a time before 1980.
FAT_EPOCH = 315532800
VOLUME = "BULKHEAD"
VOLUME_ID = "b0074b48"
DISK_GUID = "6bd2b1c8-3a0e-4d6d-9e5a-b0074b480000"
BIOS_BOOT_GUID = "6bd2b1c8-3a0e-4d6d-9e5a-b0074b480001"
FILES_GUID = "6bd2b1c8-3a0e-4d6d-9e5a-b0074b480002"
# The usb image: GRUB directly behind the GPT, files from 1 MiB, the second GPT in the last MiB.
CORE_SECTOR = 34
FILES_SECTOR = MIB // SECTOR
USB_MIB = 320
FAT32_MIN_MIB = 40
TIMEOUT_MAX = 3600  # as in boot/uefi/options.h
BIG_CLUSTERS_MIB = 300  # from here on clusters of 4 KiB leave FAT32 its 65,525
# GRUB's boot.S and diskboot.S: where boot.img has the sector of core.img, and the jump over its
# correction of the boot drive; where core.img's first sector has the number of its second one.
BOOT_CODE_SIZE = 440
BOOT_KERNEL_SECTOR = 0x5C
BOOT_DRIVE_CHECK = 0x66
DISKBOOT_START = 0x1F4
X86_NOP = b"\x90"
# Some BIOSes want an active partition, and UEFI wants the protective one not to be: an empty one is, as in
# xorriso's --mbr-force-bootable.
MBR_SECOND, MBR_ACTIVE = 446 + 16, struct.pack("<B11xI", 0x80, 1)

CORE = "boot/bulkhead.elf32"
CORE_UEFI, CMDLINE = "bulkhead.elf", "bulkhead.cmdline"  # the loader's, in the root
MEMTEST, MADT, FAT_FILE = "boot/memtest.bin", "boot/madt.aml", "bulkhead.fat"

# Files whose names begin with a dot are what macOS leaves on a stick. --nounzip: the modules reach the
# core as they are. GRUB hands over only what follows the file's name, so it stands there twice.
MENU_START = """\
if serial --unit=0 --speed=115200; then
    terminal_input serial console
    terminal_output serial console
    set memtest=console=ttyS0,115200
fi
set timeout={timeout}
set default=0
{prepare}
function files {{
    for file in /*; do
        if [ ! -f "$file" -o "$file" = /{uefi} -o "$file" = /{cmdline} -o "$file" = /{report} ]; then true
        elif regexp '^/\\.' "$file"; then true
        else {module} --nounzip "$file" "$file"
        fi
    done
}}
"""
# The same entries as in boot/uefi/menu.c: test_b_images.py compares them.
MENU = (("b", "Bulkhead", ""), ("v", "Bulkhead, verbose", "log=debug"),
        ("s", "Bulkhead, safe mode without optional processor features", "log=debug off=all"),
        ("h", "What hardware this machine has, without starting a VM", "check"))
MENU_ENTRY = """\
menuentry '{title} (key {key})' --hotkey={key} {{
    echo 'Loading Bulkhead and the files of bulkhead.conf ...'
    {load} /{core} {words}
{screen}    files
}}
"""
# multiboot2 sets gfxpayload to what the core's header asks for.
TEXT_SCREEN = "    set gfxpayload=text\n"
MENU_MEMTEST = """\
menuentry 'Memory check, memtest86+ (key m)' --hotkey=m {{
    linux16 /{memtest} $memtest
}}
"""


def run(*args):
    """Runs a program, silently unless it fails."""
    try:
        done = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError:
        sys.exit("make_image.py: %s is not installed: tools/deps.sh image" % args[0])
    if done.returncode != 0:
        sys.exit("make_image.py: %s ended with status %d:\n%s"
                 % (args[0], done.returncode, done.stdout.decode(errors="replace")))


def round_up(number, unit):
    return -(-number // unit) * unit


def write_at(path, offset, data):
    with open(path, "r+b") as out:
        out.seek(offset)
        out.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def menu(contents, options, prepare):
    number = "2" if options.protocol == 2 else ""
    if MADT in contents:
        prepare += "\nacpi --exclude=APIC /" + MADT
    prepare += "\n" + options.prepare
    text = MENU_START.format(timeout=options.timeout, prepare=prepare, uefi=CORE_UEFI, cmdline=CMDLINE, report=REPORT,
                             module="module" + number)
    for key, title, words in MENU:
        text += MENU_ENTRY.format(key=key, title=title, load="multiboot" + number, core=CORE,
                                  words=(options.cmdline + " " + words).strip(),
                                  screen="" if options.graphics else TEXT_SCREEN)
    return text + (MENU_MEMTEST.format(memtest=MEMTEST) if MEMTEST in contents else "")


def loader_options(stage, contents, options):
    """The first line of bulkhead.cmdline, with what the options say behind it. Returns its path."""
    given = read(contents[CMDLINE]).decode("utf-8-sig", "replace").splitlines() if CMDLINE in contents else []
    words = [line.strip() for line in given if line.strip()][:1]
    path = os.path.join(stage, CMDLINE)
    with open(path, "w", encoding="utf-8") as file:
        file.write(" ".join(filter(None, words + [options.cmdline, "menu=%d" % options.timeout])) + "\n")
    return path


def grub(stage, kind, prefix):
    """GRUB's core with all modules that the menu needs. Returns its path."""
    path = os.path.join(stage, kind + ".img")
    run("grub-mkimage", "-d", GRUB_DIR, "-O", kind, "-p", prefix, "-o", path, *GRUB_MODULES)
    return path


def fat_size(contents):
    """Bytes that a FAT file system with these files needs, in whole MiB."""
    data = sum(round_up(os.path.getsize(path), 1 << 15) for path in contents.values())
    return round_up(data + data // 64 + MIB, MIB)


def make_fat(path, contents, size, *mkfs):
    """A FAT file system of `size` bytes, files in the order of their names."""
    with open(path, "wb") as out:
        out.truncate(size)
    run("mkfs.fat", "--invariant", "-n", VOLUME, "-i", VOLUME_ID, *mkfs, path)
    made = set()
    for place, source in sorted(contents.items()):
        folder = os.path.dirname(place)
        steps = folder.split("/") if folder else []
        for depth in range(1, len(steps) + 1):
            name = "/".join(steps[:depth])
            if name not in made:
                made.add(name)
                run("mmd", "-i", path, "::/" + name)
        run("mcopy", "-i", path, source, "::/" + place)


def make_iso(out, stage, contents, options):
    """GRUB and a file with the FAT file system, which is also the image that UEFI starts from."""
    tree = os.path.join(stage, "tree")
    os.makedirs(os.path.join(tree, "boot/grub"))
    make_fat(os.path.join(tree, FAT_FILE), contents, fat_size(contents))
    with open(os.path.join(tree, "boot/grub/grub.cfg"), "w", encoding="ascii") as file:
        file.write(menu(contents, options, "loopback files /%s\nset root=files" % FAT_FILE))
    eltorito = grub(stage, "i386-pc-eltorito", "/boot/grub")
    os.rename(eltorito, os.path.join(tree, "boot/grub/bios.img"))
    uefi = ["-eltorito-alt-boot", "-e", FAT_FILE, "-no-emul-boot", "-efi-boot-part",
            "--efi-boot-image"] if LOADER in contents else []
    run("xorriso", "-as", "mkisofs", "-r", "-V", VOLUME,
        "--sort-weight", "2", "/boot/grub/bios.img", "--sort-weight", "1", "/boot/grub/grub.cfg",
        "-b", "boot/grub/bios.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
        "--grub2-boot-info", "--grub2-mbr", os.path.join(GRUB_DIR, "boot_hybrid.img"),
        *uefi, "--protective-msdos-label", "--mbr-force-bootable",
        "--set_all_file_dates", "=" + os.environ["SOURCE_DATE_EPOCH"], "-o", out, tree)


def make_usb(out, stage, contents, options):
    """The disk image; GRUB is written as grub-bios-setup would, which needs a disk and root."""
    config = os.path.join(stage, "grub.cfg")
    with open(config, "w", encoding="ascii") as file:
        file.write(menu(contents, options, ""))
    contents = {**contents, "boot/grub/grub.cfg": config}
    size = max(options.size * MIB - 2 * MIB, fat_size(contents), FAT32_MIN_MIB * MIB)
    files = os.path.join(stage, "files.fat")
    cluster = "8" if size >= BIG_CLUSTERS_MIB * MIB else "1"
    make_fat(files, contents, size, "-F", "32", "-s", cluster, "-h", str(FILES_SECTOR))
    with open(out, "wb") as file:
        file.truncate(size + 2 * MIB)
    # 0700: Windows and macOS show no partition of the type "EFI system". UEFI starts from any FAT.
    run("sgdisk", "--clear", "--set-alignment=1", "--disk-guid=" + DISK_GUID,
        "--new=1:%d:%d" % (CORE_SECTOR, FILES_SECTOR - 1), "--typecode=1:ef02",
        "--partition-guid=1:" + BIOS_BOOT_GUID, "--change-name=1:BIOS boot",
        "--new=2:%d:%d" % (FILES_SECTOR, FILES_SECTOR + size // SECTOR - 1), "--typecode=2:0700",
        "--partition-guid=2:" + FILES_GUID, "--change-name=2:Bulkhead", out)
    run("dd", "if=" + files, "of=" + out, "bs=1M", "seek=1", "conv=notrunc,sparse")

    core = bytearray(read(grub(stage, "i386-pc", "(,gpt2)/boot/grub")))
    if len(core) > (FILES_SECTOR - CORE_SECTOR) * SECTOR:
        sys.exit("make_image.py: GRUB's core does not fit: %d bytes" % len(core))
    struct.pack_into("<Q", core, DISKBOOT_START, CORE_SECTOR + 1)
    boot = bytearray(read(os.path.join(GRUB_DIR, "boot.img")))
    struct.pack_into("<Q", boot, BOOT_KERNEL_SECTOR, CORE_SECTOR)
    boot[BOOT_DRIVE_CHECK:BOOT_DRIVE_CHECK + 2] = 2 * X86_NOP
    write_at(out, 0, boot[:BOOT_CODE_SIZE])
    write_at(out, MBR_SECOND, MBR_ACTIVE)
    write_at(out, CORE_SECTOR * SECTOR, core)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timeout", type=int, default=3, help="seconds that the menu waits (3), 0: none")
    parser.add_argument("--protocol", type=int, choices=(1, 2), default=2, help="multiboot 1 or 2 (2)")
    parser.add_argument("--cmdline", default="", help="the core's command line")
    parser.add_argument("--graphics", action="store_true", help="in the mode that the core asks for")
    parser.add_argument("--prepare", default="", help="what GRUB does before it shows the menu (tests)")
    parser.add_argument("--size", type=int, default=USB_MIB,
                        help="MiB of a usb image, more if it must (%d)" % USB_MIB)
    parser.add_argument("--sign-key", metavar="PEM", help="sign the loader for UEFI with this private key")
    parser.add_argument("--sign-cert", metavar="PEM", help="its certificate")
    parser.add_argument("kind", choices=("iso", "usb"))
    parser.add_argument("out")
    parser.add_argument("contents", nargs="+", metavar="CONTENT")
    options = parser.parse_args()
    if not 0 <= options.timeout <= TIMEOUT_MAX:
        parser.error("--timeout: found %d, expected 0 to %d seconds" % (options.timeout, TIMEOUT_MAX))
    contents = {}
    for text in options.contents:
        place, equals, path = text.partition("=")
        place, path = (place, path) if equals else (os.path.basename(text), text)
        if not os.path.isfile(path):
            sys.exit("make_image.py: no such file: " + path)
        if place.lower() in (other.lower() for other in contents):
            sys.exit("make_image.py: two files for " + place)
        contents[place] = path
    if CORE not in contents:
        sys.exit("make_image.py: found no %s=FILE" % CORE)
    if bool(options.sign_key) != bool(options.sign_cert):
        sys.exit("make_image.py: found a key or a certificate alone, expected both (SIGN_KEY=, SIGN_CERT=)")
    if options.sign_key and LOADER not in contents:
        sys.exit("make_image.py: found no %s=FILE to sign" % LOADER)
    return options, contents


def main():
    options, contents = arguments()
    epoch = max(int(os.environ.get("SOURCE_DATE_EPOCH") or 0), FAT_EPOCH)
    # mtools and xorriso take the time from there.
    os.environ.update(SOURCE_DATE_EPOCH=str(epoch), TZ="UTC", LC_ALL="C", MTOOLS_SKIP_CHECK="1",
                      PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    os.umask(0o022)
    new = options.out + ".new"
    try:
        with tempfile.TemporaryDirectory(prefix="bulkhead-image-") as stage:
            if LOADER in contents:
                contents[CMDLINE] = loader_options(stage, contents, options)
            if options.sign_key:
                contents = sign_contents(contents, LOADER, [MEMTEST_UEFI], options.sign_key, options.sign_cert,
                                         stage)
            {"iso": make_iso, "usb": make_usb}[options.kind](new, stage, contents, options)
        os.rename(new, options.out)
    finally:
        if os.path.exists(new):
            os.unlink(new)


if __name__ == "__main__":
    main()
