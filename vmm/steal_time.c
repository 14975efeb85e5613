#include "vmm/steal_time.h"

#include "arch/x86/mm/window.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "lib/error.h"
#include "vmm/guest_memory.h"

#define STEAL_ENABLE   BIT64(0)
#define STEAL_RESERVED 0x3eull /* the area is aligned to its size */

#define VCPU_PREEMPTED BIT(0)
#define VCPU_FLUSH_TLB BIT(1)

/* Read by all vCPUs without an exit. */
struct steal_area {
    uint64_t steal;   /* ns */
    uint32_t version; /* odd: an update is under way */
    uint32_t flags;
    uint8_t preempted; /* VCPU_*; the one byte that other vCPUs write */
    uint8_t pad[47];
};
static_assert(sizeof(struct steal_area) == 64, "struct kvm_steal_time");
static_assert(offsetof(struct steal_area, preempted) == 16, "struct kvm_steal_time");

static struct steal_area *map(const struct vcpu *v)
{
    return window_map(WINDOW_COPY, v->steal_time_pa);
}

void steal_time_mark(struct vcpu *v)
{
    __atomic_store_n(&map(v)->preempted, VCPU_PREEMPTED, __ATOMIC_SEQ_CST);
    window_unmap(WINDOW_COPY);
    v->steal_marked = true;
}

/* From the exchange on the others interrupt it for a flush; what they asked for before is done. */
void steal_time_report(struct vcpu *v)
{
    struct steal_area *area = map(v);
    uint8_t asked = __atomic_exchange_n(&area->preempted, 0, __ATOMIC_SEQ_CST);
    uint32_t version = __atomic_load_n(&area->version, __ATOMIC_RELAXED) | 1;

    __atomic_store_n(&area->version, version, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(&area->flags, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&area->steal, tsc_span_to_ns(v->sched.waited), __ATOMIC_RELAXED);
    __atomic_store_n(&area->version, version + 1, __ATOMIC_RELEASE);
    window_unmap(WINDOW_COPY);
    v->steal_marked = false;
    if (asked & VCPU_FLUSH_TLB)
        virt->flush_guest(v);
}

int steal_time_enable(struct vcpu *v, uint64_t value)
{
    uint64_t pa;

    if (value & STEAL_RESERVED)
        return -BH_EINVAL;
    if (!(value & STEAL_ENABLE)) {
        v->steal_time = 0;
        return 0;
    }
    if (guest_physical(v->vm, value & ~STEAL_ENABLE, &pa) != 0)
        return -BH_EINVAL;
    v->steal_time = value;
    v->steal_time_pa = pa;
    steal_time_report(v);
    return 0;
}
