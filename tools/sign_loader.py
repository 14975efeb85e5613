#!/usr/bin/python3
"""Puts the list of the files that a UEFI loader may read inside of it, and signs it (docs/secure-boot.md).

Usage: sign_loader.py KEY CERT FOLDER

Also the memory check, when that key has not signed it yet. For what `make image` has made and somebody has edited: FOLDER is where the stick is mounted. All files in
it are in the new list. make_image.py does the same for a new image. The list is what sha256sum prints;
boot/uefi/verify.c keeps a section for it.
"""

import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

SECTION = b".sums"
# PE/COFF 8.0: where the MS-DOS header has the place of the PE header, and what stands behind that.
PE_POINTER, PE_MAGIC = 0x3C, b"PE\0\0"
SECTION_COUNT, OPTIONAL_SIZE, COFF_END = 6, 20, 24  # from the PE header on
HEADER, HEADER_SIZE = "<8sIIII", 40
SIGNATURES = 144  # from the optional header (PE32+) on: where they begin in the file, and their size
LOADER, MEMTEST = "EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/memtest.efi"
REPORT = "bulkhead-check.txt"  # the loader writes it
# What the loader can read (boot/uefi/names.c), less what systems leave on a stick.
NAME = re.compile(r"(?!\.)[!-~]+")


def fail(*text):
    sys.exit("%s: %s" % (os.path.basename(sys.argv[0]), "".join(text)))


def find_section(pe):
    """Where the list's section is in the file: offset and size."""
    try:
        at, = struct.unpack_from("<I", pe, PE_POINTER)
        if pe[at:at + 4] == PE_MAGIC:
            count, = struct.unpack_from("<H", pe, at + SECTION_COUNT)
            size, = struct.unpack_from("<H", pe, at + OPTIONAL_SIZE)
            for i in range(count):
                name, room, _, raw, offset = struct.unpack_from(HEADER, pe,
                                                                at + COFF_END + size + i * HEADER_SIZE)
                if name.rstrip(b"\0") == SECTION:
                    return offset, min(room, raw)
    except struct.error:
        pass
    return fail("the UEFI loader has no section ", SECTION.decode(), ": it is not Bulkhead's, or is damaged")


def sums(contents):
    """The list, for all files in the root."""
    text = ""
    for place, path in sorted(contents.items()):
        if "/" in place or place.lower() == REPORT or not NAME.fullmatch(place):
            continue
        with open(path, "rb") as file:
            text += "%s  %s\n" % (hashlib.sha256(file.read()).hexdigest(), place)
    return text.encode("ascii")


def without_signatures(pe):
    """They stand at the end. (PE/COFF 8.0, 3.4.3)"""
    at = struct.unpack_from("<I", pe, PE_POINTER)[0] + COFF_END + SIGNATURES
    offset, size = struct.unpack_from("<II", pe, at)
    if size > 0:
        del pe[offset:]
        struct.pack_into("<II", pe, at, 0, 0)


def with_list(loader, contents):
    with open(loader, "rb") as file:
        pe = bytearray(file.read())
    offset, size = find_section(pe)
    without_signatures(pe)
    text = sums(contents)
    if len(text) >= size:
        fail("found a list of %d bytes for the signed loader, expected less than %d: fewer files in the root"
             % (len(text), size))
    pe[offset:offset + size] = text.ljust(size, b"\0")
    return bytes(pe)


def run(*args):
    """A program's exit status and output."""
    try:
        done = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError:
        fail(args[0], " is not installed: tools/deps.sh image")
    return done.returncode, done.stdout.decode(errors="replace")


def sign(source, out, key, cert):
    status, text = run("sbsign", "--key", key, "--cert", cert, "--output", out, source)
    if status == 0:
        status, text = run("sbverify", "--cert", cert, out)
    if status != 0:
        if "key values mismatch" in text:
            fail("the key %s does not belong to the certificate %s" % (key, cert))
        fail("sbsign cannot sign with %s and %s (expected a private key and an X.509 certificate, both PEM):\n"
             % (key, cert), text)


def sign_contents(contents, loader, others, key, cert, stage):
    """The contents of an image with what firmware starts signed by that key: `loader`, with a list of
    the files in the root, and `others`. The new files are in the folder `stage`."""
    for name in (key, cert):
        if not os.path.isfile(name):
            fail("no such file: ", name)
    signed = {}
    for place in [loader] + [other for other in others if other in contents]:
        source = contents[place]
        if place == loader:
            source = os.path.join(stage, "loader.efi")
            with open(source, "wb") as file:
                file.write(with_list(contents[place], contents))
        signed[place] = os.path.join(stage, "signed%d.efi" % len(signed))
        sign(source, signed[place], key, cert)
    return {**contents, **signed}


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    key, cert, folder = sys.argv[1:]
    contents = {name: os.path.join(folder, name) for name in [*os.listdir(folder), LOADER, MEMTEST]
                if os.path.isfile(os.path.join(folder, name))}
    if LOADER not in contents:
        fail("no such file: ", os.path.join(folder, LOADER))
    others = [MEMTEST] if MEMTEST in contents and run("sbverify", "--cert", cert, contents[MEMTEST])[0] != 0 else []
    with tempfile.TemporaryDirectory(prefix="bulkhead-sign-") as stage:
        signed = sign_contents(contents, LOADER, others, key, cert, stage)
        for place in [LOADER] + others:
            new = contents[place] + ".new"  # a full stick must not be left with half a file
            shutil.copyfile(signed[place], new)
            os.replace(new, contents[place])
            print("%s: signed" % contents[place])
    print("the loader's list has %d files" % sums(contents).count(b"\n"))


if __name__ == "__main__":
    main()
