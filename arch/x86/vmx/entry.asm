; Into the guest and out of it (SDM vol. 3, chapters 27 and 28), again and again until the exit
; handler says stop.
;
; enum exit_action vmx_run(struct vcpu *v, uint64_t *host_rsp, bool launched)
;
; VM entry and exit switch RSP, RIP, RFLAGS, segments, control registers and EFER; general registers
; are ours. RFLAGS are 2 after an exit: interrupts off, direction flag clear.

%include "arch/x86/guest_gprs.inc"

VMCS_HOST_RSP equ 0x6c14

extern vmx_exit, vmx_entry_refused
global vmx_run, vmx_exit_point
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
    test dl, dl
    jnz resume
    mov rax, [rdi]
    load_gprs
    vmlaunch
    jmp refused
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
    jz resume
out:
    pop rdi
    pop_callee_saved
    ret
