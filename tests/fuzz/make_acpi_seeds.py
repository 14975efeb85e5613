#!/usr/bin/env python3
"""Writes the seeds of fuzz_acpi that stand for the quirks of real machines into tests/fuzz/corpus/.
The fuzzer mends the checksums (FIX_SUMS)."""
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus" / "fuzz_acpi"
BASE = 0xE0000
FIX_SUMS = 1
RSDT, XSDT, FADT, MADT, MADT2, SPCR, DBG2, DSDT = (0x40, 0x80, 0x100, 0x240, 0x400, 0x600, 0x680,
                                                   0x780)


def table(name, body, revision=1):
    return name + struct.pack("<IB", 36 + len(body), revision) + bytes(27) + body


def gas(space, width, address, access=0):
    return struct.pack("<BBBBQ", space, width, 0, access, address)


def rsdp(rsdt=RSDT, xsdt=XSDT, revision=2):
    return (b"RSD PTR \0Seeds\0"[:15] + bytes([revision]) +
            struct.pack("<IIQI", rsdt and BASE + rsdt, 36, xsdt and BASE + xsdt, 0))


def root(name, addresses):
    size = "<Q" if name == b"XSDT" else "<I"
    return table(name, b"".join(struct.pack(size, a) for a in addresses))


def fadt(length=276, revision=6, x_dsdt=BASE + DSDT):
    body = bytearray(240)
    struct.pack_into("<I", body, 4, BASE + DSDT)
    struct.pack_into("<HI", body, 10, 9, 0xB2)
    struct.pack_into("<II", body, 28 + 8, 0, 0x604)
    struct.pack_into("<I", body, 20, 0x600)
    body[52], body[53], body[55] = 4, 2, 4
    struct.pack_into("<Q", body, 104, x_dsdt)
    return table(b"FACP", bytes(body[:length - 36]), revision)


def lapic(uid, apic, flags=1):
    return struct.pack("<BBBBI", 0, 8, uid, apic, flags)


def x2apic(uid, apic, flags=1):
    return struct.pack("<BBHIII", 9, 16, 0, apic, flags, uid)


def madt(*entries):
    return table(b"APIC", struct.pack("<II", 0xFEE00000, 1) + b"".join(entries), 4)


def spcr(kind=0, address=gas(1, 8, 0x3F8), pci=b"\xff\xff\xff\xff", revision=2, more=b""):
    return table(b"SPCR", bytes([kind, 0, 0, 0]) + address + struct.pack("<BBI", 3, 4, 4) +
                 bytes([7, 0, 1, 0, 3, 0]) + pci + bytes(8) + struct.pack("<I", 0) + more, revision)


def dbg2(*devices):
    body = b""
    for port, kind, address in devices:
        body += struct.pack("<BHBHHHHHHHHH", 0, 22 + 12 + 4 + 2, 1, 2, 38, 0, 0, port, kind, 0, 22,
                            34) + address + struct.pack("<I", 8) + b".\0"
    return table(b"DBG2", struct.pack("<II", 44, len(devices)) + body, 0)


IOAPIC = struct.pack("<BBBBII", 1, 12, 7, 0, 0xFEC00000, 0)
S5 = b"\x08_S5_\x12\x08\x04\x0a\x05\x0a\x06\x00\x00"
ALL = (FADT, MADT)


def image(**parts):
    """The tables at their places, each replaced by the one of the same name in `parts`."""
    tables = {"rsdp": (0, rsdp()), "rsdt": (RSDT, root(b"RSDT", [BASE + a for a in ALL])),
              "xsdt": (XSDT, root(b"XSDT", [BASE + a for a in ALL])), "fadt": (FADT, fadt()),
              "madt": (MADT, madt(lapic(0, 0), lapic(1, 2), IOAPIC)),
              "dsdt": (DSDT, table(b"DSDT", bytes(20) + S5))}
    places = {"madt2": MADT2, "spcr": SPCR, "dbg2": DBG2}
    for name, data in parts.items():
        tables[name] = (tables[name][0] if name in tables else places[name], data)
    out = bytearray(max(at + len(data) for at, data in tables.values()))
    for at, data in tables.values():
        out[at:at + len(data)] = data
    return bytes([FIX_SUMS]) + bytes(out)


def entries(*offsets):
    return root(b"XSDT", [o if o == 0 else BASE + o for o in offsets])


SEEDS = {
    "quirk_xsdt_null": image(rsdp=rsdp(xsdt=0)),
    "quirk_xsdt_empty": image(xsdt=entries(0, 0, 0)),
    "quirk_xsdt_high": image(xsdt=root(b"XSDT", [BASE + FADT | 0xFF << 40, BASE + MADT | 1 << 32])),
    "quirk_roots_differ": image(xsdt=entries(MADT2), madt2=madt(lapic(0, 9))),
    "quirk_madt_twice": image(xsdt=entries(FADT, MADT2, MADT), madt2=table(b"APIC", b"1234")),
    "quirk_unaligned": image(xsdt=entries(FADT, MADT2 + 3), madt2=bytes(3) + madt(lapic(0, 0))),
    "quirk_zero_length": image(xsdt=entries(FADT, MADT, MADT2),
                               madt2=b"SSDT" + struct.pack("<I", 0) + bytes(60)),
    "quirk_madt_mixed": image(madt=madt(x2apic(0, 256), lapic(0, 0), x2apic(0, 0), x2apic(1, 2, 0),
                                        lapic(1, 2), x2apic(9, 0xFFFFFFFF), lapic(5, 255))),
    "quirk_madt_many": image(madt=madt(*[x2apic(i, i * 2) for i in range(20)]),
                             dsdt=table(b"DSDT", b"")),
    "quirk_madt_length_0": image(madt=madt(lapic(0, 0), b"\0\0", lapic(1, 1))),
    "quirk_madt_overrun": image(madt=madt(lapic(0, 0), b"\0\xf0\1\1")),
    "quirk_fadt_cut": image(fadt=fadt(146, 3)),
    "quirk_dsdt_differs": image(fadt=fadt(x_dsdt=1 << 40)),
    "quirk_acpi_1": image(rsdp=rsdp(xsdt=0, revision=0)[:20], fadt=fadt(116, 1)),
    "spcr_io": image(xsdt=entries(FADT, MADT, SPCR), spcr=spcr()),
    "spcr_mmio": image(xsdt=entries(FADT, MADT, SPCR),
                       spcr=spcr(0x12, gas(0, 32, 0xFE030000, 3), revision=4,
                                 more=struct.pack("<IHH", 921600, 2, 88))),
    "spcr_pci": image(xsdt=entries(FADT, MADT, SPCR),
                      spcr=spcr(0, gas(0, 32, 0x380012345000), b"\x27\x9d\x86\x80")),
    "dbg2_ports": image(xsdt=entries(FADT, MADT, SPCR, DBG2), spcr=spcr(),
                        dbg2=dbg2((0x8000, 0x12, gas(0, 32, 0xFEDC9000)), (0x8002, 0, gas(0, 0, 1)),
                                  (0x8000, 0, gas(1, 8, 0x3F8)))),
}

for seed_name, seed in SEEDS.items():
    (CORPUS / seed_name).write_bytes(seed)
