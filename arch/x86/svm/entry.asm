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

GPR_RCX equ 1 * 8
GPR_RDX equ 2 * 8
GPR_RBX equ 3 * 8
GPR_RBP equ 5 * 8
GPR_RSI equ 6 * 8
GPR_RDI equ 7 * 8
GPR_R8  equ 8 * 8
GPR_R9  equ 9 * 8
GPR_R10 equ 10 * 8
GPR_R11 equ 11 * 8
GPR_R12 equ 12 * 8
GPR_R13 equ 13 * 8
GPR_R14 equ 14 * 8
GPR_R15 equ 15 * 8

global svm_enter
section .text.entry progbits alloc exec nowrite align=16
bits 64
align 16
svm_enter:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rdx
    push rdi

    clgi
    sti
    mov rax, rsi
    vmload
    mov rcx, [rdi + GPR_RCX]
    mov rdx, [rdi + GPR_RDX]
    mov rbx, [rdi + GPR_RBX]
    mov rbp, [rdi + GPR_RBP]
    mov rsi, [rdi + GPR_RSI]
    mov r8, [rdi + GPR_R8]
    mov r9, [rdi + GPR_R9]
    mov r10, [rdi + GPR_R10]
    mov r11, [rdi + GPR_R11]
    mov r12, [rdi + GPR_R12]
    mov r13, [rdi + GPR_R13]
    mov r14, [rdi + GPR_R14]
    mov r15, [rdi + GPR_R15]
    mov rdi, [rdi + GPR_RDI]
    vmrun
    vmsave

    push rdi
    mov rdi, [rsp + 8]
    mov [rdi + GPR_RCX], rcx
    mov [rdi + GPR_RDX], rdx
    mov [rdi + GPR_RBX], rbx
    mov [rdi + GPR_RBP], rbp
    mov [rdi + GPR_RSI], rsi
    mov [rdi + GPR_R8], r8
    mov [rdi + GPR_R9], r9
    mov [rdi + GPR_R10], r10
    mov [rdi + GPR_R11], r11
    mov [rdi + GPR_R12], r12
    mov [rdi + GPR_R13], r13
    mov [rdi + GPR_R14], r14
    mov [rdi + GPR_R15], r15
    pop rcx
    mov [rdi + GPR_RDI], rcx

    pop rdi
    pop rax
    vmload
    cli
    stgi
    cld
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret
