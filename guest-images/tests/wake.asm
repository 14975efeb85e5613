; Interrupts that wait must not get lost. A timer interrupt must end HLT although CR8, which changes
; without an exit, held it back when the timer was armed; one that waits for STI must come although
; an exception, or an NMI, is delivered in between.
%include "start.inc"
%include "x2apic.inc"

ICR_SELF_NMI      equ 0x44400
MSR_UNKNOWN       equ 0x12345678
NMI_GATE          equ idt + 2 * 16
SPINS             equ 200000000
interrupts        equ guest_vars
nmis              equ guest_vars + 8

main:
    cli
    lea rax, [rel acknowledge]
    mov [irq_hook], rax
    x2apic_timer 0
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
    cli
    print_line "WOKE"

    mov qword [interrupts], 0
    call self_ipi
    try
    mov ecx, MSR_UNKNOWN            ; #GP
    rdmsr
    end_try
    call let_in
    print_text "after an exception: "
    call report

    mov qword [interrupts], 0
    lea rax, [rel nmi_handler]
    mov [NMI_GATE], ax
    shr eax, 16
    mov [NMI_GATE + 6], ax
    sti
    call self_nmi
    call let_in
    print_text "after an NMI: "
    call report
    jmp power_off

self_ipi:
    xor edx, edx
    mov ecx, MSR_X2APIC_SELF
    mov eax, VECTOR
    wrmsr
    ret

self_nmi:
    xor edx, edx
    mov ecx, MSR_X2APIC_ICR
    mov eax, ICR_SELF_NMI
    wrmsr
    ret

let_in:                             ; waits, without an exit, until the interrupt has come
    mov ecx, SPINS
    sti
.spin:
    cmp qword [interrupts], 0
    jne .end
    dec ecx
    jnz .spin
.end:
    cli
    ret

report:
    cmp qword [interrupts], 1
    jne .lost
    print_line "CAME"
    ret
.lost:
    print_line "LOST"
    ret

nmi_handler:                        ; the first one leaves an interrupt and another NMI behind
    push rax
    push rcx
    push rdx
    inc qword [nmis]
    cmp qword [nmis], 1
    jne .end
    call self_ipi
    call self_nmi
.end:
    pop rdx
    pop rcx
    pop rax
    iretq

acknowledge:
    inc qword [interrupts]
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
