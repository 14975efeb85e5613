#include "vmm/pvclock.h"

#include "arch/x86/mm/window.h"
#include "arch/x86/smp.h"
#include "arch/x86/time.h"
#include "lib/error.h"
#include "vmm/guest_memory.h"
#include "vmm/platform.h"
#include "vmm/vm.h"

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
};
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

/* A vCPU that may run on several CPUs with different TSCs sees time go back: the guest is told. */
static bool is_stable(const struct vcpu *v)
{
    uint64_t cpus = v->vm->config->cpus;

    return smp_tsc_consistent() || (cpus & (cpus - 1)) == 0;
}

/* All vCPUs get the same point, the VM's start, so that they compute the same time to the last bit.
 * A vCPU's page may be read by others while this writes it: Linux's vDSO does so. */
void pvclock_update(struct vcpu *v)
{
    uint64_t start = -v->vm->tsc_offset, pa;
    struct pvclock_time *page;
    int8_t shift;

    if (!(v->kvm_system_time & PVCLOCK_ENABLE) ||
        guest_physical(v->vm, v->kvm_system_time & ~PVCLOCK_ENABLE, &pa) != 0)
        return;
    page = window_map(WINDOW_COPY, pa);
    v->kvm_version += 2;
    __atomic_store_n(&page->version, v->kvm_version - 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    page->tsc_timestamp = start + v->tsc_offset;
    page->system_time = tsc_to_ns(start);
    page->tsc_to_system_mul = scale(&shift);
    page->tsc_shift = shift;
    page->flags = is_stable(v) ? PVCLOCK_STABLE : 0;
    __atomic_store_n(&page->version, v->kvm_version, __ATOMIC_RELEASE);
    window_unmap(WINDOW_COPY);
}

/* In the window it must not cross a page, which one that is aligned does not. */
int pvclock_write(struct vcpu *v, uint64_t value)
{
    uint64_t gpa = value & ~PVCLOCK_ENABLE, pa;

    if ((value & PVCLOCK_ENABLE) &&
        (gpa % sizeof(uint32_t) != 0 ||
         gpa % PAGE_SIZE_4K > PAGE_SIZE_4K - sizeof(struct pvclock_time) ||
         guest_physical(v->vm, gpa, &pa) != 0))
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
