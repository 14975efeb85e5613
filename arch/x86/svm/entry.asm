; Into the guest and out of it (APM vol. 2, 15.5), again and again until the exit handler says stop.
;
; enum exit_action svm_run(struct vcpu *v, uint64_t vmcb_pa, uint64_t host_vmcb_pa)
;
; VMRUN itself switches RAX, RSP, RIP, RFLAGS, segments and control registers. VMLOAD and VMSAVE
; switch FS, GS, TR, LDTR and the SYSCALL and SYSENTER MSRs; the core's own are put back at once,
; because an NMI or machine check in the core needs the core's TSS.
;
; GIF is off from before the guest's state is loaded until the core's is back; IF is on inside, so
; that a physical interrupt ends the guest (V_INTR_MASKING: the host's IF counts).

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
.enter:
    clgi
    sti
    mov rax, [rsp + 8]
    vmload
    load_gprs
    vmrun
    vmsave

    push rdi
    mov rdi, [rsp + 8]
    save_gprs
    mov rax, [rsp + 16]
    vmload
    cli
    stgi
    call svm_exit
    mov rdi, [rsp]
    test eax, eax               ; EXIT_RESUME
    jz .enter
    fill_return_stack
    add rsp, 24
    pop_callee_saved
    ret
