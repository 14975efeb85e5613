"""The machines that system tests run on.

qemu-svm is QEMU with an AMD processor: fast, and the machine of every test without a mark. The others are
Bochs: the same AMD-V with next-RIP saving, VT-x with APIC virtualization, and VT-x of the first kind that
the core supports.
"""

import pytest

from bochs import BochsMachine
from bulkhead import Machine

QEMU_SVM, BOCHS_SVM, BOCHS_VMX, BOCHS_VMX_OLD = "qemu-svm", "bochs-svm", "bochs-vmx", "bochs-vmx-old"
MACHINES = {
    QEMU_SVM: (Machine, {}),
    BOCHS_SVM: (BochsMachine, {"model": "ryzen"}),
    BOCHS_VMX: (BochsMachine, {"model": "corei7_haswell_4770"}),
    BOCHS_VMX_OLD: (BochsMachine, {"model": "corei7_sandy_bridge_2600k"}),
}

# The core's command line on BOCHS_VMX for guests that are busy when machine interrupts come, from keys or other
# processors: Bochs 2.7 then delivers virtual interrupts to a guest that has them off (docs/testing.md).
NO_APICV = "off=apicv"

# Marks for tests: `@EVERYWHERE`, `pytestmark = EVERYWHERE`, `@on(BOCHS_VMX)`.
on = pytest.mark.machines
EVERYWHERE = on(*MACHINES)
# Bochs 2.7 resets the machine when a guest of AMD-V triple-faults, intercepted or not
# (https://github.com/bochs-emu/Bochs/issues/130).
TRIPLE_FAULT = on(QEMU_SVM, BOCHS_VMX, BOCHS_VMX_OLD)
# Bochs 2.7 holds the machine's interrupts back while a guest that was entered with IF clear keeps it so
# (APM vol. 2, 15.21.1: with V_INTR_MASKING the host's IF counts). VT-x has its preemption timer against
# that; on bochs-svm a VM that keeps interrupts off is not preempted.
INTERRUPTS_OFF = on(QEMU_SVM, BOCHS_VMX, BOCHS_VMX_OLD)


def start(name, tmp, conf, **options):
    """A new machine of that name."""
    kind, defaults = MACHINES[name]
    machine = kind(tmp, conf, **{**defaults, **options})
    machine.name = name
    return machine
