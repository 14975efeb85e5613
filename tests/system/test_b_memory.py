"""Memory that firmware keeps to itself: the core neither clears it nor hands it to a VM."""

import re
import struct
import zlib

from bulkhead import config, make_iso, make_uefi_disk, vm
from test_b_screen import Monitor

KIB, MIB = 1 << 10, 1 << 20
DIMM = 4 << 30  # where QEMU's first DIMM goes
# What GRUB takes out of the map: part of a frame of 2 MiB, two of them, four of them; and the DIMM, which is not in it.
KEPT = [(0x8120000, 32 * KIB), (0x9000000, 4 * MIB), (0xa000000, 8 * MIB), (DIMM, 2 * MIB)]
FREE = (0x8400000, 1 * MIB)
GRUB = "badram 0x8120000,0xffff8000,0x9000000,0xffc00000\ncutmem 0xa000000 0xa800000"


def pattern(at, size):
    return b"".join(b"%015x\n" % n for n in range(at, at + size, 16))


CONF = config(vm("p", "counter.img", memory="180M", cmdline="checksum period=300"),
              core="console = com1\nlog = debug\nscrub-at-boot = yes\n")


def running(m):
    """All memory has been cleared, and a VM has had most of it for a while. Returns the ranges (first, end, kind) of the
    core's list."""
    m.expect(r"memory: (\d+) MiB for guests", timeout=90, source="core")
    for _ in range(2):
        m.expect("^checksum ok", timeout=60, source="p", forbid="FAIL")
    return [(int(first, 16), int(last, 16) + 1, kind) for first, last, kind in
            re.findall(r"debug memory: ([0-9a-f]+)-([0-9a-f]+) (.+?)\s*$", m.text(), re.M)]


def saved(monitor, folder, at, size):
    monitor.ask('pmemsave 0x%x 0x%x "%s"' % (at, size, folder / "saved"))
    return (folder / "saved").read_bytes()


def test_kept_memory_is_left_alone(boot, tmp_path):
    """All memory is cleared at boot, and a VM has most of it. Holes in the map and an NVDIMM have what stood there before
    the core started, and firmware's reserved memory in the last frame its tables."""
    monitor = Monitor(tmp_path)
    extra = monitor.args + ["-object", "memory-backend-ram,id=nv,size=128M", "-device", "nvdimm,memdev=nv"]
    for at, size in KEPT + [FREE]:
        (tmp_path / ("%x" % at)).write_bytes(pattern(at, size))
        extra += ["-device", "loader,addr=0x%x,file=%s,force-raw=on" % (at, tmp_path / ("%x" % at))]
    listed = running(boot(CONF, iso=make_iso(tmp_path, CONF, prepare=GRUB), memory="256,slots=2,maxmem=2G", extra=extra,
                          machine="q35,nvdimm=on"))

    def read(at, size):
        return saved(monitor, tmp_path, at, size)

    assert [at for at, size in KEPT if read(at, size) != pattern(at, size)] == []
    assert read(*FREE)[:16] != pattern(*FREE)[:16], "memory that is free was not cleared: the test sees nothing"
    last = next((first, end) for first, end, kind in listed if end == 256 * MIB and kind == "reserved")
    assert last[0] % (2 * MIB) != 0 and b"FACP" in read(last[0], last[1] - last[0])


def test_runtime_memory_of_uefi_is_left_alone(boot, tmp_path):
    """The tables of UEFI's runtime services are whole, in reserved memory, as is the code that they point to."""
    monitor = Monitor(tmp_path)
    m = boot(CONF, memory=512, uefi=make_uefi_disk(tmp_path, CONF), extra=monitor.args)
    reserved = [(first, end) for first, end, kind in running(m) if kind == "reserved" and end <= 512 * MIB]
    memory = saved(monitor, tmp_path, 0, 512 * MIB)
    tables = []
    for signature in (b"RUNTSERV", b"IBI SYST"):
        for found in re.finditer(re.escape(signature), memory):
            at = found.start()
            size, check = struct.unpack_from("<II", memory, at + 12)  # UEFI 2.10, 4.2
            table = memory[at:at + min(size, 4096)]
            if size >= 24 and zlib.crc32(table[:16] + bytes(4) + table[20:]) == check:
                assert any(first <= at and at + size <= end for first, end in reserved)
                tables.append(table)
    assert len(tables) == 2
    services = struct.unpack_from("<14Q", tables[0], 24)
    assert all(services)
    for entry in services:
        assert any(first <= entry < end for first, end in reserved)
        assert memory[entry:entry + 16] != bytes(16)
