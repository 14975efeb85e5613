"""The rows of the table: what the bench guest measures (guest-images/bench/), what KVM and Xen take for
the same on the same emulator, and the goals.

KVM's and Xen's figures: Linux 6.1 and Xen 4.17 in QEMU 7.2's TCG, -cpu EPYC, -icount shift=0,sleep=off,
default mitigations. "Stock": without next-RIP saving and decode assists; "assisted": with them.
"""

# Kinds of exits: goal with assists and on VT-x, in instructions; KVM's stock figure for the kind, of which
# the goal without assists is the given part.
CPUID, CALL, MSR = ("cpuid", 170, 3053, 10), ("hypercall", 170, 3315, 10), ("msr", 170, 3133, 10)
PORT, TIMER, MMIO = ("port", 200, 1684, 10), ("timer", 300, 3812, 10), ("mmio", 350, 4025, 8)
X2_IPI, X_IPI, WAKE = ("ipi", 700, 8390, 8), ("ipi", 700, 9711, 8), ("wake", 700, 7843, 8)
NO_GOAL = None


class Row:
    """One row. KVM's and Xen's figures: None where there is none."""

    def __init__(self, name, text, kind=NO_GOAL, kvm_assisted=None, kvm_stock=None, xen=None):
        self.name, self.text, self.kind = name, text, kind
        self.kvm_assisted, self.kvm_stock, self.xen = kvm_assisted, kvm_stock, xen

    def goal(self, assisted):
        """Instructions, or None. Where KVM has no such row, its typical one of the same kind counts."""
        if not self.kind:
            return None
        _, goal_assisted, kvm, part = self.kind
        return goal_assisted if assisted else (self.kvm_stock or kvm) // part


ROWS = [
    Row("cpuid", "CPUID leaf 0", CPUID, 1365, 3053, 5345),
    Row("cpuid-7", "CPUID leaf 7", CPUID),
    Row("cpuid-80000008", "CPUID leaf 80000008h", CPUID, 1511, 3199),
    Row("hypercall", "hypercall 1, a no-op", CALL, 1429, 3315, 5467),
    Row("rdmsr-apic-base", "RDMSR APIC_BASE", MSR, 1445, 3133, 5256),
    Row("rdmsr-mtrr", "RDMSR MTRRdefType", MSR, None, None, 5271),
    Row("wrmsr-mtrr", "WRMSR MTRRdefType, same value", MSR),
    Row("wrmsr-tsc-adjust", "WRMSR TSC_ADJUST, same value", MSR, 1865, 3532),
    Row("rdmsr-pat", "RDMSR PAT", MSR, None, None, 1),
    Row("rdmsr-efer", "RDMSR EFER", MSR, None, None, 5255),
    Row("wrmsr-efer", "WRMSR EFER, same value", MSR, None, None, 5347),
    Row("rdmsr-fs-base", "RDMSR FS_BASE", MSR, None, None, 1),
    Row("x2apic-tpr-read", "x2APIC TPR read", MSR, 1548, 3236, 5702),
    Row("x2apic-tpr-write", "x2APIC TPR write", MSR, 1542, 3203, 5737),
    Row("x2apic-eoi", "x2APIC EOI, none in service", MSR, 1539, 3206, 5815),
    Row("x2apic-timer-arm", "x2APIC timer arm, one-shot", TIMER, 2242, 3909, 6649),
    Row("tsc-deadline-arm", "TSC deadline arm", TIMER, 2156, 3812),
    Row("x2apic-self-ipi", "x2APIC self-IPI until the handler has returned", X2_IPI, 5056, 8390, 12210),
    Row("x2apic-self-ipi-icr", "the same by the ICR", X2_IPI, 4938, 8449),
    Row("x2apic-pending-sti", "x2APIC: STI with an interrupt waiting, until the handler has returned"),
    Row("xapic-tpr-read", "xAPIC TPR read, MMIO", MMIO, 2935, 4025, 14241),
    Row("xapic-tpr-write", "xAPIC TPR write, MMIO", MMIO, 2839, 3929, 17677),
    Row("xapic-eoi", "xAPIC EOI, none in service", MMIO, 2836, 3926, 17758),
    Row("xapic-icr-high", "xAPIC ICR, high half", MMIO, 2824, 3914, 17678),
    Row("xapic-timer-arm", "xAPIC timer arm, one-shot", MMIO, 3539, 4629, 18560),
    Row("xapic-timer-read", "xAPIC timer current count", MMIO, 3008, 4097, 14361),
    Row("xapic-self-ipi", "xAPIC self-IPI until the handler has returned", X_IPI, 7531, 9711, 35912),
    Row("xapic-pending-sti", "xAPIC: STI with an interrupt waiting"),
    Row("in-pit", "IN PIT (40h)", PORT, 1714, 1711, 1519),
    Row("out-pit-latch", "OUT PIT, latch channel 0 (43h)", PORT),
    Row("in-pic", "IN PIC (21h)", PORT, 1687, 1684, 1127),
    Row("out-pic", "OUT PIC (21h), other value", PORT, 2683, 2680),
    Row("in-rtc", "IN RTC (71h)", PORT),
    Row("in-pm-timer", "IN ACPI PM timer", PORT),
    Row("in-unclaimed", "IN of an unclaimed port (KVM: in user space)", PORT, 3533, 3530, 1182),
    Row("out-unclaimed", "OUT of an unclaimed port (KVM: in user space)", PORT, 3498, 3495),
    Row("out-post", "OUT 80h", PORT),
    Row("in-uart-lsr", "IN of the UART's line status", PORT),
    Row("out-uart-scratch", "OUT of the UART's scratch register", PORT),
    Row("outs-uart-loop-64", "REP OUTSB of 64 bytes, UART in loopback: emulation alone"),
    Row("outs-uart-64", "REP OUTSB of a line of 64 bytes, with its way to the machine's UART"),
    Row("mmio-read-unclaimed", "read of an address without a device", MMIO, 5080, 6170),
    Row("mmio-write-unclaimed", "write of an address without a device", MMIO, 4667, 5757),
    Row("mmio-read-ioapic", "read of the I/O APIC", MMIO, None, None, 14949),
    Row("touch-4k", "first touch of a 4 KiB page", None, 2991, 2992, 1),
    Row("touch-2m", "first touch of a 2 MiB page", None, 3819, 3820, 1),
    Row("hlt-deadline", "HLT + TSC deadline, beyond the time asked, until the handler has returned", WAKE,
        6301, 7843, 12000),
    Row("hlt-timer", "HLT + one-shot timer, beyond the time asked", WAKE),
    Row("2vm-hlt-deadline", "HLT + TSC deadline beside a VM that computes"),
    Row("2vm-switch", "a switch from one VM's vCPU to another's"),
    Row("host-interrupt", "the machine's timer interrupt while the guest computes", None, 4111),
    Row("timer-tick", "the same until the guest's handler has returned"),
    Row("cr0-read", "MOV from CR0", None, None, None, 6566),
    Row("cr0-write-same", "MOV to CR0, same value", None, None, None, 6669),
    Row("cr0-write-am", "MOV to CR0, AM changes"),
    Row("clts", "CLTS"),
    Row("cr3-read", "MOV from CR3"),
    Row("cr3-write", "MOV to CR3, same value", None, None, None, 1),
    Row("cr4-read", "MOV from CR4"),
    Row("cr4-write-same", "MOV to CR4, same value", None, None, None, 6740),
    Row("cr4-write-pge", "MOV to CR4, PGE changes"),
    Row("cr8-read", "MOV from CR8", None, None, None, 1),
    Row("cr8-write", "MOV to CR8", None, 1, 1, 1),
    Row("dr7-first", "MOV from DR7, the first since the vCPU came on the CPU"),
    Row("dr0-write", "MOV to DR0"),
    Row("dr7-read", "MOV from DR7"),
    Row("dr7-write", "MOV to DR7", None, None, None, 1),
    Row("invlpg", "INVLPG", None, None, None, 1),
    Row("wbinvd", "WBINVD", None, None, None, 5287),
    Row("xsetbv", "XSETBV, same value", None, None, None, 3),
    Row("pause", "PAUSE", None, None, None, 1),
    Row("2cpu-ipi-send", "two pCPUs: ICR write, to a vCPU that computes on the other one"),
    Row("2cpu-ipi-send-halted", "the same, to one that has halted"),
    Row("2cpu-ipi-round-trip", "IPI to the other pCPU, and one back; both compute"),
    Row("2cpu-wake-round-trip", "the same; both halt meanwhile"),
    Row("2cpu-flush-ipi", "TLB flush of a vCPU on the other pCPU: IPI, INVLPG, acknowledged"),
    Row("1cpu-wake-round-trip", "one pCPU: IPI to a vCPU that has halted, and one back, the sender halts"),
    Row("1cpu-ipi-1", "ICR write, wakes a vCPU of this pCPU"),
    Row("1cpu-ipi-3", "three of them"),
    Row("1cpu-ipi-1-pv", "the hypercall for IPIs, wakes one"),
    Row("1cpu-ipi-3-pv", "the same, wakes three"),
    Row("1cpu-flush-ipi", "TLB flush of a preempted vCPU: IPI, yield to it, its INVLPG"),
    Row("1cpu-flush-pv", "the same by its steal time area"),
]
