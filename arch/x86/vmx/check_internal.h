#ifndef BULKHEAD_ARCH_X86_VMX_CHECK_INTERNAL_H
#define BULKHEAD_ARCH_X86_VMX_CHECK_INTERNAL_H

/* Shared by check.c and check_segments.c only. */

#include "arch/x86/vmx/check.h"

struct check {
    const struct vmcs_source *source;
    const struct vmx_limits *limits;
    emit_fn *emit;
    const char *section; /* of the SDM, vol. 3, where the rules being checked stand */
    unsigned int broken;
    unsigned int conditions;
    uint32_t pin, proc, proc2, exit, entry;
    uint32_t event; /* VM-entry interruption information; 0: none */
    uint64_t cr0, cr4, rflags;
    bool long_mode, unrestricted;
};

/* Access rights (SDM vol. 3, table 25-2). */
#define AR_TYPE     0xfu
#define AR_S        BIT(4)
#define AR_DPL(ar)  ((unsigned int)((ar) >> 5 & 3))
#define AR_P        BIT(7)
#define AR_L        BIT(13)
#define AR_DB       BIT(14)
#define AR_G        BIT(15)
#define AR_RESERVED 0xfffe0f00u

#define LOW_32       0xffffffffull
#define LOW_16       0xffffull
#define SELECTOR_RPL 3u
#define SELECTOR_TI  4u

static inline uint64_t get(const struct check *c, enum vmcs_field field)
{
    return c->source->read(c->source->ctx, field);
}

/* Counts and prints a broken rule, unless `ok`. */
void require(struct check *c, bool ok, enum vmcs_field field, const char *rule);
/* ... that these bits are 0. */
void require_clear(struct check *c, enum vmcs_field field, uint64_t bits);
bool is_canonical(const struct check *c, uint64_t address);

/* SDM vol. 3, 27.3.1.2. */
void check_segments(struct check *c);

#endif
