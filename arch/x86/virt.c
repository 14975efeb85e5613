#include "arch/x86/virt.h"

#include "arch/x86/asm.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

const struct virt_ops *virt;

static const struct virt_ops *const backends[] = {&svm_ops};

INIT int virt_init(void)
{
    char why[256];

    for (unsigned int i = 0; i < ARRAY_SIZE(backends); i++) {
        if (backends[i]->detect(why, sizeof(why)) == 0) {
            virt = backends[i];
            return virt->cpu_enable();
        }
        log_error("refused: %s", why);
    }
    return -BH_ENOTSUP;
}
