; Spins for ever with interrupts off.
%include "start.inc"
main:
    print_line "READY"
    cli
.forever:
    jmp .forever
%include "end.inc"
