#include "boot/boot_info.h"

#include "boot/event_log.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

/* At the end at the latest. */
INIT static bool is_terminated(const char *text, size_t size)
{
    return text[size - 1] == '\0';
}

/* As if firmware had said it. */
INIT static int take_map(struct memory_map *map, const struct memory_map *from)
{
    int err = 0;

    memset(map, 0, sizeof(*map));
    for (unsigned int i = 0; i < from->count && !err; i++)
        err = memory_map_add(map, from->r[i].base, from->r[i].size, from->r[i].type);
    return err;
}

INIT static int check_event_log(const struct boot_measurements *m)
{
    if (m->size <= EVENT_LOG_MAX && m->base <= BIT64(52) - m->size)
        return 0;
    log_error(
        "boot: the loader's event log of %llu bytes lies outside memory, or is longer than %llu",
        LLU(m->size), EVENT_LOG_MAX);
    return -BH_EINVAL;
}

INIT int boot_info_take(struct boot_info *info, const struct boot_info *from)
{
    *info = *from;
    info->protocol = "the UEFI loader";
    if (info->map.count > MEMORY_MAP_MAX || info->module_count > BOOT_MODULES_MAX ||
        info->rsdp_size > BOOT_RSDP_SIZE || !is_terminated(info->cmdline, sizeof(info->cmdline)) ||
        !is_terminated(info->report, sizeof(info->report))) {
        log_error("boot: the loader's information makes no sense: %u ranges of memory, %u modules, "
                  "expected at most %u and %u",
                  info->map.count, info->module_count, MEMORY_MAP_MAX, BOOT_MODULES_MAX);
        memset(info, 0, sizeof(*info)); /* the way to the message goes by the map and the RSDP */
        return -BH_EINVAL;
    }
    if (take_map(&info->map, &from->map) != 0)
        return -BH_ENOMEM;
    for (unsigned int i = 0; i < info->module_count; i++) {
        const struct boot_module *m = &info->modules[i];
        if (!is_terminated(m->name, sizeof(m->name)) || m->base + m->size < m->base) {
            log_error("boot: the loader's module %u lies outside memory or has no name", i);
            return -BH_EINVAL;
        }
    }
    return check_event_log(&info->measurements);
}
