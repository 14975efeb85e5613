"""The conformance guest (guest-images/conform) on every machine.

All of its checks must pass but those that the machine itself fails: they stand here with the reason. A check that is
listed and passes is an error, too, so that the list stays true.
"""

import re

import pytest

from bulkhead import NO_EVENTINJ, config, vm
from machines import BOCHS_SVM, BOCHS_VMX, BOCHS_VMX_OLD, EVERYWHERE, QEMU_SVM, on

pytestmark = EVERYWHERE
MIN_CHECKS = 850

TCG_NO_LOCK = "TCG ignores a LOCK prefix where it is not allowed"
TCG_NO_CANONICAL = "TCG takes addresses that are not canonical in these MSRs and instructions"
TCG_NO_SS = "TCG raises #GP instead of #SS for the stack segment"
TCG_IDT_CODE = "TCG computes IDT error codes in long mode with 16 bytes a gate, and without EXT"
TCG_NO_FAULT = "TCG does not raise this exception"
TCG_RMW = "TCG reports the read of a read-modify-write access"
TCG_RSVD = "TCG leaves P out of the error code of a reserved-bit fault"
TCG_NO_LIMIT = "TCG checks neither segment limits nor types"
TCG_NO_CHECK = "TCG checks no reserved bits there"
TCG_STI_STEP = "TCG holds single-step traps back in the shadow of STI"
NESTED_PDPTE = "with nested paging, pointer-table entries are read at use and not checked at MOV CR3 (APM vol. 2, 15.25.10)"
BOCHS_DR6 = "Bochs takes the #DB intercept before it sets DR6, so nobody knows the cause"

STEPS = ("nop wrmsr read-cr0 write-cr8 clts smsw invlpg rdtsc read-dr7 write-cr0 write-cr0-ts write-cr0-back "
         "write-cr3").split()


def named(prefix, names, reason):
    return {prefix + "." + name: reason for name in names.split()}


# machine -> {check: why it fails there}
DIFFERENCES = {
    QEMU_SVM: {
        "cpuid.lock": TCG_NO_LOCK,
        "exception.ud-lock-register": TCG_NO_LOCK,
        **named("msr", "fs-base-noncanonical gs-base-noncanonical kernel-gs-base-noncanonical "
                       "lstar-noncanonical cstar-noncanonical", TCG_NO_CANONICAL),
        "cr.wrfsbase-noncanonical": TCG_NO_CANONICAL,
        **named("exception", "ss-noncanonical-rbp ss-noncanonical-push", TCG_NO_SS),
        **named("exception", "gate-dpl gate-absent gate-type gate-beyond-limit np-after-ud", TCG_IDT_CODE),
        **named("interrupt", "gate-absent gate-type gate-null-cs", TCG_IDT_CODE),
        **named("exception", "mxcsr-reserved xm ac", TCG_NO_FAULT),
        **named("pagefault", "rmw-absent xchg-absent cmpxchg-absent", TCG_RMW),
        **named("pagefault", "reserved-read reserved-write reserved-read-ring-3 "
                             "nx-bit-reserved-without-nxe", TCG_RSVD),
        **named("paging32", "pf-reserved-in-4m-page pae-pf-reserved", TCG_RSVD),
        "paging32.pae-reserved-in-pdpte": NESTED_PDPTE,
        **named("modes", "real-limit-gp real-limit-ss real-beyond-64k pm16-limit-gp pm16-limit-ss pm32-limit "
                         "pm32-write-read-only pm32-write-code pm32-null-selector", TCG_NO_LIMIT),
        "v86.limit": TCG_NO_LIMIT,
        **named("lapic", "cr8-over-15 cr8-over-15-kept", TCG_NO_CHECK),
        "cr.cr0-upper-half": TCG_NO_CHECK,
        **named("step", "sti sti-cpuid sti-cli", TCG_STI_STEP),
        "debug.two-at-once": "TCG notes one of two breakpoints that are hit at once",
        **named("debug", "general-detect general-detect-dr6 general-detect-rip", "TCG has no DR7.GD"),
        "debug.icebp": "TCG's INT1 is undefined",
    },
    BOCHS_SVM: {
        "paging32.pae-reserved-in-pdpte": NESTED_PDPTE,
        **named("step", " ".join(STEPS), BOCHS_DR6),
        **named("debug", "execute execute-after-an-exit write read two-at-once general-detect-dr6", BOCHS_DR6),
    },
    BOCHS_VMX: {},
    BOCHS_VMX_OLD: {},
}

# What a machine cannot run at all.
WORDS = {
    QEMU_SVM: "tcg",  # TCG takes a CR3 with reserved bits, and refuses the next VMRUN
    BOCHS_SVM: "skip=v86",  # Bochs panics at an exit from virtual-8086 mode: "VM is set in long mode"
}


def test_the_virtual_cpu_is_as_a_real_one(boot, machine_name, cmdline=""):
    conf = config(vm("conform", "conform.elf", memory="16M", cmdline="conform " + WORDS.get(machine_name, ""),
                     module="power.img some words"))
    options = {"icount": True, "cmdline": cmdline} if machine_name == QEMU_SVM else {}
    m = boot(conf, **options)
    if cmdline:
        m.expect("svm: .* interrupts by V_IRQ", source="core")
    end = m.expect(r"^(\d+) passed, (\d+) failed", timeout=120, source="conform", forbid="FATAL")
    lines = [text for _, source, text in m.lines if source == "conform"]
    failed = dict(re.match(r"FAIL (\S+): (.*)", line).groups() for line in lines if line.startswith("FAIL "))
    expected = DIFFERENCES[machine_name]
    unexpected = ["%s: %s" % (name, text) for name, text in failed.items() if name not in expected]
    healed = [name for name in expected if name not in failed]
    if unexpected or healed:
        pytest.fail("\n".join(["not expected to fail:"] + unexpected + ["listed, but passed:"] + healed))
    assert int(end.group(1)) + int(end.group(2)) >= MIN_CHECKS
    assert int(end.group(2)) == len(failed)
    m.expect("conform: ended: powered off", source="core")


@on(QEMU_SVM)
def test_interrupts_by_v_irq(boot, machine_name):
    test_the_virtual_cpu_is_as_a_real_one(boot, machine_name, NO_EVENTINJ)
