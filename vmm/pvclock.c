#include "vmm/pvclock.h"

#include "arch/x86/time.h"
#include "lib/error.h"
#include "vmm/guest_memory.h"
#include "vmm/platform.h"

#define PVCLOCK_ENABLE BIT64(0)
#define PVCLOCK_STABLE BIT(0)

/* Both are read by the guest without an exit; an odd version says that an update is under way. */
struct pvclock_time {
    uint32_t version;
    uint32_t pad0;
    uint64_t tsc_timestamp;
    uint64_t system_time; /* ns at tsc_timestamp */
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags;
    uint8_t pad[2];
} PACKED;
static_assert(sizeof(struct pvclock_time) == 32, "pvclock_vcpu_time_info layout");

struct pvclock_wall {
    uint32_t version;
    uint32_t sec;
    uint32_t nsec;
} PACKED;

/* ns = ((tsc << shift) * mul) >> 32, with `mul` as large as fits. */
static uint32_t scale(int8_t *shift)
{
    uint64_t ns_per_tsc = time_scale.ns_per_tsc; /* 32.32 */

    *shift = 0;
    while (ns_per_tsc >> 32) {
        ns_per_tsc >>= 1;
        (*shift)++;
    }
    while (!(ns_per_tsc & BIT64(31))) {
        ns_per_tsc <<= 1;
        (*shift)--;
    }
    return (uint32_t)ns_per_tsc;
}

void pvclock_update(struct vcpu *v)
{
    struct pvclock_time page = {0};
    uint64_t gpa = v->kvm_system_time & ~PVCLOCK_ENABLE;
    uint64_t now = rdtsc();

    if (!(v->kvm_system_time & PVCLOCK_ENABLE))
        return;
    v->kvm_version += 2;
    page.version = v->kvm_version;
    page.tsc_timestamp = now + v->tsc_offset;
    page.system_time = tsc_to_ns(now);
    page.flags = PVCLOCK_STABLE;
    page.tsc_to_system_mul = scale(&page.tsc_shift);
    /* The vCPU does not run while this is written, so it sees all of it or nothing. A page that is
     * no RAM was refused when the guest named it. */
    if (guest_write(v->vm, gpa, &page, sizeof(page)) != 0)
        v->kvm_system_time = 0;
}

int pvclock_write(struct vcpu *v, uint64_t value)
{
    struct pvclock_time page;

    if ((value & PVCLOCK_ENABLE) &&
        guest_read(v->vm, value & ~PVCLOCK_ENABLE, &page, sizeof(page)) != 0)
        return -BH_EINVAL;
    v->kvm_system_time = value;
    pvclock_update(v);
    return 0;
}

/* Wall-clock time at system_time 0, the core's start. */
int pvclock_write_wall(struct vcpu *v, uint64_t value)
{
    struct pvclock_wall wall = {.version = 2, .sec = (uint32_t)platform_boot_epoch};

    return guest_write(v->vm, value, &wall, sizeof(wall)) == 0 ? 0 : -BH_EINVAL;
}
