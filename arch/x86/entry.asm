; Interrupt and exception entry: 256 stubs that save all registers and call C.
;
; Stack at the call, from RSP up: struct interrupt_frame (arch/x86/interrupt.h).

global interrupt_stubs
extern interrupt_dispatch, cpu_local, __x86_indirect_thunk_rsi

%define GPRS rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15

%macro push_all 1-*
%rep %0
    push %1
%rotate 1
%endrep
%endmacro

; In the order that undoes push_all.
%macro pop_all 1-*
%rep %0
%rotate -1
    pop %1
%endrep
%endmacro

section .text.entry progbits alloc exec nowrite align=16
bits 64

; Exceptions with an error code: 8, 10..14, 17, 21, 29, 30 (SDM vol. 3, table 6-1; APM vol. 2, 8.2).
%define HAS_ERROR_CODE (1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17 | 1 << 21 | 1 << 29 | 1 << 30)

; The timer only leaves a note (struct percpu): it comes while the core sleeps or lets interrupts in
; between two instructions, and is acknowledged by the run loop.
%define VECTOR_TIMER 0x50           ; as in arch/x86/lapic.h
%define PERCPU_TIMER_FIRED 8

align 16
interrupt_stubs:
%assign vector 0
%rep 256
    align 16
%if vector = VECTOR_TIMER
    mov byte [rel cpu_local + PERCPU_TIMER_FIRED], 1
    iretq
%elif vector >= 32 || ((HAS_ERROR_CODE >> vector) & 1) = 0
    push 0
    push vector
    jmp interrupt_common
%else
    push vector
    jmp interrupt_common
%endif
%assign vector vector + 1
%endrep

interrupt_common:
    push_all GPRS
    cld
    mov rdi, rsp
    mov rbx, rsp
    and rsp, -16
    call interrupt_dispatch
    mov rsp, rbx
    pop_all GPRS
    add rsp, 16
    iretq

; Saves what a function must preserve, leaves its stack in [RDI], and goes on with the stack in RSI,
; that another call has left so.
global stack_exchange
stack_exchange:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [rdi], rsp
    mov rsp, rsi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

; Switches to the stack in RDI and calls the function in RSI, which does not return.
global stack_switch
stack_switch:
    mov rsp, rdi
    xor ebp, ebp
    call __x86_indirect_thunk_rsi
    ud2
