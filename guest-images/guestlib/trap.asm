; Exceptions and interrupts, and code that runs under guard (guestlib.h: guest_exec).

SEL_CODE64 equ 0x08
SEL_DATA   equ 0x10

extern guest_trap_enter, guest_trap_vector
global guest_vectors, guest_exec_run, guest_exec_frame, guest_exec_trapped

section .text
bits 64

VECTOR_SIZE equ 16
align 16
guest_vectors:
%assign v 0
%rep 256
    align 16, db 0x90
%if v = 8 || (v >= 10 && v <= 14) || v = 17 || v = 21 || v = 29 || v = 30
    nop
    nop
%else
    push 0
%endif
    push strict dword v
    jmp near vector_common
%assign v v + 1
%endrep

; struct guest_frame: the error code is pushed before the vector.
vector_common:
    cld
    push r15
    push r14
    push r13
    push r12
    push r11
    push r10
    push r9
    push r8
    push rdi
    push rsi
    push rbp
    push rbx
    push rdx
    push rcx
    push rax
    mov rdi, rsp
    mov rbp, rsp
    and rsp, -16
    call guest_trap_enter
    mov rsp, rbp
    pop rax
    pop rcx
    pop rdx
    pop rbx
    pop rbp
    pop rsi
    pop rdi
    pop r8
    pop r9
    pop r10
    pop r11
    pop r12
    pop r13
    pop r14
    pop r15
    add rsp, 16
    iretq

; Offsets in struct guest_regs.
R_RAX equ 0
R_RCX equ 8
R_RDX equ 16
R_RBX equ 24
R_RBP equ 32
R_RSI equ 40
R_RDI equ 48
R_R8  equ 56
R_RFLAGS equ 120

; int guest_exec_run(const void *code, struct guest_regs *regs, uint64_t cs, uint64_t ss,
;                    uint64_t rsp): cs SEL_CODE64: CALL; else IRETQ to there.
guest_exec_run:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rsi                            ; frame + 8: the registers
    push qword [rel guest_exec_frame]
    mov [rel guest_exec_frame], rsp
    mov [rel exec_code], rdi
    mov rax, [rsi + R_RFLAGS]
    or eax, 2
    cmp edx, SEL_CODE64
    je .same
    mov ds, ecx                         ; IRET to ring 3 would make them null
    mov es, ecx
    push rcx
    push r8
    push rax
    push rdx
    push rdi
    call load_registers
    iretq
.same:
    push rax
    call load_registers
    popfq
    call [rel exec_code]
    pushfq
    cld
    push rax
    mov rax, [rel guest_exec_frame]
    mov rax, [rax + 8]
    mov [rax + R_RCX], rcx
    mov [rax + R_RDX], rdx
    mov [rax + R_RBX], rbx
    mov [rax + R_RBP], rbp
    mov [rax + R_RSI], rsi
    mov [rax + R_RDI], rdi
%assign i 8
%rep 8
    mov [rax + R_R8 + (i - 8) * 8], r %+ i
%assign i i + 1
%endrep
    mov rcx, rax
    pop qword [rcx + R_RAX]
    pop qword [rcx + R_RFLAGS]
    push 2
    popfq
    mov eax, -1
    jmp exec_leave

; guest_trap_enter() comes back here with RSP = guest_exec_frame.
guest_exec_trapped:
    mov eax, [rel guest_trap_vector]
exec_leave:
    mov rsp, [rel guest_exec_frame]
    mov ecx, SEL_DATA
    mov ds, ecx
    mov es, ecx
    mov ss, ecx
    pop qword [rel guest_exec_frame]
    pop rsi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

; All general registers but RSP from struct guest_regs at RSI.
load_registers:
    mov rax, [rsi + R_RAX]
    mov rcx, [rsi + R_RCX]
    mov rdx, [rsi + R_RDX]
    mov rbx, [rsi + R_RBX]
    mov rbp, [rsi + R_RBP]
    mov rdi, [rsi + R_RDI]
%assign i 8
%rep 8
    mov r %+ i, [rsi + R_R8 + (i - 8) * 8]
%assign i i + 1
%endrep
    mov rsi, [rsi + R_RSI]
    ret

section .data align=8
guest_exec_frame: dq 0                  ; RSP of the innermost guest_exec_run(), 0: none
exec_code:        dq 0
