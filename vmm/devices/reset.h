#ifndef BULKHEAD_VMM_DEVICES_RESET_H
#define BULKHEAD_VMM_DEVICES_RESET_H

/* The ways in which PC software resets the machine: port CF9h, port 92h, and the keyboard
 * controller's pulse command. There is no keyboard controller otherwise: 60h and 64h read FFh. */

#include "vmm/devices/acpi_pm.h"

enum reset_port {
    RESET_PORT_KBD_DATA = 0x60,
    RESET_PORT_KBD_CMD = 0x64,
    RESET_PORT_SYSTEM = 0x92,
    RESET_PORT_CONTROL = 0xCF9, /* only byte accesses; a dword at CF8h is PCI's */
};

struct reset_control {
    uint8_t control; /* CF9h */
    uint8_t system;  /* 92h */
};

void reset_control_reset(struct reset_control *rc);

/* Byte accesses to the ports above; others read FFh and ignore writes. A write returns PM_RESET
 * when the machine is to be reset. */
uint8_t reset_control_read(const struct reset_control *rc, uint16_t port);
enum pm_action reset_control_write(struct reset_control *rc, uint16_t port, uint8_t value);

#endif
