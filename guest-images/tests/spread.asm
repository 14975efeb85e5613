; Computes for ever on all of its processors, with interrupts on and all of them masked, and leaves the
; guest at no time. The first processor starts the others.
%include "start.inc"
%include "x2apic.inc"

ICR_INIT       equ 0xc4500          ; all but itself
ICR_STARTUP    equ 0xc4608          ; at 0x8000
ENTRY          equ 0x8000
STI_JMP        equ 0xfeebfb         ; sti; jmp $ in any mode

main:
    call interrupts_on
    x2apic_timer 0
    mov dword [ENTRY], STI_JMP
    xor edx, edx
    mov ecx, MSR_X2APIC_ICR
    mov eax, ICR_INIT
    wrmsr
    mov eax, ICR_STARTUP
    wrmsr
    print_line "READY"
.for_ever:
    jmp .for_ever
%include "end.inc"
