; Triple-faults.
%include "start.inc"
main:
    print_line "READY"
    jmp triple_fault
%include "end.inc"
