#include "vmm/modules.h"

#include "arch/x86/mm/window.h"
#include "boot/boot_info.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmm/guest_memory_bulk.h"

static int read_module(void *ctx, uint64_t offset, void *buf, size_t len)
{
    const struct boot_module *module = ctx;

    window_read_physical(module->base + offset, buf, len);
    return 0;
}

static int copy_module(void *ctx, struct vm *vm, uint64_t gpa, uint64_t offset, uint64_t len)
{
    const struct boot_module *module = ctx;

    return guest_copy_physical(vm, gpa, module->base + offset, len);
}

int module_blob(const char *name, struct blob *blob)
{
    for (unsigned int i = 0; i < boot_info.module_count; i++) {
        struct boot_module *module = &boot_info.modules[i];
        if (strcmp(module->name, name) == 0) {
            *blob = (struct blob){.name = module->name,
                                  .size = module->size,
                                  .read = read_module,
                                  .copy_to_guest = copy_module,
                                  .ctx = module};
            return 0;
        }
    }
    log_error("no boot module is called \"%s\"", name);
    return -BH_ENOENT;
}
