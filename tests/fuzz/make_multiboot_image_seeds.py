#!/usr/bin/env python3
"""Writes the seeds of fuzz_multiboot_image into tests/fuzz/corpus/."""
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus" / "fuzz_multiboot_image"
CUSTOM_MAP, HAS_INITRD = 2, 4
MAGIC, ADDRESSES = 0x1BADB002, 1 << 16
MIB = 1 << 20


def params(size, flags=0, modules=0, low=64, high=0, module_size=0):
    return struct.pack("<BBHHII", flags, modules, low, high, size, module_size)


def header(flags, *addresses):
    return struct.pack("<III", MAGIC, flags, -(MAGIC + flags) & 0xFFFFFFFF) + struct.pack(
        "<%dI" % len(addresses), *addresses)


def elf32(segments, entry=MIB + 16, flags=3, machine=3):
    head = b"\x7fELF\1\1\1" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, entry, 52, 0, 0,
                                                    52, 32, len(segments), 0, 0, 0)
    for offset, vaddr, paddr, filesz, memsz in segments:
        head += struct.pack("<8I", 1, offset, vaddr, paddr, filesz, memsz, 7, 4096)
    return head + header(flags)


def elf64(segments, entry, flags=3):
    head = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64,
                                                    56, len(segments), 0, 0, 0)
    for offset, vaddr, paddr, filesz, memsz in segments:
        head += struct.pack("<II6Q", 1, 7, offset, vaddr, paddr, filesz, memsz, 4096)
    return head + header(flags)


TWO = [(0x1000, MIB, MIB, 0x1000, 0x1000), (0x2000, MIB + 0x2000, MIB + 0x2000, 0x800, 0x4000)]
HIGH = [(o, v + 0xFFFFFFFF80000000, p, f, m) for o, v, p, f, m in TWO]
FLAT = header(3 | ADDRESSES, MIB, MIB, MIB + 0x2000, MIB + 0x4000, MIB + 32)
SEEDS = {
    "elf32": params(0x3000) + elf32(TWO),
    "elf32_modules": params(0x3000, HAS_INITRD, 8, module_size=5 * MIB) + elf32(TWO),
    "elf64_high": params(0x3000, modules=1, module_size=100) + elf64(HIGH, 0xFFFFFFFF80100010),
    "flat": params(0x3000, 0, 2, module_size=4096) + FLAT,
    "flat_no_ends": params(0x3000) + header(ADDRESSES, MIB, MIB, 0, 0, MIB),
    "map": params(0x3000, CUSTOM_MAP, 8, module_size=100 * MIB) + elf32(
        [(0, 0x20000, 0x20000, 64, 0x60000), (0, 2 * MIB, 2 * MIB, 64, 29 * MIB)], 0x20000),
    "low": params(0x3000, modules=3, module_size=9000) + elf32([(0, 0, 0, 64, 0x9FC00)], 8),
    "tight": params(0x3000, 0, 1, 2, 0, 0xF0000) + elf32(TWO),
    "overlap": params(0x3000) + elf32([TWO[0], TWO[0]]),
    "outside": params(0x3000) + elf32([(0, MIB, 3 << 30, 64, 64)]),
    "truncated": params(0x2100) + elf32(TWO),
    "checksum": params(0x3000) + elf32(TWO)[:-4] + bytes(4),
    "flags": params(0x3000) + elf32(TWO, flags=0x8008),
    "video": params(0x3000) + elf32(TWO, flags=4),
    "entry": params(0x3000) + elf32(TWO, entry=5),
    "machine": params(0x3000) + elf32(TWO, machine=62),
    "many": params(0x3000) + elf32([(0, 0, MIB + i * 4096, 64, 4096) for i in range(17)], 0),
}

CORPUS.mkdir(parents=True, exist_ok=True)
for name, data in SEEDS.items():
    (CORPUS / name).write_bytes(data)
