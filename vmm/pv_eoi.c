#include "vmm/pv_eoi.h"

#include "arch/x86/mm/window.h"
#include "arch/x86/virt.h"
#include "lib/error.h"
#include "vmm/guest_memory.h"

#define PV_EOI_ENABLE  BIT64(0)
#define PV_EOI_INVALID BIT64(1) /* the word is aligned to 4 bytes */
#define PV_EOI_PENDING BIT(0)   /* in the word: clearing it is enough */

void pv_eoi_set(struct vcpu *v, uint8_t vector)
{
    const struct lapic *l = &v->lapic;

    /* What waits behind this one, or for the end of a level, needs an exit then. */
    if (lapic_requested(l) || lapic_is_level(l, vector))
        return;
    *(volatile uint32_t *)window_map(WINDOW_COPY, v->pv_eoi_pa) |= PV_EOI_PENDING;
    window_unmap(WINDOW_COPY);
    v->pv_eoi_offered = true;
    v->known_tpr |= TPR_UNKNOWN; /* virt_sync_lapic() takes it back */
}

void pv_eoi_take_back(struct vcpu *v)
{
    volatile uint32_t *word = window_map(WINDOW_COPY, v->pv_eoi_pa);
    bool ended = !(*word & PV_EOI_PENDING);

    *word &= ~PV_EOI_PENDING;
    window_unmap(WINDOW_COPY);
    v->pv_eoi_offered = false;
    if (ended)
        lapic_eoi_write(&v->lapic);
}

int pv_eoi_enable(struct vcpu *v, uint64_t value)
{
    pv_eoi_sync(v);
    if ((value & PV_EOI_INVALID) ||
        ((value & PV_EOI_ENABLE) &&
         guest_physical(v->vm, value & ~PV_EOI_ENABLE, &v->pv_eoi_pa) != 0))
        return -BH_EINVAL;
    v->pv_eoi = value & PV_EOI_ENABLE ? value : 0;
    return 0;
}
