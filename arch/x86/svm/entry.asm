; Into the guest and out of it (APM vol. 2, 15.5), again and again until the exit handler says stop.
;
; enum exit_action svm_run(struct vcpu *v, uint64_t vmcb_pa, uint64_t host_vmcb_pa)
;
; VMRUN itself switches RAX, RSP, RIP, RFLAGS, segments and control registers. VMLOAD and VMSAVE
; switch FS, GS, TR, LDTR and the SYSCALL and SYSENTER MSRs: once at the way in and once at the way
; out, because the core needs none of them while it handles an exit, but its TSS for the stacks of
; NMI and machine check, which wait: GIF stays off from the one to the other (APM vol. 2, 15.17). A
; double fault would find no stack; it takes an error in the core that overruns this one.
;
; IF is on at VMRUN, so that a physical interrupt ends the guest (V_INTR_MASKING: the host's IF counts),
; and when GIF comes back on, which is when what has ended the guest is taken.

%include "arch/x86/guest_gprs.inc"
%include "arch/x86/defence.inc"

extern svm_exit
global svm_run
section .text.entry progbits alloc exec nowrite align=16
bits 64
align 16
svm_run:
    push_callee_saved
    push rdx
    push rsi
    push rdi
    clgi
    mov rax, rsi
    vmload
.enter:
    mov rax, [rsp + 8]
    sti
    load_gprs
    vmrun
    push rdi
    mov rdi, [rsp + 8]
    save_gprs
    call svm_exit
    mov rdi, [rsp]
    test eax, eax               ; EXIT_RESUME
    jz .enter
    mov ecx, eax
    mov rax, [rsp + 8]
    vmsave
    mov rax, [rsp + 16]
    vmload
    sti
    stgi
    nop
    cli
    mov eax, ecx
    fill_return_stack
    add rsp, 24
    pop_callee_saved
    ret
