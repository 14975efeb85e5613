; Interrupt controllers and timers as a guest sees them: 8259 and 8254, I/O APIC, LAPIC by MMIO and
; by MSR, timers one-shot, periodic and by TSC deadline, IPIs, priorities, HLT, NMI, PM timer, RTC,
; the UART's interrupt. One line a check, "ok NAME" or "FAIL NAME ...", then "N passed, N failed".
%include "start.inc"

LAPIC           equ 0xfee00000
IOAPIC          equ 0xfec00000
X2APIC_MSR      equ 0x800           ; register at MMIO offset x: MSR 0x800 + x / 16
MSR_APIC_BASE   equ 0x1b
MSR_TSC_DEADLINE equ 0x6e0
APIC_BASE_EXTD  equ 1 << 10
CPUID_X2APIC    equ 1 << 21
CPUID_DEADLINE  equ 1 << 24
; SDM vol. 3, table 11-1
REG_ID          equ 0x20
REG_TPR         equ 0x80
REG_EOI         equ 0xb0
REG_SVR         equ 0xf0
REG_ICR         equ 0x300
REG_ICR_HIGH    equ 0x310
REG_LVT_TIMER   equ 0x320
REG_LVT_LINT0   equ 0x350
REG_TIMER_INIT  equ 0x380
REG_TIMER_COUNT equ 0x390
REG_TIMER_DIV   equ 0x3e0
REG_IRR         equ 0x200
REG_SELF_IPI    equ 0x3f0
LVT_MASKED      equ 1 << 16
LVT_PERIODIC    equ 1 << 17
LVT_DEADLINE    equ 2 << 17
LVT_EXTINT      equ 7 << 8
ICR_SELF        equ 1 << 18
ICR_NMI         equ 4 << 8
ICR_ASSERT      equ 1 << 14
VECTOR_PIC      equ 0x20
VECTOR_PIT      equ 0x40
VECTOR_UART     equ 0x44
VECTOR_TIMER    equ 0x50
VECTOR_LOW      equ 0x51
VECTOR_HIGH     equ 0x71
VECTOR_SPURIOUS equ 0xff
PIT_RATE        equ 100
PM_TIMER        equ 0x608
PM_TIMER_HZ     equ 3579545         ; ACPI 6.5, 4.8.2.1

passed          equ guest_vars
failed          equ guest_vars + 8
x2apic_on       equ guest_vars + 16
lapic_per_ms    equ guest_vars + 24
sequence_count  equ guest_vars + 32
started         equ guest_vars + 40
elapsed_ms10    equ guest_vars + 48 ; of the last `watch`, in tenths of a ms
sequence        equ guest_vars + 0x100
counts          equ guest_vars + 0x200 ; 256 * 8

main:
    mov qword [irq_hook], on_interrupt
    call calibrate_tsc
    print_line "READY"
    call pic_off
    call lapic_on
    call check_pic
    call check_ioapic
    call check_uart
    call check_pm_timer
    call check_rtc
    call check_lapic
    mov eax, 1
    cpuid
    test ecx, CPUID_X2APIC
    jnz .x2apic
    print_line "skip x2apic: CPUID does not offer it"
    jmp .done
.x2apic:
    mov ecx, MSR_APIC_BASE
    rdmsr
    or eax, APIC_BASE_EXTD
    wrmsr
    mov qword [x2apic_on], 1
    mov ecx, X2APIC_MSR + REG_SVR / 16
    rdmsr
    and eax, 0x100
    mov edx, 0x100
    call expect_equal
    db "x2apic: SVR kept", 0
    call check_lapic
    call check_self_ipi_msr
.done:
    mov rax, [passed]
    call print_decimal
    print_text " passed, "
    mov rax, [failed]
    call print_decimal
    print_line " failed"
    has_word "off"
    jnz power_off
    jmp stop

; --- reporting ---

; The name of the check follows the call as a terminated text.
; ok when RAX == RDX
expect_equal:
    mov rcx, rdx
; ok when RDX <= RAX <= RCX
expect_between:
    xchg rsi, [rsp]                 ; the name; RSI's old value on the stack
    push rsi
    cmp rax, rdx
    jb .wrong
    cmp rax, rcx
    ja .wrong
    inc qword [passed]
    print_text "ok "
    call tell_mode
    call print
    call print_newline
    jmp .end
.wrong:
    inc qword [failed]
    print_text "FAIL "
    call tell_mode
    call print
    print_text ": found "
    call print_decimal
    print_text ", expected "
    push rax
    mov rax, rdx
    call print_decimal
    print_text " to "
    mov rax, rcx
    call print_decimal
    pop rax
    call print_newline
.end:
    ; Go on behind the text.
    pop rsi
.skip:
    cmp byte [rsi], 0
    lea rsi, [rsi + 1]
    jne .skip
    xchg rsi, [rsp]
    ret

tell_mode:
    cmp qword [x2apic_on], 0
    je .end
    print_text "(x2apic) "
.end:
    ret

; --- access ---

; EDX: register, EAX: value
lapic_write:
    cmp qword [x2apic_on], 0
    jne .msr
    push rdx
    add edx, LAPIC
    mov [rdx], eax
    pop rdx
    ret
.msr:
    push rcx
    push rdx
    mov ecx, edx
    shr ecx, 4
    add ecx, X2APIC_MSR
    xor edx, edx
    wrmsr
    pop rdx
    pop rcx
    ret
lapic_read:                         ; EDX: register; returns EAX
    cmp qword [x2apic_on], 0
    jne .msr
    push rdx
    add edx, LAPIC
    mov eax, [rdx]
    pop rdx
    ret
.msr:
    push rcx
    push rdx
    mov ecx, edx
    shr ecx, 4
    add ecx, X2APIC_MSR
    rdmsr
    pop rdx
    pop rcx
    ret
%macro lapic 2                      ; register, value
    mov edx, %1
    mov eax, %2
    call lapic_write
%endmacro

; I/O APIC (82093AA): register select at 0, window at 0x10.
%macro ioapic_pin 3                 ; pin, low half, high half
    mov ebx, IOAPIC
    mov dword [rbx], 0x11 + %1 * 2
    mov dword [rbx + 16], %3
    mov dword [rbx], 0x10 + %1 * 2
    mov dword [rbx + 16], %2
%endmacro

lapic_on:
    lapic REG_SVR, 0x100 | VECTOR_SPURIOUS
    lapic REG_TPR, 0
    lapic REG_TIMER_DIV, 3          ; divide by 16
    ret

; 8259A: ICW1 to ICW4 to both, all masked.
pic_off:
    mov al, 0x11
    out 0x20, al
    out 0xa0, al
    mov al, VECTOR_PIC
    out 0x21, al
    mov al, VECTOR_PIC + 8
    out 0xa1, al
    mov al, 4
    out 0x21, al
    mov al, 2
    out 0xa1, al
    mov al, 1
    out 0x21, al
    out 0xa1, al
    mov al, 0xff
    out 0x21, al
    out 0xa1, al
    ret

; RAX: vector
on_interrupt:
    inc qword [counts + rax * 8]
    mov rcx, [sequence_count]
    cmp ecx, 64
    jae .full
    mov [sequence + rcx], al
    inc qword [sequence_count]
.full:
    cmp eax, VECTOR_SPURIOUS
    je .end
    cmp eax, VECTOR_PIC + 16
    jb .pic
    lapic REG_EOI, 0
    ret
.pic:
    cmp eax, VECTOR_PIC + 8
    mov al, 0x20
    jb .master
    out 0xa0, al
.master:
    out 0x20, al
.end:
    ret

; Lets interrupts in for RAX ms. Leaves the time that really passed in elapsed_ms10.
watch:
    push rcx
    push rdx
    mov rcx, rax
    call read_tsc
    mov [started], rax
    mov rax, rcx
    sti
    call wait_ms
    cli
    call note_elapsed
    pop rdx
    pop rcx
    ret
note_elapsed:
    push rdx
    call read_tsc
    sub rax, [started]
    mov edx, 10
    mul rdx
    div qword [tsc_per_ms]
    mov [elapsed_ms10], rax
    pop rdx
    ret

; Expected ticks in the time that passed, at PIT_RATE: RDX to RCX, 15 % and 2 around it.
ticks_expected:
    push rax
    mov rax, [elapsed_ms10]
    imul rax, rax, PIT_RATE
    xor edx, edx
    mov ecx, 10000
    div rcx
    push rax
    imul rax, rax, 115
    xor edx, edx
    mov ecx, 100
    div rcx
    lea rcx, [rax + 2]
    pop rax
    push rcx
    imul rax, rax, 85
    xor edx, edx
    mov ecx, 100
    div rcx
    sub rax, 2
    mov rdx, rax
    pop rcx
    pop rax
    ret

pit_rate:                           ; channel 0, mode 2 (8254)
    mov al, 0x34
    out 0x43, al
    mov al, (PIT_HZ / PIT_RATE) & 0xff
    out 0x40, al
    mov al, (PIT_HZ / PIT_RATE) >> 8
    out 0x40, al
    ret

; --- the checks ---

check_pic:
    lapic REG_LVT_LINT0, LVT_EXTINT
    call pit_rate
    mov al, 0xfe
    out 0x21, al
    mov qword [counts + VECTOR_PIC * 8], 0
    mov eax, 300
    call watch
    mov al, 0xff
    out 0x21, al
    mov rax, [counts + VECTOR_PIC * 8]
    call ticks_expected
    call expect_between
    db "8254 ticks through the 8259 (ExtINT)", 0
    mov qword [counts + VECTOR_PIC * 8], 0
    mov eax, 50
    call watch
    mov rax, [counts + VECTOR_PIC * 8]
    xor edx, edx
    mov ecx, 1                      ; one may have been on its way
    call expect_between
    db "8259 mask", 0
    lapic REG_LVT_LINT0, LVT_EXTINT | LVT_MASKED
    ret

check_ioapic:
    mov ebx, IOAPIC
    mov dword [rbx], 1
    mov eax, [rbx + 16]
    shr eax, 16
    and eax, 0xff
    mov edx, 23
    call expect_equal
    db "I/O APIC has 24 pins", 0
    ; IRQ 0 comes in at pin 2 on every PC since the MP specification, but a MADT without an
    ; override may leave it at pin 0.
    ioapic_pin 0, VECTOR_PIT, 0
    ioapic_pin 2, VECTOR_PIT, 0
    call pit_rate
    mov qword [counts + VECTOR_PIT * 8], 0
    mov eax, 300
    call watch
    mov rax, [counts + VECTOR_PIT * 8]
    call ticks_expected
    call expect_between
    db "8254 ticks through the I/O APIC", 0
    ioapic_pin 0, VECTOR_PIT | LVT_MASKED, 0
    ioapic_pin 2, VECTOR_PIT | LVT_MASKED, 0
    mov qword [counts + VECTOR_PIT * 8], 0
    mov eax, 50
    call watch
    mov rax, [counts + VECTOR_PIT * 8]
    xor edx, edx
    mov ecx, 1
    call expect_between
    db "I/O APIC mask", 0
    ret

check_uart:
    ioapic_pin 4, VECTOR_UART, 0
    mov qword [counts + VECTOR_UART * 8], 0
    mov dx, COM1 + 4
    mov al, 0x0b                    ; OUT2 lets the interrupt out on a PC
    out dx, al
    mov dx, COM1 + 1
    mov al, 2                       ; transmitter empty
    out dx, al
    mov eax, 20
    call watch
    mov dx, COM1 + 1
    xor eax, eax
    out dx, al
    mov dx, COM1 + 2
    in al, dx
    ioapic_pin 4, VECTOR_UART | LVT_MASKED, 0
    mov rax, [counts + VECTOR_UART * 8]
    mov edx, 1
    mov ecx, 3
    call expect_between
    db "UART transmitter interrupt", 0
    ret

check_pm_timer:
    mov dx, PM_TIMER
    in eax, dx
    mov ebx, eax
    mov eax, 100
    call watch
    mov dx, PM_TIMER
    in eax, dx
    sub eax, ebx
    and eax, 0xffffff
    ; in permille of what the TSC says
    imul rax, rax, 10 * 1000
    xor edx, edx
    mov ecx, PM_TIMER_HZ / 1000
    div rcx
    xor edx, edx
    div qword [elapsed_ms10]
    mov edx, 950
    mov ecx, 1050
    call expect_between
    db "PM timer against TSC (permille)", 0
    ret

read_second:
    mov al, 10                      ; status A: update in progress
    out 0x70, al
    in al, 0x71
    test al, 0x80
    jnz read_second
    xor eax, eax
    out 0x70, al
    in al, 0x71
    movzx ebx, al
    and al, 15
    shr ebx, 4
    imul ebx, ebx, 10
    add eax, ebx                    ; BCD
    ret
check_rtc:
    call read_second
    push rax
    mov eax, 2000
    call watch
    call read_second
    pop rdx
    sub eax, edx
    jns .same_minute
    add eax, 60
.same_minute:
    mov edx, 1
    mov ecx, 3
    call expect_between
    db "RTC seconds in 2 s", 0
    ret

%macro clear_counts 0
    mov edi, counts
    mov ecx, 256
    xor eax, eax
    rep stosq
    mov [sequence_count], rax
    mov [sequence], rax
%endmacro

check_lapic:
    ; How fast does its timer count?
    lapic REG_LVT_TIMER, VECTOR_TIMER | LVT_MASKED
    lapic REG_TIMER_INIT, 0xffffffff
    mov eax, 50
    call watch
    mov edx, REG_TIMER_COUNT
    call lapic_read
    mov ecx, 0xffffffff
    sub ecx, eax
    imul rax, rcx, 10
    xor edx, edx
    div qword [elapsed_ms10]
    mov [lapic_per_ms], rax
    mov edx, 10
    mov ecx, 10000000
    call expect_between
    db "LAPIC timer counts (ticks a ms)", 0

    clear_counts
    lapic REG_TIMER_INIT, 100
    mov eax, 20
    call watch
    mov rax, [counts + VECTOR_TIMER * 8]
    xor edx, edx
    call expect_equal
    db "LAPIC timer masked", 0

    clear_counts
    lapic REG_LVT_TIMER, VECTOR_TIMER
    mov rax, [lapic_per_ms]
    imul eax, eax, 5
    mov edx, REG_TIMER_INIT
    call lapic_write
    mov eax, 50
    call watch
    mov rax, [counts + VECTOR_TIMER * 8]
    mov edx, 1
    call expect_equal
    db "LAPIC timer one-shot: once", 0

    clear_counts
    lapic REG_LVT_TIMER, VECTOR_TIMER | LVT_PERIODIC
    mov rax, [lapic_per_ms]
    imul eax, eax, 1000 / PIT_RATE
    mov edx, REG_TIMER_INIT
    call lapic_write
    mov eax, 300
    call watch
    lapic REG_TIMER_INIT, 0
    mov rax, [counts + VECTOR_TIMER * 8]
    call ticks_expected
    call expect_between
    db "LAPIC timer periodic", 0

    clear_counts
    mov eax, 50
    call watch
    mov rax, [counts + VECTOR_TIMER * 8]
    xor edx, edx
    mov ecx, 1
    call expect_between
    db "LAPIC timer stopped by count 0", 0

    ; HLT until the timer.
    clear_counts
    lapic REG_LVT_TIMER, VECTOR_TIMER
    call read_tsc
    mov [started], rax
    mov rax, [lapic_per_ms]
    imul eax, eax, 20
    mov edx, REG_TIMER_INIT
    call lapic_write
    sti
    hlt
    cli
    call note_elapsed
    mov rax, [elapsed_ms10]
    mov edx, 190
    mov ecx, 1000
    call expect_between
    db "HLT for 20 ms (tenths of a ms)", 0
    mov rax, [counts + VECTOR_TIMER * 8]
    mov edx, 1
    call expect_equal
    db "HLT woken by the timer", 0

    ; The interrupt shadow: an interrupt pending at STI comes after HLT has begun, and ends it.
    clear_counts
    mov rax, [lapic_per_ms]
    imul eax, eax, 500              ; or else this one does, late
    mov edx, REG_TIMER_INIT
    call lapic_write
    call read_tsc
    mov [started], rax
    lapic REG_ICR, ICR_SELF | ICR_ASSERT | VECTOR_LOW
    sti
    hlt
    cli
    call note_elapsed
    lapic REG_TIMER_INIT, 0
    mov rax, [elapsed_ms10]
    xor edx, edx
    mov ecx, 2500
    call expect_between
    db "STI; HLT with an interrupt pending (tenths of a ms)", 0
    mov rax, [counts + VECTOR_LOW * 8]
    mov edx, 1
    call expect_equal
    db "self IPI", 0

    ; Priority: the higher vector first.
    clear_counts
    lapic REG_ICR, ICR_SELF | ICR_ASSERT | VECTOR_LOW
    lapic REG_ICR, ICR_SELF | ICR_ASSERT | VECTOR_HIGH
    sti
    nop
    nop
    cli
    movzx eax, word [sequence]
    mov edx, VECTOR_LOW << 8 | VECTOR_HIGH
    call expect_equal
    db "higher vector first", 0

    ; TPR and CR8 hold it back; IRR shows it.
    clear_counts
    lapic REG_TPR, 0x60
    mov rax, cr8
    mov edx, 6
    call expect_equal
    db "CR8 is TPR's upper half", 0
    lapic REG_ICR, ICR_SELF | ICR_ASSERT | VECTOR_LOW
    lapic REG_ICR, ICR_SELF | ICR_ASSERT | VECTOR_HIGH
    mov eax, 5
    call watch
    movzx eax, word [sequence]
    mov edx, VECTOR_HIGH
    call expect_equal
    db "TPR holds the lower vector back", 0
    mov edx, REG_IRR + VECTOR_LOW / 32 * 16
    call lapic_read
    and eax, 1 << (VECTOR_LOW % 32)
    mov edx, 1 << (VECTOR_LOW % 32)
    call expect_equal
    db "IRR shows it", 0
    xor eax, eax
    mov cr8, rax
    sti
    nop
    nop
    cli
    movzx eax, word [sequence]
    mov edx, VECTOR_LOW << 8 | VECTOR_HIGH
    call expect_equal
    db "CR8 = 0 lets it in", 0

    mov qword [nmi_count], 0
    mov edx, REG_ID
    call lapic_read
    cmp qword [x2apic_on], 0
    jne .nmi_x2
    mov edx, REG_ICR_HIGH
    call lapic_write
    lapic REG_ICR, ICR_NMI | ICR_ASSERT
    jmp .nmi_sent
.nmi_x2:
    mov edx, eax
    mov eax, ICR_NMI | ICR_ASSERT
    mov ecx, X2APIC_MSR + REG_ICR / 16
    wrmsr
.nmi_sent:
    mov eax, 5
    call wait_ms
    mov rax, [nmi_count]
    mov edx, 1
    call expect_equal
    db "NMI by IPI to itself", 0

    mov eax, 1
    cpuid
    test ecx, CPUID_DEADLINE
    jz .no_deadline
    clear_counts
    lapic REG_LVT_TIMER, VECTOR_TIMER | LVT_DEADLINE
    call read_tsc
    mov [started], rax
    mov rcx, [tsc_per_ms]
    imul rcx, rcx, 20
    add rax, rcx
    mov rdx, rax
    shr rdx, 32
    mov ecx, MSR_TSC_DEADLINE
    wrmsr
    sti
    hlt
    cli
    call note_elapsed
    mov rax, [elapsed_ms10]
    mov edx, 190
    mov ecx, 1000
    call expect_between
    db "TSC deadline 20 ms (tenths of a ms)", 0
    mov ecx, MSR_TSC_DEADLINE
    rdmsr
    mov edx, 0
    call expect_equal
    db "TSC deadline reads 0 after it", 0
    lapic REG_LVT_TIMER, VECTOR_TIMER | LVT_MASKED
    ret
.no_deadline:
    print_line "skip TSC deadline: CPUID does not offer it"
    ret

check_self_ipi_msr:
    clear_counts
    lapic REG_SELF_IPI, VECTOR_LOW
    sti
    nop
    nop
    cli
    mov rax, [counts + VECTOR_LOW * 8]
    mov edx, 1
    call expect_equal
    db "self-IPI register", 0
    ; Registers that x2APIC mode does not have fault (SDM vol. 3, 11.12.1.2).
    mov qword [fault_count], 0
    mov ecx, X2APIC_MSR + REG_ICR_HIGH / 16
    try
    rdmsr
    end_try
    mov rax, [fault_count]
    mov edx, 1
    call expect_equal
    db "ICR high half is no MSR", 0
    ret
%include "end.inc"
