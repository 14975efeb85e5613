/* What the guest's memory says of a vCPU that waits for its pCPU. */

#include "vmm/steal_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/mm/window.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "lib/error.h"
#include "vmm/guest_memory.h"

#define AREA_GPA  0x1240u
#define ENABLE    1u
#define PREEMPTED 1u
#define FLUSH     2u

static struct {
    uint64_t steal;
    uint32_t version, flags;
    uint8_t preempted, pad[47];
} area;

static struct vcpu v;
static unsigned int mapped, flushes;

/* Twice as many nanoseconds as ticks. */
struct time_scale time_scale = {.ns_per_tsc = 2ull << 32};

void *window_map(enum window_slot slot, uint64_t pa)
{
    assert_int_equal(slot, WINDOW_COPY);
    assert_int_equal(pa, AREA_GPA + 0x100000);
    assert_int_equal(mapped++, 0);
    return &area;
}

void window_unmap(enum window_slot slot)
{
    assert_int_equal(--mapped, 0);
}

int guest_physical(const struct vm *vm, uint64_t gpa, uint64_t *pa)
{
    if (gpa != AREA_GPA)
        return -BH_EFAULT;
    *pa = gpa + 0x100000;
    return 0;
}

/* The guest's memory is not in the way while the backend is called. */
static void flush_guest(struct vcpu *of)
{
    assert_ptr_equal(of, &v);
    assert_int_equal(mapped, 0);
    assert_int_equal(area.preempted, 0);
    flushes++;
}

static const struct virt_ops ops = {.flush_guest = flush_guest};
const struct virt_ops *virt = &ops;

static int setup(void **state)
{
    memset(&v, 0, sizeof(v));
    memset(&area, 0x5a, sizeof(area));
    mapped = flushes = 0;
    return 0;
}

static void enable(void)
{
    assert_int_equal(steal_time_enable(&v, AREA_GPA | ENABLE), 0);
}

/* All of a turn's end and the next one's begin. */
static void wait_from_to(uint64_t from, uint64_t to)
{
    v.sched.waited += to - from;
    steal_time_leave(&v);
    assert_int_equal(area.preempted & PREEMPTED, PREEMPTED);
    steal_time_enter(&v);
}

static void test_enable(void **state)
{
    enable();
    assert_int_equal(v.steal_time, AREA_GPA | ENABLE);
    assert_int_equal(area.steal, 0);
    assert_int_equal(area.version, 0x5a5a5a5c); /* was even: odd, then the next even one */
    assert_int_equal(area.flags, 0);
    assert_int_equal(area.preempted, 0);
    for (size_t i = 0; i < sizeof(area.pad); i++)
        assert_int_equal(area.pad[i], 0x5a);
    area.version = 7;
    enable();
    assert_int_equal(area.version, 8);
    area.version = UINT32_MAX;
    enable();
    assert_int_equal(area.version, 0);
}

static void test_refused(void **state)
{
    enable();
    for (unsigned int bit = 1; bit <= 5; bit++)
        assert_int_equal(steal_time_enable(&v, (AREA_GPA & ~0x3eull) | BIT(bit) | ENABLE),
                         -BH_EINVAL);
    assert_int_equal(steal_time_enable(&v, BIT(1)), -BH_EINVAL);
    assert_int_equal(steal_time_enable(&v, 0x2000 | ENABLE), -BH_EINVAL);
    /* All stays as it was. */
    assert_int_equal(v.steal_time, AREA_GPA | ENABLE);
    wait_from_to(100, 150);
    assert_int_equal(area.steal, 100);
}

static void test_off(void **state)
{
    uint8_t before[sizeof(area)];

    enable();
    assert_int_equal(steal_time_enable(&v, AREA_GPA), 0);
    assert_int_equal(v.steal_time, 0);
    memcpy(before, &area, sizeof(area));
    steal_time_leave(&v);
    steal_time_enter(&v);
    assert_memory_equal(before, &area, sizeof(area));
}

static void test_grows(void **state)
{
    uint32_t version;

    enable();
    version = area.version;
    wait_from_to(1000, 1100);
    assert_int_equal(area.steal, 200);
    assert_int_equal(area.preempted, 0);
    assert_int_equal(area.version, version + 2);
    wait_from_to(2000, 2001);
    assert_int_equal(area.steal, 202);
    /* Off the pCPU because it had halted: no wait, but the others are told. */
    wait_from_to(5000, 5000);
    assert_int_equal(area.steal, 202);
    assert_int_equal(area.version, version + 6);
    /* Off and on again: it goes on. */
    assert_int_equal(steal_time_enable(&v, 0), 0);
    enable();
    assert_int_equal(area.steal, 202);
}

/* Nobody else had the pCPU between two turns: nothing is written, nothing is lost. */
static void test_not_off_the_cpu(void **state)
{
    uint32_t version;

    enable();
    version = area.version;
    v.sched.waited += 3;
    steal_time_enter(&v);
    assert_int_equal(area.version, version);
    wait_from_to(200, 210);
    assert_int_equal(area.steal, 26);
    assert_int_equal(area.version, version + 2);
}

static void test_flush(void **state)
{
    area.preempted = 0;
    enable();
    wait_from_to(10, 20);
    assert_int_equal(flushes, 0);
    steal_time_leave(&v);
    area.preempted |= FLUSH; /* by another vCPU */
    steal_time_leave(&v);    /* again: must not undo that */
    assert_int_equal(area.preempted, PREEMPTED | FLUSH);
    steal_time_enter(&v);
    assert_int_equal(flushes, 1);
    assert_int_equal(area.preempted, 0);
    steal_time_enter(&v);
    assert_int_equal(flushes, 1);
    /* What stands there when it is turned on is heeded, too. */
    area.preempted = FLUSH;
    enable();
    assert_int_equal(flushes, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_enable, setup),
        cmocka_unit_test_setup(test_refused, setup),
        cmocka_unit_test_setup(test_off, setup),
        cmocka_unit_test_setup(test_grows, setup),
        cmocka_unit_test_setup(test_not_off_the_cpu, setup),
        cmocka_unit_test_setup(test_flush, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
