/* The root table (ACPI 6.5, 5.2.8). Where the tables stand: vmm/loader/guest_acpi.c. */

Signature                                  : "XSDT"
Table Length                               : 00000000
Revision                                   : 01
Checksum                                   : 00
Oem ID                                     : "BULKHD"
Oem Table ID                               : "BULKHEAD"
Oem Revision                               : 00000001
Asl Compiler ID                            : "BLKH"
Asl Compiler Revision                      : 00000001

ACPI Table Address   0                     : 00000000000F0100
ACPI Table Address   1                     : 00000000000F0240
