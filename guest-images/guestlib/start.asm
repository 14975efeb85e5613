; Multiboot 1 entry in 32-bit protected mode (Multiboot specification 0.6.96, 3.2), to 64-bit mode.

MULTIBOOT_MAGIC equ 0x1badb002
MULTIBOOT_FLAGS equ 3                   ; modules on page boundaries, memory information

PTE_P     equ 1
PTE_W     equ 2
PTE_U     equ 4
PTE_LARGE equ 0x80

CR0_START equ 0x80010033                ; PG WP NE ET MP PE
CR4_START equ 0x620                     ; OSXMMEXCPT OSFXSR PAE
MSR_EFER  equ 0xc0000080
EFER_LME  equ 1 << 8
EFER_NXE  equ 1 << 11
CPUID_NX  equ 1 << 20

extern guest_boot_save, guest_trap_init, guest_console_init, lapic_init, guest_main
extern guest_power_off, guest_gdt
global guest_start, guest_pml4, guest_pdpt, guest_window_pt, guest_stack_top

section .multiboot
align 4
    dd MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

section .text
bits 32
guest_start:
    cli
    cld
    mov esp, guest_stack_top
    mov esi, eax                        ; magic
    mov edi, ebx                        ; information
    call make_tables
    mov eax, guest_pml4
    mov cr3, eax
    mov eax, CR4_START
    mov cr4, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    wrmsr
    mov eax, CR0_START
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    jmp 0x08:entry64

; The map of guestlib.h.
make_tables:
    mov dword [guest_pml4], guest_pdpt + PTE_P + PTE_W + PTE_U
    mov dword [guest_pdpt], pd_low + PTE_P + PTE_W
    mov dword [guest_pdpt + 8], pd_window + PTE_P + PTE_W + PTE_U
    mov dword [guest_pdpt + 16], pd_user + PTE_P + PTE_W + PTE_U
    mov dword [guest_pdpt + 24], pd_high + PTE_P + PTE_W
    mov dword [pd_window], guest_window_pt + PTE_P + PTE_W + PTE_U
    mov ecx, 512
    mov edx, PTE_P | PTE_W | PTE_LARGE
    xor ebx, ebx
.next:
    mov [pd_low + ebx], edx
    lea eax, [edx + PTE_U]
    mov [pd_user + ebx], eax
    lea eax, [edx + 0xc0000000]
    mov [pd_high + ebx], eax
    add edx, 0x200000
    add ebx, 8
    loop .next
    ret

bits 64
entry64:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov rsp, guest_stack_top
    mov r12d, esi
    mov r13d, edi
    mov eax, 0x80000001                 ; NX, if the processor has it
    cpuid
    test edx, CPUID_NX
    jz .no_nx
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_NXE
    wrmsr
.no_nx:
    mov edi, r12d
    mov esi, r13d
    call guest_boot_save
    call guest_trap_init
    call guest_console_init
    call lapic_init
    call guest_main
    call guest_power_off

section .rodata
align 8
boot_gdt:
    dq 0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdt_pointer:
    dw $ - boot_gdt - 1
    dd boot_gdt

section .bss nobits alloc write align=4096
guest_pml4:      resq 512
guest_pdpt:      resq 512
guest_window_pt: resq 512
pd_low:          resq 512
pd_window:       resq 512
pd_user:         resq 512
pd_high:         resq 512
                 resb 32768
guest_stack_top:
