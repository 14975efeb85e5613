; Down from 64-bit mode to any older mode, runs a piece of code there, and up again. Copied to
; LOW_HOME, because real mode reaches only the first MiB; L(label) is where a label is then.
; low.h has the same numbers and struct low_box.

LOW_HOME    equ 0x8000
BOX         equ 0x7c00
IVT         equ 0x2000
CODE_HOME   equ 0xb000
STACK_TOP   equ 0x7a00
V86_STACK   equ 0x7800
RING0_STACK equ 0x5000                  ; TSS: ESP0

%define L(x) ((x) - low_start + LOW_HOME)

SEL_CODE64 equ 0x08
SEL_CODE32 equ 0x10
SEL_DATA32 equ 0x18
SEL_CODE16 equ 0x20
SEL_DATA16 equ 0x28
SEL_TSS    equ 0x30

MSR_EFER   equ 0xc0000080
EFER_LME   equ 1 << 8
EFER_LMA   equ 1 << 10
CR0_PG     equ 1 << 31

; struct low_box
B_MODE     equ BOX + 0
B_CR0_SET  equ BOX + 4
B_CR3      equ BOX + 8
B_CR4      equ BOX + 12
B_BIG      equ BOX + 16
B_REGS     equ BOX + 20                 ; edi esi ebp esp ebx edx ecx eax, as PUSHAD has them
B_EAX      equ B_REGS + 28
B_ECX      equ B_REGS + 24
B_EDX      equ B_REGS + 20
B_EBX      equ B_REGS + 16
B_EBP      equ B_REGS + 8
B_ESI      equ B_REGS + 4
B_EDI      equ B_REGS + 0
B_EFLAGS   equ BOX + 52
B_VECTOR   equ BOX + 56
B_ERROR    equ BOX + 60
B_EIP      equ BOX + 64
B_CS       equ BOX + 68
B_COUNT    equ BOX + 72
B_LAST     equ BOX + 76
B_OUT_CR0  equ BOX + 80
B_OUT_CR4  equ BOX + 84
B_OUT_EFER equ BOX + 88
S_RSP      equ BOX + 96
S_CR0      equ BOX + 104
S_CR3      equ BOX + 112
S_CR4      equ BOX + 120
S_EFER     equ BOX + 128
S_GDT      equ BOX + 136
S_IDT      equ BOX + 152

MODE_REAL  equ 0
MODE_PM16  equ 1
MODE_PM32  equ 2
MODE_V86   equ 3

global low_start, low_end, low_gdt, low_tss, low_v86_done, low_idt

section .rodata
align 16
low_start:
bits 64
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [S_RSP], rsp
    sgdt [S_GDT]
    sidt [S_IDT]
    mov rax, cr0
    mov [S_CR0], rax
    mov rax, cr3
    mov [S_CR3], rax
    mov rax, cr4
    mov [S_CR4], rax
    mov ecx, MSR_EFER
    rdmsr
    mov [S_EFER], eax
    mov dword [B_VECTOR], -1
    lgdt [L(gdt_pointer)]
    push SEL_CODE32
    push L(compat)
    retfq
bits 32
compat:
    mov eax, SEL_DATA32
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    mov ss, eax
    mov esp, STACK_TOP
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    mov ecx, MSR_EFER
    mov eax, [S_EFER]
    and eax, ~(EFER_LME | EFER_LMA)
    xor edx, edx
    wrmsr
    mov eax, [B_CR4]
    mov cr4, eax
    mov eax, [B_CR3]
    mov cr3, eax
    lidt [L(idt_pointer)]
    and byte [L(low_gdt) + SEL_TSS + 5], 0xfd   ; not busy
    mov eax, SEL_TSS
    ltr ax
    mov eax, cr0
    or eax, [B_CR0_SET]
    mov cr0, eax
    jmp SEL_CODE32:L(below)
below:
    mov eax, [B_MODE]
    cmp eax, MODE_PM32
    je run32
    cmp eax, MODE_V86
    je run_v86
    mov eax, SEL_DATA16
    mov ss, eax
    cmp dword [B_BIG], 0
    jne .big
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
.big:
    jmp SEL_CODE16:L(at16)

%macro load_regs 0
    mov ecx, [B_ECX]
    mov edx, [B_EDX]
    mov ebx, [B_EBX]
    mov ebp, [B_EBP]
    mov esi, [B_ESI]
    mov edi, [B_EDI]
    mov eax, [B_EAX]
%endmacro
%macro keep_regs 0
    mov [B_EAX], eax
    mov [B_ECX], ecx
    mov [B_EDX], edx
    mov [B_EBX], ebx
    mov [B_EBP], ebp
    mov [B_ESI], esi
    mov [B_EDI], edi
%endmacro

run32:
    push dword [B_EFLAGS]
    load_regs
    popfd
    call low_start - LOW_HOME + CODE_HOME
    pushfd
    cld
    pop dword [ss:B_EFLAGS]
    push ss
    pop ds
    keep_regs
    jmp leave32

run_v86:
    mov word [V86_STACK - 2], L(low_v86_done)   ; where its RET goes
    xor eax, eax
    push eax                            ; GS FS DS ES SS
    push eax
    push eax
    push eax
    push eax
    push dword V86_STACK - 2
    push dword [B_EFLAGS]
    push eax
    push dword CODE_HOME
    load_regs
    iretd

bits 16
low_v86_done:
    hlt
at16:
    cmp dword [B_MODE], MODE_PM16
    je .protected
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    jmp 0:L(.real)
.real:
    lidt [L(ivt_pointer)]
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
.protected:
    mov esp, STACK_TOP
    push dword [B_EFLAGS]
    load_regs
    popfd
    call low_start - LOW_HOME + CODE_HOME
    pushfd
    cli
    cld
    pop dword [ss:B_EFLAGS]
    push ss
    pop ds
    keep_regs
leave16:
    mov eax, cr0
    mov [B_OUT_CR0], eax
    or al, 1
    mov cr0, eax
    jmp dword SEL_CODE32:L(leave)

; Real mode, vectors 0 to 127: the stack has vector, IP, CS, FLAGS.
real_stubs:
%assign v 0
%rep 128
    align 8, db 0x90
    push word v
    jmp near real_common
%assign v v + 1
%endrep
real_common:
    push ds
    pushad
    mov bp, sp
    xor ax, ax
    mov ds, ax
    movzx eax, word [bp + 34]
    cmp ax, 32
    jae .interrupt
    mov [B_VECTOR], eax
    mov ax, [bp + 36]
    mov [B_EIP], eax
    mov ax, [bp + 38]
    mov [B_CS], eax
    mov ax, [bp + 40]
    mov [B_EFLAGS], eax
    mov dword [B_ERROR], 0
%assign i 0
%rep 8
    mov eax, [bp + i]
    mov [B_REGS + i], eax
%assign i i + 4
%endrep
    mov sp, STACK_TOP
    cld
    jmp leave16
.interrupt:
    inc dword [B_COUNT]
    mov [B_LAST], eax
    popad
    pop ds
    add sp, 2
    iret

bits 32
; Protected mode: the stack has vector, error code, EIP, CS, EFLAGS.
pm_stubs:
%assign v 0
%rep 128
    align 16, db 0x90
%if v = 8 || (v >= 10 && v <= 14) || v = 17
    nop
    nop
%else
    push byte 0
%endif
    push byte v
    jmp near pm_common
%assign v v + 1
%endrep
pm_common:
    pushad
    push ds
    push es
    mov eax, SEL_DATA32
    mov ds, eax
    mov es, eax
    mov eax, [esp + 40]
    cmp eax, 32
    jae .interrupt
    mov [B_VECTOR], eax
    mov eax, [esp + 44]
    mov [B_ERROR], eax
    mov eax, [esp + 48]
    mov [B_EIP], eax
    movzx eax, word [esp + 52]
    mov [B_CS], eax
    mov eax, [esp + 56]
    mov [B_EFLAGS], eax
%assign i 0
%rep 8
    mov eax, [esp + 8 + i]
    mov [B_REGS + i], eax
%assign i i + 4
%endrep
    jmp leave32
.interrupt:
    inc dword [B_COUNT]
    mov [B_LAST], eax
    pop es
    pop ds
    popad
    add esp, 8
    iretd

leave32:
    mov eax, cr0
    mov [B_OUT_CR0], eax
leave:
    cli
    cld
    mov eax, SEL_DATA32
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    mov ss, eax
    mov esp, STACK_TOP
    mov eax, cr4
    mov [B_OUT_CR4], eax
    mov ecx, MSR_EFER
    rdmsr
    mov [B_OUT_EFER], eax
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    mov eax, [S_CR4]
    mov cr4, eax
    mov eax, [S_CR3]
    mov cr3, eax
    mov ecx, MSR_EFER
    mov eax, [S_EFER]
    and eax, ~EFER_LMA
    xor edx, edx
    wrmsr
    mov eax, [S_CR0]
    mov cr0, eax
    jmp SEL_CODE64:L(back)
bits 64
back:
    lgdt [S_GDT]
    lidt [S_IDT]
    mov rsp, [S_RSP]
    mov eax, 0x10                       ; guestlib's data segment
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    push 0x08                           ; guestlib's code segment, the same
    lea rax, [rel .there]
    push rax
    retfq
.there:
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

align 16
low_gdt:
    dq 0
    dq 0x00af9b000000ffff               ; 08 64-bit code
    dq 0x00cf9b000000ffff               ; 10 32-bit code
    dq 0x00cf93000000ffff               ; 18 data
    dq 0x00009b000000ffff               ; 20 16-bit code
    dq 0x000093000000ffff               ; 28 16-bit data, 64 KiB
    dw 103, L(low_tss)                  ; 30 32-bit TSS
    db 0, 0x89, 0, 0
    times 9 dq 0                        ; 38 and on: the tests' own
gdt_end:
gdt_pointer:
    dw gdt_end - low_gdt - 1
    dq L(low_gdt)
idt_pointer:
    dw 128 * 8 - 1
    dd L(low_idt)
ivt_pointer:
    dw 128 * 4 - 1
    dd IVT
align 16
low_tss:
    dd 0, RING0_STACK, SEL_DATA32
    times 22 dd 0
    dw 0, 104                           ; I/O map: beyond the limit
align 16
low_idt:
%assign v 0
%rep 128
    dw L(pm_stubs) + v * 16, SEL_CODE32
    db 0, (v < 32 && v != 3 && v != 4) ? 0x8e : 0xee
    dw 0
%assign v v + 1
%endrep
; The IVT is made at run time: its place is not in this image.
global low_real_stubs
low_real_stubs equ real_stubs - low_start + LOW_HOME
low_end:
