; Does what no guest should, and says how far it came: odd instructions, addresses outside its
; memory, every MSR, every port. Nothing of it may hurt another VM or the core. Prints DONE at the
; end and powers off, or triple-faults with the word "triple". With the word "exec" it jumps to
; addresses that are not memory. only=N runs part N alone (1 instructions, 2 memory, 3 MSRs,
; 4 ports); "nocr4" leaves out what hangs QEMU itself when the guest runs natively.
%include "start.inc"

GARBAGE         equ 0x5a5a5a5a5a5a5a5a ; no reset or sleep bit in any byte
SLOT            equ 0x40000000      ; a virtual page whose translation changes all the time
SLOT_TABLES     equ 0x900000        ; PD and PT for it
PTE_UNCACHED    equ 0x18
MSR_EFER        equ 0xc0000080
EFER_SVME       equ 1 << 12
random_state    equ guest_vars
outcome         equ guest_vars + 8

main:
    call interrupts_on
    print_line "READY"
    mov rax, 0x9e3779b97f4a7c15
    mov [random_state], rax
    option r15, "only=", 0
    call wanted_1
    jnz .no_instructions
    call odd_instructions
.no_instructions:
    cmp r15, 0
    je .memory
    cmp r15, 2
    jne .no_memory
.memory:
    call foreign_memory
.no_memory:
    cmp r15, 0
    je .msrs
    cmp r15, 3
    jne .no_msrs
.msrs:
    call all_msrs
.no_msrs:
    cmp r15, 0
    je .ports
    cmp r15, 4
    jne .no_ports
.ports:
    call all_ports
.no_ports:
    has_word "exec"
    jz .end
    call foreign_code
.end:
    print_line "DONE"
    has_word "triple"
    jnz triple_fault
    jmp power_off

wanted_1:
    cmp r15, 0
    je .yes
    cmp r15, 1
.yes:
    ret

random:                             ; RAX; keeps the others
    push rcx
    mov rax, [random_state]
    mov rcx, rax
    shl rcx, 13
    xor rax, rcx
    mov rcx, rax
    shr rcx, 7
    xor rax, rcx
    mov rcx, rax
    shl rcx, 17
    xor rax, rcx
    mov [random_state], rax
    pop rcx
    ret

random_registers:
    call random
    mov rbx, rax
    call random
    mov rcx, rax
    call random
    mov rdx, rax
    call random
    mov rsi, rax
    call random
    mov rdi, rax
    call random
    mov r8, rax
    call random
    mov r9, rax
    call random
    ret

tell_faults:
    print_text ", faults "
    push rax
    mov rax, [fault_count]
    call print_decimal
    pop rax
    call print_newline
    mov qword [fault_count], 0
    ret

; --- 1: instructions ---

%macro odd 1+                       ; one instruction or a few bytes, whatever comes of it
    try
    %1
    end_try
    call settle
%endmacro

; Puts back what an odd instruction may have changed.
settle:
    push rax
    mov rax, page_tables
    mov cr3, rax
    lgdt [gdt_pointer]
    lidt [idt_pointer]
    push 2
    popfq
    mov eax, 0x18
    mov ds, eax
    mov es, eax
    mov ss, eax
    pop rax
    ret

odd_instructions:
    mov ebp, 3
.again:
    call random_registers
    odd db 0x0f, 0x01, 0xd8         ; VMRUN
    mov eax, 0x1000
    odd db 0x0f, 0x01, 0xd8
    odd db 0x0f, 0x01, 0xda         ; VMLOAD
    odd db 0x0f, 0x01, 0xdb         ; VMSAVE
    odd db 0x0f, 0x01, 0xdc         ; STGI
    odd db 0x0f, 0x01, 0xdd         ; CLGI
    odd db 0x0f, 0x01, 0xde         ; SKINIT
    odd db 0x0f, 0x01, 0xdf         ; INVLPGA
    odd db 0x0f, 0x01, 0xc1         ; VMCALL
    odd db 0x0f, 0x01, 0xc2         ; VMLAUNCH
    odd db 0x0f, 0x01, 0xc3         ; VMRESUME
    odd db 0x0f, 0x01, 0xc4         ; VMXOFF
    odd db 0x0f, 0xc7, 0x31         ; VMPTRLD [rcx]
    odd db 0x0f, 0x78, 0xc8         ; VMREAD
    odd db 0x0f, 0x01, 0xd4         ; VMFUNC
    odd db 0x0f, 0x37               ; GETSEC
    odd db 0x0f, 0x01, 0xd7         ; ENCLU
    odd db 0x0f, 0x01, 0xcf         ; ENCLS
    odd db 0x0f, 0x01, 0xc5         ; PCONFIG
    odd db 0x0f, 0xaa               ; RSM
    odd db 0x0f, 0x0b               ; UD2
    odd db 0xf1                     ; ICEBP
    odd int3
    odd int 0x80
    odd int 1
    odd db 0xce                     ; INTO
    odd db 0x0f, 0x01, 0xc8         ; MONITOR
    xor ecx, ecx
    xor edx, edx
    mov eax, page_tables
    odd db 0x0f, 0x01, 0xc8
    odd db 0x0f, 0x01, 0xfa         ; MONITORX
    mov eax, SLOT_TABLES
    odd db 0x0f, 0x01, 0xfc         ; CLZERO
    mov ecx, -1
    odd db 0x0f, 0x01, 0xc9         ; MWAIT with unknown hints
    odd db 0x0f, 0x01, 0xfb         ; MWAITX
    odd db 0x66, 0x0f, 0xae, 0xf1   ; TPAUSE
    odd wbinvd
    odd db 0xf3, 0x0f, 0x09         ; WBNOINVD
    odd invd
    odd clts
    odd db 0x0f, 0x01, 0xf9         ; RDTSCP
    odd db 0xf3, 0x0f, 0xc7, 0xf8   ; RDPID
    odd db 0x0f, 0xc7, 0xf0         ; RDRAND
    odd db 0x0f, 0xc7, 0xf8         ; RDSEED
    odd db 0x0f, 0x01, 0xee         ; RDPKRU
    odd db 0x0f, 0x01, 0xca         ; CLAC
    odd db 0xf3, 0x0f, 0x1e, 0xfa   ; ENDBR64
    odd db 0xf0, 0x90               ; LOCK NOP
    odd db 0x66, 0x0f, 0x38, 0x82, 0x08 ; INVPCID
    odd db 0x66, 0x0f, 0x38, 0x80, 0x08 ; INVEPT
    odd db 0x0f, 0xc7, 0x2f         ; XSAVES [rdi]
    odd sysenter
    odd o64 sysret
    odd syscall
    odd sysexit
    odd mov rax, [rcx + 0x7fffffff]

    ; Fifteen prefixes, and more than an instruction may have.
    odd times 14 db 0x66
    odd times 16 db 0x66

    ; Control and debug registers with bits that do not exist or do not go together. (Not: leaving
    ; paging or PAE in 64-bit mode, which QEMU's TCG lets happen; that ends this VM only.)
    mov rax, -1
    odd mov cr0, rax
    odd mov cr8, rax
    odd mov dr7, rax
    odd mov dr6, rax
    mov eax, CR0_BASE | 1 << 29     ; NW without CD
    odd mov cr0, rax
    has_word "nocr4"                ; QEMU 7.2 itself hangs at bits that CR4 does not have
    jnz .no_cr4
    mov eax, CR4_PAE | 1 << 13      ; VMXE
    odd mov cr4, rax
    mov eax, CR4_PAE | 1 << 23      ; CET
    odd mov cr4, rax
    mov rax, 0xffffffff00000000 | CR4_PAE
    odd mov cr4, rax
.no_cr4:
    xor eax, eax
    odd lmsw ax
    mov eax, CR4_PAE
    odd mov cr4, rax
    mov eax, CR0_BASE
    odd mov cr0, rax
    xor eax, eax
    odd mov cr8, rax
    mov eax, 0x400
    odd mov dr7, rax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_SVME
    odd wrmsr
    rdmsr
    test eax, EFER_SVME
    jz .svme_off
    print_line "note: EFER.SVME can be set"
.svme_off:

    ; XSETBV: bad registers, bad combinations, without OSXSAVE.
    xor edx, edx
    xor eax, eax
    mov ecx, 1
    odd xsetbv
    mov eax, CR4_PAE | 1 << 18
    odd mov cr4, rax
    mov ecx, 8
.xcr:
    call random
    mov rdx, rax
    shr rdx, 32
    odd xsetbv
    mov eax, ecx
    xor edx, edx
    odd xsetbv
    odd xgetbv
    push rcx
    xor ecx, ecx
    mov eax, [rsp]
    shl eax, 1
    odd xsetbv
    call random
    mov rdx, rax
    shr rdx, 32
    odd xsetbv
    pop rcx
    sub ecx, 1
    jns .xcr

    ; Descriptor tables of any size anywhere, segments and tasks that do not exist.
    push 0xffff
    odd lldt [rsp]
    odd ltr [rsp]
    pop rax
    odd mov ds, eax
    odd mov ss, eax
    odd invlpg [0]
    call random
    odd invlpg [rax]

    ; Counters.
    mov ecx, 64
.rdpmc:
    odd rdpmc
    sub ecx, 1
    jnz .rdpmc

    ; Hypercalls, by both vendors' instructions.
    mov r14d, 64
.hypercall:
    call random_registers
    odd db 0x0f, 0x01, 0xd9         ; VMMCALL
    call random_registers
    mov rax, r14
    odd db 0x0f, 0x01, 0xd9
    odd db 0x0f, 0x01, 0xc1         ; VMCALL
    sub r14d, 1
    jnz .hypercall

    ; CPUID with any leaf.
    mov r14d, 256
.cpuid:
    call random_registers
    cpuid
    mov eax, r14d
    mov ecx, r14d
    shr ecx, 2
    cpuid
    lea eax, [r14 + 0x40000000]
    cpuid
    lea eax, [r14 - 0x80000000]
    cpuid
    sub r14d, 1
    jnz .cpuid

    sub ebp, 1
    jnz .again
    print_text "instructions"
    jmp tell_faults

; --- 2: memory that is not there ---

; Maps SLOT and the page behind it to the guest-physical address in RAX and the next one.
map_slot:
    push rax
    push rbx
    and rax, -4096
    or rax, PTE_P_RW | PTE_UNCACHED
    mov ebx, SLOT_TABLES + 0x1000
    mov [rbx], rax
    add rax, 0x1000
    mov [rbx + 8], rax
    invlpg [SLOT]
    invlpg [SLOT + 4096]
    pop rbx
    pop rax
    ret

; All widths, reads and writes, at SLOT + RBX.
%macro touch 1
    try
    %1
    end_try
%endmacro
touch_all:
    mov rdx, GARBAGE
    touch {mov al, [rbx + SLOT]}
    touch {mov [rbx + SLOT], dl}
    touch {mov ax, [rbx + SLOT]}
    touch {mov [rbx + SLOT], dx}
    touch {mov eax, [rbx + SLOT]}
    touch {mov [rbx + SLOT], edx}
    touch {mov rax, [rbx + SLOT]}
    touch {mov [rbx + SLOT], rdx}
    touch {mov dword [rbx + SLOT], 0x5a5a5a5a}
    touch {movzx eax, byte [rbx + SLOT]}
    touch {movsx rax, word [rbx + SLOT]}
    touch {or [rbx + SLOT], edx}
    touch {test dword [rbx + SLOT], 1}
    touch {xchg [rbx + SLOT], edx}
    ret
touch_odd:                          ; forms that a decoder may not know
    touch {lock cmpxchg [rbx + SLOT], edx}
    touch {lock xadd [rbx + SLOT], edx}
    touch {lock cmpxchg16b [rbx + SLOT]}
    touch {inc dword [rbx + SLOT]}
    touch {neg byte [rbx + SLOT]}
    touch {shl dword [rbx + SLOT], 3}
    touch {div dword [rbx + SLOT]}
    try
    push qword [rbx + SLOT]
    pop rdx
    end_try
    touch {fld dword [rbx + SLOT]}
    touch {movups xmm0, [rbx + SLOT]}
    touch {movnti [rbx + SLOT], edx}
    touch {lgdt [rbx + SLOT]}
    lgdt [gdt_pointer]
    touch {lidt [rbx + SLOT]}
    lidt [idt_pointer]
    touch {fxsave [rbx + SLOT]}
    touch {bsf eax, [rbx + SLOT]}
    lea rdi, [rbx + SLOT]
    mov esi, 0x800000
    mov ecx, 16
    touch {rep movsb}
    lea rsi, [rbx + SLOT]
    mov edi, 0x800000
    mov ecx, 16
    touch {rep movsd}
    lea rdi, [rbx + SLOT]
    mov ecx, 16
    touch {rep stosq}
    lea rdi, [rbx + SLOT]
    mov rsi, rdi
    mov ecx, 16
    touch {repe cmpsb}
    lea rdi, [rbx + SLOT]
    mov ecx, 16
    mov dx, 0x80
    touch {rep insb}
    lea rsi, [rbx + SLOT]
    mov ecx, 16
    touch {rep outsb}
    ret

foreign_memory:
    ; A PD and a PT behind the PDPT's second entry: SLOT is at 1 GiB.
    mov edi, SLOT_TABLES
    mov ecx, 2 * 4096 / 8
    xor eax, eax
    rep stosq
    mov qword [SLOT_TABLES], SLOT_TABLES + 0x1000 + PTE_P_RW
    mov qword [page_tables + 0x1000 + 8], SLOT_TABLES + PTE_P_RW
    mov rax, cr3
    mov cr3, rax
    mov rax, cr4
    or eax, 3 << 9                  ; OSFXSR, so that vector instructions reach memory
    mov cr4, rax

    ; Every power of two that an address may have, and the pages around it.
    mov r13d, 51
.bit:
    mov ecx, r13d
    mov eax, 1
    shl rax, cl
    cmp rax, [memory_end]
    jb .below
    call map_slot
    xor ebx, ebx
    call touch_all
    call touch_odd
    sub rax, 4096
    push rax
    cmp rax, [memory_end]
    jb .skip
    call map_slot
    mov ebx, 4096 - 3               ; across the end of the page
    call touch_all
.skip:
    pop rax
    mov eax, 1
    mov ecx, r13d
    shl rax, cl
    add rax, [memory_end]
    call map_slot
    xor ebx, ebx
    call touch_all
.below:
    sub r13d, 1
    jns .bit
    print_text "memory: powers of two"
    call tell_faults

    ; The last bytes that are there, and the first that are not.
    mov rax, [memory_end]
    sub rax, 4096
    call map_slot
    mov ebx, 4096 - 3
    call touch_all
    mov ebx, 4096 - 1
    call touch_odd
    ; A step of 1 MiB (and a little) through everything below 4 GiB.
    mov r13, [memory_end]
.sweep:
    mov rax, r13
    call map_slot
    mov ebx, r13d
    and ebx, 0xfff
    call touch_all
    add r13, (1 << 20) + 0x1234
    mov rax, 0x100000000
    cmp r13, rax
    jb .sweep
    print_text "memory: below 4 GiB"
    call tell_faults

    ; Devices: the VGA hole and ROMs, I/O APIC, HPET, LAPIC, flash. Every 16 bytes and a few odd ones.
    mov r12d, device_pages
.device:
    mov eax, [r12]
    test eax, eax
    jz .devices_done
    call map_slot
    xor ebx, ebx
.offset:
    call touch_all
    add ebx, 16
    cmp ebx, 4096
    jb .offset
    mov ebx, 0x20
    call touch_odd
    mov ebx, 0x301
    call touch_odd
    mov ebx, 4096 - 2
    call touch_odd
    add r12d, 4
    jmp .device
.devices_done:
    print_text "memory: device pages"
    jmp tell_faults

; --- 3: model-specific registers ---

all_msrs:
    mov r12d, msr_ranges
.range:
    mov r13d, [r12]                 ; first
    mov r14d, [r12 + 4]             ; last
    test r14d, r14d
    jz .done
    xor ebx, ebx                    ; how many can be read
    xor edi, edi                    ; how many writes were taken
.msr:
    mov ecx, r13d
    mov qword [outcome], 0
    try
    rdmsr
    inc ebx
    mov [outcome], eax
    mov [outcome + 4], edx
    end_try
    mov r8, [outcome]
    mov r9, r8                      ; what it had
    call write_msr
    xor r9d, r9d
    call write_msr
    mov r9, -1
    call write_msr
    mov r9, GARBAGE
    call write_msr
    mov r9, r8
    call write_msr
    add r13d, 1
    cmp r13d, r14d
    jbe .msr
    print_text "msrs from "
    mov eax, [r12]
    call print_hex
    print_text ": readable "
    mov eax, ebx
    call print_decimal
    print_text ", writes taken "
    mov eax, edi
    call print_decimal
    call tell_faults
    add r12d, 8
    jmp .range
.done:
    ret

; ECX: MSR, R9: value, EDI: counter
write_msr:
    mov eax, r9d
    mov rdx, r9
    shr rdx, 32
    try
    wrmsr
    inc edi
    end_try
    ret

; --- 4: ports ---

all_ports:
    xor ebx, ebx
.port:
    mov edx, ebx
    try
    in al, dx
    in ax, dx
    in eax, dx
    end_try
    mov eax, 0x5a5a5a5a
    try
    out dx, al
    out dx, ax
    out dx, eax
    end_try
    test bl, bl
    jnz .no_strings
    mov edi, 0x800000
    mov ecx, 3
    try
    rep insd
    end_try
    mov esi, 0x800000
    mov ecx, 3
    try
    rep outsw
    end_try
.no_strings:
    add ebx, 1
    cmp ebx, 0x10000
    jb .port
    call uart_set_up
    print_text "ports"
    jmp tell_faults

; --- with "exec": code where no memory is ---

foreign_code:
    mov eax, 0xfee00000
    try
    jmp rax
    end_try
    mov rax, [memory_end]
    try
    jmp rax
    end_try
    mov eax, 0xb8000
    try
    jmp rax
    end_try
    print_text "foreign code"
    jmp tell_faults

section .rodata
align 8
msr_ranges:
    dd 0x00000000, 0x00001fff
    dd 0x40000000, 0x400001ff
    dd 0x4b564d00, 0x4b564dff
    dd 0xc0000000, 0xc0001fff
    dd 0xc0010000, 0xc0011fff
    dd 0, 0
device_pages:
    dd 0xa0000, 0xb8000, 0xc0000, 0xe0000, 0xf0000
    dd 0xfec00000, 0xfec01000, 0xfed00000, 0xfee00000, 0xfee01000
    dd 0xb0000000, 0xe0000000, 0xffc00000, 0xfffff000
    dd 0
section .text
%include "end.inc"
