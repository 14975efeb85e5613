; The way in: multiboot 1 and 2 headers, and the path from 32-bit protected mode to the upper half.
;
; State at entry (Multiboot 1 spec. 3.2, Multiboot 2 spec. 3.3): protected mode, paging off, flat
; segments, EAX = the loader's magic, EBX = address of its information structure.

%define KERNEL_VMA 0xffffffff80000000

MB1_MAGIC       equ 0x1badb002
MB1_FLAGS       equ 0x00000003      ; modules on page boundaries, memory map
MB2_MAGIC       equ 0xe85250d6

CR0_PE          equ 1 << 0
CR0_MP          equ 1 << 1
CR0_ET          equ 1 << 4
CR0_NE          equ 1 << 5
CR0_WP          equ 1 << 16
CR0_PG          equ 1 << 31
CR4_PAE         equ 1 << 5
EFER            equ 0xc0000080
EFER_LME        equ 1 << 8
EFER_NXE        equ 1 << 11
CPUID_EDX_PAE   equ 1 << 6
CPUID_EDX_NX    equ 1 << 20
CPUID_EDX_LM    equ 1 << 29
RFLAGS_ID       equ 1 << 21
PTE_P_RW        equ 3
PTE_LARGE       equ 1 << 7
COM1            equ 0x3f8

%macro out_byte 2
    mov dx, %1
    mov al, %2
    out dx, al
%endmacro

global boot_entry, boot_tsc
global boot_pdpt_high, boot_pool_pd
extern boot_main

section .boot.header progbits alloc exec write align=8
align 8
mb2_header:
    dd MB2_MAGIC, 0, mb2_end - mb2_header, -(MB2_MAGIC + (mb2_end - mb2_header))
    ; information request: command line 1, modules 3, memory map 6, framebuffer 8,
    ; ACPI 1.0 RSDP 14, ACPI 2.0 RSDP 15; flags 1 = optional
align 8
    dw 1, 1
    dd 8 + 4 * 6
    dd 1, 3, 6, 8, 14, 15
align 8
    dw 6, 0                         ; modules on page boundaries
    dd 8
align 8
    dw 0, 0
    dd 8
mb2_end:
align 4
mb1_header:
    dd MB1_MAGIC, MB1_FLAGS, -(MB1_MAGIC + MB1_FLAGS)

section .boot.text progbits alloc exec write align=16
bits 32
boot_entry:
    mov esi, eax
    rdtsc
    mov [boot_tsc], eax
    mov [boot_tsc + 4], edx
    cli
    cld
    mov esp, boot_stack32_top
    mov edi, ebx

    ; CPUID exists when the ID flag can be toggled (SDM vol. 1, 20.1.2).
    pushfd
    pop eax
    mov ecx, eax
    xor eax, RFLAGS_ID
    push eax
    popfd
    pushfd
    pop eax
    xor eax, ecx
    test eax, RFLAGS_ID
    mov ebp, msg_no_cpuid
    jz refuse

    mov eax, 0x80000000
    cpuid
    mov ebp, msg_no_lm
    cmp eax, 0x80000001
    jb refuse
    mov eax, 0x80000001
    cpuid
    test edx, CPUID_EDX_LM
    jz refuse
    mov ebp, msg_no_nx
    test edx, CPUID_EDX_NX
    jz refuse

    ; Identity map of the first 4 GiB in 2 MiB pages; the same tables' first GiB is the upper half.
    mov eax, boot_pd + PTE_P_RW
    mov ebx, boot_pdpt
    mov ecx, 4
.pdpt:
    mov [ebx], eax
    add eax, 4096
    add ebx, 8
    loop .pdpt
    mov dword [boot_pdpt_high + 510 * 8], boot_pd + PTE_P_RW
    mov dword [boot_pml4], boot_pdpt + PTE_P_RW
    mov dword [boot_pml4 + 511 * 8], boot_pdpt_high + PTE_P_RW
    mov eax, PTE_P_RW | PTE_LARGE
    mov ebx, boot_pd
    mov ecx, 4 * 512
.pd:
    mov [ebx], eax
    add eax, 2 << 20
    add ebx, 8
    loop .pd

    mov eax, cr4
    or eax, CR4_PAE
    mov cr4, eax
    mov eax, boot_pml4
    mov cr3, eax
    mov ecx, EFER
    rdmsr
    or eax, EFER_LME | EFER_NXE
    wrmsr
    mov eax, CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    jmp 8:long_mode

bits 64
long_mode:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov rsp, boot_stack_top
    xor ebp, ebp
    mov eax, esi
    mov esi, edi                    ; 2nd argument: the information structure
    mov edi, eax                    ; 1st argument: the magic
    mov rax, boot_main
    call rax
.stop:
    hlt
    jmp .stop

bits 32
; Says why on COM1 (left by firmware in any state: set to 115200 8n1) and on the VGA text screen.
; EBP: the text.
refuse:
    out_byte COM1 + 3, 0x80
    out_byte COM1, 1
    out_byte COM1 + 1, 0
    out_byte COM1 + 3, 3
    mov ebx, 0xb8000
.next:
    mov al, [ebp]
    test al, al
    jz .halt
    mov ah, 0x4f
    mov [ebx], ax
    add ebx, 2
    mov cl, al
    mov esi, 100000                 ; a port without a UART reads all ones: bounded all the same
.wait:
    mov dx, COM1 + 5
    in al, dx
    test al, 0x20
    jnz .send
    dec esi
    jnz .wait
.send:
    out_byte COM1, cl
    inc ebp
    jmp .next
.halt:
    cli
    hlt
    jmp .halt

section .boot.data progbits alloc noexec write align=8
boot_tsc: dq 0
align 8
boot_gdt:
    dq 0
    dq 0x00af9b000000ffff           ; 64-bit code
    dq 0x00cf93000000ffff           ; data
boot_gdt_pointer:
    dw $ - boot_gdt - 1
    dd boot_gdt
msg_no_cpuid: db 'bulkhead: refused: this processor has no CPUID instruction', 13, 10, 0
msg_no_lm: db 'bulkhead: refused: this processor has no 64-bit (long) mode', 13, 10, 0
msg_no_nx: db 'bulkhead: refused: this processor has no NX (no-execute pages), or firmware has turned it off', 13, 10, 0

section .boot.bss nobits alloc noexec write align=4096
boot_pml4: resb 4096
boot_pdpt: resb 4096
boot_pdpt_high: resb 4096
boot_pd: resb 4 * 4096
boot_pool_pd: resb 4096             ; filled in by boot/main.c: the page pool
boot_stack32: resb 256
boot_stack32_top:

section .init.data progbits alloc noexec write align=16
    times 16384 db 0
global boot_stack_top
boot_stack_top:
