#!/usr/bin/env python3
"""Writes the seeds of fuzz_multiboot into tests/fuzz/corpus/."""
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus" / "fuzz_multiboot"
MB1, MB2, UNKNOWN = 0, 1, 2
HAS_CMDLINE, HAS_MODULES, HAS_MMAP = 1 << 2, 1 << 3, 1 << 6
RANGES = [(0, 0x9FC00, 1), (0x9FC00, 0x400, 2), (0xF0000, 0x10000, 2), (1 << 20, 127 << 20, 1),
          (0x7FE0000, 0x20000, 3), (4 << 30, 1 << 30, 1)]
MODULES = [(0x200000, 0x300000, b"/boot/vmlinuz quiet"), (0x300000, 0x400000, b"guest.cpio.gz"),
           (0x400000, 0x400100, b"bulkhead.conf")]


def seed(magic, addr, image):
    return struct.pack("<BH", magic, addr // 4) + image


def mb1(flags=HAS_CMDLINE | HAS_MODULES | HAS_MMAP, ranges=RANGES, modules=MODULES, entry=20,
        count=None):
    image = bytearray(0x40)
    cmdline = len(image)
    image += b"log=debug console=com2\0"
    places = []
    for start, end, string in modules:
        places.append(struct.pack("<IIII", start, end, len(image), 0))
        image += string + b"\0"
    mods = len(image)
    image += b"".join(places)
    mmap = len(image)
    for base, size, kind in ranges:
        image += struct.pack("<IQQI", entry, base, size, kind) + bytes(max(entry - 20, 0))
    struct.pack_into("<13I", image, 0, flags, 639, 130048, 0, cmdline,
                     len(modules) if count is None else count, mods, 0, 0, 0, 0,
                     len(image) - mmap, mmap)
    return seed(MB1, 0, bytes(image))


def tag(kind, body, size=None):
    return struct.pack("<II", kind, 8 + len(body) if size is None else size) + body + \
        bytes(-len(body) % 8)


def mmap_tag(entry=24, ranges=RANGES):
    pad = bytes(max(entry - 24, 0))
    return tag(6, struct.pack("<II", entry, 0) +
               b"".join(struct.pack("<QQII", *r, 0) + pad for r in ranges))


def module_tag(start, end, string):
    return tag(3, struct.pack("<II", start, end) + string + b"\0")


def mb2(*tags, total=None, end=True):
    body = b"".join(tags) + (tag(0, b"") if end else b"")
    size = 8 + len(body) if total is None else total
    return seed(MB2, 16, bytes(16) + struct.pack("<II", size, 0) + body)


ALL = [tag(1, b"log=debug\0"), *[module_tag(*m) for m in MODULES], mmap_tag(),
       tag(14, b"RSD PTR " + bytes(12)), tag(15, b"RSD PTR " + bytes(28))]
OVERLAPS = [(0, 1 << 52, 1), (0x1000, 0x1000, 2), (0x1800, 1 << 63, 5), (0x1000, 0, 1),
            (0xFFFFFFFFFFFFF000, 0x1000, 77)]
SEEDS = {
    "mb1_good": mb1(),
    "mb1_no_map": mb1(flags=HAS_CMDLINE | HAS_MODULES),
    "mb1_long_entries": mb1(entry=28),
    "mb1_short_entries": mb1(entry=19),
    "mb1_overlaps": mb1(ranges=OVERLAPS),
    "mb1_many_modules": mb1(modules=[(i, i + 1, b"m") for i in range(40)]),
    "mb1_mods_count": mb1(count=0xFFFFFFFF),
    "mb1_backwards": mb1(modules=[(2, 1, b"x")]),
    "mb1_many_ranges": mb1(ranges=[(i << 20, 4096, 1 + i % 5) for i in range(150)]),
    "mb1_cut": mb1()[:-10],
    "mb2_good": mb2(*ALL),
    "mb2_no_end": mb2(*ALL, end=False),
    "mb2_reversed": mb2(*reversed(ALL)),
    "mb2_long_entries": mb2(mmap_tag(entry=40)),
    "mb2_overlaps": mb2(mmap_tag(ranges=OVERLAPS)),
    "mb2_entry_size": mb2(mmap_tag(entry=24).replace(b"\x18\0\0\0", b"\0\0\0\0", 1)),
    "mb2_many_modules": mb2(*[module_tag(i, i, b"/m/%d" % i) for i in range(40)]),
    "mb2_backwards": mb2(module_tag(2, 1, b"x")),
    "mb2_tag_size": mb2(tag(1, b"x", size=7)),
    "mb2_tag_far": mb2(tag(1, b"x", size=0xFFFFFFFF)),
    "mb2_total": mb2(*ALL, total=0xFFFFFFFF),
    "mb2_total_small": mb2(*ALL, total=7),
    "mb1_types": mb1(ranges=[(0, 1 << 32, 1)] + [((i + 1) << 20, 4096, kind) for i, kind in enumerate(
        (0, 6, 7, 12, 13, 14, 20, 0xEFFFFFFF, 0xFFFFFFFF))]),
    "mb1_wraps": mb1(ranges=[(1 << 63, 1 << 63, 1), ((1 << 64) - 1, 1, 3), (4096, (1 << 64) - 1, 1),
                             (1 << 51, 1 << 51, 7), (1 << 51, 1 << 62, 2)]),
    "mb1_neighbours": mb1(ranges=[(i << 12, 4096, 1 + (i % 8 == 7)) for i in range(64)]),
    "unknown": seed(UNKNOWN, 0, b""),
}

CORPUS.mkdir(parents=True, exist_ok=True)
for name, data in SEEDS.items():
    (CORPUS / name).write_bytes(data)
