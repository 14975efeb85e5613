; Into the guest and out of it (SDM vol. 3, chapters 27 and 28).
;
; bool vmx_enter(uint64_t gpr[16], uint64_t *host_rsp, bool launched)
;
; VM entry and exit switch RSP, RIP, RFLAGS, segments, control registers and EFER; general registers
; are ours. RFLAGS are 2 after an exit: interrupts off, direction flag clear.

GPR_RAX equ 0 * 8
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

VMCS_HOST_RSP equ 0x6c14

global vmx_enter, vmx_exit_point
section .text.entry progbits alloc exec nowrite align=16
bits 64
align 16
vmx_enter:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rdi

    cmp rsp, [rsi]
    je .stack_known
    mov [rsi], rsp
    mov eax, VMCS_HOST_RSP
    vmwrite rax, rsp
.stack_known:
    test dl, dl                 ; the moves below keep the flags
    mov rax, [rdi + GPR_RAX]
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
    mov [rdi + GPR_RAX], rax
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
    mov eax, 1
out:
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret
