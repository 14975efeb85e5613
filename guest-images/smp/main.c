/* The words of the command line choose what it does:
 *   check (at first)     checks, one line each; groups=A,B only these
 *   storm=ipi|init       seconds=N
 *   work=share|counter   counts, and prints how far it got, each second
 *   work=watch           all but one read memory, and how many find none is printed when it changes
 *   work=ping            two CPUs each send one another IPIs; seconds=N (0: for ever)
 *   idle                 all halted
 *   measure              rows for tests/bench; share: all vCPUs on one pCPU
 *   cpus=N               so many are expected
 *   patience=MS          how long something may take until it counts as lost (2000)
 *   native               not in Bulkhead: less what only Bulkhead promises */

#include "smp.h"

bool smp_native;

static const struct check_group groups[] = {
    {"topology", group_topology}, {"start", group_start},   {"ioapic", group_ioapic},
    {"time", group_time},         {"memory", group_memory}, {"delivery", group_delivery},
};

void guest_main(void)
{
    uint64_t seconds = guest_number("seconds", 10);

    guest_watches_if = true;
    smp_native = guest_has_word("native");
    if (!smp_find())
        return;
    interrupts_on();
    smp_start_all();
    print("READY\nsmp: %u CPUs, %llu ticks a ms\n", smp_count, LLU(smp_tsc_ms));
    if (guest_has_word("x2apic") && !smp_set_mode(true))
        print("LOST smp: no x2APIC mode\n");
    if (guest_option_lists("storm", "ipi"))
        storm_ipi(seconds);
    else if (guest_option_lists("storm", "init"))
        storm_init(seconds);
    else if (guest_option_lists("work", "share"))
        work_share();
    else if (guest_option_lists("work", "counter"))
        work_counter();
    else if (guest_option_lists("work", "watch"))
        work_watch();
    else if (guest_option_lists("work", "ping"))
        work_ping(seconds);
    else if (guest_has_word("idle"))
        work_idle();
    else if (guest_has_word("measure"))
        measure_rows();
    else
        check_all(groups, ARRAY_SIZE(groups));
}
