/* The start information of Xen's "x86/HVM direct boot ABI" (PVH). */

#include "boot/pvh.h"

#include "boot/bundle.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

struct pvh_start_info {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t module_count;
    uint64_t modules;
    uint64_t cmdline; /* 0: none */
    uint64_t rsdp;    /* 0: none */
    /* From version 1 on. */
    uint64_t memory_map;
    uint32_t memory_map_count;
    uint32_t reserved;
};
static_assert(sizeof(struct pvh_start_info) == 56, "PVH start information, version 1");

struct pvh_module {
    uint64_t base;
    uint64_t size;
    uint64_t cmdline; /* 0: none */
    uint64_t reserved;
};
static_assert(sizeof(struct pvh_module) == 32, "PVH module list");

struct pvh_memory {
    uint64_t base;
    uint64_t size;
    uint32_t type; /* as ACPI's */
    uint32_t reserved;
};
static_assert(sizeof(struct pvh_memory) == 24, "PVH memory map");

static int parse_memory(struct boot_info *info, const struct pvh_start_info *start,
                        const struct phys_view *view)
{
    struct pvh_memory entry;

    if (start->version < 1 || start->memory_map_count == 0) {
        log_error("boot: the PVH start information (version %u) has no memory map", start->version);
        return -BH_EINVAL;
    }
    for (uint32_t i = 0; i < start->memory_map_count; i++) {
        uint64_t at = start->memory_map + (uint64_t)i * sizeof(entry);
        if (!phys_view_read(view, at, &entry, sizeof(entry))) {
            log_error("boot: the PVH memory map leaves memory at entry %u of %u", i,
                      start->memory_map_count);
            return -BH_EINVAL;
        }
        int err = boot_add_range(info, entry.base, entry.size, entry.type);
        if (err)
            return err;
    }
    return 0;
}

/* These loaders hand over one file, without a name: then it is a bundle of those that are meant. */
static int add_module(struct boot_info *info, const struct pvh_module *module,
                      const struct phys_view *view)
{
    char string[256] = "";

    if (module->cmdline)
        phys_view_string(view, module->cmdline, sizeof(string), string, sizeof(string));
    if (bundle_is_one(module->base, module->size, view))
        return bundle_add(info, module->base, module->size, view);
    return boot_add_module(info, module->base, module->base + module->size, string);
}

static int parse_modules(struct boot_info *info, const struct pvh_start_info *start,
                         const struct phys_view *view)
{
    uint32_t count = MIN(start->module_count, (uint32_t)BOOT_MODULES_MAX);
    struct pvh_module module;

    for (uint32_t i = 0; i < count; i++) {
        if (!phys_view_read(view, start->modules + (uint64_t)i * sizeof(module), &module,
                            sizeof(module))) {
            log_error("boot: PVH module %u of %u lies outside memory", i, start->module_count);
            return -BH_EINVAL;
        }
        int err = add_module(info, &module, view);
        if (err)
            return err;
    }
    info->modules_dropped += start->module_count - count;
    return 0;
}

int pvh_parse(struct boot_info *info, uint64_t addr, const struct phys_view *view)
{
    struct pvh_start_info start = {0};

    memset(info, 0, sizeof(*info));
    info->protocol = "PVH";
    if (!phys_view_read(view, addr, &start, sizeof(start)) || start.magic != PVH_MAGIC) {
        log_error("boot: no PVH start information at 0x%llx", LLU(addr));
        return -BH_EINVAL;
    }
    if (start.cmdline)
        phys_view_string(view, start.cmdline, sizeof(info->cmdline), info->cmdline,
                         sizeof(info->cmdline));
    if (start.rsdp && phys_view_read(view, start.rsdp, info->rsdp, BOOT_RSDP_SIZE))
        info->rsdp_size = BOOT_RSDP_SIZE;
    int err = parse_memory(info, &start, view);
    return err ? err : parse_modules(info, &start, view);
}
