; A timer interrupt must end HLT although CR8, which changes without an exit, held it back when the
; timer was armed.
%include "start.inc"

MSR_APIC_BASE     equ 0x1b
MSR_X2APIC_EOI    equ 0x80b
MSR_X2APIC_TIMER  equ 0x832
MSR_X2APIC_COUNT  equ 0x838
MSR_X2APIC_DIVIDE equ 0x83e
X2APIC_MODE       equ 1 << 10
DIVIDE_BY_1       equ 0x0b
VECTOR            equ 0x50

main:
    cli
    lea rax, [rel acknowledge]
    mov [irq_hook], rax
    mov ecx, MSR_APIC_BASE
    rdmsr
    or eax, X2APIC_MODE
    wrmsr
    xor edx, edx
    mov ecx, MSR_X2APIC_DIVIDE
    mov eax, DIVIDE_BY_1
    wrmsr
    mov ecx, MSR_X2APIC_TIMER
    mov eax, VECTOR
    wrmsr
    print_line "READY"
    mov eax, 15
    mov cr8, rax
    xor edx, edx
    mov ecx, MSR_X2APIC_COUNT
    mov eax, 100000000              ; ns
    wrmsr
    xor eax, eax
    mov cr8, rax
    sti
    hlt
    print_line "WOKE"
    jmp power_off

acknowledge:
    push rax
    push rcx
    push rdx
    xor eax, eax
    xor edx, edx
    mov ecx, MSR_X2APIC_EOI
    wrmsr
    pop rdx
    pop rcx
    pop rax
    ret
%include "end.inc"
