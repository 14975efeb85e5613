; Powers off, resets or halts, as the command line says: off, reset, halt (interrupts off), and
; after=N ms first.
%include "start.inc"
main:
    print_line "READY"
    call calibrate_tsc
    option rax, "after=", 0
    call wait_ms
    has_word "reset"
    jnz reset
    has_word "halt"
    jnz stop
    jmp power_off
%include "end.inc"
