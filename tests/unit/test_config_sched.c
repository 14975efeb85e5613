/* bulkhead.conf: classes of VMs, [cpu N] and its slots, and what of them must fit together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_parse.h"

/* Four lines and more: [vm NAME] with a class. */
#define SECTION(name, rest) "[vm " name "]\nkernel=k\nmemory=2M\n" rest "\n"
#define SLOTS(name)         SECTION(name, "class=slots")
#define SLOT \
    "VM.VCPU OFFSET LENGTH [share] with a length of 20us at least, such as rtos.0 2ms 500us"

struct bad_text {
    const char *text, *want;
};

static void all_bad(const struct bad_text *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bad(cases[i].text, cases[i].want);
}

static void test_fair(void **state)
{
    static const struct bad_text wrong[] = {
        {VM "class=Fair\n", "4: class: found \"Fair\", expected fair, dedicated or slots\n"},
        {VM "class=real-time\n",
         "4: class: found \"real-time\", expected fair, dedicated or slots\n"},
        {VM "weight=0\n", "4: weight: found \"0\", expected a number from 1 to 10000\n"},
        {VM "weight=10001\n", "4: weight: found \"10001\", expected a number from 1 to 10000\n"},
        {VM "cap=0\n", "4: cap: found \"0\", expected percent of a CPU, a number from 1 to 6400\n"},
        {VM "cap=50%\n",
         "4: cap: found \"50%\", expected percent of a CPU, a number from 1 to 6400\n"},
        {VM "vcpus=64\ncap=6401\n",
         "5: cap: found \"6401\", expected percent of a CPU, a number from 1 to 6400\n"},
        {VM "cap=101\n", "4: cap: found 101, expected at most 100 with vcpus = 1\n"},
        {VM "cap=300\nvcpus=2\n", "4: cap: found 300, expected at most 200 with vcpus = 2\n"},
        /* What the cap may be is not known then. */
        {VM "cap=300\nvcpus=99\n", "5: vcpus: found \"99\", expected a number from 1 to 64\n"},
    };

    (void)state;
    good(VM "class=fair\nweight=10000\ncap=6400\nvcpus=64\n");
    assert_int_equal(config.vms[0].sched_class, CONFIG_CLASS_FAIR);
    assert_int_equal(config.vms[0].weight, 10000);
    assert_int_equal(config.vms[0].cap, 6400);
    good(VM "weight=1\ncap=1\n");
    assert_int_equal(config.vms[0].weight, 1);
    assert_int_equal(config.vms[0].cap, 1);
    all_bad(wrong, ARRAY_SIZE(wrong));
}

static void test_keys_of_another_class(void **state)
{
    static const struct bad_text wrong[] = {
        {VM "weight=5\ncpus=1\nclass=dedicated\n",
         "4: weight: found with class = dedicated, expected with class = fair only\n"},
        {VM "class=dedicated\ncap=100\ncpus=1\n",
         "5: cap: found with class = dedicated, expected with class = fair only\n"},
        {VM "class=slots\nweight=100\ncap=200\n[cpu 0]\nframe=1ms\nslot=a.0 0us 1ms\n",
         "5: weight: found with class = slots, expected with class = fair only\n"
         "6: cap: found with class = slots, expected with class = fair only\n"
         "6: cap: found 200, expected at most 100 with vcpus = 1\n"},
    };

    (void)state;
    all_bad(wrong, ARRAY_SIZE(wrong));
}

static void test_dedicated(void **state)
{
    static const struct bad_text wrong[] = {
        {VM "class=dedicated\n",
         "4: class: found dedicated without cpus, expected cpus = as many CPUs as vcpus\n"},
        {VM "cpus=1-3\nclass=dedicated\nvcpus=2\n",
         "4: cpus: found 3 CPUs, expected 2: class = dedicated needs as many as vcpus\n"},
        {VM "class=dedicated\nvcpus=2\ncpus=7\n",
         "6: cpus: found 1 CPUs, expected 2: class = dedicated needs as many as vcpus\n"},
        {VM "class=dedicated\nvcpus=2\ncpus=2,3\n" SECTION("b", "class=dedicated\ncpus=3")
             SECTION("c", "cpus=0-63") SECTION("d", "class=dedicated\ncpus=3"),
         "11: cpus: found CPU 3, which is dedicated to [vm a] in line 1, expected none of another "
         "VM's own\n"
         "15: cpus: found CPU 2, which is dedicated to [vm a] in line 1, expected none of another "
         "VM's own\n"
         "20: cpus: found CPU 3, which is dedicated to [vm a] in line 1, expected none of another "
         "VM's own\n"},
        {SECTION("b", "cpus=0,63") VM "class=dedicated\ncpus=63\n",
         "4: cpus: found CPU 63, which is dedicated to [vm a] in line 5, expected none of another "
         "VM's own\n"},
        {VM "class=dedicated\ncpus=0-63\nvcpus=64\n" SECTION("b", ""),
         "7: cpus: found no CPU for [vm b], expected one that is not dedicated to another VM\n"},
        {VM "class=dedicated\ncpus=1\n[cpu 1]\nframe=1ms\nslot=b.0 0us 1ms\n" SLOTS("b"),
         "6: slot: found in [cpu 1], which is dedicated to [vm a] in line 1, expected none "
         "there\n"},
        /* A VM with an error of its own owns nothing. */
        {VM "class=dedicated\ncpus=1-2\n" SECTION("b", "cpus=1"),
         "5: cpus: found 2 CPUs, expected 1: class = dedicated needs as many as vcpus\n"},
    };

    (void)state;
    all_bad(wrong, ARRAY_SIZE(wrong));
    good(SECTION("f", "") VM "class=dedicated\nvcpus=3\ncpus=0,4-5\n" SECTION("g", "cpus=1-3")
             SECTION("d", "class=dedicated\ncpus=63"));
    assert_true(config_dedicated_cpus(&config) == (1ull << 63 | 0x31));
    assert_true(config.vms[0].cpus == ~(1ull << 63 | 0x31));
    assert_false(config.vms[0].cpus_given);
    assert_true(config.vms[1].cpus == 0x31);
    assert_int_equal(config.vms[1].sched_class, CONFIG_CLASS_DEDICATED);
    assert_true(config.vms[2].cpus == 0xe);
    /* A frame alone takes nothing from anybody. */
    good(VM "class=dedicated\ncpus=1\n[cpu 1]\nframe=1ms\n");
    assert_true(config_dedicated_cpus(&config) == 2);
    good(VM);
    assert_true(config_dedicated_cpus(&config) == 0);
}

static void check_slot(const struct config_slot *slot, unsigned int vm, unsigned int vcpu,
                       unsigned int offset, unsigned int length, bool share)
{
    assert_int_equal(slot->vm, vm);
    assert_string_equal(slot->vm_name, config.vms[vm].name);
    assert_int_equal(slot->vcpu, vcpu);
    assert_int_equal(slot->offset_us, offset);
    assert_int_equal(slot->length_us, length);
    assert_int_equal(slot->share, share);
}

static void test_slots(void **state)
{
    (void)state;
    good("[cpu 63]\nframe=1s\n" /* VMs may be named before they are there */
         "slot=rt.a.0 999ms 1000us\nslot=rt.a.0 20us 20us share ; comment\n"
         "slot=\"x.0 \t 40us 1ms\"\n" SECTION("rt.a", "class=slots\nvcpus=2\ncpus=0,1,63")
             SECTION("f", "") SLOTS("x") "[cpu 1]\nframe= 100 us\nslot=rt.a.1 0ms 100us  share\n");
    const struct config_cpu *cpu = &config.cpus[63];

    assert_int_equal(cpu->frame_us, 1000000);
    assert_int_equal(cpu->line, 1);
    assert_int_equal(cpu->slot_count, 3);
    check_slot(&cpu->slots[0], 0, 0, 20, 20, true);
    check_slot(&cpu->slots[1], 2, 0, 40, 1000, false);
    check_slot(&cpu->slots[2], 0, 0, 999000, 1000, false);
    assert_int_equal(cpu->slots[2].line, 3);
    assert_int_equal(cpu->slots[2].cpu, 63);
    assert_int_equal(config.cpus[1].slot_count, 1);
    assert_int_equal(config.cpus[1].frame_us, 100);
    check_slot(config.cpus[1].slots, 0, 1, 0, 100, true);
    assert_int_equal(config.cpus[0].frame_us, 0);
    /* Where it can run, whatever it was given. */
    assert_true(config.vms[0].cpus == (1ull << 63 | 2));
    assert_true(config.vms[1].cpus == UINT64_MAX);
    assert_true(config.vms[2].cpus == 1ull << 63);
}

static void test_cpu_sections(void **state)
{
    static const struct bad_text wrong[] = {
        {VM "[cpu 64]\nframe=1\n",
         "4: section: found CPU \"64\", expected a number from 0 to 63\n"},
        {VM "[cpu]\n", "4: section: found CPU \"\", expected a number from 0 to 63\n"},
        {VM "[cpu -1]\n", "4: section: found CPU \"-1\", expected a number from 0 to 63\n"},
        {VM "[cpu 1 2]\n", "4: section: found CPU \"1 2\", expected a number from 0 to 63\n"},
        {VM "[cpu 18446744073709551616]\n",
         "4: section: found CPU \"18446744073709551616\", expected a number from 0 to 63\n"},
        {VM "[cpu 1]\nframe=1ms\n[cpu 01]\nframe=1\n",
         "6: section: found a second [cpu 1], expected one: the first is in line 4\n"},
        {VM "[cpus 1]\n", "4: section: found \"[cpus 1]\", expected [core], [vm NAME] or [cpu N]; "
                          "did you mean [cpu N]?\n"},
        {VM "[cpu 2]\n", "4: frame: found nothing in [cpu 2], expected 100us to 10s, such as "
                         "10ms\n"},
        {"[cpu 2]\nslot=a.0 0us 1s\n" SLOTS("a"),
         "1: frame: found nothing in [cpu 2], expected 100us to 10s, such as 10ms\n"},
        {VM "[cpu 2]\nframe=1ms\nframe=2ms\nmemory=2M\n",
         "6: frame: found a second time, expected once: the first is in line 5\n"
         "7: memory: found an unknown key, expected one of frame, slot\n"},
    };
    static const char *const frames[] = {"99us", "10001ms", "11s", "10",
                                         "0s",   "1m",      "s",   "18446744073709551615s"};

    (void)state;
    all_bad(wrong, ARRAY_SIZE(wrong));
    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        char text[128], want[128];

        snprintf(text, sizeof(text), VM "[cpu 0]\nframe = %s\n", frames[i]);
        snprintf(want, sizeof(want),
                 "5: frame: found \"%s\", expected 100us to 10s, such as 10ms\n", frames[i]);
        bad(text, want);
    }
    good(VM "[cpu 0]\nframe=10s\n[cpu 63]\nframe=100us\n");
    assert_int_equal(config.cpus[0].frame_us, 10000000);
    assert_int_equal(config.cpus[63].frame_us, 100);
}

static void test_slot_syntax(void **state)
{
    static const char *const wrong[] = {
        "a",
        "a.0",
        "a.0 0us",
        "a 0us 1ms",
        ".0 0us 1ms",
        "a. 0us 1ms",
        "a.64 0us 1ms",
        "a.x 0us 1ms",
        "a.-1 0us 1ms",
        "a.0 0 1ms",
        "a.0 0us 1",
        "a.0 0us 19us",
        "a.0 0us 0us",
        "a.0 11s 1ms",
        "a.0 0us 10001ms",
        "a.0 0us 1ms shared",
        "a.0 0us 1ms share x",
        "a.0 0 us 1ms",
        "0123456789abcdef.0 0us 1ms",
        "a.18446744073709551616 0us 1ms",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        char text[256], want[256];

        /* That vCPU 0 has no slot then is not an error of its own. */
        snprintf(text, sizeof(text), SLOTS("a") "[cpu 0]\nframe=10s\nslot = %s\n", wrong[i]);
        snprintf(want, sizeof(want), "7: slot: found \"%s\", expected " SLOT "\n", wrong[i]);
        bad(text, want);
    }
    bad(SLOTS("a") "[cpu 0]\nframe=10s\nslot =\n", "7: slot: found nothing, expected " SLOT "\n");
}

#define CPU0 "[cpu 0]\nframe=10ms\n"

static void test_slots_and_vms(void **state)
{
    static const struct bad_text wrong[] = {
        {SLOTS("a") CPU0 "slot=b.0 0us 1ms\nslot=a.0 1ms 1ms\n",
         "7: slot: found b.0, expected a VM of this file\n"},
        {VM CPU0 "slot=a.0 0us 1ms\n",
         "6: slot: found a.0, expected a VM with class = slots: [vm a] in line 1 has class = "
         "fair\n"},
        {VM "class=dedicated\ncpus=1\n" CPU0 "slot=a.0 0us 1ms\n",
         "8: slot: found a.0, expected a VM with class = slots: [vm a] in line 1 has class = "
         "dedicated\n"},
        {SECTION("a", "class=slots\nvcpus=2") CPU0
         "slot=a.0 0us 1ms\nslot=a.1 1ms 1ms\nslot=a.2 2ms 1ms\n",
         "10: slot: found a.2, expected a number below its vcpus = 2\n"},
        {SECTION("a", "class=slots\ncpus=1-2") CPU0 "slot=a.0 0us 1ms\n",
         "8: slot: found a.0 in [cpu 0], expected one of its cpus in line 5\n"},
        {SECTION("a", "class=slots\nvcpus=3") CPU0 "slot=a.1 0us 1ms\n",
         "1: slot: found none for a.0, expected at least one in a [cpu N]: [vm a] has class = "
         "slots\n"
         "1: slot: found none for a.2, expected at least one in a [cpu N]: [vm a] has class = "
         "slots\n"},
        {SECTION("a", "class=slots\nvcpus=2") CPU0
         "slot=a.1 0us 1ms\nslot=a.0 1ms 1ms\n[cpu 2]\nframe=1ms\nslot=a.0 0us 100us\nslot=a.0 "
         "500us 100us\n",
         "12: slot: found a.0 in [cpu 2], expected all its slots in [cpu 0] as in line 9\n"
         "13: slot: found a.0 in [cpu 2], expected all its slots in [cpu 0] as in line 9\n"},
        /* What only follows from an error elsewhere is not reported. */
        {"[vm a b]\nkernel=k\nmemory=2M\n" CPU0 "slot=ab.0 0us 1ms\n",
         "1: section: found VM name \"a b\", expected 1 to 15 characters out of A-Z a-z 0-9 _ . "
         "-\n"},
        {SECTION("a", "class=slot") CPU0 "slot=a.0 0us 1ms\n",
         "4: class: found \"slot\", expected fair, dedicated or slots\n"},
        {SLOTS("a") "[cpu 99]\nframe=10ms\nslot=a.0 0us 1ms\n",
         "5: section: found CPU \"99\", expected a number from 0 to 63\n"},
    };

    (void)state;
    all_bad(wrong, ARRAY_SIZE(wrong));
}

static void test_slot_times(void **state)
{
    static const struct bad_text wrong[] = {
        {SLOTS("a") CPU0 "slot=a.0 9981us 20us\n",
         "7: slot: found a.0 until 10001 us, expected its end within the frame of 10000 us\n"},
        {SLOTS("a") CPU0 "slot=a.0 10s 10s\n",
         "7: slot: found a.0 until 20000000 us, expected its end within the frame of 10000 us\n"},
        {SLOTS("a") "[cpu 0]\nframe=1\nslot=a.0 10s 10s\n",
         "6: frame: found \"1\", expected 100us to 10s, such as 10ms\n"},
        {SLOTS("a") SLOTS("b") CPU0 "slot=b.0 1ms 1ms\nslot=a.0 0us 1001us\n",
         "11: slot: found b.0 from 1000 us on, expected no overlap with a.0 in line 12, which ends "
         "at 1001 us\n"},
        /* Each with the one that reaches furthest, not with its neighbour. */
        {SLOTS("a") CPU0 "slot=a.0 1ms 1ms\nslot=a.0 0us 5ms\nslot=a.0 3ms 1ms\nslot=a.0 5ms 1ms\n",
         "7: slot: found a.0 from 1000 us on, expected no overlap with a.0 in line 8, which ends "
         "at 5000 us\n"
         "9: slot: found a.0 from 3000 us on, expected no overlap with a.0 in line 8, which ends "
         "at 5000 us\n"},
        {SLOTS("a") CPU0 "slot=a.0 1ms 1ms\nslot=a.0 1ms 1ms\n",
         "8: slot: found a.0 from 1000 us on, expected no overlap with a.0 in line 7, which ends "
         "at 2000 us\n"},
    };

    (void)state;
    all_bad(wrong, ARRAY_SIZE(wrong));
    good(SLOTS("a") CPU0 "slot=a.0 0us 5ms\nslot=a.0 5ms 5ms\n");
}

static void test_slot_counts(void **state)
{
    static char text[32768];
    size_t used = (size_t)snprintf(text, sizeof(text), SECTION("a", "class=slots\nvcpus=8"));

    (void)state;
    for (unsigned int cpu = 0; cpu < 8; cpu++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "[cpu %u]\nframe=10ms\n", cpu);
        for (int i = 63; i >= 0; i--) { /* sorted from the worst order */
            used += (size_t)snprintf(text + used, sizeof(text) - used, "slot=a.%u %dus 20us\n", cpu,
                                     20 * i);
        }
    }
    good(text);
    for (unsigned int i = 0; i < 64; i++)
        assert_int_equal(config.cpus[7].slots[i].offset_us, 20 * i);
    assert_int_equal(config.vms[0].cpus, 0xff);
    snprintf(text + used, sizeof(text) - used,
             "slot=a.7 2ms 20us\n[cpu 8]\nframe=10ms\n"
             "slot=a.7 0us 20us\n");
    bad(text, "534: slot: found a 65th in [cpu 7], expected at most 64\n"
              "537: slot: found a 513th, expected at most 512 in the whole file\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fair),          cmocka_unit_test(test_keys_of_another_class),
        cmocka_unit_test(test_dedicated),     cmocka_unit_test(test_slots),
        cmocka_unit_test(test_cpu_sections),  cmocka_unit_test(test_slot_syntax),
        cmocka_unit_test(test_slots_and_vms), cmocka_unit_test(test_slot_times),
        cmocka_unit_test(test_slot_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
