#!/usr/bin/env python3
"""Writes the seeds of fuzz_acpi and fuzz_bzimage into tests/fuzz/corpus/."""
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"
BASE = 0xE0000
FIX_SUMS, AS_COPY, USE_HINT = 1, 2, 4


def table(signature, body, revision=1):
    head = struct.pack("<4sIBB6s8sI4sI", signature, 36 + len(body), revision, 0,
                       b"SEED  ", b"SEED    ", 1, b"SEED", 1)
    data = bytearray(head + body)
    data[9] = -sum(data) & 0xFF
    return bytes(data)


def rsdp(revision, rsdt, xsdt):
    data = bytearray(struct.pack("<8sB6sBIIQB3x", b"RSD PTR ", 0, b"SEED  ", revision, rsdt,
                                 36, xsdt, 0))
    data[8] = -sum(data[:20]) & 0xFF
    data[32] = -sum(data) & 0xFF
    return bytes(data)


def gas(space, width, address):
    return struct.pack("<BBBBQ", space, width, 0, 0, address)


def fadt(dsdt, flags=0x500, length=276):
    f = bytearray(276)
    struct.pack_into("<II", f, 36, 0, dsdt)
    struct.pack_into("<H", f, 46, 9)
    struct.pack_into("<IIII", f, 56, 0x600, 0, 0x604, 0)
    struct.pack_into("<I", f, 76, 0x608)
    f[88:92] = bytes([4, 2, 0, 4])
    f[108] = 0x32
    struct.pack_into("<H", f, 109, 3)
    struct.pack_into("<I", f, 112, flags)
    f[116:128] = gas(1, 8, 0xCF9)
    f[128] = 6
    struct.pack_into("<Q", f, 140, dsdt)
    f[148:160] = gas(1, 32, 0x600)
    f[172:184] = gas(1, 16, 0x604)
    f[208:220] = gas(0, 32, 0xFED80808)
    f[244:256] = gas(0, 8, 0xFED81000)
    return table(b"FACP", bytes(f[36:length]), 6 if length > 116 else 1)


MADT = struct.pack("<II", 0xFEE00000, 1) + b"".join([
    bytes([0, 8, 0, 0, 1, 0, 0, 0]), bytes([0, 8, 1, 1, 2, 0, 0, 0]),
    struct.pack("<BBBBII", 1, 12, 2, 0, 0xFEC00000, 0),
    struct.pack("<BBBBIH", 2, 10, 0, 0, 2, 0), struct.pack("<BBBBIH", 2, 10, 0, 9, 9, 13),
    struct.pack("<BBBHB", 4, 6, 255, 5, 1), struct.pack("<BBHQ", 5, 12, 0, 0xFEE00000),
    struct.pack("<BBHIII", 9, 16, 0, 256, 1, 7), struct.pack("<BBHIB3x", 10, 12, 0, 7, 1)])
HPET = struct.pack("<I", 0x8086A201) + gas(0, 64, 0xFED00000) + struct.pack("<BHB", 0, 128, 0)
S5 = b"\x08_S5_\x12\x08\x04\x0a\x05\x0a\x05\x00\x00"


def machine(dsdt_body, revision=2, **fadt_options):
    """An image: RSDP, then XSDT, RSDT and the tables, each on a 16-byte boundary."""
    places, at = [], 0x80 + 0x80
    bodies = [table(b"DSDT", dsdt_body, 2)]
    bodies += [fadt(BASE + at, **fadt_options), table(b"APIC", MADT, 4), table(b"HPET", HPET)]
    for b in bodies:
        places.append(BASE + at)
        at += (len(b) + 15) & ~15
    xsdt = table(b"XSDT", struct.pack("<3Q", *places[1:]))
    rsdt = table(b"RSDT", struct.pack("<3I", *places[1:]))
    image = bytearray(at)
    r = rsdp(revision, BASE + 0xC0, BASE + 0x40 if revision else 0)
    for where, what in [(0, r), (0x40, xsdt), (0xC0, rsdt)]:
        image[where:where + len(what)] = what
    for place, what in zip(places, bodies):
        image[place - BASE:place - BASE + len(what)] = what
    return bytes(image)


def acpi_seeds():
    good = machine(b"\xa5" * 20 + S5)
    yield "good", 0, good
    yield "good_fix", FIX_SUMS, good
    yield "copy", FIX_SUMS | AS_COPY, good
    yield "hint", FIX_SUMS | USE_HINT, good
    yield "rsdt", FIX_SUMS, machine(S5, revision=0)
    yield "fadt_v1", FIX_SUMS, machine(S5, length=116)
    yield "hw_reduced", FIX_SUMS, machine(S5, flags=1 << 20)
    yield "s5_far", FIX_SUMS, machine(b"\x08" * 700 + b"\x08\\_S5_\x12\x47\x00\x04\x01\x0b\x05\x00")
    yield "no_s5", 0, machine(b"")
    yield "cut", FIX_SUMS, good[:-60]
    yield "bad_sum", 0, good.replace(b"HPET", b"HPEU")


# ---- fuzz_bzimage: 14 bytes of parameters (see the fuzzer), command line, then the file.

def header(version=0x20F, syssize=64, xload=1, reloc=1, init=8 << 20, pref=16 << 20,
           align=2 << 20, setup=1):
    f = bytearray(1024)
    f[0x1F1] = setup
    struct.pack_into("<I", f, 0x1F4, syssize)
    struct.pack_into("<H", f, 0x1FE, 0xAA55)
    f[0x200:0x202] = b"\xeb\x6a"
    struct.pack_into("<4sH", f, 0x202, b"HdrS", version)
    f[0x211] = 1
    struct.pack_into("<II", f, 0x22C, 0x7FFFFFFF, align)
    f[0x234] = reloc
    struct.pack_into("<HI", f, 0x236, xload, 2047)
    struct.pack_into("<QI", f, 0x258, pref, init)
    return bytes(f)


def flat_multiboot(magic=0x1BADB002, flags=1 << 16, base=1 << 20):
    """Not for the Linux loader: its rules of writing hold all the same."""
    return struct.pack("<8I992x", magic, flags, -(magic + flags) & 0xFFFFFFFF, base, base, 0, 0, base)


def bzimage_seeds():
    def params(flags=1, low=256, high=0, initrd=5 << 20, kernel=2048, cmdline=13):
        return struct.pack("<BHHIIB", flags, low, high, initrd, kernel, cmdline)
    yield "good", params(), header()
    yield "force32", params(flags=3), header()
    yield "entry32", params(), header(xload=0)
    yield "old", params(), header(version=0x206)
    yield "fixed", params(), header(reloc=0)
    yield "no_initrd", params(flags=0), header()
    yield "high", params(low=3072, high=4096), header()
    yield "tight", params(low=24, initrd=15 << 20), header()
    yield "too_small", params(low=24, initrd=16 << 20), header()
    yield "truncated", params(), header(syssize=0xFFFFFFFF)
    yield "big", params(kernel=60 << 20), header(syssize=3 << 20, init=100 << 20)
    yield "map", params(flags=1 | 8), header()
    yield "multiboot", params(flags=0), flat_multiboot()


for name, flags, image in acpi_seeds():
    (CORPUS / "fuzz_acpi" / name).write_bytes(bytes([flags]) + image)
for name, parameters, image in bzimage_seeds():
    (CORPUS / "fuzz_bzimage" / name).write_bytes(parameters + b"console=ttyS0" + image)
