; Where an application processor begins: real mode at VV00h:0000h, VV the vector of its SIPI (SDM
; vol. 3, 8.4.4). Two copies below 1 MiB, at smp_pages[] (cpus.c). What the registers hold is put
; into the copy first, at SMP_STATE_OFFSET (smp.h, struct smp_state).

STATE      equ 0x800
CR0_START  equ 0x80010033               ; PG WP NE ET MP PE
CR4_START  equ 0x620                    ; OSXMMEXCPT OSFXSR PAE
MSR_EFER   equ 0xc0000080
STACK_SIZE equ 16384                    ; SMP_STACK

extern guest_pml4, smp_index_of, smp_stacks, smp_ap_entry, smp_efer
global smp_trampoline, smp_trampoline_end

section .rodata
bits 16
smp_trampoline:
    mov [cs:STATE + 0], eax
    mov [cs:STATE + 4], ebx
    mov [cs:STATE + 8], ecx
    mov [cs:STATE + 12], edx
    mov [cs:STATE + 16], esi
    mov [cs:STATE + 20], edi
    mov [cs:STATE + 24], ebp
    mov [cs:STATE + 28], esp
    mov [cs:STATE + 72], cs
    mov [cs:STATE + 74], ds
    mov [cs:STATE + 76], es
    mov [cs:STATE + 78], ss
    mov [cs:STATE + 80], fs
    mov [cs:STATE + 82], gs
    sgdt [cs:STATE + 84]
    sidt [cs:STATE + 90]
    mov ax, cs
    mov ss, ax
    mov sp, 0xff0
    pushfd
    pop dword [cs:STATE + 32]
    cli
    cld
    mov eax, cr0
    mov [cs:STATE + 36], eax
    mov eax, cr2
    mov [cs:STATE + 40], eax
    mov eax, cr3
    mov [cs:STATE + 44], eax
    mov eax, cr4
    mov [cs:STATE + 48], eax
    mov eax, dr6
    mov [cs:STATE + 52], eax
    mov eax, dr7
    mov [cs:STATE + 56], eax
    mov ecx, MSR_EFER
    rdmsr
    mov [cs:STATE + 60], eax
    mov eax, dr0
    mov [cs:STATE + 64], eax
    xor ebp, ebp
    mov bp, cs
    shl ebp, 4
    o32 lgdt [cs:gdt_pointer - smp_trampoline]
    mov eax, 0x11                       ; ET PE
    mov cr0, eax
    jmp dword 0x18:entry32
gdt_pointer:
    dw 4 * 8 - 1
    dd ap_gdt
smp_trampoline_end:

align 8
ap_gdt:
    dq 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff

section .text
bits 32
entry32:
    mov eax, 0x10
    mov ds, eax
    mov ss, eax
    mov eax, CR4_START
    mov cr4, eax
    mov eax, guest_pml4
    mov cr3, eax
    mov ecx, MSR_EFER
    mov eax, [smp_efer]
    xor edx, edx
    wrmsr
    mov eax, CR0_START
    mov cr0, eax
    jmp 0x08:entry64

bits 64
entry64:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov eax, 1                          ; the initial APIC id, of 8 bits (SDM vol. 2, CPUID)
    cpuid
    shr ebx, 24
    movzx edi, byte [smp_index_of + rbx]
    imul esp, edi, STACK_SIZE
    add esp, smp_stacks + STACK_SIZE
    mov esi, ebp
    xor ebp, ebp
    call smp_ap_entry
.stop:
    cli
    hlt
    jmp .stop
