#ifndef BULKHEAD_VMM_PLATFORM_INTERNAL_H
#define BULKHEAD_VMM_PLATFORM_INTERNAL_H

/* What vmm/platform.c and vmm/ports.c share: the devices that go by the time. */

#include "arch/x86/time.h"
#include "lib/ticks.h"
#include "vmm/platform.h"

/* Brings a device up to date, its interrupt line included, and notes when it next changes. The
 * timer is left as it is. */
void platform_update_pit(struct vm *vm, uint64_t tsc);
void platform_update_rtc(struct vm *vm, uint64_t tsc);
void platform_update_pm(struct vm *vm, uint64_t tsc);

/* A byte waits in the UART: tries again to send it. Returns whether it was. */
bool platform_resume_uart(struct vm *vm);

/* Arms the devices' timer for the first of them. */
void platform_arm_device_timer(struct vm *vm);

/* Ticks of a device's clock, by its ratio to the TSC. */
static inline uint64_t ticks_since_boot(uint64_t tsc, uint64_t ratio)
{
    return ticks_at(tsc - time_scale.base, ratio);
}

/* An edge that came while no timer was armed counts as it was then: latched in the 8259, lost in a
 * masked input of the I/O APIC. To be called before either loses, changes or shows what it has. */
static inline void platform_catch_up_pit(struct vm *vm)
{
    uint64_t tsc = rdtsc();

    if (unlikely(tsc >= vm->pit_due))
        platform_update_pit(vm, tsc);
}

#endif
