; Asks for a LAPIC timer interrupt each nanosecond and never takes one: the cost must not fall on the
; other VMs of the CPU.
%include "start.inc"

MSR_APIC_BASE     equ 0x1b
MSR_X2APIC_TIMER  equ 0x832
MSR_X2APIC_COUNT  equ 0x838
MSR_X2APIC_DIVIDE equ 0x83e
X2APIC_MODE       equ 1 << 10
TIMER_PERIODIC    equ 1 << 17
DIVIDE_BY_1       equ 0x0b
VECTOR            equ 0x50

main:
    cli
    mov ecx, MSR_APIC_BASE
    rdmsr
    or eax, X2APIC_MODE
    wrmsr
    xor edx, edx
    mov ecx, MSR_X2APIC_DIVIDE
    mov eax, DIVIDE_BY_1
    wrmsr
    mov ecx, MSR_X2APIC_TIMER
    mov eax, TIMER_PERIODIC | VECTOR
    wrmsr
    mov ecx, MSR_X2APIC_COUNT
    mov eax, 1
    wrmsr
    print_line "READY"
.for_ever:
    jmp .for_ever
%include "end.inc"
