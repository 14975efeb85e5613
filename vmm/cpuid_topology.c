/* SDM vol. 2, CPUID; APM vol. 3, appendix E.3 (Fn0000_0001), E.4 (Fn8000_0001 and up). */

#include "vmm/cpuid_topology.h"

#include "vmm/config.h"

#define F1B_LOGICAL_SHIFT 16 /* leaf 1 EBX: logical processors of the package, if HTT */
#define F1B_APIC_ID_SHIFT 24 /* and the initial APIC id */
#define F1D_HTT           BIT(28)

/* EAX of leaf 4 and 8000001Dh. */
#define CACHE_TYPE          0x1fu /* 0: no more caches */
#define CACHE_LEVEL_SHIFT   5
#define CACHE_LEVEL         7u
#define CACHE_SHARING_SHIFT 14 /* logical processors with this cache, less 1 */
#define CACHE_CORES_SHIFT   26 /* leaf 4: cores of the package, less 1 */
#define CACHE_LEVEL_PACKAGE 3  /* from this level on a cache is the package's */

/* Leaf 0Bh ECX. */
#define LEVEL_NUMBER     0xffu
#define LEVEL_TYPE_SHIFT 8
#define LEVEL_SMT        1u
#define LEVEL_CORE       2u

#define FE1C_CMP_LEGACY    BIT(1) /* HTT means cores, not threads */
#define FE8C_ID_SIZE_SHIFT 12     /* bits of the APIC id that are the core's; 7:0: cores less 1 */

static_assert(VM_MAX_VCPUS <= 64, "bits 31:26 of leaf 4");

static uint32_t id_bits(const struct cpuid_topology *t)
{
    return t->cores > 1 ? 32 - (uint32_t)__builtin_clz(t->cores - 1) : 0;
}

static uint32_t cache_sharing(const struct cpuid_topology *t, uint32_t eax)
{
    bool shared = (eax >> CACHE_LEVEL_SHIFT & CACHE_LEVEL) >= CACHE_LEVEL_PACKAGE;

    return shared ? (t->cores - 1) << CACHE_SHARING_SHIFT : 0;
}

/* EAX: how far the x2APIC id is to be shifted for that of the next level; EBX: CPUs in this one. */
static struct cpuid_regs level(const struct cpuid_topology *t, uint32_t subleaf)
{
    struct cpuid_regs r = {.ecx = subleaf & LEVEL_NUMBER, .edx = t->apic_id};

    if (subleaf == 0) {
        r.ebx = 1;
        r.ecx |= LEVEL_SMT << LEVEL_TYPE_SHIFT;
    } else if (subleaf == 1) {
        r.eax = id_bits(t);
        r.ebx = t->cores;
        r.ecx |= LEVEL_CORE << LEVEL_TYPE_SHIFT;
    }
    return r;
}

void cpuid_add_topology(const struct cpuid_topology *t, uint32_t leaf, uint32_t subleaf,
                        struct cpuid_regs *r)
{
    switch (leaf) {
    case CPUID_FEATURES:
        r->ebx |= t->cores << F1B_LOGICAL_SHIFT | t->apic_id << F1B_APIC_ID_SHIFT;
        r->edx |= t->cores > 1 ? F1D_HTT : 0;
        break;
    case CPUID_CACHES:
        if (r->eax & CACHE_TYPE)
            r->eax |= cache_sharing(t, r->eax) | (t->cores - 1) << CACHE_CORES_SHIFT;
        break;
    case CPUID_TOPOLOGY: *r = level(t, subleaf); break;
    case CPUID_EXT_FEATURES: r->ecx |= t->amd && t->cores > 1 ? FE1C_CMP_LEGACY : 0; break;
    case CPUID_EXT_SIZES:
        r->ecx |= t->amd ? (t->cores - 1) | id_bits(t) << FE8C_ID_SIZE_SHIFT : 0;
        break;
    case CPUID_EXT_CACHES:
        if (r->eax & CACHE_TYPE)
            r->eax |= cache_sharing(t, r->eax);
        break;
    case CPUID_EXT_TOPOLOGY:
        /* EBX: the core, of one thread. ECX: node 0 of 1. */
        *r = (struct cpuid_regs){.eax = t->apic_id, .ebx = t->apic_id};
        break;
    default: break;
    }
}
