#include "boot/boot_keyboard.h"

#include "arch/x86/acpi/acpi.h"
#include "arch/x86/ioapic.h"
#include "arch/x86/lapic.h"
#include "arch/x86/smp.h"
#include "drivers/ps2.h"
#include "lib/log.h"
#include "vmm/console.h"
#include "vmm/console_screen.h"

INIT void boot_keyboard_init(const struct acpi_info *acpi, bool have_ioapic, unsigned int cpu)
{
    /* Firmware may say that there is no controller to ask (ACPI 6.5, 5.2.9.3). */
    bool may_be_there = !acpi->has_fadt || (acpi->iapc_boot_arch & ACPI_BOOT_8042);

    if (!console_has_screen)
        return;
    if (!may_be_there || ps2_init() != 0) {
        log_info("keyboard: no PS/2 controller");
        return;
    }
    /* The UART's vector does no more than make the CPU look at the console. */
    if (!have_ioapic ||
        ioapic_hw_route_isa(acpi, PS2_ISA_IRQ, VECTOR_UART, smp_apic_id(cpu)) != 0) {
        log_warn("keyboard: no interrupt: it is polled");
        console_polled_by = cpu;
    }
    log_info("keyboard: PS/2");
}
