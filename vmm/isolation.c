#include "vmm/isolation.h"

#include "arch/x86/mm/address_space.h"
#include "arch/x86/mm/window.h"
#include "vmm/monitor.h"
#include "vmm/vm.h"

static bool any_mapped(void)
{
    for (unsigned int i = 0; i < vm_count; i++) {
        for (unsigned int r = 0; r < vms[i]->region_count; r++) {
            const struct vm_region *region = &vms[i]->regions[r];
            if (address_space_maps_pa(region->hpa, region->size))
                return true;
            monitor_pause(); /* all tables were walked */
        }
    }
    return false;
}

bool isolation_check(emit_fn *emit)
{
    const struct vm_region *probe = NULL;
    bool outside = any_mapped();
    bool inside = true;

    for (unsigned int i = 0; i < vm_count && !probe; i++)
        probe = vms[i]->region_count ? &vms[i]->regions[0] : NULL;
    if (probe) {
        window_map(WINDOW_COPY, probe->hpa);
        inside = address_space_maps_pa(probe->hpa, probe->size);
        window_unmap(WINDOW_COPY);
    }
    emit_line(emit, "isolation: guest memory mapped in the core: %s; found while in the window: %s",
              outside ? "YES" : "no", inside ? "yes" : "NO");
    monitor_pause();
    bool wx = address_space_has_wx();
    emit_line(emit, "isolation: writable and executable pages in the core: %s",
              wx ? "YES" : "none");
    return !outside && inside && !wx;
}
