; The way in: what boot loaders look for, and the path from 32-bit protected mode to the upper half.
;
; State at entry (Multiboot 1 spec. 3.2, Multiboot 2 spec. 3.3): protected mode, paging off, flat
; segments, EAX = the loader's magic, EBX = address of its information structure. Loaders of our own
; come in at boot_entry64, in long mode, with the two in EDI and ESI.
;
; The image may stand anywhere below 4 GiB, at a multiple of 2 MiB from where it is linked: EBP holds
; that distance from the first instructions on, and nothing is addressed without it.

%define KERNEL_VMA 0xffffffff80000000

MB1_MAGIC       equ 0x1badb002
MB1_FLAGS       equ 0x00000003      ; modules on page boundaries, memory map
MB2_MAGIC       equ 0xe85250d6

IMAGE_BASE      equ 2 << 20         ; linker.ld
IMAGE_ALIGN     equ 2 << 20         ; one entry of the boot page tables
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

global boot_entry, boot_entry64
global boot_pdpt_high, boot_pool_pd
extern boot_main, image_delta

section .boot.header progbits alloc exec write align=8
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
    dw 10, 1                        ; may be moved; 1 = optional
    dd 24
    dd IMAGE_BASE, 0xffffffff, IMAGE_ALIGN, 2 ; as high as there is room
align 8
    dw 5, 1                         ; a linear framebuffer of 1024 x 768 x 32 bits; optional
    dd 20, 1024, 768, 32
align 8
    dw 0, 0
    dd 8
mb2_end:
; A section of its own: QEMU takes no 64-bit image with this header, and the one for PVH is 64-bit.
section .boot.header_mb1 progbits alloc exec write align=4
mb1_header:
    dd MB1_MAGIC, MB1_FLAGS, -(MB1_MAGIC + MB1_FLAGS)

PVH_NOTE_ENTRY  equ 18              ; XEN_ELFNOTE_PHYS32_ENTRY
section .note.pvh progbits alloc noexec nowrite align=4
    dd 4, 8, PVH_NOTE_ENTRY
    db 'Xen', 0
    dq boot_entry_pvh

section .boot.text progbits alloc exec write align=16
bits 64
; Back to where multiboot leaves a CPU: firmware's page tables may have five levels, which nothing in
; long mode can change (SDM vol. 3, 4.1.1).
boot_entry64:
    cli
    cld
    mov eax, edi
    mov ebx, esi
    lea rbp, [rel boot_entry64]
    sub rbp, boot_entry64
    lea rsp, [rel boot_stack32_top]
    lea rcx, [rel boot_gdt]
    mov [rel boot_gdt_pointer + 2], rcx
    lgdt [rel boot_gdt_pointer]
    lea rcx, [rel .compatibility]
    push 24
    push rcx
    o64 retf
bits 32
.compatibility:
    mov ecx, 16
    mov ds, ecx
    mov es, ecx
    mov ss, ecx
    mov esi, eax
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    mov ecx, EFER
    rdmsr
    and eax, ~EFER_LME
    wrmsr
    xor eax, eax
    mov cr4, eax
    jmp start

; The way of PVH (Xen: "x86/HVM direct boot ABI"): EBX only, whose first word is its magic.
boot_entry_pvh:
    mov eax, [ebx]
boot_entry:
    cli
    cld
    mov esi, eax
    ; There is no stack; the first word of the loader's information serves for one push.
    mov ecx, [ebx]
    lea esp, [ebx + 4]
    call .here
.here:
    pop ebp
    mov [ebx], ecx
    sub ebp, .here

; ESI: magic, EBX: information
start:
    rdtsc
    mov [ebp + boot_tsc], eax
    mov [ebp + boot_tsc + 4], edx
    lea esp, [ebp + boot_stack32_top]
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
    mov ecx, msg_no_cpuid
    test eax, RFLAGS_ID
    jz refuse

    mov eax, 0x80000000
    cpuid
    mov ecx, msg_no_lm
    cmp eax, 0x80000001
    jb refuse
    mov eax, 0x80000001
    cpuid
    mov ecx, msg_no_lm
    test edx, CPUID_EDX_LM
    jz refuse
    mov ecx, msg_no_nx
    test edx, CPUID_EDX_NX
    jz refuse

    ; Identity map of the first 4 GiB in 2 MiB pages, and the image's first GiB in the upper half.
    lea eax, [ebp + boot_pd + PTE_P_RW]
    lea ebx, [ebp + boot_pdpt]
    mov ecx, 4
.pdpt:
    mov [ebx], eax
    add eax, 4096
    add ebx, 8
    loop .pdpt
    lea eax, [ebp + boot_pd_high + PTE_P_RW]
    mov [ebp + boot_pdpt_high + 510 * 8], eax
    lea eax, [ebp + boot_pdpt + PTE_P_RW]
    mov [ebp + boot_pml4], eax
    lea eax, [ebp + boot_pdpt_high + PTE_P_RW]
    mov [ebp + boot_pml4 + 511 * 8], eax
    mov eax, PTE_P_RW | PTE_LARGE
    lea ebx, [ebp + boot_pd]
    mov ecx, 4 * 512
    call map_2m_pages
    lea eax, [ebp + (PTE_P_RW | PTE_LARGE)]
    lea ebx, [ebp + boot_pd_high]
    mov ecx, 512
    call map_2m_pages

    mov eax, cr4
    or eax, CR4_PAE
    mov cr4, eax
    lea eax, [ebp + boot_pml4]
    mov cr3, eax
    mov ecx, EFER
    rdmsr
    or eax, EFER_LME | EFER_NXE
    wrmsr
    mov eax, CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE
    mov cr0, eax
    lea eax, [ebp + boot_gdt]
    mov [ebp + boot_gdt_pointer + 2], eax
    lgdt [ebp + boot_gdt_pointer]
    lea eax, [ebp + long_mode]
    push 8
    push eax
    retf

; From EAX's address on: ECX entries at EBX. Those beyond 4 GiB lead to where nothing is.
map_2m_pages:
    mov [ebx], eax
    add eax, 2 << 20
    add ebx, 8
    loop map_2m_pages
    ret

bits 64
long_mode:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov ebp, ebp                    ; the upper half of registers is undefined after a change of mode
    mov rax, image_delta
    mov [rax], rbp
    mov eax, esi
    mov esi, edi                    ; 2nd argument: the information structure
    mov edi, eax                    ; 1st argument: the magic
    mov rdx, [rbp + boot_tsc]       ; 3rd argument: the TSC at the first instruction
    mov rsp, boot_stack_top
    xor ebp, ebp
    mov rax, boot_main
    call rax
.stop:
    hlt
    jmp .stop

bits 32
; Says why on COM1 (left by firmware in any state: set to 115200 8n1) and on the VGA text screen.
; ECX: the text.
refuse:
    lea edi, [ebp + ecx]
    out_byte COM1 + 3, 0x80
    out_byte COM1, 1
    out_byte COM1 + 1, 0
    out_byte COM1 + 3, 3
    mov ebx, 0xb8000
.next:
    mov al, [edi]
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
    inc edi
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
    dq 0x00cf9b000000ffff           ; 32-bit code
boot_gdt_pointer:
    dw $ - boot_gdt - 1
    dq 0
msg_no_cpuid: db 'bulkhead: refused: this processor has no CPUID instruction', 13, 10, 0
msg_no_lm: db 'bulkhead: refused: this processor has no 64-bit (long) mode', 13, 10, 0
msg_no_nx: db 'bulkhead: refused: this processor has no NX (no-execute pages), or firmware has turned it off', 13, 10, 0

section .boot.bss nobits alloc noexec write align=4096
boot_pml4: resb 4096
boot_pdpt: resb 4096
boot_pdpt_high: resb 4096
boot_pd: resb 4 * 4096
boot_pd_high: resb 4096
boot_pool_pd: resb 4096             ; filled in by boot/main.c: the page pool
boot_stack32: resb 256
boot_stack32_top:

section .init.data progbits alloc noexec write align=16
    times 16384 db 0
global boot_stack_top
boot_stack_top:
