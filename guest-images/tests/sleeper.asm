; Sleeps and works in turns, and tells once a period how often it woke up, and how late at worst: "woke
; 498 late 1312", in TSC ticks beyond the time that it had asked for. Words of the command line:
;   sleep=US work=US   how long (1000, 0)
;   period=MS          (500)
%include "start.inc"
%include "x2apic.inc"

MSR_TSC_DEADLINE equ 0x6e0
TIMER_DEADLINE   equ 1 << 18
deadline         equ guest_vars
late             equ guest_vars + 8
count            equ guest_vars + 16
period           equ guest_vars + 24
period_end       equ guest_vars + 32
sleep_ticks      equ guest_vars + 40
work_ticks       equ guest_vars + 48

%macro option_us 3                  ; variable, "name=", default
    option rax, %2, %3
    mul qword [tsc_per_ms]
    mov ecx, 1000
    div rcx
    mov [%1], rax
%endmacro

main:
    lea rax, [rel woken]
    mov [irq_hook], rax
    call interrupts_on
    call calibrate_tsc
    print_text "READY tsc_per_ms "
    mov rax, [tsc_per_ms]
    call print_decimal
    call print_newline
    option_us sleep_ticks, "sleep=", 1000
    option_us work_ticks, "work=", 0
    option rax, "period=", 500
    mul qword [tsc_per_ms]
    mov [period], rax
    x2apic_timer TIMER_DEADLINE

new_period:
    mov qword [late], 0
    mov qword [count], 0
    call read_tsc
    add rax, [period]
    mov [period_end], rax
.round:
    call read_tsc
    mov rbx, rax
    add rbx, [work_ticks]
.work:
    call read_tsc
    cmp rax, rbx
    jb .work
    cmp rax, [period_end]
    jae .tell
    cli
    add rax, [sleep_ticks]
    mov [deadline], rax
    mov rdx, rax
    shr rdx, 32
    mov ecx, MSR_TSC_DEADLINE
    wrmsr
    sti
    hlt
    inc qword [count]
    jmp .round
.tell:
    print_text "woke "
    mov rax, [count]
    call print_decimal
    print_text " late "
    mov rax, [late]
    call print_decimal
    call print_newline
    jmp new_period

woken:
    call read_tsc
    sub rax, [deadline]
    cmp rax, [late]
    jbe .acknowledge
    mov [late], rax
.acknowledge:
    xor eax, eax
    xor edx, edx
    mov ecx, MSR_X2APIC_EOI
    wrmsr
    ret
%include "end.inc"
