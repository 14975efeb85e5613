; Into random code and out of it again: by IRETQ, and through real mode.

%define STUB(label) ((label) - fuzz_real_start + FUZZ_REAL_STUB)

FUZZ_REAL_STUB equ 0x8000
FUZZ_STACK     equ 0xf000
FUZZ_CODE      equ 0xa000
SEL_CODE64     equ 0x08
SEL_DATA       equ 0x10
SEL_CODE32     equ 0x30
SEL_CODE16     equ 0x38
SEL_DATA16     equ 0x40
CR0_PE         equ 1
CR0_PG         equ 1 << 31
CR4_PAE        equ 1 << 5
MSR_EFER       equ 0xc0000080
EFER_LME       equ 1 << 8
VECTORS        equ 256
IP_MASK        equ 63
TICKS_LIMIT    equ 2                    ; as in events.c

global fuzz_enter, fuzz_leave, fuzz_saved_rsp, fuzz_call_target
global fuzz_real_start, fuzz_real_end, fuzz_real_area, fuzz_enter_real

%macro save_registers 0
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [rel fuzz_saved_rsp], rsp
%endmacro

section .text
bits 64
; void fuzz_enter(struct guest_frame *frame): frame is a stack for IRETQ.
fuzz_enter:
    save_registers
    mov eax, [rdi + 21 * 8]             ; SS
    mov ecx, SEL_DATA
    test byte [rdi + 18 * 8], 3         ; RPL of CS
    jz .ring0
    mov ecx, eax
.ring0:
    mov ds, ecx
    mov es, ecx
    mov rsp, rdi
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

fuzz_leave:
    mov rsp, [rel fuzz_saved_rsp]
    cld
    mov ecx, SEL_DATA
    mov ds, ecx
    mov es, ecx
    mov ss, ecx
    xor ecx, ecx
    mov fs, ecx
    mov gs, ecx
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

; Where SYSCALL and SYSENTER go.
fuzz_call_target:
    int 0x81
    jmp fuzz_call_target

; void fuzz_enter_real(uint64_t cr3): by way of compatibility mode (SDM vol. 3, 9.9.2 and 10.8.5.4).
fuzz_enter_real:
    save_registers
    sgdt [rel saved_gdt]
    sidt [rel saved_idt]
    mov [rel saved_cr3], edi
    mov rax, cr4
    mov [rel saved_cr4], eax
    mov rax, cr0
    mov [rel saved_cr0], eax
    push SEL_CODE32
    push .compat
    retfq
bits 32
.compat:
    mov eax, SEL_DATA
    mov ss, eax
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    mov ecx, MSR_EFER
    rdmsr
    mov [saved_efer], eax
    mov [saved_efer + 4], edx
    and eax, ~EFER_LME
    wrmsr
    xor eax, eax
    mov cr4, eax
    jmp SEL_CODE16:STUB(real_entry)

; Back from real mode, in 32-bit protected mode.
from_real:
    mov eax, SEL_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, [saved_cr4]
    mov cr4, eax
    mov eax, [saved_cr3]
    mov cr3, eax
    mov ecx, MSR_EFER
    mov eax, [saved_efer]
    mov edx, [saved_efer + 4]
    or eax, EFER_LME
    wrmsr
    mov eax, [saved_cr0]
    mov cr0, eax
    jmp SEL_CODE64:.long
bits 64
.long:
    lidt [rel saved_idt]
    mov rsp, [rel fuzz_saved_rsp]
    mov eax, SEL_DATA                   ; by IRET: it may have been an NMI, and they are blocked
    push rax
    push qword [rel fuzz_saved_rsp]
    push 2
    push SEL_CODE64
    push fuzz_leave
    iretq

; --- what is copied to FUZZ_REAL_STUB ---
section .rodata
align 16
bits 16
fuzz_real_start:
real_entry:
    mov ax, SEL_DATA16
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov fs, ax
    mov gs, ax
    lidt [STUB(real_idt)]
    mov eax, cr0
    and eax, ~CR0_PE
    mov cr0, eax
    jmp 0:STUB(.real)
.real:
    call segments
    mov sp, FUZZ_STACK
    push word [STUB(area.flags)]
    push word 0
    push word [STUB(area.ip)]
    mov eax, [STUB(area.gpr)]
    mov ecx, [STUB(area.gpr) + 4]
    mov edx, [STUB(area.gpr) + 8]
    mov ebx, [STUB(area.gpr) + 12]
    mov ebp, [STUB(area.gpr) + 20]
    mov esi, [STUB(area.gpr) + 24]
    mov edi, [STUB(area.gpr) + 28]
    iret

; The data segments and the stack's; AX is lost.
segments:
    pop bp
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov ax, 0x1000
    mov es, ax
    mov fs, ax
    mov ax, 0x2000
    mov gs, ax
    jmp bp

; #DB: one instruction more.
real_step:
    mov dword [cs:STUB(area.ticks)], 0
    dec dword [cs:STUB(area.left)]
    js real_out
    test byte [cs:STUB(area.left)], 15
    jz real_elsewhere
    iret

; Every other vector: another place in the code.
real_event:
    mov dword [cs:STUB(area.ticks)], 0
    inc dword [cs:STUB(area.events)]
    dec dword [cs:STUB(area.left)]
    js real_out
real_elsewhere:
    call segments
    mov sp, FUZZ_STACK
    push word [STUB(area.flags)]
    push word 0
    mov bx, [STUB(area.left)]
    and bx, IP_MASK
    shl bx, 1
    push word [STUB(area.ip) + bx]
    mov eax, [STUB(area.gpr)]
    mov ecx, [STUB(area.gpr) + 4]
    iret

; NMI: the watchdog.
real_tick:
    inc dword [cs:STUB(area.ticks)]
    cmp dword [cs:STUB(area.ticks)], TICKS_LIMIT
    jae real_out
    iret

real_out:
    cli
    xor ax, ax
    mov ds, ax
    o32 lgdt [STUB(real_gdt)]
    mov eax, [STUB(real_cr0)]
    mov cr0, eax
    jmp dword SEL_CODE32:from_real

align 4
real_idt:
    dw VECTORS * 4 - 1
    dd 0
real_gdt: times 6 db 0
real_cr0: dd CR0_PE | 0x30
fuzz_real_area:
area:
.gpr:    times 8 dd 0
.left:   dd 0
.events: dd 0
.ticks:  dd 0
.flags:  dd 0
.ip:     times 64 dw 0
; For the C code: offsets of the handlers and of the GDT pointer's place.
global fuzz_real_offsets
fuzz_real_end:
fuzz_real_offsets:
    dw STUB(real_step), STUB(real_event), STUB(real_tick), STUB(real_gdt)

section .bss nobits alloc write align=16
fuzz_saved_rsp: resq 1
saved_gdt:      resb 16
saved_idt:      resb 16
saved_cr0:      resd 1
saved_cr3:      resd 1
saved_cr4:      resd 1
                resd 1
saved_efer:     resq 1
