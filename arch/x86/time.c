/* The TSC's frequency. It is always measured when the machine has a clock to measure against: the
 * frequency that CPUID claims is used only when the measurement agrees, because emulators and some
 * hypervisors pass on numbers of a CPU that they are not. */

#include "arch/x86/time.h"

#include "arch/x86/acpi/acpi.h"
#include "arch/x86/mm/address_space.h"
#include "drivers/pit.h"
#include "lib/error.h"
#include "lib/log.h"

#define CALIBRATION_US 10000u
#define GIVE_UP_TSC    1000000000ull /* 10 ms at 100 GHz, or 1 s at 1 GHz */
#define PM_TIMER_HZ    3579545u      /* ACPI 6.5, 4.8.2.1 */
#define FS_PER_MS      1000000000000ull

/* HPET registers (IA-PC HPET 1.0a, 2.3). */
#define HPET_CAPABILITIES 0x000
#define HPET_CONFIG       0x010
#define HPET_COUNTER      0x0f0
#define HPET_ENABLE       BIT(0)

/* A clock that counts up and wraps at `mask`. */
struct reference {
    const char *name;
    uint64_t khz;
    uint64_t mask;
    uint64_t (*read)(const struct reference *ref);
    volatile char *mmio;
    uint16_t port;
};

struct time_scale time_scale;

static uint64_t read_hpet(const struct reference *ref)
{
    return *(volatile uint32_t *)(ref->mmio + HPET_COUNTER);
}

static uint64_t read_pm_timer(const struct reference *ref)
{
    return inl(ref->port);
}

INIT static bool use_hpet(struct reference *ref, const struct acpi_info *acpi)
{
    volatile char *mmio =
        acpi->has_hpet ? (volatile char *)device_map(acpi->hpet_address, PAGE_SIZE_4K) : NULL;

    if (!mmio)
        return false;
    uint64_t period_fs = *(volatile uint64_t *)(mmio + HPET_CAPABILITIES) >> 32;
    if (period_fs == 0 || period_fs > 100000000) /* 100 ns is the most that 2.3.4 allows */
        return false;
    *(volatile uint32_t *)(mmio + HPET_CONFIG) |= HPET_ENABLE;
    *ref = (struct reference){.name = "HPET",
                              .khz = FS_PER_MS / period_fs,
                              .mask = UINT32_MAX,
                              .read = read_hpet,
                              .mmio = mmio};
    return true;
}

INIT static bool use_pm_timer(struct reference *ref, const struct acpi_info *acpi)
{
    if (acpi->pm_timer.address == 0 || acpi->pm_timer.space != ACPI_SPACE_IO)
        return false;
    *ref = (struct reference){.name = "PM timer",
                              .khz = PM_TIMER_HZ / 1000,
                              .mask = acpi->pm_timer_32bit ? UINT32_MAX : 0xffffff,
                              .read = read_pm_timer,
                              .port = (uint16_t)acpi->pm_timer.address};
    return true;
}

/* A reading of the reference with the TSC in the middle of it; of a few tries the quickest, as a
 * read may be interrupted (SMI, or by the hypervisor below). */
INIT static uint64_t sample(const struct reference *ref, uint64_t *tsc)
{
    uint64_t best = UINT64_MAX;
    uint64_t value = 0;

    for (unsigned int i = 0; i < 3; i++) {
        uint64_t before = rdtsc();
        uint64_t v = ref->read(ref);
        uint64_t after = rdtsc();
        if (after - before < best) {
            best = after - before;
            value = v;
            *tsc = before + (after - before) / 2;
        }
    }
    return value;
}

/* TSC kHz measured against `ref`, 0 when that clock stands still. */
INIT static uint64_t measure(const struct reference *ref)
{
    uint64_t wanted = ref->khz * CALIBRATION_US / 1000;
    uint64_t tsc_start = 0;
    uint64_t tsc_end = 0;
    uint64_t start = sample(ref, &tsc_start);
    uint64_t elapsed = 0;

    while (elapsed < wanted && rdtsc() - tsc_start < GIVE_UP_TSC)
        elapsed = (ref->read(ref) - start) & ref->mask;
    elapsed = (sample(ref, &tsc_end) - start) & ref->mask;
    if (elapsed < wanted)
        return 0;
    if (ref->khz == PM_TIMER_HZ / 1000)
        return (tsc_end - tsc_start) * PM_TIMER_HZ / elapsed / 1000;
    return (tsc_end - tsc_start) * ref->khz / elapsed;
}

/* SDM vol. 3, 19.7.3: TSC = crystal * EBX / EAX. */
INIT static uint64_t cpuid_khz(void)
{
    if (cpuid(0, 0).eax < 0x15)
        return 0;
    struct cpuid_regs r = cpuid(0x15, 0);
    return r.eax && r.ebx && r.ecx ? (uint64_t)r.ecx / 1000 * r.ebx / r.eax : 0;
}

INIT int time_init(uint64_t base, const struct acpi_info *acpi)
{
    struct reference ref;
    const char *source = NULL;
    uint64_t khz = 0;

    if (use_hpet(&ref, acpi) || use_pm_timer(&ref, acpi)) {
        khz = measure(&ref);
        source = ref.name;
    }
    if (khz == 0 && use_pm_timer(&ref, acpi)) {
        khz = measure(&ref);
        source = ref.name;
    }
    if (khz == 0) {
        khz = pit_measure_tsc_khz();
        source = "PIT";
    }
    uint64_t claimed = cpuid_khz();
    if (khz == 0 || (claimed != 0 && claimed - khz / 100 * 99 <= khz / 50)) {
        khz = claimed;
        source = "CPUID";
    }
    if (khz == 0) {
        log_error("no HPET, PM timer or PIT to measure the TSC with, and CPUID does not tell");
        return -BH_ENOTSUP;
    }
    time_scale.base = base;
    time_scale.ns_per_tsc = (1000000ull << 32) / khz;
    time_scale.tsc_per_ns = (khz << 32) / 1000000;
    time_scale.khz = khz;
    log_info("time: TSC %llu.%03llu MHz, by %s", LLU(khz / 1000), LLU(khz % 1000), source);
    return 0;
}
