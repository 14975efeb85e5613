; An instruction that exits stands at the last two bytes below 4 GiB in a 32-bit code segment: the one
; behind it is at 0, not at 4 GiB.
%include "start.inc"

CODE32          equ 0x00cf9b000000ffff
SELECTOR_CODE32 equ 0x20            ; over a descriptor that is not needed here
PD_OF_TOP       equ page_tables + 0x2000 + 2047 * 8 ; the last 2 MiB below 4 GiB
TOP_PAGE        equ 0xc00000        ; what is mapped there
CPUID_CODE      equ 0xa20f
PM1_S5          equ 5 << 10 | SLP_EN

main:
    print_line "READY"
    mov rax, CODE32
    mov [gdt + SELECTOR_CODE32], rax
    mov qword [PD_OF_TOP], TOP_PAGE | PTE_P_RW | PTE_LARGE
    mov rax, cr3
    mov cr3, rax
    mov word [TOP_PAGE + 0x1ffffe], CPUID_CODE
    mov rsi, at_zero
    xor edi, edi
    mov ecx, at_zero_end - at_zero
    rep movsb
    mov rsp, STACK_TOP
    push SELECTOR_CODE32
    mov eax, 0xfffffffe
    push rax
    retfq

bits 32
at_zero:                            ; "WRAPPED" on the serial line, then off
    mov esi, text - at_zero
.next:
    mov al, [esi]
    test al, al
    jz .off
    mov dx, COM1
    out dx, al
    inc esi
    jmp .next
.off:
    mov dx, PM1A_CNT
    mov ax, PM1_S5
    out dx, ax
    jmp .off
text:
    db "WRAPPED", 13, 10, 0
at_zero_end:
bits 64
%include "end.inc"
