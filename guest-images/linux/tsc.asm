; /bin/tsc: prints the time-stamp counter in decimal. A static program without libraries.
SYS_WRITE equ 1
SYS_EXIT  equ 60

bits 64
section .text
global _start
_start:
    rdtsc
    shl rdx, 32
    or rax, rdx
    lea rsi, [rsp - 1]
    mov byte [rsi], 10
    mov ebx, 1                      ; length of the text
    mov ecx, 10
.digit:
    xor edx, edx
    div rcx
    add dl, '0'
    dec rsi
    mov [rsi], dl
    inc ebx
    test rax, rax
    jnz .digit
    mov eax, SYS_WRITE
    mov edi, 1
    mov edx, ebx
    syscall
    mov eax, SYS_EXIT
    xor edi, edi
    syscall
