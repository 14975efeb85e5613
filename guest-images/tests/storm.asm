; Asks for a LAPIC timer interrupt each nanosecond and never takes one: the cost must not fall on the
; other VMs of the CPU.
%include "start.inc"
%include "x2apic.inc"

main:
    cli
    x2apic_timer TIMER_PERIODIC
    mov ecx, MSR_X2APIC_COUNT
    mov eax, 1
    wrmsr
    print_line "READY"
.for_ever:
    jmp .for_ever
%include "end.inc"
