; Spins for ever with interrupts off. Words of the command line:
;   exits   each time around it leaves the guest
;   pause   with PAUSE, as one waits for a lock, and interrupts on
%include "start.inc"
main:
    print_line "READY"
    has_word "exits"
    cli
    jnz .exits
    has_word "pause"
    jnz .pause
.forever:
    jmp .forever
.exits:
    xor eax, eax
    cpuid
    jmp .exits
.pause:
    sti
.again:
    pause
    jmp .again
%include "end.inc"
