/* The MADT of a VM with one CPU (ACPI 6.5, 5.2.12). guest_acpi.c makes that of others from it. */

Signature                                  : "APIC"
Table Length                               : 00000000
Revision                                   : 04
Checksum                                   : 00
Oem ID                                     : "BULKHD"
Oem Table ID                               : "BULKHEAD"
Oem Revision                               : 00000001
Asl Compiler ID                            : "BLKH"
Asl Compiler Revision                      : 00000001

Local Apic Address                         : FEE00000
Flags (decoded below)                      : 00000001
    PC-AT Compatibility                    : 1

/* The boot CPU */
Subtable Type                              : 00
Length                                     : 08
Processor ID                               : 00
Local Apic ID                              : 00
Flags (decoded below)                      : 00000001
    Processor Enabled                      : 1
    Runtime Online Capable                 : 0

/* I/O APIC */
Subtable Type                              : 01
Length                                     : 0C
I/O Apic ID                                : 01
Reserved                                   : 00
Address                                    : FEC00000
Interrupt                                  : 00000000

/* The PIT, IRQ 0, is at GSI 2. */
Subtable Type                              : 02
Length                                     : 0A
Bus                                        : 00
Source                                     : 00
Interrupt                                  : 00000002
Flags (decoded below)                      : 0000
    Polarity                               : 0
    Trigger Mode                           : 0

/* The SCI is level-triggered, active high. */
Subtable Type                              : 02
Length                                     : 0A
Bus                                        : 00
Source                                     : 09
Interrupt                                  : 00000009
Flags (decoded below)                      : 000D
    Polarity                               : 1
    Trigger Mode                           : 3

/* Local APIC NMI: LINT1 of all CPUs. */
Subtable Type                              : 04
Length                                     : 06
Processor ID                               : FF
Flags (decoded below)                      : 0000
    Polarity                               : 0
    Trigger Mode                           : 0
Interrupt Input LINT                       : 01
