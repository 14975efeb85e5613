; Into the guest and out of it (SDM vol. 3, chapters 27 and 28), again and again until the exit
; handler says stop.
;
; enum exit_action vmx_run(struct vcpu *v, uint64_t *host_rsp, bool launched)
;
; VM entry and exit switch RSP, RIP, RFLAGS, segments, control registers and EFER; general registers
; are ours. RFLAGS are 2 after an exit: interrupts off, direction flag clear.

%include "arch/x86/guest_gprs.inc"
%include "arch/x86/defence.inc"

VMCS_HOST_RSP equ 0x6c14
SELECTOR_DATA equ 0x10               ; arch/x86/gdt.h

extern vmx_exit, vmx_entry_refused
global vmx_run, vmx_exit_point

; VERW clears the buffers that MDS, TAA and RFDS leak from, if its operand is in memory (Intel,
; "Microarchitectural Data Sampling"); a selector of writable data makes that fastest. What is loaded
; afterwards is the guest's own.
section .rodata progbits alloc noexec nowrite align=2
data_selector:
    dw SELECTOR_DATA

section .text.entry progbits alloc exec nowrite align=16
bits 64
align 16
vmx_run:
    push_callee_saved
    push rdi
    cmp rsp, [rsi]
    je .stack_known
    mov [rsi], rsp
    mov eax, VMCS_HOST_RSP
    vmwrite rax, rsp
.stack_known:
.clear:
    verw [rel data_selector]
    without DEFENCE_VERW, .clear, db 0x0f, 0x1f, 0x80, 0, 0, 0, 0 ; a NOP of 7 bytes
    test dl, dl
    jnz resume
    mov rax, [rdi]
    load_gprs
    vmlaunch
    jmp refused
clear_and_resume:
    verw [rel data_selector]
resume:
    mov rax, [rdi]
    load_gprs
    vmresume
refused:
    mov rdi, [rsp]
    call vmx_entry_refused
    jmp out

align 16
vmx_exit_point:
    push rdi
    mov rdi, [rsp + 8]
    mov [rdi], rax
    save_gprs
    call vmx_exit
    mov rdi, [rsp]
    test eax, eax               ; EXIT_RESUME
.again:
    jz near clear_and_resume
    without DEFENCE_VERW, .again, db 0x0f, 0x84, REL32(resume - .again - 6)
out:
    fill_return_stack
    pop rdi
    pop_callee_saved
    ret
