#include "arch/x86/power.h"

#include "arch/x86/acpi/acpi.h"
#include "arch/x86/asm.h"
#include "arch/x86/gdt.h"
#include "arch/x86/mm/address_space.h"
#include "arch/x86/smp.h"
#include "arch/x86/virt.h"
#include "lib/log.h"
#include "vmm/console.h"

#define SLP_TYP_SHIFT 10
#define SLP_TYP_MASK  (7u << SLP_TYP_SHIFT)
#define SLP_EN        BIT(13)
#define SCI_EN        BIT(0)

/* Hardware-reduced machines: ACPI 6.5, 4.8.3.7. */
#define SLEEP_TYP_SHIFT 2
#define SLEEP_EN        BIT(5)

#define RESET_PORT  0xcf9
#define RESET_HARD  0x06
#define KBD_COMMAND 0x64
#define KBD_RESET   0xfe
#define WAIT_ROUNDS 1000000u

static struct acpi_info acpi; /* the boot's own copy is given back */
/* Registers of a byte that lie in memory; NULL: they do not. */
static volatile uint8_t *reset_at, *sleep_at;

INIT static volatile uint8_t *map(const struct acpi_register *reg)
{
    return reg->address != 0 && reg->space == ACPI_SPACE_MEMORY ? device_map(reg->address, 1)
                                                                : NULL;
}

INIT void power_init(const struct acpi_info *info)
{
    acpi = *info;
    reset_at = map(&acpi.reset);
    sleep_at = map(&acpi.sleep_control);
}

static bool is_port(const struct acpi_register *reg)
{
    return reg->address != 0 && reg->space == ACPI_SPACE_IO;
}

/* Hands the power registers from firmware to us (ACPI 6.5, 4.8.2.5), if that has not happened. */
static void enter_acpi_mode(void)
{
    if (acpi.smi_cmd == 0 || acpi.acpi_enable == 0 ||
        (inw((uint16_t)acpi.pm1a_control.address) & SCI_EN))
        return;
    outb((uint16_t)acpi.smi_cmd, acpi.acpi_enable);
    for (unsigned int i = 0;
         i < WAIT_ROUNDS && !(inw((uint16_t)acpi.pm1a_control.address) & SCI_EN); i++)
        cpu_pause();
}

static void wait_a_moment(void)
{
    for (unsigned int i = 0; i < WAIT_ROUNDS; i++)
        cpu_pause();
}

/* Returns false when the machine has no such register, or none that can be used. */
static bool write_byte(const struct acpi_register *reg, volatile uint8_t *at, uint8_t value)
{
    if (is_port(reg))
        outb((uint16_t)reg->address, value);
    else if (at)
        *at = value;
    else
        return false;
    wait_a_moment();
    return true;
}

/* The other bits stay as they are, and the type comes before the enable (ACPI 6.5, 16.1.7). */
static void enter_sleep(const struct acpi_register *reg, uint8_t type)
{
    uint16_t port = (uint16_t)reg->address;
    uint16_t value = (uint16_t)((inw(port) & ~(SLP_TYP_MASK | SLP_EN)) | type << SLP_TYP_SHIFT);

    outw(port, value);
    outw(port, value | SLP_EN);
}

/* Nothing is left that could touch the machine while firmware gets it. */
static void stop_others(void)
{
    unsigned int left = smp_stop_others();

    if (left > 0)
        log_error("%u CPUs have not stopped", left);
    console_crash_flush();
}

/* Returns false when the machine has no way that is known. */
static bool enter_s5(void)
{
    if (!acpi.has_s5)
        return false;
    if (!is_port(&acpi.pm1a_control))
        return write_byte(&acpi.sleep_control, sleep_at,
                          (uint8_t)(acpi.s5_slp_typ_a << SLEEP_TYP_SHIFT | SLEEP_EN));
    enter_acpi_mode();
    enter_sleep(&acpi.pm1a_control, acpi.s5_slp_typ_a);
    if (is_port(&acpi.pm1b_control))
        enter_sleep(&acpi.pm1b_control, acpi.s5_slp_typ_b);
    wait_a_moment();
    return true;
}

void power_off(void)
{
    stop_others();
    if (enter_s5())
        log_error("the machine did not power off; it is safe to turn it off by hand");
    else
        log_error("no ACPI S5 state to power off with; it is safe to turn the machine off by hand");
    power_halt();
}

void power_reset(void)
{
    const struct table_pointer no_idt = {0, 0};

    stop_others();
    if (virt)
        virt->cpu_disable();
    (void)write_byte(&acpi.reset, reset_at, acpi.reset_value);
    outb(RESET_PORT, RESET_HARD);
    wait_a_moment();
    outb(KBD_COMMAND, KBD_RESET);
    wait_a_moment();
    __asm__ volatile("lidt %0; int3" ::"m"(no_idt));
    power_halt();
}

void power_halt(void)
{
    stop_others();
    cpu_stop();
}
