; Counts, and tells once a period what came of it. Words of the command line:
;   period=MS   length of a period (1000)
;   checksum    fill 1 MiB with a pattern and check it all the time: "checksum ok ROUNDS"
;   share       how much of the time this VM ran: "share 49.9 %". The loop reads the TSC; a step of
;               more than gap= TSC ticks (100000) means that somebody else had the processor
;   rounds=N    power off after N periods
%include "start.inc"

AREA            equ 0x800000
AREA_WORDS      equ (1 << 20) / 8
period          equ guest_vars
period_end      equ guest_vars + 8
count           equ guest_vars + 16
period_start    equ guest_vars + 24
rounds_left     equ guest_vars + 32
gap             equ guest_vars + 40
do_checksum     equ guest_vars + 48
expected        equ guest_vars + 56

main:
    call interrupts_on
    call calibrate_tsc
    print_text "READY tsc_per_ms "
    mov rax, [tsc_per_ms]
    call print_decimal
    call print_newline
    option rax, "period=", 1000
    mul qword [tsc_per_ms]
    mov [period], rax
    option [rounds_left], "rounds=", 0
    option [gap], "gap=", 100000
    has_word "share"
    jnz share
    has_word "checksum"
    mov [do_checksum], rax
    call fill

new_period:
    call read_tsc
    add rax, [period]
    mov [period_end], rax
.round:
    cmp qword [do_checksum], 0
    je .counted
    call check
    jne .wrong
.counted:
    inc qword [count]
    call read_tsc
    cmp rax, [period_end]
    jb .round
    cmp qword [do_checksum], 0
    je .plain
    print_text "checksum ok "
    jmp .tell
.plain:
    print_text "count "
.tell:
    mov rax, [count]
    call print_decimal
    call print_newline
    call one_period_less
    jmp new_period
.wrong:
    print_text "FAIL checksum "
    call print_hex
    call print_newline
    jmp stop

one_period_less:
    cmp qword [rounds_left], 0
    je .end
    dec qword [rounds_left]
    jz power_off
.end:
    ret

; The pattern: xorshift64 (Marsaglia 2003), a different value in every word.
%macro next_pattern 0
    mov rcx, rdx
    shl rcx, 13
    xor rdx, rcx
    mov rcx, rdx
    shr rcx, 7
    xor rdx, rcx
    mov rcx, rdx
    shl rcx, 17
    xor rdx, rcx
%endmacro
fill:
    mov edi, AREA
    mov esi, AREA_WORDS
    mov rdx, 0x9e3779b97f4a7c15
    xor ebx, ebx
.next:
    next_pattern
    mov [rdi], rdx
    add rbx, rdx
    rol rbx, 1
    add edi, 8
    sub esi, 1
    jnz .next
    mov [expected], rbx
    ret

; ZF set when the area still has its pattern; RAX: the sum found.
check:
    mov edi, AREA
    mov esi, AREA_WORDS
    xor eax, eax
.next:
    add rax, [rdi]
    rol rax, 1
    add edi, 8
    sub esi, 1
    jnz .next
    cmp rax, [expected]
    ret

; RBX: last TSC; RBP: TSC ticks lost to others in this period.
share:
    call read_tsc
    mov rbx, rax
    mov [period_start], rax
    add rax, [period]
    mov [period_end], rax
    xor ebp, ebp
    mov rsi, [gap]
    mov rdi, [period_end]
.next:
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov rcx, rax
    sub rcx, rbx
    mov rbx, rax
    cmp rcx, rsi
    jbe .mine
    add rbp, rcx
.mine:
    cmp rax, rdi
    jb .next
    mov rcx, rax
    sub rcx, [period_start]         ; whole time
    mov rax, rcx
    sub rax, rbp                    ; mine, in permille
    mov edx, 1000
    mul rdx
    div rcx
    xor edx, edx
    mov ecx, 10
    div rcx
    print_text "share "
    call print_decimal
    mov al, '.'
    call print_char
    lea eax, [rdx + '0']
    call print_char
    print_line " %"
    call one_period_less
    jmp share
%include "end.inc"
