#ifndef BULKHEAD_ARCH_X86_SMP_H
#define BULKHEAD_ARCH_X86_SMP_H

/* The machine's processors: how they are started, and the signals between them. */

#include "lib/emit.h"
#include "vmm/config.h"

struct acpi_info;

/* Each CPU's own is in one place, which it and, while it is being started, the boot CPU write. */
enum cpu_state {
    CPU_STARTING, /* has not been heard of yet */
    CPU_ARRIVED,  /* on its own tables, set up; answers the boot CPU */
    CPU_RUNNING,  /* in the run loop */
    CPU_PARKED,   /* sleeps until smp_release() */
    CPU_REFUSED,  /* it cannot run VMs as the boot CPU can */
    CPU_FAILED,   /* waits for a start-up signal, for ever */
    CPU_STOPPED,  /* for good: the machine ends */
};

/* The APIC ids of the CPUs that the core uses, the boot CPU's first, then in the MADT's order.
 * `max_id`: the highest that can be sent to. Logs each one that is left out. Returns how many. */
unsigned int smp_list_cpus(const struct acpi_info *acpi, uint32_t boot_id, uint32_t max_id,
                           uint32_t ids[MAX_PCPUS]);

/* True when a CPU has an id that takes x2APIC mode. */
bool smp_needs_x2apic(const struct acpi_info *acpi);

/* By how much another CPU's TSC is ahead of this one's: between `low` and `high` ticks. */
struct tsc_offset {
    int64_t low, high;
};
#define TSC_OFFSET_UNKNOWN ((struct tsc_offset){INT64_MIN, INT64_MAX})

/* The other CPU read `other` between this one's readings. */
void tsc_offset_narrow(struct tsc_offset *offset, uint64_t before, uint64_t other, uint64_t after);

/* The smallest that it can be: 0 when nobody could tell the TSCs apart. */
int64_t tsc_offset_least(const struct tsc_offset *offset);

/* Starts all CPUs that the MADT lists, in parallel, by code at physical address `low_page`, a free
 * page below 1 MiB, which is as before afterwards (0: there is none). What does not come is logged
 * and left out. Boot CPU, boot only, when it is itself set up. */
void smp_start(const struct acpi_info *acpi, uint64_t low_page);

/* Whether no difference between the CPUs' TSCs was found. After smp_start(). */
bool smp_tsc_consistent(void);

/* How many CPUs there are, those included that do not run; they are numbered from 0. */
unsigned int smp_cpu_count(void);

/* Whether VMs can run there: it has started. */
bool smp_is_usable(unsigned int cpu);

uint32_t smp_apic_id(unsigned int cpu);

/* The parked CPUs go on with `run`, which does not return. Boot CPU. */
void smp_release(void (*run)(void));

/* Interrupts a CPU: it leaves its guest, or wakes up. What was stored before is visible to it. */
void smp_kick(unsigned int cpu);
/* On the CPU that is kicked, by the interrupt handler. */
void smp_take_kick(void);

/* Makes the parked CPUs forget what they know of the core's page tables, and waits for it, for 0.1
 * s each at most. Boot CPU. */
void smp_flush_tlbs(void);

/* The machine ends, by this CPU: stops all others, with virtualization off, and returns how many do
 * not answer. When another CPU was first, it stops this one instead. Any CPU, any context. */
unsigned int smp_stop_others(void);
void smp_claim_end(void); /* that alone: does not return when another CPU was first */

/* True when some CPU ends the machine; what the others do then, without delay. */
bool smp_is_ending(void);
NORETURN void smp_stop_self(void);

/* A vector that nobody expects came to this CPU, which is not the boot CPU: a note for smp_print().
 */
void smp_note_vector(uint8_t vector);

/* Crashes another CPU than the boot CPU, to see the report. False when there is no such one. */
bool smp_crash(unsigned int cpu);

/* A line for each CPU: number, APIC id, state. */
void smp_print(emit_fn *emit);

#endif
