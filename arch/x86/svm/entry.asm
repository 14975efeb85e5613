; Into the guest and out of it (APM vol. 2, 15.5).
;
; void svm_enter(uint64_t gpr[16], uint64_t vmcb_pa, uint64_t host_vmcb_pa)
;
; VMRUN itself switches RAX, RSP, RIP, RFLAGS, segments and control registers. VMLOAD and VMSAVE
; switch FS, GS, TR, LDTR and the SYSCALL and SYSENTER MSRs; the core's own are put back at once,
; because an NMI or machine check in the core needs the core's TSS.
;
; GIF is off from before the guest's state is loaded until the core's is back; IF is on inside, so
; that a physical interrupt ends the guest (V_INTR_MASKING: the host's IF counts).

%include "arch/x86/guest_gprs.inc"

global svm_enter
section .text.entry progbits alloc exec nowrite align=16
bits 64
align 16
svm_enter:
    push_callee_saved
    push rdx
    push rdi
    clgi
    sti
    mov rax, rsi
    vmload
    load_gprs
    vmrun
    vmsave

    push rdi
    mov rdi, [rsp + 8]
    save_gprs
    pop rdi
    pop rax
    vmload
    cli
    stgi
    cld
    pop_callee_saved
    ret
