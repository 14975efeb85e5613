/* The paravirtual clock: what its page says, for several vCPUs and TSCs. */

#include "vmm/pvclock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/mm/window.h"
#include "arch/x86/smp.h"
#include "arch/x86/time.h"
#include "lib/error.h"
#include "vmm/guest_memory.h"
#include "vmm/platform.h"
#include "vmm/vm.h"

#define STABLE 1

static struct page {
    uint32_t version, pad;
    uint64_t tsc, system_time;
    uint32_t mul;
    int8_t shift;
    uint8_t flags, pad2[2];
} pages[2][128]; /* two pages of the guest's memory, and nothing behind */

static struct vm_config config;
static struct vm vm;
static struct vcpu vcpus[2];
static bool consistent;

struct time_scale time_scale;
uint64_t platform_boot_epoch = 1700000000;

bool smp_tsc_consistent(void)
{
    return consistent;
}

void *window_map(enum window_slot slot, uint64_t pa)
{
    assert_true(pa <= sizeof(pages) - sizeof(struct page));
    return (char *)pages + pa;
}

void window_unmap(enum window_slot slot)
{
}

int guest_physical(const struct vm *of, uint64_t gpa, uint64_t *pa)
{
    *pa = gpa;
    return gpa < sizeof(pages) ? 0 : -BH_EFAULT;
}

int guest_write(struct vm *of, uint64_t gpa, const void *src, size_t len)
{
    if (gpa > sizeof(pages) - len)
        return -BH_EFAULT;
    memcpy((char *)pages + gpa, src, len);
    return 0;
}

static void set_khz(uint64_t khz)
{
    time_scale = (struct time_scale){.base = 5000, .khz = khz};
    time_scale.ns_per_tsc = (1000000ull << 32) / khz;
}

static int setup(void **state)
{
    memset(pages, 0, sizeof(pages));
    memset(vcpus, 0, sizeof(vcpus));
    config = (struct vm_config){.cpus = 3};
    vm.config = &config;
    vm.tsc_offset = -77000ull; /* the VM started at TSC 77000, */
    for (unsigned int i = 0; i < 2; i++) {
        vcpus[i].vm = &vm;
        vcpus[i].id = i;
        vcpus[i].tsc_offset = vm.tsc_offset;
    }
    consistent = true;
    set_khz(3000000);
    return 0;
}

/* As a guest computes it (Linux, pvclock.h). */
static uint64_t ns_of(const struct page *page, uint64_t guest_tsc)
{
    uint64_t delta = guest_tsc - page->tsc;

    delta = page->shift < 0 ? delta >> -page->shift : delta << page->shift;
    return page->system_time + (uint64_t)((unsigned __int128)delta * page->mul >> 32);
}

static void test_all_the_same(void **state)
{
    static const uint64_t khz[] = {4000, 50000, 999999, 1000000, 2394230, 5800001};
    const uint64_t later[] = {77000, 77001, 1000003, 123456789, 987654321987654};

    for (size_t k = 0; k < ARRAY_SIZE(khz); k++) {
        set_khz(khz[k]);
        assert_int_equal(pvclock_write(&vcpus[0], 1), 0);
        assert_int_equal(pvclock_write(&vcpus[1], 64 | 1), 0);
        /* The TSC of the second one is written: its own TSC moves, its time does not. */
        vcpus[1].tsc_offset = 1 - 77000ull - 4711;
        pvclock_update(&vcpus[1]);
        for (size_t i = 0; i < ARRAY_SIZE(later); i++) {
            uint64_t a = ns_of(&pages[0][0], later[i] + vcpus[0].tsc_offset);
            uint64_t b = ns_of(&pages[0][2], later[i] + vcpus[1].tsc_offset);
            uint64_t core = tsc_to_ns(later[i]);

            assert_int_equal(a, b);
            /* Twice the step of the TSC, and what a factor of 32 bits loses. */
            assert_in_range(a - core + 1000000 / khz[k] * 64 + 4 + core / 100000000, 0,
                            2 * (1000000 / khz[k] * 64 + 4 + core / 100000000));
        }
        vcpus[1].tsc_offset = vm.tsc_offset;
    }
}

static void test_protocol(void **state)
{
    struct page *page = &pages[0][1];
    uint32_t version;

    page->version = 3;
    assert_int_equal(pvclock_write(&vcpus[0], 32 | 1), 0);
    version = page->version;
    assert_int_equal(version & 1, 0);
    assert_int_equal(page->tsc, 0);
    assert_int_equal(page->system_time, tsc_to_ns(77000));
    pvclock_update(&vcpus[0]);
    assert_int_equal(page->version, version + 2);
    assert_int_equal(pvclock_write(&vcpus[0], 32), 0);
    pvclock_update(&vcpus[0]);
    assert_int_equal(page->version, version + 2);
}

static void test_stable(void **state)
{
    assert_int_equal(pvclock_write(&vcpus[0], 1), 0);
    assert_int_equal(pages[0][0].flags, STABLE);
    consistent = false;
    pvclock_update(&vcpus[0]);
    assert_int_equal(pages[0][0].flags, 0);
    config.cpus = 4;
    pvclock_update(&vcpus[0]);
    assert_int_equal(pages[0][0].flags, STABLE);
}

static void test_refused(void **state)
{
    static const uint64_t bad[] = {2, 4096 - 28, sizeof(pages), UINT64_MAX - 4095};

    assert_int_equal(pvclock_write(&vcpus[0], (4096 - 32) | 1), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(pvclock_write(&vcpus[0], bad[i] | 1), -BH_EINVAL);
    assert_int_equal(vcpus[0].kvm_system_time, (4096 - 32) | 1);
    assert_int_equal(pages[1][0].version, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_all_the_same, setup),
        cmocka_unit_test_setup(test_protocol, setup),
        cmocka_unit_test_setup(test_stable, setup),
        cmocka_unit_test_setup(test_refused, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
