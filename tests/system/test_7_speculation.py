"""Speculation defences: which are chosen, that they can be turned off and on, that VMs run with each of them,
and that nothing in the core branches indirectly around them."""

import os
import re
import subprocess

import pytest

from bulkhead import BUILD, config, vm
from machines import BOCHS_SVM, BOCHS_VMX, EVERYWHERE, QEMU_SVM, on

ELF = os.path.join(BUILD, "bulkhead.elf")
NAMES = ["ibrs", "retpoline", "rsb", "ibpb", "verw", "l1d"]
MISSING = "not offered by the CPU"


def states(m):
    line = m.expect(r"speculation: (.*)", source="core").group(1)
    found = dict(item.split(" ", 1) for item in line.split(", "))
    assert list(found) == NAMES, line
    return [found[name] for name in NAMES]


def two_vms_run(boot, expected, **options):
    """Two VMs that compute at the same time, so that each follows the other on the CPU."""
    m = boot(config(vm("a", "counter.img", cmdline="checksum period=50"),
                    vm("b", "counter.img", cmdline="checksum period=50"),
                    core="console = com1\nlog = info\nslice = 1ms\n"), **options)
    assert states(m) == expected
    for _ in range(3):
        for name in "ab":
            m.expect(r"^checksum ok [1-9]\d*$", timeout=60, source=name, forbid="[Ww]rong|[Bb]ad")


@on(QEMU_SVM, BOCHS_SVM)
@pytest.mark.parametrize("off, on_off", [(None, "on"), ("retpoline,rsb", "turned off")])
def test_amd(boot, off, on_off):
    two_vms_run(boot, [MISSING, on_off, on_off, MISSING, "not needed", "not needed"],
                cmdline=off and "off=" + off)


@on(BOCHS_VMX)
@pytest.mark.parametrize("off, on_off", [(None, "on"), ("rsb,retpoline", "turned off")])
def test_intel_without_microcode(boot, off, on_off):
    two_vms_run(boot, [MISSING, on_off, on_off, MISSING, MISSING, MISSING], cmdline=off and "off=" + off)


# Tigerlake has enhanced IBRS, IBPB, MD_CLEAR and FLUSH_L1D, and leaves PBRSB_NO and MDS_NO away.
@on(BOCHS_VMX)
@pytest.mark.parametrize("cmdline, expected", [
    (None, ["on", "not needed", "on", "on", "on", "not needed"]),
    ("off=verw,ibpb,rsb", ["on", "not needed", "turned off", "turned off", "turned off", "not needed"]),
    ("off=ibrs", ["turned off", "on", "on", "on", "on", "not needed"]),
    ("on=retpoline,l1d", ["on"] * 6),
])
def test_intel_with_everything(boot, cmdline, expected):
    two_vms_run(boot, expected, model="tigerlake", cmdline=cmdline)


@on(QEMU_SVM)
def test_on_knows_defences_only(boot):
    m = boot(config(vm("g", "power.img")), cmdline="on=vpid,rsb")
    m.expect(r'core command line: on: found "vpid", expected ibrs, retpoline, ', source="core")
    m.expect("^READY", source="g")


@EVERYWHERE
def test_turning_off_takes_instructions_away(boot):
    """The code is patched: an indirect call is two instructions longer by a retpoline than by a jump."""
    figures = []
    for cmdline in ("", "off=retpoline"):
        m = boot(config(vm("bench", "bench.elf", cmdline="rows=hypercall samples=4 quick"),
                        core="console = com1\nlog = info\n"), cmdline=cmdline, icount=True)
        line = m.expect(r"^bench hypercall min=\d+ median=(\d+)", timeout=180, source="bench")
        figures.append(int(line.group(1)))
        m.close()
    saved = figures[0] - figures[1]
    assert saved >= 2 and saved % 2 == 0, figures


def disassembly():
    """{function: its instructions}, without the boot's, which runs before any guest."""
    text = subprocess.run(["objdump", "-d", "-w", "--no-show-raw-insn", "-j", ".text", "-j", ".init.text", ELF],
                          check=True, capture_output=True, text=True).stdout
    functions, name = {}, None
    for line in text.splitlines():
        head = re.match(r"^[0-9a-f]+ <(.+)>:$", line)
        insn = re.match(r"^\s*[0-9a-f]+:\s+(.*)$", line)
        if head:
            name = head.group(1)
            functions[name] = []
        elif insn:
            functions[name].append(re.sub(r"\s+", " ", insn.group(1)).strip())
    return functions


def test_no_indirect_branch_outside_of_the_thunks():
    functions = disassembly()
    assert len(functions) > 500
    wrong = ["%s: %s" % (name, insn) for name, code in functions.items() for insn in code
             if re.match(r"(notrack |bnd |\S+ )?(call|jmp)[a-z]* \*|l(call|jmp) ", insn)]
    assert not wrong, "\n".join(wrong)
    thunks = [code for name, code in functions.items() if name.startswith("__x86_indirect_thunk_")]
    assert len(thunks) == 15
    for code in thunks:
        kept = [insn.split(" ")[0] for insn in code if insn != "int3"]
        assert kept == ["call", "pause", "lfence", "jmp", "mov", "ret"], code
    assert sum("__x86_indirect_thunk_" in insn for code in functions.values() for insn in code) > 100
