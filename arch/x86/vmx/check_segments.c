#include "arch/x86/regs.h"
#include "arch/x86/vmx/check_internal.h"

/* Values of the type field (SDM vol. 3, tables 3-1 and 3-2). */
#define TYPE_ACCESSED   BIT(0)
#define TYPE_READABLE   BIT(1) /* of code */
#define TYPE_CONFORMING BIT(2) /* of code */
#define TYPE_CODE       BIT(3)
#define TYPE_DATA       3u /* readable, writable, accessed */
#define TYPE_DATA_DOWN  7u
#define TYPE_LDT        2u
#define TYPE_BUSY_TSS16 3u
#define TYPE_BUSY_TSS   11u

#define V86_ACCESS 0xf3u
#define PAGE_BITS  0xfffu
#define HIGH_LIMIT 0xfff00000u

struct seg {
    enum vmcs_field selector_field, access_field, limit_field, base_field;
    uint16_t selector;
    uint32_t access, limit;
    uint64_t base;
    unsigned int type;
    bool usable;
};

static struct seg read_segment(const struct check *c, enum vmcs_segment i)
{
    struct seg s = {
        .selector_field = VMCS_SEGMENT(VMCS_GUEST_ES_SELECTOR, i),
        .access_field = VMCS_SEGMENT(VMCS_GUEST_ES_ACCESS, i),
        .limit_field = VMCS_SEGMENT(VMCS_GUEST_ES_LIMIT, i),
        .base_field = VMCS_SEGMENT(VMCS_GUEST_ES_BASE, i),
    };

    s.selector = (uint16_t)get(c, s.selector_field);
    s.access = (uint32_t)get(c, s.access_field);
    s.limit = (uint32_t)get(c, s.limit_field);
    s.base = get(c, s.base_field);
    s.type = s.access & AR_TYPE;
    s.usable = !(s.access & ACCESS_UNUSABLE);
    return s;
}

static void check_v86(struct check *c, const struct seg *s)
{
    require(c, s->base == (uint64_t)s->selector << 4, s->base_field,
            "must be 16 times the selector in virtual-8086 mode");
    require(c, s->limit == LOW_16, s->limit_field, "must be 0xffff in virtual-8086 mode");
    require(c, s->access == V86_ACCESS, s->access_field, "must be 0xf3 in virtual-8086 mode");
}

/* What holds for every segment that is in use. */
static void check_common(struct check *c, const struct seg *s, bool system)
{
    require(c, !(s->access & AR_S) == system, s->access_field,
            system ? "bit 4 (S) must be 0" : "bit 4 (S) must be 1");
    require(c, s->access & AR_P, s->access_field, "bit 7 (P) must be 1");
    require_clear(c, s->access_field, AR_RESERVED);
    require(c, (s->limit & PAGE_BITS) == PAGE_BITS || !(s->access & AR_G), s->access_field,
            "bit 15 (G) must be 0: the limit's bits 11:0 are not all 1");
    require(c, !(s->limit & HIGH_LIMIT) || (s->access & AR_G), s->access_field,
            "bit 15 (G) must be 1: the limit is 1 MiB or more");
}

static void check_cs(struct check *c, const struct seg *cs, const struct seg *ss)
{
    const unsigned int dpl = AR_DPL(cs->access), ss_dpl = AR_DPL(ss->access);
    const bool code = (cs->type & (TYPE_CODE | TYPE_ACCESSED)) == (TYPE_CODE | TYPE_ACCESSED);

    check_common(c, cs, false);
    require(c, code || (cs->type == TYPE_DATA && c->unrestricted), cs->access_field,
            "type must be 9, 11, 13 or 15, or 3 for an unrestricted guest");
    if (code && (cs->type & TYPE_CONFORMING))
        require(c, dpl <= ss_dpl, cs->access_field, "DPL must not be above that of SS");
    else if (code)
        require(c, dpl == ss_dpl, cs->access_field, "DPL must equal that of SS");
    else if (cs->type == TYPE_DATA)
        require(c, dpl == 0, cs->access_field, "DPL must be 0 as the type is 3");
    require(c, !c->long_mode || !(cs->access & AR_L) || !(cs->access & AR_DB), cs->access_field,
            "bit 14 (D/B) must be 0 for 64-bit code");
}

static void check_ss(struct check *c, const struct seg *ss, const struct seg *cs)
{
    const unsigned int dpl = AR_DPL(ss->access), rpl = ss->selector & SELECTOR_RPL;

    require(c, c->unrestricted || rpl == (cs->selector & SELECTOR_RPL), ss->selector_field,
            "RPL must equal that of CS");
    require(c, c->unrestricted || dpl == rpl, ss->access_field, "DPL must equal the RPL of SS");
    require(c, (cs->type != TYPE_DATA && (c->cr0 & CR0_PE)) || dpl == 0, ss->access_field,
            "DPL must be 0 in real mode and while the type of CS is 3");
    if (ss->usable) {
        check_common(c, ss, false);
        require(c, ss->type == TYPE_DATA || ss->type == TYPE_DATA_DOWN, ss->access_field,
                "type must be 3 or 7");
    }
}

static void check_data(struct check *c, const struct seg *s)
{
    const bool conforming = s->type >= (TYPE_CODE | TYPE_CONFORMING);

    if (!s->usable)
        return;
    check_common(c, s, false);
    require(c, s->type & TYPE_ACCESSED, s->access_field, "bit 0 (accessed) must be 1");
    require(c, !(s->type & TYPE_CODE) || (s->type & TYPE_READABLE), s->access_field,
            "code must be readable (bit 1)");
    require(c, c->unrestricted || conforming || AR_DPL(s->access) >= (s->selector & SELECTOR_RPL),
            s->access_field, "DPL must not be below the RPL");
}

/* TR, whose base check.c looks at, and LDTR, in every mode. */
static void check_system_segments(struct check *c)
{
    const struct seg tr = read_segment(c, VMCS_TR);
    const struct seg ldtr = read_segment(c, VMCS_LDTR);

    check_common(c, &tr, true);
    require(c, tr.usable, tr.access_field, "bit 16 (unusable) must be 0");
    require(c, tr.type == TYPE_BUSY_TSS || (tr.type == TYPE_BUSY_TSS16 && !c->long_mode),
            tr.access_field, "type must be 11, or 3 outside IA-32e mode");
    if (ldtr.usable) {
        check_common(c, &ldtr, true);
        require(c, ldtr.type == TYPE_LDT, ldtr.access_field, "type must be 2");
        require(c, is_canonical(c, ldtr.base), ldtr.base_field, "must be canonical");
        require_clear(c, ldtr.selector_field, SELECTOR_TI);
    }
}

void check_segments(struct check *c)
{
    const struct seg cs = read_segment(c, VMCS_CS);
    const struct seg ss = read_segment(c, VMCS_SS);
    struct seg s;

    c->section = "27.3.1.2";
    check_system_segments(c);
    if (!(c->rflags & RFLAGS_VM)) {
        check_cs(c, &cs, &ss);
        check_ss(c, &ss, &cs);
    }
    for (enum vmcs_segment i = VMCS_ES; i <= VMCS_GS; i++) {
        s = read_segment(c, i);
        if (c->rflags & RFLAGS_VM)
            check_v86(c, &s);
        else if (i != VMCS_CS && i != VMCS_SS)
            check_data(c, &s);
        /* FS and GS may have 64-bit bases; an unused segment's base does not matter. */
        if (i <= VMCS_DS && (i == VMCS_CS || s.usable))
            require_clear(c, s.base_field, ~LOW_32);
    }
}
