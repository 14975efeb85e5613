#include "vmm/devices/reset.h"

/* CF9h, "RST_CNT" (ICH9 data sheet, 13.7.5): RST_CPU going from 0 to 1 resets. */
#define CONTROL_RST_CPU  BIT(2)
#define CONTROL_WRITABLE 0x0Eu

/* 92h (ICH9 data sheet, 13.7.3): INIT_NOW going from 0 to 1 resets. The A20 gate is always open. */
#define SYSTEM_INIT_NOW BIT(0)
#define SYSTEM_A20      BIT(1)

/* 8042: pulse the output lines whose bit is 0; line 0 is the CPU's reset. */
#define KBD_PULSE       0xF0u
#define KBD_PULSE_RESET BIT(0)

void reset_control_reset(struct reset_control *rc)
{
    *rc = (struct reset_control){.system = SYSTEM_A20};
}

uint8_t reset_control_read(const struct reset_control *rc, uint16_t port)
{
    switch (port) {
    case RESET_PORT_SYSTEM: return rc->system;
    case RESET_PORT_CONTROL: return rc->control;
    default: return 0xFF; /* 60h and 64h: there is no keyboard controller */
    }
}

static bool rises(uint8_t from, uint8_t to, uint8_t bit)
{
    return (to & ~from & bit) != 0;
}

enum pm_action reset_control_write(struct reset_control *rc, uint16_t port, uint8_t value)
{
    bool reset = false;

    switch (port) {
    case RESET_PORT_KBD_CMD:
        reset = (value & KBD_PULSE) == KBD_PULSE && !(value & KBD_PULSE_RESET);
        break;
    case RESET_PORT_SYSTEM:
        reset = rises(rc->system, value, SYSTEM_INIT_NOW);
        rc->system = (value & SYSTEM_INIT_NOW) | SYSTEM_A20;
        break;
    case RESET_PORT_CONTROL:
        reset = rises(rc->control, value, CONTROL_RST_CPU);
        rc->control = value & CONTROL_WRITABLE;
        break;
    default: break;
    }
    return reset ? PM_RESET : PM_NONE;
}
