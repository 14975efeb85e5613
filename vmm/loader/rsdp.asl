/* Version 2, without an RSDT (ACPI 6.5, 5.2.5.3). Where the XSDT stands: vmm/loader/guest_acpi.c. */

Signature                                  : "RSD PTR "
Checksum                                   : 00
Oem ID                                     : "BULKHD"
Revision                                   : 02
RSDT Address                               : 00000000
Length                                     : 00000024
XSDT Address                               : 00000000000F0080
Extended Checksum                          : 00
Reserved                                   : 000000
