"""Processors that are refused, and what takes the place of a feature that is missing: the same guests must
see the same, whatever the processor does by itself."""

import re
import time

import pytest

from bulkhead import config, vm
from machines import BOCHS_SVM, BOCHS_VMX, BOCHS_VMX_OLD, on

# What the core's log names when a feature is in use.
WORDS = {"next-rip": "next RIP", "apicv": "APIC virtualization", "tpr-shadow": "TPR shadow",
         "preemption-timer": "preemption timer", "vpid": "VPID", "large-pages": "1 GiB",
         "pause-exit": "PAUSE-loop exits"}


def interrupts_are_right(boot, off):
    m = boot(config(vm("irq", "irq.img", cmdline="off")), cmdline="off=" + off)
    used = m.expect(r"(?:vmx|svm): (.*)", source="core").group(1)
    for name in WORDS if off == "all" else [off]:
        assert WORDS[name] not in used, used
    found = m.expect(r"^(\d+) passed, (\d+) failed$", timeout=120, source="irq")
    assert found.group(2) == "0", m.output_of("irq")
    assert int(found.group(1)) >= 45
    return used


@on(BOCHS_VMX)
@pytest.mark.parametrize("off", ["apicv", "tpr-shadow", "preemption-timer", "vpid", "large-pages", "pause-exit"])
def test_vtx_without(boot, off):
    used = interrupts_are_right(boot, off)
    # Only that one is missing, and what rests on it.
    for name in {"preemption-timer", "vpid", "large-pages", "pause-exit"} - {off}:
        assert WORDS[name] in used, used


@on(BOCHS_VMX, BOCHS_VMX_OLD)
def test_without_any(boot):
    interrupts_are_right(boot, "all")


@on(BOCHS_SVM)
def test_svm_without_next_rip(boot):
    m = boot(config(vm("irq", "irq.img", cmdline="off")), cmdline="off=next-rip")
    assert "next RIP" not in m.expect(r"svm: (.*)", source="core").group(1)
    assert m.expect(r"^\d+ passed, (\d+) failed$", timeout=120, source="irq").group(1) == "0"


@on(BOCHS_VMX)
def test_unknown_feature_is_named(boot):
    m = boot(config(vm("g", "power.img")), cmdline="off=vpid,sse5")
    m.expect(r'core command line: off: found "sse5", expected all, next-rip, ', source="core")
    m.expect("^READY", source="g")


@on(BOCHS_VMX)
def test_vtx_without_ept_is_refused_by_name(boot):
    m = boot(config(vm("g", "power.img")), model="bx_generic")
    line = m.expect(r"refused: VT-x is there, but lacks: (.*)", source="core").group(1)
    assert "enable EPT (secondary processor-based control)" in line
    assert "unrestricted guest (secondary processor-based control)" in line
    # The processor is Intel's: nothing is said about AMD-V.
    assert "AMD-V" not in m.text()
    m.expect("this machine cannot run VMs; no VM was started", source="core")


@on(BOCHS_VMX)
def test_processor_without_either_is_refused(boot):
    m = boot(config(vm("g", "power.img")), model="core2_penryn_t9600")
    m.expect("refused: ", source="core")
    m.expect("this machine cannot run VMs; no VM was started", source="core")


@on(BOCHS_VMX)
def test_crash_shows_the_vmcs(boot):
    m = boot(config(vm("bad", "triple.img")))
    m.expect("bad: crashed: triple fault", source="core")
    m.expect("the last VM has ended", source="core")
    text = m.text()
    for field in ("EXIT_REASON 2", "GUEST_CR3", "GUEST_TR_ACCESS", "PROC2_CONTROLS", "HOST_RIP"):
        assert field in text
    assert re.search(r"(?i)triple fault", text)


@on(BOCHS_SVM, BOCHS_VMX)
@pytest.mark.parametrize("vcpus, off, exits", [("2", "", True), ("1", "", False), ("2", "pause-exit", False)])
def test_loops_of_pause(boot, vcpus, off, exits):
    m = boot(config(vm("g", "spin.img", cmdline="pause", vcpus=vcpus)), cmdline="off=" + off if off else None)
    used = m.expect(r"(?:vmx|svm): (.*)", source="core").group(1)
    assert bool(re.search("pause filter|PAUSE-loop exits", used)) != bool(off), used
    m.expect("^READY", source="g")
    m.focus(0)
    found = False
    for _ in range(20 if exits else 3):  # it takes thousands of PAUSEs until one exits
        m.send("stat g\r")
        m.expect(r"^ +exit +count", source="core")
        m.send("help\r")
        m.expect(r"^poweroff|^ +poweroff", source="core")
        found = any(source == "core" and re.match(r" +pause +\d", text) for _, source, text in m.lines)
        if found:
            break
        time.sleep(0.5)
    assert found == exits
