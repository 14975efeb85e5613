; Registers that no exit saves by itself must be this VM's own after any switch. Loads patterns made
; from seed=N, waits until the processor was surely somebody else's for a while, and compares:
; x87, MXCSR, XMM/YMM, debug registers, CR2, and the MSRs of SYSCALL, SYSENTER, FS/GS, TSC_AUX, PAT.
; Prints "regs ok ROUNDS" once a period= (ms, 1000); wait= ms a round (3).
%include "start.inc"

XCR0_AVX        equ 7               ; x87, SSE, AVX
CR4_OSFXSR      equ 1 << 9
CR4_OSXMMEXCPT  equ 1 << 10
CR4_OSXSAVE     equ 1 << 18
CPUID_ECX_XSAVE equ 1 << 26
CPUID_ECX_AVX   equ 1 << 28
AREA            equ 0x800000        ; patterns of the vector registers: 16 * 32 bytes
SEEN            equ 0x801000
FX_SET          equ 0x802000        ; FXSAVE images
FX_SEEN         equ 0x803000
seed            equ guest_vars
have_avx        equ guest_vars + 8
rounds          equ guest_vars + 16
next_tell       equ guest_vars + 24
wait_time       equ guest_vars + 32
period          equ guest_vars + 40
pattern         equ guest_vars + 48
msr_values      equ guest_vars + 0x100
dr_values       equ guest_vars + 0x200

main:
    call interrupts_on
    mov rax, cr4
    or eax, CR4_OSFXSR | CR4_OSXMMEXCPT
    mov cr4, rax
    mov eax, 1
    cpuid
    and ecx, CPUID_ECX_XSAVE | CPUID_ECX_AVX
    cmp ecx, CPUID_ECX_XSAVE | CPUID_ECX_AVX
    jne .no_avx
    mov rax, cr4
    or eax, CR4_OSXSAVE
    mov cr4, rax
    xor ecx, ecx
    xor edx, edx
    mov eax, XCR0_AVX
    xsetbv
    inc qword [have_avx]
.no_avx:
    call calibrate_tsc
    print_text "READY avx "
    mov rax, [have_avx]
    call print_decimal
    call print_newline
    option [seed], "seed=", 1
    option [wait_time], "wait=", 3
    option rax, "period=", 1000
    mul qword [tsc_per_ms]
    mov [period], rax
    mov rax, 0x9e3779b97f4a7c15
    mul qword [seed]
    mov [pattern], rax
.tell:
    call read_tsc
    add rax, [period]
    mov [next_tell], rax
.round:
    call load_all
    mov rax, [wait_time]
    call wait_ms
    call compare_all
    inc qword [rounds]
    call read_tsc
    cmp rax, [next_tell]
    jb .round
    print_text "regs ok "
    mov rax, [rounds]
    call print_decimal
    call print_newline
    jmp .tell

; The next pattern, in RAX (xorshift64).
next:
    push rcx
    mov rax, [pattern]
    mov rcx, rax
    shl rcx, 13
    xor rax, rcx
    mov rcx, rax
    shr rcx, 7
    xor rax, rcx
    mov rcx, rax
    shl rcx, 17
    xor rax, rcx
    mov [pattern], rax
    pop rcx
    ret

load_all:
    mov edi, AREA
    mov ecx, 16 * 32 / 8
.pattern:
    call next
    mov [rdi], rax
    add edi, 8
    loop .pattern
    ; x87: eight numbers (any bits are one), control word; MXCSR: rounding by the seed.
    fninit
    mov eax, [seed]
    and eax, 3
    shl eax, 10
    or eax, 0x37f
    mov [FX_SET + 512], ax
    fldcw [FX_SET + 512]
    mov eax, [seed]
    and eax, 3
    shl eax, 13
    or eax, 0x1f80
    mov [FX_SET + 512], eax
    ldmxcsr [FX_SET + 512]
%assign i 0
%rep 8
    call next
    mov [FX_SET + 520], rax
    fild qword [FX_SET + 520]
%assign i i + 1
%endrep
    cmp qword [have_avx], 0
    je .sse
%assign i 0
%rep 16
    vmovdqu ymm%+i, [AREA + i * 32]
%assign i i + 1
%endrep
    jmp .vectors_done
.sse:
%assign i 0
%rep 16
    movdqu xmm%+i, [AREA + i * 32]
%assign i i + 1
%endrep
.vectors_done:
    fxsave64 [FX_SET]
    ; Debug registers 0 to 3, not enabled in DR7.
    call next
    mov dr0, rax
    mov [dr_values], rax
    call next
    mov dr1, rax
    mov [dr_values + 8], rax
    call next
    mov dr2, rax
    mov [dr_values + 16], rax
    call next
    mov dr3, rax
    mov [dr_values + 24], rax
    call next
    mov cr2, rax
    mov [dr_values + 32], rax
    xor ebx, ebx
.msr:
    call next
    shl rax, 17                     ; canonical, whatever the bits
    sar rax, 17
    and rax, [msrs + rbx * 2 + 8]
    or rax, [msrs + rbx * 2 + 16]
    mov [msr_values + rbx], rax
    cmp dword [msrs + rbx * 2], 0x277
    jne .plain
    mov rax, 0x0407010600070406
    test byte [seed], 1
    jz .plain
    mov rax, 0x0007040600070406
.plain:
    mov [msr_values + rbx], rax
    mov rdx, rax
    shr rdx, 32
    mov ecx, [msrs + rbx * 2]
    wrmsr
    add ebx, MSR_ROW / 2
    cmp ebx, MSR_COUNT * MSR_ROW / 2
    jb .msr
    ret

; fail_if_differs: RAX found, RDX expected
%macro compare 1
    cmp rax, rdx
    je %%same
    print_text {"FAIL regs ", %1, " found "}
    call fail
%%same:
%endmacro

compare_all:
    fxsave64 [FX_SEEN]
    cmp qword [have_avx], 0
    je .sse
%assign i 0
%rep 16
    vmovdqu [SEEN + i * 32], ymm%+i
%assign i i + 1
%endrep
    xor ebx, ebx
.ymm:
    mov rax, [SEEN + rbx * 8]
    mov rdx, [AREA + rbx * 8]
    compare "ymm"
    inc ebx
    cmp ebx, 16 * 32 / 8
    jb .ymm
.sse:
    xor ebx, ebx
.fx:
    cmp ebx, 1                      ; last x87 instruction's address: FXSAVE itself does not move it,
    je .fx_next                     ; but AMD keeps it only with an exception pending
    cmp ebx, 2
    je .fx_next
    mov rax, [FX_SEEN + rbx * 8]
    mov rdx, [FX_SET + rbx * 8]
    compare "fxsave"
.fx_next:
    inc ebx
    cmp ebx, 416 / 8                ; the rest is reserved or software's
    jb .fx
    mov rax, dr0
    mov rdx, [dr_values]
    compare "dr0"
    mov rax, dr1
    mov rdx, [dr_values + 8]
    compare "dr1"
    mov rax, dr2
    mov rdx, [dr_values + 16]
    compare "dr2"
    mov rax, dr3
    mov rdx, [dr_values + 24]
    compare "dr3"
    mov rax, cr2
    mov rdx, [dr_values + 32]
    compare "cr2"
    xor ebx, ebx
.msr:
    mov ecx, [msrs + rbx * 2]
    rdmsr
    shl rdx, 32
    or rax, rdx
    mov rdx, [msr_values + rbx]
    compare "msr"
    add ebx, MSR_ROW / 2
    cmp ebx, MSR_COUNT * MSR_ROW / 2
    jb .msr
    ret

; RAX: found, RDX: expected, RBX: which
fail:
    call print_hex
    print_text " expected "
    mov rax, rdx
    call print_hex
    print_text " index "
    mov eax, ebx
    call print_hex
    call print_newline
    jmp stop

section .rodata
MSR_ROW equ 32
%macro msr 3                        ; number, bits to keep, bits to set
    dq %1, %2, %3, 0
%endmacro
align 8
msrs:
    msr 0xc0000081, -1, 0                     ; STAR
    msr 0xc0000082, -1, 0                     ; LSTAR
    msr 0xc0000083, -1, 0                     ; CSTAR
    msr 0xc0000084, 0xffffffff, 0             ; SFMASK
    msr 0xc0000100, -1, 0                     ; FS_BASE
    msr 0xc0000101, -1, 0                     ; GS_BASE
    msr 0xc0000102, -1, 0                     ; KERNEL_GS_BASE
    msr 0xc0000103, 0xffffffff, 0             ; TSC_AUX
    msr 0x174, 0xffff, 0                      ; SYSENTER_CS
    msr 0x175, 0xffffffff, 0                  ; SYSENTER_ESP
    msr 0x176, 0xffffffff, 0                  ; SYSENTER_EIP
    msr 0x277, -1, 0                          ; PAT
MSR_COUNT equ ($ - msrs) / MSR_ROW
section .text
%include "end.inc"
