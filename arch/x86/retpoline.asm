; What the compiler makes indirect calls and jumps through (gcc: -mindirect-branch=thunk-extern): the
; target is returned to, and all that is predicted of the return is the loop that the call before it
; has put into the return-stack buffer (Intel, "Retpoline: A Branch Target Injection Mitigation").
; Where the CPU needs none, the thunk jumps.

%include "arch/x86/defence.inc"

bits 64
section .text.thunks progbits alloc exec nowrite align=32

%macro thunk 2
align 32, int3
global __x86_indirect_thunk_%1
__x86_indirect_thunk_%1:
    call $ + 16                         ; to the MOV
    pause
    lfence
    jmp $ - 5                           ; to the PAUSE
align 16, int3
    mov [rsp], %1
    ret
    int3
    without DEFENCE_RETPOLINE, __x86_indirect_thunk_%1, db 0x40 | %2 >> 3, 0xff, 0xe0 | (%2 & 7), 0xcc
%endmacro

    thunk rax, 0
    thunk rcx, 1
    thunk rdx, 2
    thunk rbx, 3
    thunk rbp, 5
    thunk rsi, 6
    thunk rdi, 7
    thunk r8, 8
    thunk r9, 9
    thunk r10, 10
    thunk r11, 11
    thunk r12, 12
    thunk r13, 13
    thunk r14, 14
    thunk r15, 15
