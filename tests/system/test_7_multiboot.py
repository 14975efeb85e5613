"""Multiboot 1 kernels as guests: what they are told, how they start, and which ones are refused."""

import re
import struct

import pytest

from bulkhead import config, find_module, vm

GOOD = vm("good", "counter.img", cmdline="checksum period=300", memory="16M")
MAGIC, PAGE_ALIGN, ADDRESSES = 0x1BADB002, 1, 1 << 16
MIB = 1 << 20
# mov dx, 0x3f8; mov al, 'Y'; out dx, al; mov al, 10; out dx, al; hlt with interrupts off
SAYS_Y = bytes.fromhex("66baf803b059eeb00aeef4")


def header(flags=PAGE_ALIGN, checksum=None):
    right = -(MAGIC + flags) & 0xFFFFFFFF
    return struct.pack("<III", MAGIC, flags, right if checksum is None else checksum)


def elf32(code=SAYS_Y, head=header(), paddr=2 * MIB, vaddr=2 * MIB, memsz=0x2000, machine=3):
    """One segment; `code` is at its entry, the file's offset 0x100."""
    data = b"\x7fELF\1\1\1" + bytes(9)
    data += struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, vaddr, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    data += struct.pack("<8I", 1, 0x100, vaddr, paddr, len(code), memsz, 7, 4096) + head
    return data.ljust(0x100, b"\0") + code


def elf64(code=SAYS_Y):
    high = 0xFFFFFFFF80000000 + 2 * MIB
    data = b"\x7fELF\2\1\1" + bytes(9)
    data += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, high, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    data += struct.pack("<II6Q", 1, 7, 0x100, high, 2 * MIB, len(code), 0x2000, 4096) + header()
    return data.ljust(0x100, b"\0") + code


def write(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def number(machine, pattern):
    return int(machine.expect(pattern, source="m").group(1), 16)


def test_what_a_kernel_is_told(boot, tmp_path):
    first = write(tmp_path, "first.bin", bytes(range(256)) * 20)
    second = write(tmp_path, "second.bin", b"x" * 70001)
    keys = "module = first.bin root=a  b\nmodule = second.bin\n"
    m = boot(config(vm("m", "mbinfo.img", memory="32M", initrd="power.img", cmdline="one two=3") + keys),
             modules=[find_module("mbinfo.img"), find_module("power.img"), first, second], memory=256)
    m.expect(r"m: started, 32 MiB, entry 0x[0-9a-f]+ in 32-bit mode", source="core")
    m.expect("^READY", source="m", forbid="FAIL")
    m.expect('^loader "Bulkhead"$', source="m")
    m.expect('^cmdline "one two=3"$', source="m")
    m.expect("^lower %08x upper %08x$" % (639, 31 * 1024), source="m")
    for base, size, kind in ((0, 0x9FC00, 1), (0x9FC00, 0x400, 2), (0xF0000, 0x10000, 2),
                             (MIB, 31 * MIB, 1)):
        m.expect("^range %016x length %016x type %08x$" % (base, size, kind), source="m")
    end = 0x200000
    for text, data in (("power.img", open(find_module("power.img"), "rb").read()),
                       ("first.bin root=a  b", first.read_bytes()),
                       ("second.bin", second.read_bytes())):
        at = number(m, '^module "%s" at ([0-9a-f]+) size %08x sum %08x$'
                    % (re.escape(text), len(data), sum(data) & 0xFFFFFFFF))
        assert at % 4096 == 0 and at >= MIB
        assert at + len(data) <= 0x200000 or at >= 0x204000, "module in the kernel's place"
        end = max(end, at + len(data))
    assert end <= 32 * MIB
    assert 0xE0000 <= number(m, "^rsdp ([0-9a-f]+)$") < 0x100000
    m.expect("^DONE", source="m", forbid="FAIL")
    m.expect("m: ended: ", source="core")


def test_it_starts_again(boot):
    m = boot(config(vm("m", "mbinfo.img", memory="16M", entry="32"),
                    core="console = com1\nwhen-done = halt\n"), memory=256)
    for _ in range(2):
        m.expect("^DONE", source="m", forbid="FAIL")
        m.expect("m: ended: .* scrubbed", source="core")
        m.focus(0)
        m.send("start m\r")


@pytest.mark.parametrize("data", [elf32(), elf64(), elf32(vaddr=0xC0000000), elf32(paddr=0x10000)],
                         ids=["elf32", "elf64-high", "elf32-high", "elf32-low"])
def test_elf(boot, tmp_path, data):
    m = boot(config(vm("m", "k.elf", memory="16M")), modules=[write(tmp_path, "k.elf", data)],
             memory=256)
    m.expect("^Y$", source="m")


REFUSED = {
    # name: (the file, what the error must say)
    "neither-kind": (b"no kernel at all\n" * 1000, "found no known signature in its 17000 bytes, "
                     "expected a Linux bzImage .* or a multiboot 1 kernel"),
    "empty": (b"", "found no known signature in its 0 bytes"),
    "checksum": (elf32(head=header(checksum=5)), "checksum .* is 0x00000005, expected 0x"),
    "required-flag": (elf32(head=header(flags=1 << 5)), "unknown required ones 0x0020"),
    "machine": (elf32(machine=40), "machine is 40, expected 3"),
    "cut-short": (elf32()[:-1], "file is truncated: it has 266 bytes, segment 0 has 11 at 0x100"),
    "outside-ram": (elf32(paddr=16 * MIB), "segment 0 is to stand from 0x1000000 to 0x1001fff"),
    "across-the-end": (elf32(memsz=14 * MIB + 1), "segment 0 is to stand from 0x200000 to 0x1000000"),
    "bios": (elf32(paddr=0xF0000), "segment 0 is to stand from 0xf0000"),
    "above-4g": (elf32(paddr=0xFFFFF000), "segment 0 has 8192 bytes at physical address 0xfffff000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(boot, tmp_path, name):
    data, text = REFUSED[name]
    m = boot(config(vm("bad", "k.elf", memory="16M"), GOOD),
             modules=[write(tmp_path, "k.elf", data), find_module("counter.img")], memory=256)
    m.expect('vm bad: kernel "k.elf": .*' + text, source="core")
    m.expect("^checksum ok", source="good")
    assert not re.search(r"(?m)^bad\| ", m.text())


@pytest.mark.parametrize("size", [0, 100, 0x100, -1])
def test_flat_kernel_cut_short(boot, tmp_path, size):
    data = open(find_module("mbinfo.img"), "rb").read()
    assert size < len(data)
    m = boot(config(vm("bad", "cut.img", memory="16M"), GOOD),
             modules=[write(tmp_path, "cut.img", data[:size]), find_module("counter.img")], memory=256)
    m.expect('vm bad: kernel "cut.img": ', source="core")
    m.expect("^checksum ok", source="good")


def test_module_larger_than_the_vm(boot, tmp_path):
    m = boot(config(vm("bad", "mbinfo.img", memory="4M", initrd="big.bin"), GOOD),
             modules=[find_module("mbinfo.img"), write(tmp_path, "big.bin", bytes(3 * MIB)),
                      find_module("counter.img")], memory=256)
    m.expect('vm bad: memory is too small for module "big.bin"', source="core")
    m.expect("^checksum ok", source="good")


def test_linux_takes_no_modules(boot):
    m = boot(config(vm("bad", "power.img", module="counter.img"), GOOD), memory=256)
    m.expect('vm bad: module: found "counter.img", expected none for kernel "power.img"',
             source="core")
    m.expect("^checksum ok", source="good")


def test_missing_module(boot):
    m = boot(config(vm("bad", "mbinfo.img", module="nothere.bin x")),
             modules=[find_module("mbinfo.img")], memory=256)
    m.expect(r'bulkhead\.conf:\d+: module: found "nothere\.bin", expected one of the boot modules',
             source="core")
