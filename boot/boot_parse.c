#include "boot/boot_parse.h"

#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

#define RANGES_MAX 4096u /* in the loader's map, also counting those that are of no use */

bool phys_view_read(const struct phys_view *view, uint64_t addr, void *dst, uint64_t size)
{
    if (addr >= view->limit || size > view->limit - addr)
        return false;
    memcpy(dst, view->base + addr, size);
    return true;
}

void phys_view_string(const struct phys_view *view, uint64_t addr, uint64_t max, char *dst,
                      size_t size)
{
    size_t n = 0;

    while (n + 1 < size && n < max && addr + n < view->limit && view->base[addr + n] != '\0') {
        dst[n] = (char)view->base[addr + n];
        n++;
    }
    dst[n] = '\0';
}

static void module_name(char name[static BOOT_MODULE_NAME_MAX], const char *string)
{
    const char *start = string;
    size_t n = 0;

    for (const char *p = string; *p != '\0' && *p != ' '; p++)
        if (*p == '/')
            start = p + 1;
    while (start[n] != '\0' && start[n] != ' ' && n + 1 < BOOT_MODULE_NAME_MAX) {
        name[n] = start[n];
        n++;
    }
    name[n] = '\0';
}

int boot_add_module(struct boot_info *info, uint64_t start, uint64_t end, const char *string)
{
    if (end < start) {
        log_error("boot: module \"%s\" ends at 0x%llx, before its start 0x%llx", string, LLU(end),
                  LLU(start));
        return -BH_EINVAL;
    }
    if (info->module_count == BOOT_MODULES_MAX) {
        info->modules_dropped++;
        return 0;
    }
    struct boot_module *module = &info->modules[info->module_count++];
    module->base = start;
    module->size = end - start;
    module_name(module->name, string);
    return 0;
}

INIT int boot_add_range(struct boot_info *info, uint64_t base, uint64_t length, uint32_t type)
{
    if (info->map.given >= RANGES_MAX) {
        log_error("boot: the loader's memory map has more than %u ranges", RANGES_MAX);
        return -BH_EINVAL;
    }
    return memory_map_add(&info->map, base, length, type);
}
