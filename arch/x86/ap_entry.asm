; Where a CPU begins that the boot CPU has started.
;
; A start-up IPI for page VV sets it going at VV00:0000 in real mode (SDM vol. 3, 9.4.4.2). The code
; between ap_trampoline and ap_trampoline_end is copied to such a page. It reads that page only, and
; writes nothing: all CPUs are in it at once.

%define CR4_PAE 1 << 5
%define CR0_LONG_MODE 1 << 31 | 1 << 16 | 1 << 5 | 1 << 4 | 1 << 1 | 1 ; PG WP NE ET MP PE
EFER            equ 0xc0000080
EFER_LME_NXE    equ 1 << 8 | 1 << 11
APIC_BASE       equ 0x1b
APIC_BASE_EXTD  equ 1 << 10
X2APIC_ID       equ 0x802
LAPIC_ID        equ 0x20
STACK_TOP       equ 0xffffffffc0010000 + 2 * 0x4000 ; percpu_stack_top(0), arch/x86/smp.c

global ap_trampoline, ap_trampoline_end, ap_gdt_base, ap_long_address, ap_root
global ap_lapic, ap_count, ap_apic_ids, ap_roots
extern ap_main

section .init.data progbits alloc noexec write align=16
bits 16
align 16
ap_trampoline:
    cli
    cld
    mov ax, cs
    mov ds, ax
    o32 lgdt [ap_gdt_pointer - ap_trampoline]
    mov eax, CR4_PAE
    mov cr4, eax
    mov eax, [ap_root - ap_trampoline]
    mov cr3, eax
    mov ecx, EFER
    xor edx, edx
    mov eax, EFER_LME_NXE
    wrmsr
    mov eax, CR0_LONG_MODE
    mov cr0, eax                    ; CD and NW are clear from here on: caches
    jmp dword far [ap_long_address - ap_trampoline]
bits 64
ap_long:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov rax, ap_start
    jmp rax
align 8
ap_gdt:
    dq 0
    dq 0x00af9b000000ffff           ; 64-bit code, accessed
    dq 0x00cf93000000ffff           ; data, accessed
ap_gdt_pointer:
    dw $ - ap_gdt - 1
; The boot CPU adds the page's address to these two before it copies.
ap_gdt_base:
    dd ap_gdt - ap_trampoline
ap_long_address:
    dd ap_long - ap_trampoline
    dw 8
ap_root:
    dd 0                            ; page tables with this page at its own address
ap_trampoline_end:

; For ap_start, indexed by the CPU's number: its APIC id and its page tables.
align 8
ap_lapic: dq 0                      ; the LAPIC's registers; 0: x2APIC mode
ap_roots: times 64 dq 0
ap_apic_ids: times 64 dd 0
ap_count: dd 0

; In the core's upper half, without a stack: finds out which CPU this is, and goes on with its own
; page tables and stack.
section .init.text progbits alloc exec nowrite align=16
bits 64
align 16
ap_start:
    mov rsi, [rel ap_lapic]
    test rsi, rsi
    jz .x2apic
    mov eax, [rsi + LAPIC_ID]
    shr eax, 24
    jmp .find
.x2apic:
    mov ecx, APIC_BASE
    rdmsr
    or eax, APIC_BASE_EXTD
    wrmsr
    mov ecx, X2APIC_ID
    rdmsr
.find:
    mov ecx, [rel ap_count]
.next:
    dec ecx
    jz .stop                        ; 0 is the boot CPU
    cmp eax, [ap_apic_ids + rcx * 4]
    jne .next
    mov rax, [ap_roots + rcx * 8]
    mov cr3, rax
    mov rsp, STACK_TOP
    xor ebp, ebp
    call ap_main
.stop:
    cli
    hlt
    jmp .stop
