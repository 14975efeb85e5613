/* How many there are, who they are, and that they are all alike. */

#include "smp.h"

#define CPUID1D_HTT BIT(28)
#define VARYING_1C  (BIT(27)) /* OSXSAVE mirrors CR4 */
#define LEAF_TOPO   0xbu
#define TYPE_NONE   0
#define TYPE_SMT    1
#define TYPE_CORE   2
#define LEVELS      3
#define SIZE_LEAF   0x80000008u

struct identity {
    uint32_t initial_id, logical_count, htt;
    uint32_t lapic_id, version, x2_id, max_leaf, size;
    uint64_t base;
    struct {
        uint32_t shift, count, ecx, x2_id;
    } level[LEVELS];
    uint32_t features[4];
};
static struct identity found[SMP_MAX];

static void identify(struct smp_cpu *me, uint64_t arg)
{
    struct identity *f = &found[me->index];
    struct cpuid_regs r = cpuid(0, 0);

    f->max_leaf = r.eax;
    r = cpuid(1, 0);
    f->initial_id = r.ebx >> 24;
    f->logical_count = r.ebx >> 16 & 0xff;
    f->htt = (r.edx & CPUID1D_HTT) != 0;
    f->features[0] = r.ecx & ~VARYING_1C;
    f->features[1] = r.edx;
    f->features[2] = cpuid(7, 0).ebx;
    f->features[3] = cpuid(0x80000001, 0).edx;
    f->size = cpuid(SIZE_LEAF, 0).ecx & 0xff;
    f->base = rdmsr(MSR_APIC_BASE);
    f->lapic_id = lapic_is_x2() ? lapic_read(LAPIC_REG_ID) : lapic_read(LAPIC_REG_ID) >> 24;
    f->version = lapic_read(LAPIC_REG_VERSION);
    if (f->max_leaf >= LEAF_TOPO) {
        for (uint32_t i = 0; i < LEVELS; i++) {
            r = cpuid(LEAF_TOPO, i);
            f->level[i].shift = r.eax & 0x1f;
            f->level[i].count = r.ebx & 0xffff;
            f->level[i].ecx = r.ecx;
            f->level[i].x2_id = r.edx;
        }
    }
}

/* The first CPU that differs, + 1. */
#define ALL_HAVE(field, value)                                 \
    ({                                                         \
        unsigned int bad = 0;                                  \
        for (unsigned int i = 0; i < smp_count && !bad; i++)   \
            if ((uint64_t)found[i].field != (uint64_t)(value)) \
                bad = i + 1;                                   \
        bad;                                                   \
    })

void topology_ids(const char *mode)
{
    char name[40];
    bool x2 = lapic_is_x2();

    format(name, sizeof(name), "%s-all-answer", mode);
    check_eq(name, smp_call_all(identify, 0, true), true);
    format(name, sizeof(name), "%s-lapic-id-is-the-madts", mode);
    check_eq(name, ALL_HAVE(lapic_id, smp_cpus[i].apic_id), 0);
    format(name, sizeof(name), "%s-initial-id", mode);
    check_eq(name, ALL_HAVE(initial_id, smp_cpus[i].apic_id & 0xff), 0);
    format(name, sizeof(name), "%s-apic-base", mode);
    check_eq(name,
             ALL_HAVE(base, GUEST_LAPIC | BASE_ENABLE | (i ? 0 : BASE_BSP) | (x2 ? BASE_X2 : 0)),
             0);
    format(name, sizeof(name), "%s-version", mode);
    check_eq(name, ALL_HAVE(version, found[0].version), 0);
}

/* SDM vol. 3, 8.9: shifts grow, and above the last one all ids of a package are the same. */
static void check_levels(void)
{
    unsigned int last = 0, apart = 0;

    if (found[0].max_leaf < LEAF_TOPO || found[0].level[0].ecx >> 8 == TYPE_NONE) {
        check_skip("leaf-b", "no CPUID leaf 0bh");
        return;
    }
    check_eq("leaf-b-x2-id", ALL_HAVE(level[0].x2_id, smp_cpus[i].apic_id), 0);
    check_eq("leaf-b-x2-id-level-1", ALL_HAVE(level[1].x2_id, smp_cpus[i].apic_id), 0);
    check_eq("leaf-b-level-0", ALL_HAVE(level[0].ecx, TYPE_SMT << 8), 0);
    check_eq("leaf-b-level-1", ALL_HAVE(level[1].ecx, TYPE_CORE << 8 | 1), 0);
    check_eq("leaf-b-level-2", ALL_HAVE(level[2].ecx, TYPE_NONE << 8 | 2), 0);
    last = found[0].level[1].shift;
    check_eq("leaf-b-same-shift", ALL_HAVE(level[1].shift, last), 0);
    check_that("leaf-b-shift-grows", last >= found[0].level[0].shift, last, "no less than before");
    for (unsigned int i = 1; i < smp_count; i++)
        apart |= smp_cpus[i].apic_id >> last != smp_cpus[0].apic_id >> last;
    check_eq("leaf-b-one-package", apart, 0);
    check_eq("leaf-b-count", found[0].level[1].count, smp_listed);
}

void group_topology(void)
{
    uint64_t wanted = guest_number("cpus", smp_listed);
    unsigned int holes = 0;

    check_eq("madt", smp_listed, wanted);
    check_eq("started", smp_count, smp_listed);
    topology_ids("xapic");
    for (unsigned int i = 0; i < smp_count; i++)
        holes += smp_cpus[i].apic_id >= smp_listed;
    check_eq("ids-without-holes", holes, 0);
    check_eq("features-1c", ALL_HAVE(features[0], found[0].features[0]), 0);
    check_eq("features-1d", ALL_HAVE(features[1], found[0].features[1]), 0);
    check_eq("features-7b", ALL_HAVE(features[2], found[0].features[2]), 0);
    check_eq("features-81d", ALL_HAVE(features[3], found[0].features[3]), 0);
    if (smp_count > 1) {
        check_eq("htt", ALL_HAVE(htt, 1), 0);
        check_that("logical-count", found[0].logical_count >= smp_listed, found[0].logical_count,
                   "as many as there are");
    }
    check_levels();
}
