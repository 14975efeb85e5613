#include "boot/machine_report.h"

#include "arch/x86/asm.h"
#include "arch/x86/lapic.h"
#include "arch/x86/svm/detect.h"
#include "arch/x86/vmx/detect.h"
#include "boot/serial_ports.h"
#include "lib/error.h"
#include "lib/format.h"
#include "lib/string.h"

#define LEAF_BRAND    0x80000002u /* and the two after it */
#define LEAF_POWER    0x80000007u
#define EDX_INVARIANT BIT(8)

/* Intel VT-d 4.1, 8.1: behind the ACPI header and the address width. */
#define DMAR_FLAGS      37
#define DMAR_INTR_REMAP BIT(0)
#define DMAR_X2APIC_OUT BIT(1)

#define WHY_SIZE 512

INIT static const char *yes_no(bool yes)
{
    return yes ? "yes" : "no";
}

INIT static void report_processor(const struct machine_facts *facts, emit_fn *emit)
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
    emit_line(emit, "processor: %s", *text ? text : "of no name");
    if (facts->cpus_started > 0)
        emit_line(emit, "processors: %u started of %u that the firmware lists", facts->cpus_started,
                  facts->acpi->cpu_count);
    else
        emit_line(emit, "processors: %u that the firmware lists", facts->acpi->cpu_count);
}

/* As virt_init(), and without changing anything. */
INIT static void report_virtualization(const struct machine_facts *facts, emit_fn *emit)
{
    static uint64_t msrs[VMX_CAP_COUNT] INIT_DATA;
    static struct vmx_caps caps INIT_DATA;
    struct svm_features svm;
    char why[WHY_SIZE], line[WHY_SIZE + 32];
    const char *kind = "AMD-V";
    int err = svm_detect(0, &svm, why, sizeof(why));

    if (err == -BH_ENODEV) {
        kind = "VT-x";
        err = vmx_detect(0, msrs, &caps, why, sizeof(why));
    }
    if (err == -BH_ENODEV)
        format(why, sizeof(why), "this processor has neither VT-x nor AMD-V");
    else if (!err && facts->cannot_run_vms)
        format(why, sizeof(why), "%s is there, but cannot be turned on", kind);
    if (err || facts->cannot_run_vms)
        format(line, sizeof(line), "virtualization: NO: %s", why);
    else
        format(line, sizeof(line), "virtualization: yes, %s with all that Bulkhead needs", kind);
    emit(line, strlen(line)); /* may be longer than emit_line() takes */
}

INIT static void report_iommu(const struct machine_facts *facts, emit_fn *emit)
{
    const struct acpi_info *acpi = facts->acpi;
    const struct acpi_memory *memory = facts->memory;
    const struct acpi_table *dmar = acpi_find_table(acpi, "DMAR", 0);
    uint8_t flags = 0;

    if (acpi_find_table(acpi, "IVRS", 0)) {
        emit_line(emit, "IOMMU: AMD-Vi (IVRS table), which remaps interrupts");
    } else if (!dmar) {
        emit_line(emit, "IOMMU: none: no DMAR or IVRS table; look for \"VT-d\" or \"IOMMU\" in the "
                        "firmware's setup");
    } else if (dmar->length <= DMAR_FLAGS ||
               memory->read(memory->ctx, dmar->address + DMAR_FLAGS, &flags, 1) != 0) {
        emit_line(emit, "IOMMU: VT-d, but its DMAR table cannot be read");
    } else {
        emit_line(emit, "IOMMU: VT-d (DMAR table), interrupt remapping: %s%s",
                  yes_no(flags & DMAR_INTR_REMAP),
                  flags & DMAR_X2APIC_OUT ? "; the firmware asks not to use x2APIC" : "");
    }
}

INIT static void report_time(const struct machine_facts *facts, emit_fn *emit)
{
    const struct acpi_info *acpi = facts->acpi;
    bool invariant =
        cpuid(0x80000000, 0).eax >= LEAF_POWER && (cpuid(LEAF_POWER, 0).edx & EDX_INVARIANT);
    struct cpuid_regs r = cpuid(1, 0);

    emit_line(emit,
              "TSC: %llu.%03llu MHz, runs on in all states (invariant): %s, deadline timer: %s",
              LLU(facts->tsc_khz / 1000), LLU(facts->tsc_khz % 1000), yes_no(invariant),
              yes_no(r.ecx & CPUID1_ECX_TSC_DEADLINE));
    emit_line(emit, "other clocks: HPET: %s, ACPI PM timer: %s", yes_no(acpi->has_hpet),
              yes_no(acpi->pm_timer.address != 0));
    emit_line(emit, "x2APIC: %s", yes_no(r.ecx & CPUID1_ECX_X2APIC));
}

INIT static void report_serial(const struct machine_facts *facts, emit_fn *emit)
{
    if (serial_ports_report(facts->acpi, facts->memory, facts->uart_answers, emit) == 0)
        emit_line(emit, "serial port: none");
}

INIT static void report_memory(const struct machine_facts *facts, emit_fn *emit)
{
    static const char *const screens[] = {"none that the boot loader has told of", "graphics",
                                          "text"};
    const struct boot_framebuffer *fb = facts->screen;
    const struct memory_map *map = facts->map;
    uint64_t bytes = 0;

    for (unsigned int i = 0; i < map->count; i++)
        if (map->r[i].type == MEM_USABLE)
            bytes += map->r[i].size;
    emit_line(emit, "memory: %llu MiB that can be used, of a map of %u ranges", LLU(bytes / MIB),
              map->count);
    emit_line(emit, "screen: %s, %ux%u", screens[MIN(fb->kind, (uint8_t)BOOT_FB_TEXT)], fb->width,
              fb->height);
}

INIT void machine_report(const struct machine_facts *facts, emit_fn *emit)
{
    report_processor(facts, emit);
    report_virtualization(facts, emit);
    report_iommu(facts, emit);
    report_time(facts, emit);
    report_memory(facts, emit);
    report_serial(facts, emit);
}
