"""bulkhead-config, the checker that people run before they boot. No machine is started.

test_4_config.py shows that it finds the same errors as the core; here is the tool itself: its exit
status, its two outputs, and files of every kind.
"""

import os
import subprocess

import pytest

from bulkhead import BUILD, ROOT

TOOL = os.path.join(BUILD, "bulkhead-config")
pytestmark = pytest.mark.skipif(not os.path.exists(TOOL), reason="make tools was not run")

MINIMAL = "[vm a]\nkernel = k\nmemory = 2M\n"
EVERY_KEY = """\ufeff; UTF-8 with a byte order mark, CRLF: \u00e4
[core]
console   = com2,9600   ; a comment
log       = debug
slice     = 20ms
memory    = 4096K
when-done = halt

[vm first]
kernel  = vmlinuz
initrd  = a.gz
module  = disk.img \t ro
module  = b
cmdline = "x=1 ; y # z"
memory  = 3G
vcpus   = 1
cpus    = 0-3,6
class   = fair
weight  = 300
cap     = 50
role    = management
autostart = no
entry   = 32

[vm second]
kernel  = vmlinuz
memory  = 258M

[vm third]
kernel  = vmlinuz
memory  = 258M
class   = dedicated
vcpus   = 2
cpus    = 4,63

[vm rt.1]
kernel  = rtos
memory  = 2M
class   = slots

[cpu 3]
frame   = 10ms
slot    = rt.1.0 5ms 20us share
slot    = rt.1.0 0us 1ms
""".replace("\n", "\r\n")
UNDERSTOOD = """[core]
  console    UART at port 0x2f8, 9600 baud
  log        debug
  slice      20000 us
  memory     4M
  when-done  halt
[vm first]
  kernel     vmlinuz
  initrd     a.gz
  module     disk.img ro
  module     b
  cmdline    x=1 ; y # z
  memory     3G
  vcpus      1
  cpus       0-3,6
  class      fair
  weight     300
  cap        50 %
  role       management
  autostart  no
  entry      32
[vm second]
  kernel     vmlinuz
  initrd     (none)
  cmdline    (none)
  memory     258M
  vcpus      1
  cpus       0-3,5-62
  class      fair
  weight     100
  cap        (none)
  role       guest
  autostart  yes
  entry      auto
[vm third]
  kernel     vmlinuz
  initrd     (none)
  cmdline    (none)
  memory     258M
  vcpus      2
  cpus       4,63
  class      dedicated
  role       guest
  autostart  yes
  entry      auto
[vm rt.1]
  kernel     rtos
  initrd     (none)
  cmdline    (none)
  memory     2M
  vcpus      1
  cpus       3
  class      slots
  role       guest
  autostart  yes
  entry      auto
[cpu 3]
  frame      10000 us
  slot       rt.1.0 from 0 us on for 1000 us
  slot       rt.1.0 from 5000 us on for 20 us, shared
"""


def run(*args, stdin=b""):
    done = subprocess.run([TOOL, *args], input=stdin, capture_output=True, timeout=20, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def check(tmp_path, text):
    path = tmp_path / "some.conf"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    status, out, err = run("check", str(path))
    return status, out, err.replace(str(path), "FILE")


def test_every_key(tmp_path):
    assert check(tmp_path, EVERY_KEY) == (0, UNDERSTOOD, "")


def test_no_console(tmp_path):
    status, out, err = check(tmp_path, "[core]\nconsole = none\n" + MINIMAL)
    assert (status, err) == (0, "")
    assert "  console    none\n" in out


def test_lists_of_consoles(tmp_path):
    for value, shown in (
            ("com1, screen", "UART at port 0x3f8, 115200 baud; screen"),
            ("serial, pci:02:1f.3/2,9600", "the serial port that the machine has; port 2 of the PCI card 02:1f.3, 9600 baud"),
            ("mmio:0xfedc9000/4", "UART at address 0xfedc9000, registers 4 bytes apart"),
            ("screen", "screen")):
        status, out, err = check(tmp_path, "[core]\nconsole = %s\n" % value + MINIMAL)
        assert (status, err) == (0, "")
        assert "  console    %s\n" % shown in out
    assert "  console    the serial port that the machine has; screen if there is one\n" in check(tmp_path, MINIMAL)[1]


def test_standard_input():
    status, out, err = run("check", "-", stdin=MINIMAL.encode())
    assert (status, err) == (0, "")
    assert "[vm a]\n" in out
    assert run("check", "-", stdin=b"x\n")[2] == \
        '-:1: line: found "x", expected KEY = VALUE or [SECTION]\n'


def test_all_errors_with_their_lines(tmp_path):
    text = "[core]\nlog = loud\nslices = 5ms\n[vm a]\nkernel = k\nmemory = 3M\nentry = 64\n"
    assert check(tmp_path, text) == (1, "", (
        'FILE:2: log: found "loud", expected error, warn, info or debug\n'
        "FILE:3: slices: found an unknown key, expected one of console, log, slice, memory, "
        "when-done, scrub-at-boot; did you mean slice?\n"
        'FILE:6: memory: found "3M", expected 2M to 1T in steps of 2M, such as 256M\n'
        'FILE:7: entry: found "64", expected auto or 32\n'))


def test_number_of_errors_is_bounded(tmp_path):
    status, out, err = check(tmp_path, MINIMAL + "x\n" * 1000)
    lines = err.splitlines()
    assert (status, out, len(lines)) == (1, "", 33)
    assert lines[-1] == "FILE:36: and 968 more errors from here on"


@pytest.mark.parametrize("text, error", [
    (b"", "FILE:1: file: found no VM, expected at least one [vm NAME]"),
    (MINIMAL.encode("utf-16"), "FILE:1: file: found UTF-16 text, expected ASCII or UTF-8"),
    (b"\0" * 100, "FILE:1: line: found byte 0x00, expected printable text"),
    (b"\x7fELF\x02\x01\x01", "FILE:1: line: found byte 0x7f, expected printable text"),
    (b";" * 5000, "FILE:1: line: found 5000 characters, expected at most 4095"),
    (MINIMAL.encode() + b"\n" * (1 << 18),
     "FILE:1: file: found 262145 bytes, expected at most 262144"),
], ids=["empty", "utf16", "zeros", "elf", "long-line", "large"])
def test_not_a_configuration(tmp_path, text, error):
    status, out, err = check(tmp_path, text)
    assert (status, out) == (1, "")
    assert err.splitlines()[0] == error


def test_files_that_cannot_be_read(tmp_path):
    missing = str(tmp_path / "missing.conf")
    assert run("check", missing) == \
        (1, "", "bulkhead-config: cannot open %s: No such file or directory\n" % missing)
    status, out, err = run("check", str(tmp_path))
    assert (status, out) == (1, "")
    assert "cannot read %s: Is a directory" % tmp_path in err


@pytest.mark.parametrize("args", [(), ("check",), ("check", "a", "b"), ("verify", "a"), ("-x",)])
def test_wrong_usage(args):
    status, out, err = run(*args)
    assert (status, out) == (2, "")
    assert err.startswith("Usage: bulkhead-config check FILE\n")


def test_help():
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    assert out.startswith("Usage: bulkhead-config check FILE\n")


def test_the_configuration_that_comes_along():
    status, out, err = run("check", os.path.join(ROOT, "guest-images", "bulkhead.conf"))
    assert (status, err) == (0, "")
    assert "[vm linux1]\n" in out


def examples(path):
    """The indented blocks of a page that are whole configurations."""
    blocks, block = [], []
    with open(path, encoding="utf-8") as page:
        for line in [*page, "end"]:
            if line.startswith("    ") or (block and not line.strip()):
                block.append(line[4:] if line.strip() else "\n")
            elif block:
                blocks.append("".join(block))
                block = []
    return [text for text in blocks if "[vm " in text and "kernel" in text]


def test_examples_of_the_documentation(tmp_path):
    found = examples(os.path.join(ROOT, "docs", "configuration.md"))
    assert len(found) >= 3
    for text in found:
        status, _, err = check(tmp_path, text)
        assert (status, err) == (0, ""), text
