; Spins for ever with interrupts off. Words of the command line:
;   exits   each time around it leaves the guest
%include "start.inc"
main:
    print_line "READY"
    has_word "exits"
    cli
    jnz .exits
.forever:
    jmp .forever
.exits:
    xor eax, eax
    cpuid
    jmp .exits
%include "end.inc"
