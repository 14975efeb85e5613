; Prints the time-stamp counter as it was when the guest was entered, and powers off.
%include "start.inc"
main:
    call read_tsc
    print_text "READY tsc "
    call print_decimal
    call print_newline
    jmp power_off
%include "end.inc"
