/* What starting the other CPUs has to decide, without the hardware. */

#include "arch/x86/acpi/acpi.h"
#include "arch/x86/lapic.h"
#include "arch/x86/smp.h"
#include "lib/log.h"

static_assert(ACPI_MAX_CPUS == MAX_PCPUS, "the MADT's list takes what the core takes");

unsigned int INIT smp_list_cpus(const struct acpi_info *acpi, uint32_t boot_id, uint32_t max_id,
                                uint32_t ids[MAX_PCPUS])
{
    unsigned int count = 0;

    ids[count++] = boot_id;
    for (unsigned int i = 0; i < acpi->cpu_count; i++) {
        uint32_t id = acpi->cpus[i].apic_id;

        if (id == boot_id) {
            continue;
        }
        if (id > max_id) {
            log_warn("cpus: APIC id %u is left out: without x2APIC mode %u is the highest", id,
                     max_id);
        } else if (count == MAX_PCPUS) {
            log_warn("cpus: APIC id %u is left out: %u CPUs are the limit", id, MAX_PCPUS);
        } else {
            ids[count++] = id;
        }
    }
    return count;
}

bool INIT smp_needs_x2apic(const struct acpi_info *acpi)
{
    for (unsigned int i = 0; i < acpi->cpu_count; i++) {
        if (acpi->cpus[i].apic_id > XAPIC_ID_MAX) {
            return true;
        }
    }
    return false;
}

void INIT tsc_offset_narrow(struct tsc_offset *offset, uint64_t before, uint64_t other,
                            uint64_t after)
{
    offset->low = MAX(offset->low, (int64_t)(other - after));
    offset->high = MIN(offset->high, (int64_t)(other - before));
}

int64_t INIT tsc_offset_least(const struct tsc_offset *offset)
{
    if (offset->low > 0) {
        return offset->low;
    }
    return MIN(offset->high, (int64_t)0);
}
