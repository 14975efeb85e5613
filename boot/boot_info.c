#include "boot/boot_info.h"

#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

/* At the end at the latest. */
static bool is_terminated(const char *text, size_t size)
{
    return text[size - 1] == '\0';
}

int boot_info_take(struct boot_info *info, const struct boot_info *from)
{
    *info = *from;
    info->protocol = "the UEFI loader";
    if (info->map.count > MEMORY_MAP_MAX || info->module_count > BOOT_MODULES_MAX ||
        info->rsdp_size > BOOT_RSDP_SIZE || !is_terminated(info->cmdline, sizeof(info->cmdline))) {
        log_error("boot: the loader's information makes no sense: %u ranges of memory, %u modules, "
                  "expected at most %u and %u",
                  info->map.count, info->module_count, MEMORY_MAP_MAX, BOOT_MODULES_MAX);
        return -BH_EINVAL;
    }
    for (unsigned int i = 0; i < info->module_count; i++) {
        const struct boot_module *m = &info->modules[i];
        if (!is_terminated(m->name, sizeof(m->name)) || m->base + m->size < m->base) {
            log_error("boot: the loader's module %u lies outside memory or has no name", i);
            return -BH_EINVAL;
        }
    }
    return 0;
}
