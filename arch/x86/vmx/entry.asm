; Into the guest and out of it (SDM vol. 3, chapters 27 and 28).
;
; bool vmx_enter(uint64_t gpr[16], uint64_t *host_rsp, bool launched)
;
; VM entry and exit switch RSP, RIP, RFLAGS, segments, control registers and EFER; general registers
; are ours. RFLAGS are 2 after an exit: interrupts off, direction flag clear.

%include "arch/x86/guest_gprs.inc"

VMCS_HOST_RSP equ 0x6c14

global vmx_enter, vmx_exit_point
section .text.entry progbits alloc exec nowrite align=16
bits 64
align 16
vmx_enter:
    push_callee_saved
    push rdi
    cmp rsp, [rsi]
    je .stack_known
    mov [rsi], rsp
    mov eax, VMCS_HOST_RSP
    vmwrite rax, rsp
.stack_known:
    test dl, dl                 ; the moves below keep the flags
    mov rax, [rdi]
    load_gprs
    jz .launch
    vmresume
    jmp .failed
.launch:
    vmlaunch
.failed:
    pop rdi
    xor eax, eax
    jmp out

align 16
vmx_exit_point:
    push rdi
    mov rdi, [rsp + 8]
    mov [rdi], rax
    save_gprs
    pop rdi
    mov eax, 1
out:
    pop_callee_saved
    ret
