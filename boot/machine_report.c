#include "boot/machine_report.h"

#include "arch/x86/asm.h"
#include "arch/x86/smp.h"
#include "arch/x86/time.h"
#include "boot/boot_info.h"
#include "lib/log.h"
#include "lib/string.h"

#define LEAF_BRAND       0x80000002u /* and the two after it */
#define LEAF_POWER       0x80000007u
#define EDX_INVARIANT    BIT(8)
#define ECX_X2APIC       BIT(21)
#define ECX_TSC_DEADLINE BIT(24)

/* Intel VT-d 4.1, 8.1: behind the ACPI header and the address width. */
#define DMAR_FLAGS      37
#define DMAR_INTR_REMAP BIT(0)
#define DMAR_X2APIC_OUT BIT(1)
#define UART_LSR        5
#define NOTHING_THERE   0xff /* what a port without a device reads */

static const uint16_t com_ports[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};

/* One line: what, and how it is here. */
#define report(what, ...) log_info("check: " what __VA_ARGS__)

INIT static const char *yes_no(bool yes)
{
    return yes ? "yes" : "no";
}

INIT static void report_processor(const struct acpi_info *acpi)
{
    char brand[3 * sizeof(struct cpuid_regs) + 1] = "";
    const char *text = brand;

    if (cpuid(0x80000000, 0).eax >= LEAF_BRAND + 2) {
        for (unsigned int i = 0; i < 3; i++) {
            struct cpuid_regs r = cpuid(LEAF_BRAND + i, 0);
            memcpy(brand + i * sizeof(r), &r, sizeof(r));
        }
    }
    while (*text == ' ')
        text++;
    report("processor: ", "%s", *text ? text : "of no name");
    report("processors: ", "%u started of %u that the firmware lists", smp_cpu_count(),
           acpi->cpu_count);
}

INIT static void report_iommu(const struct acpi_info *acpi, const struct acpi_memory *memory)
{
    const struct acpi_table *dmar = acpi_find_table(acpi, "DMAR", 0);
    uint8_t flags = 0;

    if (acpi_find_table(acpi, "IVRS", 0)) {
        report("IOMMU: ", "AMD-Vi (IVRS table), which remaps interrupts");
    } else if (!dmar) {
        report("IOMMU: ", "none: no DMAR or IVRS table; look for \"VT-d\" or \"IOMMU\" in the "
                          "firmware's setup");
    } else if (dmar->length <= DMAR_FLAGS ||
               memory->read(memory->ctx, dmar->address + DMAR_FLAGS, &flags, 1) != 0) {
        report("IOMMU: ", "VT-d, but its DMAR table cannot be read");
    } else {
        report("IOMMU: ", "VT-d (DMAR table), interrupt remapping: %s%s",
               yes_no(flags & DMAR_INTR_REMAP),
               flags & DMAR_X2APIC_OUT ? "; the firmware asks not to use x2APIC" : "");
    }
}

INIT static void report_time(const struct acpi_info *acpi)
{
    bool invariant =
        cpuid(0x80000000, 0).eax >= LEAF_POWER && (cpuid(LEAF_POWER, 0).edx & EDX_INVARIANT);
    struct cpuid_regs r = cpuid(1, 0);

    report("TSC: ", "%llu.%03llu MHz, runs on in all states (invariant): %s, deadline timer: %s",
           LLU(time_scale.khz / 1000), LLU(time_scale.khz % 1000), yes_no(invariant),
           yes_no(r.ecx & ECX_TSC_DEADLINE));
    report("other clocks: ", "HPET: %s, ACPI PM timer: %s", yes_no(acpi->has_hpet),
           yes_no(acpi->pm_timer.address != 0));
    report("x2APIC: ", "%s", yes_no(r.ecx & ECX_X2APIC));
}

INIT static void report_serial(const struct acpi_info *acpi)
{
    unsigned int found = 0;

    for (unsigned int i = 0; i < ARRAY_SIZE(com_ports); i++) {
        if (inb(com_ports[i] + UART_LSR) == NOTHING_THERE)
            continue;
        report("serial port: ", "COM%u at port 0x%x", i + 1, com_ports[i]);
        found++;
    }
    if (acpi_find_table(acpi, "SPCR", 0))
        report("serial port: ", "the firmware names a console (SPCR table)");
    if (found == 0)
        report("serial port: ", "none at COM1 to COM4");
}

INIT static void report_memory(void)
{
    static const char *const screens[] = {"none that the boot loader has told of", "graphics",
                                          "text"};
    const struct boot_framebuffer *fb = &boot_info.framebuffer;
    uint64_t bytes = 0;

    for (unsigned int i = 0; i < boot_info.map.count; i++)
        if (boot_info.map.r[i].type == MEM_USABLE)
            bytes += boot_info.map.r[i].size;
    report("memory: ", "%llu MiB for guests, in %u ranges", LLU(bytes / MIB), boot_info.map.count);
    report("screen: ", "%s, %ux%u", screens[MIN(fb->kind, (uint8_t)BOOT_FB_TEXT)], fb->width,
           fb->height);
}

INIT void machine_report(const struct acpi_info *acpi, const struct acpi_memory *memory,
                         bool can_run_vms)
{
    report("what this machine has, as Bulkhead sees it; booted by ", "%s", boot_info.protocol);
    report_processor(acpi);
    report("virtualization: ", "%s",
           can_run_vms ? "yes, as said above" : "NO: see the error above");
    report_iommu(acpi, memory);
    report_time(acpi);
    report_memory();
    report_serial(acpi);
    report("end: ", "no VM is started; take \"check\" off the core's command line for that");
}
