"""Bad bulkhead.conf files and modules: named errors, and no VM starts."""

import os
import re
import subprocess

import pytest

from bulkhead import BUILD, GUESTS, TEST_GUESTS, config, find_module, vm
from machines import EVERYWHERE

CHECKER = os.path.join(BUILD, "bulkhead-config")
GOOD = vm("good", "power.img", cmdline="off", memory="16M")
SLOTS = vm("s", "power.img", **{"class": "slots"})
DEDICATED = vm("d", "power.img", **{"class": "dedicated"}, cpus="0")


def refused(machine, *patterns):
    for pattern in patterns:
        machine.expect(pattern, timeout=20, source="core")
    machine.quiet_for(1) if not machine.ended else None
    assert "READY" not in machine.text(), "a VM was started all the same:\n" + machine.tail()


BAD = {
    # name: (text, the line at fault, what the error must name)
    "unknown-key": ("[core]\ncolour = red\n" + GOOD, 2, "colour"),
    "unknown-section": ("[disk d]\nsize = 1\n" + GOOD, 1, "disk"),
    "key-outside": ("console = com1\n" + GOOD, 1, "console"),
    "no-equals": ("[core]\nconsole com1\n" + GOOD, 2, "console"),
    "bad-console": ("[core]\nconsole = lpt1\n" + GOOD, 2, "lpt1"),
    "bad-log": ("[core]\nlog = loud\n" + GOOD, 2, "loud"),
    "twice": ("[core]\nlog = info\nlog = info\n" + GOOD, 3, "log"),
    "two-cores": ("[core]\nlog = info\n[core]\n" + GOOD, 3, "core"),
    "memory-unit": (vm("a", "power.img", memory="12X"), 3, "12X"),
    "memory-zero": (vm("a", "power.img", memory="0"), 3, "memory"),
    "memory-overflow": (vm("a", "power.img", memory="99999999999999999999G"), 3, "memory"),
    "memory-odd": (vm("a", "power.img", memory="3M"), 3, "memory"),
    "no-kernel": ("[vm a]\nmemory = 32M\nvcpus = 1\n", 1, "kernel"),
    "no-memory": ("[vm a]\nkernel = power.img\nvcpus = 1\n", 1, "memory"),
    "vcpus-zero": (vm("a", "power.img", vcpus="0"), 4, "vcpus"),
    "vcpus-many": (vm("a", "power.img", vcpus="1000"), 4, "vcpus"),
    "bad-cpus": (vm("a", "power.img", cpus="0-"), 5, "cpus"),
    "bad-role": (vm("a", "power.img", role="king"), 5, "king"),
    "bad-autostart": (vm("a", "power.img", autostart="maybe"), 5, "maybe"),
    "same-name": (GOOD + vm("good", "power.img"), 6, "good"),
    "no-name": ("[vm]\nkernel = power.img\nmemory = 32M\n", 1, "VM name"),
    "open-section": ("[vm a\nkernel = power.img\n", 1, "vm a"),
    "open-quote": (vm("a", "power.img", cmdline='"abc'), 5, "cmdline"),
    "long-line": ("[core]\n" + "log = " + "x" * 5000 + "\n" + GOOD, 2, ""),
    "long-name": (vm("n" * 40, "power.img"), 1, "name|nnn"),
    "control-character": ("[core]\nlog = in\x02fo\n" + GOOD, 2, ""),
    "empty": ("", 0, "VM|vm"),
    "no-vm": ("[core]\nlog = info\n", 0, "VM|vm"),
    "too-many-vms": ("".join("[vm v%d]\nkernel = power.img\nmemory = 16M\n" % i
                             for i in range(257)), 769, "257th"),
    "bad-class": (vm("a", "power.img", **{"class": "best"}), 5, "best"),
    "weight-zero": (vm("a", "power.img", weight="0"), 5, "weight"),
    "cap-of-two": (vm("a", "power.img", cap="101"), 5, "cap"),
    "weight-of-slots": (SLOTS + "weight = 5\n", 6, "weight.*slots"),
    "dedicated-anywhere": (vm("a", "power.img", **{"class": "dedicated"}), 5, "dedicated.*cpus"),
    "dedicated-too-many": (DEDICATED.replace("= 0", "= 0-1"), 6, "found 2.*expected 1"),
    "dedicated-twice": (DEDICATED + DEDICATED.replace("[vm d]", "[vm e]"), 12, "CPU 0.*d"),
    "dedicated-and-fair": (vm("a", "power.img", cpus="0") + DEDICATED, 5, "CPU 0.*d"),
    "dedicated-and-slots": (DEDICATED + SLOTS + "[cpu 0]\nframe = 1ms\nslot = s.0 0us 1ms\n", 12,
                            "cpu 0.*d"),
    "cpu-number": (GOOD + "[cpu 64]\nframe = 1ms\n", 6, "64"),
    "no-frame": (SLOTS + "[cpu 0]\nslot = s.0 0us 1ms\n", 6, "frame"),
    "no-slot": (SLOTS, 1, "s.0"),
    "slot-of-nobody": (GOOD + "[cpu 0]\nframe = 1ms\nslot = x.0 0us 1ms\n", 8, "x.0"),
    "slot-of-fair": (GOOD + "[cpu 0]\nframe = 1ms\nslot = good.0 0us 1ms\n", 8, "class"),
    "slot-of-no-vcpu": (SLOTS + "[cpu 0]\nframe = 1ms\nslot = s.0 0us 20us\n"
                        "slot = s.1 20us 20us\n", 9, "s.1"),
    "slot-too-late": (SLOTS + "[cpu 0]\nframe = 1ms\nslot = s.0 1us 1ms\n", 8, "frame"),
    "slots-overlap": (SLOTS + "[cpu 0]\nframe = 1ms\nslot = s.0 0us 1ms\nslot = s.0 9us 20us\n", 9,
                      "overlap.*line 8"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_configuration(boot, name):
    text, line, word = BAD[name]
    m = boot(text, modules=[find_module("power.img")], memory=256)
    where = r"bulkhead\.conf\D{0,8}%d\b" % line if line else r"bulkhead\.conf"
    refused(m, where + ".*(%s)" % word)


@pytest.mark.skipif(not os.path.exists(CHECKER), reason="build/bulkhead-config is not built")
@pytest.mark.parametrize("name", BAD)
def test_checker_says_the_same(tmp_path, name):
    text, line, word = BAD[name]
    path = tmp_path / "bulkhead.conf"
    path.write_text(text)
    done = subprocess.run([CHECKER, "check", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    where = r"bulkhead\.conf:%d:" % line if line else r"bulkhead\.conf:"
    assert re.search(where + ".*(%s)" % word, done.stderr)


@EVERYWHERE
def test_all_errors_are_reported(boot):
    text = "[core]\nlog = loud\nconsole = lpt1\n[vm a]\nkernel = power.img\nmemory = 1X\nfoo = 1\n"
    m = boot(text, modules=[find_module("power.img")], memory=256)
    refused(m, r"conf\D{0,8}2\b.*loud", r"conf\D{0,8}3\b.*lpt1", r"conf\D{0,8}6\b.*1X",
            r"conf\D{0,8}7\b.*foo")


def test_no_configuration(boot):
    m = boot(None, modules=[find_module("power.img")], memory=256)
    refused(m, r"bulkhead\.conf")


def test_no_modules_at_all(boot):
    m = boot(None, modules=[], memory=256)
    refused(m, r"(?i)bulkhead\.conf|module")


def test_missing_kernel(boot):
    m = boot(config(vm("a", "nothere.img")), modules=[], memory=256)
    refused(m, r"nothere\.img")


def test_missing_initrd(boot):
    m = boot(config(vm("a", "power.img", initrd="nothere.gz")),
             modules=[find_module("power.img")], memory=256)
    refused(m, r"nothere\.gz")


def test_more_memory_than_the_machine_has(boot):
    m = boot(config(vm("a", "power.img", memory="4G")), memory=256)
    refused(m, r"(?i)\ba\b.*memory|memory.*\ba\b")


def part(path, tmp_path, name, size, patch=()):
    with open(path, "rb") as source:
        data = bytearray(source.read(size) if size else source.read())
    for offset, value in patch:
        data[offset:offset + len(value)] = value
    result = tmp_path / name
    result.write_bytes(bytes(data))
    return result


@pytest.mark.parametrize("size", [1, 511, 600, 1024, 4096, 1 << 20, 14000000])
def test_truncated_kernel(boot, tmp_path, size):
    kernel = part(GUESTS + "/vmlinuz", tmp_path, "cut.img", size)
    m = boot(config(vm("a", "cut.img", memory="256M"), GOOD),
             modules=[kernel, find_module("power.img")], memory=1024)
    m.expect(r"(?i)cut\.img", timeout=20, source="core")
    assert "a| READY" not in m.text()


@pytest.mark.parametrize("what, patch", [
    ("no-header", [(0x202, b"XXXX")]),
    ("boot-flag", [(0x1fe, b"\0\0")]),
    ("old-protocol", [(0x206, b"\x01\x02")]),
    ("no-64-bit", [(0x236, b"\0\0"), (0x206, b"\x05\x02")]),
    ("huge-init-size", [(0x260, b"\xff\xff\xff\xff")]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_kernel_of_a_kind_that_cannot_boot(boot, tmp_path, what, patch):
    kernel = part(TEST_GUESTS + "/power.img", tmp_path, "odd.img", 0, patch)
    m = boot(config(vm("a", "odd.img")), modules=[kernel], memory=256)
    m.expect(r"(?i)odd\.img", timeout=20, source="core")
    m.quiet_for(1) if not m.ended else None
    assert "a| READY" not in m.text()


def test_initrd_larger_than_the_vm(boot, tmp_path):
    initrd = tmp_path / "big.gz"
    initrd.write_bytes(b"\0" * (40 << 20))
    m = boot(config(vm("a", "power.img", initrd="big.gz", memory="32M")),
             modules=[find_module("power.img"), initrd], memory=256)
    refused(m, r"(?i)big\.gz")


def test_truncated_initrd_is_linuxs_to_refuse(boot, tmp_path):
    initrd = part(GUESTS + "/guest.cpio.gz", tmp_path, "cut.gz", 500000)
    m = boot(config(vm("a", initrd="cut.gz", cmdline="console=ttyS0 panic=-1"),
                    vm("good", "counter.img", cmdline="checksum period=500")),
             modules=[find_module("vmlinuz"), initrd, find_module("counter.img")])
    m.expect(r"(?i)initramfs unpacking failed|kernel panic|compression|unable to mount", timeout=120,
             source="a")
    m.expect(r"^checksum ok", source="good")


def test_good_configuration_with_comments_and_crlf(boot):
    text = ("\ufeff; a comment\r\n[core]\r\nconsole = com1 ; the first\r\n\r\n"
            "[vm p]\r\nkernel=power.img\r\n  memory =\t16M\r\ncmdline = \"off ; not a comment\"\r\n")
    m = boot(text, modules=[find_module("power.img")], memory=256)
    m.expect("^READY", source="p")


@EVERYWHERE
def test_autostart_off(boot):
    m = boot(config(vm("a", "power.img", autostart="no"),
                    vm("b", "counter.img", cmdline="checksum period=300")), memory=256)
    m.expect("^checksum ok", source="b")
    assert not re.search(r"(?m)^a\| READY", m.text())


def test_command_line_wins_over_the_file(boot):
    m = boot("[core]\nlog = error\n" + GOOD, modules=[find_module("power.img")], memory=256,
             cmdline="log=info console=com1,57600 log=loud")
    m.expect(r'core command line: log: found "loud"', source="core")
    m.expect("boot memory given back", source="core")
    m.expect("^READY", source="good")
