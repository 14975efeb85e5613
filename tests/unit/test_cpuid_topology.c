/* What operating systems make of the topology in CPUID: by each of the ways that there are, one
 * package of n cores with a thread each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/macros.h"
#include "vmm/config.h"
#include "vmm/cpuid_topology.h"

static const unsigned int counts[] = {1, 2, 3, 4, 5, 8, 9, 63, 64};

/* The machine's answers as masked: three levels of cache of some type each. */
static const struct cpuid_regs caches[] = {
    {0x121, 0x01c0003f, 0x3f, 0}, /* L1 data */
    {0x122, 0x01c0003f, 0x3f, 0}, /* L1 instructions */
    {0x143, 0x00c0003f, 0x3ff, 0}, {0x163, 0x03c0003f, 0x1fff, 6}, {0},
};

static struct cpuid_topology topology;

static struct cpuid_regs ask(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs r = {0};

    if (leaf == CPUID_CACHES || leaf == CPUID_EXT_CACHES)
        r = caches[subleaf];
    cpuid_add_topology(&topology, leaf, subleaf, &r);
    return r;
}

/* The power of 2 that is not smaller, as a shift: how software makes a mask of a count. */
static unsigned int order(unsigned int count)
{
    unsigned int n = 0;

    while ((1u << n) < count)
        n++;
    return n;
}

static unsigned int field(uint32_t value, unsigned int high, unsigned int low)
{
    return value >> low & ((2u << (high - low)) - 1);
}

static void check_initial(void)
{
    struct cpuid_regs r = ask(CPUID_FEATURES, 0);

    assert_int_equal(r.ebx >> 24, topology.apic_id);
    assert_int_equal(field(r.ebx, 23, 16), topology.cores);
    assert_int_equal(field(r.ebx, 15, 0), 0); /* CLFLUSH and brand are not ours */
    assert_int_equal(r.edx, topology.cores > 1 ? BIT(28) : 0);
    assert_int_equal(r.eax | r.ecx, 0);
}

/* SDM vol. 3, 9.9.3: leaf 1 and 4. */
static void check_legacy_intel(void)
{
    unsigned int logical = field(ask(CPUID_FEATURES, 0).ebx, 23, 16);
    unsigned int cores = field(ask(CPUID_CACHES, 0).eax, 31, 26) + 1;

    assert_int_equal(cores, topology.cores);
    assert_int_equal(logical / cores, 1);                    /* threads a core */
    assert_int_equal(order(logical) - order(cores), 0);      /* bits of the thread */
    assert_int_equal(topology.apic_id >> order(logical), 0); /* package */
    assert_int_equal(ask(CPUID_EXT_FEATURES, 0).ecx, 0);     /* reserved on Intel CPUs */
    assert_int_equal(ask(CPUID_EXT_SIZES, 0).ecx, 0);
}

static void check_levels(void)
{
    struct cpuid_regs smt = ask(CPUID_TOPOLOGY, 0), core = ask(CPUID_TOPOLOGY, 1);

    assert_int_equal(smt.eax, 0);
    assert_int_equal(smt.ebx, 1);
    assert_int_equal(smt.ecx, 0x100);
    assert_int_equal(core.ebx, topology.cores);
    assert_int_equal(core.eax, order(topology.cores));
    assert_int_equal(core.ecx, 0x201);
    assert_int_equal(topology.apic_id >> core.eax, 0);
    for (unsigned int i = 0; i < 4; i++)
        assert_int_equal(ask(CPUID_TOPOLOGY, i).edx, topology.apic_id);
    for (uint32_t i = 2; i != 0; i <<= 1) {
        struct cpuid_regs end = ask(CPUID_TOPOLOGY, i);

        assert_int_equal(end.eax | end.ebx, 0);
        assert_int_equal(end.ecx, i & 0xff);
    }
}

/* APM vol. 3, E.4.16 and E.4.7: 80000001h, 80000008h, 8000001Eh. */
static void check_amd(void)
{
    struct cpuid_regs sizes = ask(CPUID_EXT_SIZES, 0), unit = ask(CPUID_EXT_TOPOLOGY, 0);
    unsigned int bits = field(sizes.ecx, 15, 12);

    /* Without this Linux takes the cores for threads. */
    assert_int_equal(ask(CPUID_EXT_FEATURES, 0).ecx, topology.cores > 1 ? BIT(1) : 0);
    assert_int_equal(field(sizes.ecx, 7, 0) + 1, topology.cores);
    assert_int_equal(bits, order(topology.cores));
    assert_int_equal(sizes.ecx & ~0xf0ffu, 0);
    assert_int_equal(topology.apic_id >> bits, 0);
    assert_int_equal(unit.eax, topology.apic_id);
    assert_int_equal(field(unit.ebx, 7, 0), topology.apic_id); /* the core */
    assert_int_equal(field(unit.ebx, 15, 8) + 1, 1);           /* its threads */
    assert_int_equal(unit.ecx | unit.edx, 0);                  /* node 0 of 1 */
}

/* L1 and L2 are a core's, L3 the package's. */
static void check_caches(uint32_t leaf)
{
    for (unsigned int i = 0; i < 4; i++) {
        struct cpuid_regs r = ask(leaf, i);
        unsigned int sharing = field(r.eax, 25, 14) + 1;

        assert_int_equal(sharing, i < 3 ? 1 : topology.cores);
        assert_int_equal(r.eax & 0x3fff, caches[i].eax);
        assert_memory_equal(&r.ebx, &caches[i].ebx, 12);
        assert_int_equal(r.eax >> 26, leaf == CPUID_CACHES ? topology.cores - 1 : 0);
    }
    assert_int_equal(ask(leaf, 4).eax, 0); /* the end stays one */
}

static void check_all(bool amd)
{
    for (size_t n = 0; n < ARRAY_SIZE(counts); n++) {
        for (unsigned int id = 0; id < counts[n]; id++) {
            topology = (struct cpuid_topology){.cores = counts[n], .apic_id = id, .amd = amd};
            check_initial();
            check_levels();
            check_caches(CPUID_CACHES);
            if (amd) {
                check_amd();
                check_caches(CPUID_EXT_CACHES);
            } else {
                check_legacy_intel();
            }
        }
    }
    static_assert(VM_MAX_VCPUS == 64, "the largest is checked");
}

static void test_intel(void **state)
{
    (void)state;
    check_all(false);
}

static void test_amd(void **state)
{
    (void)state;
    check_all(true);
}

/* What the machine said stays, but where topology stands; other leaves are not touched. */
static void test_rest_stays(void **state)
{
    static const struct cpuid_regs old = {0x00003048, 0x5, 0x121, 0x078bfbff};
    static const uint32_t leaves[] = {0, 2, 7, 0xd, 0x40000101, 0x80000000, 0x80000007, 0x8000001f};
    struct cpuid_regs r;

    (void)state;
    topology = (struct cpuid_topology){.cores = 3, .apic_id = 2, .amd = true};
    for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
        r = old;
        cpuid_add_topology(&topology, leaves[i], 0, &r);
        assert_memory_equal(&r, &old, sizeof(r));
    }
    r = old;
    cpuid_add_topology(&topology, CPUID_EXT_FEATURES, 0, &r);
    assert_int_equal(r.ecx, 0x123);
    assert_int_equal(r.edx, old.edx);
    r = (struct cpuid_regs){.eax = 0x3028, .ebx = 5};
    cpuid_add_topology(&topology, CPUID_EXT_SIZES, 0, &r);
    assert_int_equal(r.ecx, 0x2002);
    assert_true(r.eax == 0x3028 && r.ebx == 5 && r.edx == 0);
    /* A VM with one vCPU gets the machine's answers of these two: cpuid.c relies on it. */
    topology.cores = 1;
    topology.apic_id = 0;
    for (uint32_t leaf = CPUID_EXT_FEATURES; leaf;
         leaf = leaf == CPUID_EXT_SIZES ? 0 : CPUID_EXT_SIZES) {
        r = old;
        cpuid_add_topology(&topology, leaf, 0, &r);
        assert_memory_equal(&r, &old, sizeof(r));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_intel),
        cmocka_unit_test(test_amd),
        cmocka_unit_test(test_rest_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
