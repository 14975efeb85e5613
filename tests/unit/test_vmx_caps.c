/* What the core makes of a CPU's VT-x capabilities: the controls it chooses, and what it misses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "arch/x86/virt.h"
#include "arch/x86/vmx/caps.h"
#include "lib/error.h"
#include "tests/unit/vmx_model.h"

#define APICV (PROC2_APIC_REGISTERS | PROC2_VIRTUAL_INTERRUPTS)
#define PROC2_OPTIONAL \
    (PROC2_X2APIC | APICV | PROC2_VPID | PROC2_RDTSCP | PROC2_INVPCID | PROC2_PAUSE_LOOP)
#define PROC2_NEEDED (PROC2_EPT | PROC2_UNRESTRICTED_GUEST | PROC2_WBINVD)
#define PREFIX       "VT-x is there, but lacks: "

/* Bochs' models: VMX controls of these generations. */
static const uint64_t haswell[VMX_CAP_COUNT] = VMX_HASWELL;
static const uint64_t skylake[VMX_CAP_COUNT] = VMX_SKYLAKE;
static const uint64_t ivy_bridge[VMX_CAP_COUNT] = VMX_MODEL(0xff, 0x200401e0, 0x00000f0106114141);
/* VMX without EPT. */
static const uint64_t generic[VMX_CAP_COUNT] = VMX_MODEL(0x55, 0x200401e0, 0);

static uint64_t msrs[VMX_CAP_COUNT];
static struct vmx_caps caps;
static char why[4096];

static int setup(void **state)
{
    memcpy(msrs, haswell, sizeof(msrs));
    memset(&caps, 0xa5, sizeof(caps));
    memset(why, 0, sizeof(why));
    return 0;
}

static int evaluate(uint32_t off)
{
    why[0] = '\0';
    return vmx_caps_evaluate(msrs, off, &caps, why, sizeof(why));
}

static void take_away(enum vmx_cap_msr msr, uint32_t control)
{
    msrs[msr] &= ~((uint64_t)control << 32 | control);
}

static void test_haswell(void **state)
{
    assert_int_equal(evaluate(0), 0);
    assert_string_equal(why, "");
    assert_int_equal(caps.revision, 0x2b);
    assert_int_equal(caps.pin, 0x16 | PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMI |
                                   PIN_PREEMPTION_TIMER);
    assert_int_equal(caps.proc, 0x04006172u | PROC_TSC_OFFSET | PROC_HLT | PROC_MWAIT | PROC_RDPMC |
                                    PROC_TPR_SHADOW | PROC_MOV_DR | PROC_IO_BITMAPS |
                                    PROC_MSR_BITMAPS | PROC_MONITOR | PROC_SECONDARY);
    assert_int_equal(caps.proc2, PROC2_NEEDED | PROC2_OPTIONAL);
    assert_int_equal(caps.exit, 0x36dfb | EXIT_SAVE_DEBUG | EXIT_HOST_64BIT | EXIT_ACK_INTERRUPT |
                                    EXIT_SAVE_PAT | EXIT_LOAD_PAT | EXIT_SAVE_EFER |
                                    EXIT_LOAD_EFER);
    /* Whether the guest is in IA-32e mode changes while it runs. */
    assert_int_equal(caps.entry, 0x11fb | ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER);
    assert_int_equal(caps.cr0_fixed0, 0x80000021);
    assert_int_equal(caps.cr4_fixed0, 0x2000);
    assert_int_equal(caps.timer_shift, 0);
    assert_int_equal(caps.ept_leaf_max, 3);
    assert_int_equal(caps.invept, INV_SINGLE);
    assert_int_equal(caps.invvpid, INV_SINGLE);
}

static void test_other_models(void **state)
{
    memcpy(msrs, ivy_bridge, sizeof(msrs));
    assert_int_equal(evaluate(0), 0);
    assert_int_equal(caps.proc2, PROC2_NEEDED | PROC2_X2APIC | PROC2_VPID | PROC2_RDTSCP);
    assert_true(caps.proc & PROC_TPR_SHADOW);
    assert_int_equal(caps.ept_leaf_max, 2);

    memcpy(msrs, skylake, sizeof(msrs));
    assert_int_equal(evaluate(0), 0);
    assert_int_equal(caps.proc2, PROC2_NEEDED | PROC2_OPTIONAL); /* not what is new there */

    memcpy(msrs, generic, sizeof(msrs));
    assert_int_equal(evaluate(0), -BH_ENOTSUP);
    assert_non_null(strstr(why, "enable EPT (secondary processor-based control)"));
    assert_non_null(strstr(why, "unrestricted guest (secondary processor-based control)"));
    assert_null(strstr(why, "INVEPT")); /* that is no news, then */
}

static const struct needed {
    enum vmx_cap_msr msr;
    uint32_t bit;
    const char *name;
} needed[] = {
    {VMX_CAP_TRUE_PIN, BIT(0), "external-interrupt exiting (pin-based control)"},
    {VMX_CAP_TRUE_PIN, BIT(3), "NMI exiting (pin-based control)"},
    {VMX_CAP_TRUE_PIN, BIT(5), "virtual NMIs (pin-based control)"},
    {VMX_CAP_TRUE_PROC, BIT(2), "interrupt-window exiting (processor-based control)"},
    {VMX_CAP_TRUE_PROC, BIT(3), "use TSC offsetting (processor-based control)"},
    {VMX_CAP_TRUE_PROC, BIT(7), "HLT exiting (processor-based control)"},
    {VMX_CAP_TRUE_PROC, BIT(10), "MWAIT exiting (processor-based control)"},
    {VMX_CAP_TRUE_PROC, BIT(11), "RDPMC exiting (processor-based control)"},
    {VMX_CAP_TRUE_PROC, BIT(19), "CR8-load exiting (processor-based control)"},
    {VMX_CAP_TRUE_PROC, BIT(20), "CR8-store exiting (processor-based control)"},
    {VMX_CAP_TRUE_PROC, BIT(22), "NMI-window exiting (processor-based control)"},
    {VMX_CAP_TRUE_PROC, BIT(23), "MOV-DR exiting (processor-based control)"},
    {VMX_CAP_TRUE_PROC, BIT(25), "use I/O bitmaps (processor-based control)"},
    {VMX_CAP_TRUE_PROC, BIT(28), "use MSR bitmaps (processor-based control)"},
    {VMX_CAP_TRUE_PROC, BIT(29), "MONITOR exiting (processor-based control)"},
    {VMX_CAP_TRUE_PROC, BIT(31), "activate secondary controls (processor-based control)"},
    {VMX_CAP_PROC2, BIT(1), "enable EPT (secondary processor-based control)"},
    {VMX_CAP_PROC2, BIT(6), "WBINVD exiting (secondary processor-based control)"},
    {VMX_CAP_PROC2, BIT(7), "unrestricted guest (secondary processor-based control)"},
    {VMX_CAP_TRUE_EXIT, BIT(2), "save debug controls (VM-exit control)"},
    {VMX_CAP_TRUE_EXIT, BIT(9), "host address-space size (VM-exit control)"},
    {VMX_CAP_TRUE_EXIT, BIT(15), "acknowledge interrupt on exit (VM-exit control)"},
    {VMX_CAP_TRUE_EXIT, BIT(18), "save IA32_PAT (VM-exit control)"},
    {VMX_CAP_TRUE_EXIT, BIT(19), "load IA32_PAT (VM-exit control)"},
    {VMX_CAP_TRUE_EXIT, BIT(20), "save IA32_EFER (VM-exit control)"},
    {VMX_CAP_TRUE_EXIT, BIT(21), "load IA32_EFER (VM-exit control)"},
    {VMX_CAP_TRUE_ENTRY, BIT(2), "load debug controls (VM-entry control)"},
    {VMX_CAP_TRUE_ENTRY, BIT(9), "IA-32e mode guest (VM-entry control)"},
    {VMX_CAP_TRUE_ENTRY, BIT(14), "load IA32_PAT (VM-entry control)"},
    {VMX_CAP_TRUE_ENTRY, BIT(15), "load IA32_EFER (VM-entry control)"},
};

static void test_each_required(void **state)
{
    char expected[256];

    for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
        setup(state);
        take_away(needed[i].msr, needed[i].bit);
        assert_int_equal(evaluate(0), -BH_ENOTSUP);
        strcpy(expected, PREFIX);
        strcat(expected, needed[i].name);
        assert_string_equal(why, expected);
    }
}

static void test_several_missing(void **state)
{
    char small[64];

    for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
        take_away(needed[i].msr, needed[i].bit);
    assert_int_equal(evaluate(0), -BH_ENOTSUP);
    assert_int_equal(strncmp(why, PREFIX, strlen(PREFIX)), 0);
    for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
        assert_non_null(strstr(why, needed[i].name));

    /* No room for all: cut, and terminated. */
    for (size_t size = 2; size <= sizeof(small); size++) {
        memset(small, 'x', sizeof(small));
        assert_int_equal(vmx_caps_evaluate(msrs, 0, &caps, small, size), -BH_ENOTSUP);
        assert_int_equal(strlen(small), size - 1);
        assert_int_equal(strncmp(small, why, size - 1), 0);
        for (size_t i = size; i < sizeof(small); i++)
            assert_int_equal(small[i], 'x');
    }
}

static void test_ept_capabilities(void **state)
{
    static const struct {
        uint64_t bit;
        const char *name;
    } parts[] = {
        {EPT_CAP_WALK_4, "EPT with 4 levels"},
        {EPT_CAP_WB, "EPT with write-back memory"},
        {EPT_CAP_INVEPT, "INVEPT"},
        {EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL, "INVEPT"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        setup(state);
        msrs[VMX_CAP_EPT_VPID] &= ~parts[i].bit;
        assert_int_equal(evaluate(0), -BH_ENOTSUP);
        assert_non_null(strstr(why, parts[i].name));
        assert_null(strchr(why + strlen(PREFIX), ',')); /* nothing else */
    }
    /* Refused all the same when there is no room for the reason. */
    assert_int_equal(vmx_caps_evaluate(msrs, 0, &caps, why, 1), -BH_ENOTSUP);
    setup(state);
    msrs[VMX_CAP_EPT_VPID] &= ~EPT_CAP_1G;
    assert_int_equal(evaluate(0), 0);
    assert_int_equal(caps.ept_leaf_max, 2);
    msrs[VMX_CAP_EPT_VPID] |= EPT_CAP_1G;
    msrs[VMX_CAP_EPT_VPID] &= ~EPT_CAP_2M;
    assert_int_equal(evaluate(0), 0);
    assert_int_equal(caps.ept_leaf_max, 1);
}

static void test_no_true_controls(void **state)
{
    msrs[VMX_CAP_BASIC] &= ~VMX_BASIC_TRUE;
    /* Then these MSRs do not exist. */
    memset(&msrs[VMX_CAP_TRUE_PIN], 0, 4 * sizeof(msrs[0]));
    assert_int_equal(evaluate(0), -BH_ENOTSUP);
    assert_non_null(strstr(why, "TRUE"));
    assert_null(strstr(why, "exiting")); /* nor a list of what follows from it */
}

/* Optional controls, by the CPU's lack of one or by the command line: both give the same. */
static void test_optional(void **state)
{
    static const struct {
        enum virt_feature feature;
        enum vmx_cap_msr msr;
        uint32_t bits;
        uint32_t pin_gone, proc_gone, proc2_gone;
    } features[] = {
        {FEATURE_PREEMPTION_TIMER, VMX_CAP_TRUE_PIN, PIN_PREEMPTION_TIMER, PIN_PREEMPTION_TIMER, 0,
         0},
        /* Everything of the APIC's rests on it. */
        {FEATURE_TPR_SHADOW, VMX_CAP_TRUE_PROC, PROC_TPR_SHADOW, 0, PROC_TPR_SHADOW,
         PROC2_X2APIC | APICV},
        {FEATURE_TPR_SHADOW, VMX_CAP_PROC2, PROC2_X2APIC, 0, 0, PROC2_X2APIC | APICV},
        {FEATURE_APICV, VMX_CAP_PROC2, PROC2_APIC_REGISTERS, 0, 0, APICV},
        {FEATURE_APICV, VMX_CAP_PROC2, PROC2_VIRTUAL_INTERRUPTS, 0, 0, APICV},
        {FEATURE_VPID, VMX_CAP_PROC2, PROC2_VPID, 0, 0, PROC2_VPID},
        {FEATURE_PAUSE_EXIT, VMX_CAP_PROC2, PROC2_PAUSE_LOOP, 0, 0, PROC2_PAUSE_LOOP},
        {FEATURE_COUNT, VMX_CAP_PROC2, PROC2_RDTSCP, 0, 0, PROC2_RDTSCP},
        {FEATURE_COUNT, VMX_CAP_PROC2, PROC2_INVPCID, 0, 0, PROC2_INVPCID},
    };
    struct vmx_caps all;

    assert_int_equal(evaluate(0), 0);
    all = caps;
    for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
        setup(state);
        take_away(features[i].msr, features[i].bits);
        assert_int_equal(evaluate(0), 0);
        assert_int_equal(caps.pin, all.pin & ~features[i].pin_gone);
        assert_int_equal(caps.proc & ~(PROC_CR8_LOAD | PROC_CR8_STORE),
                         all.proc & ~features[i].proc_gone);
        assert_int_equal(caps.proc2, all.proc2 & ~features[i].proc2_gone);
        setup(state);
        if (features[i].feature == FEATURE_COUNT)
            continue;
        assert_int_equal(evaluate(BIT(features[i].feature)), 0);
        assert_int_equal(caps.pin & features[i].pin_gone, 0);
        assert_int_equal(caps.proc & features[i].proc_gone, 0);
        assert_int_equal(caps.proc2 & features[i].proc2_gone, 0);
        assert_int_equal(caps.pin | features[i].pin_gone, all.pin);
    }
    setup(state);
    assert_int_equal(evaluate(BIT(FEATURE_LARGE_PAGES)), 0);
    assert_int_equal(caps.ept_leaf_max, 2);
    assert_int_equal(evaluate(UINT32_MAX), 0);
    assert_int_equal(caps.proc2, PROC2_NEEDED | PROC2_RDTSCP | PROC2_INVPCID);
    assert_int_equal(caps.pin & PIN_PREEMPTION_TIMER, 0);
}

/* Writes of CR8 must reach the virtual APIC one way or the other. */
static void test_cr8(void **state)
{
    assert_int_equal(evaluate(0), 0);
    assert_int_equal(caps.proc & (PROC_CR8_LOAD | PROC_CR8_STORE), 0);
    assert_int_equal(evaluate(BIT(FEATURE_TPR_SHADOW)), 0);
    assert_int_equal(caps.proc & (PROC_CR8_LOAD | PROC_CR8_STORE), PROC_CR8_LOAD | PROC_CR8_STORE);
    take_away(VMX_CAP_TRUE_PROC, PROC_TPR_SHADOW);
    assert_int_equal(evaluate(0), 0);
    assert_int_equal(caps.proc & (PROC_CR8_LOAD | PROC_CR8_STORE), PROC_CR8_LOAD | PROC_CR8_STORE);
}

/* What the CPU insists on is there, known or not; what nothing handles refuses the CPU. */
static void test_must_be(void **state)
{
    static const uint32_t unwanted[] = {PROC_INVLPG, PROC_RDTSC, PROC_CR3_LOAD, PROC_CR3_STORE,
                                        PROC_PAUSE};

    msrs[VMX_CAP_TRUE_PIN] |= MUST_AND_MAY(BIT(20), BIT(20));
    msrs[VMX_CAP_TRUE_PROC] |= MUST_AND_MAY(BIT(27), BIT(27));
    msrs[VMX_CAP_TRUE_EXIT] |= MUST_AND_MAY(BIT(25), BIT(25));
    msrs[VMX_CAP_TRUE_ENTRY] |= MUST_AND_MAY(BIT(18), BIT(18));
    assert_int_equal(evaluate(UINT32_MAX), 0);
    assert_true(caps.pin & BIT(20));
    assert_true(caps.proc & BIT(27));
    assert_true(caps.exit & BIT(25));
    assert_true(caps.entry & BIT(18));

    for (size_t i = 0; i < ARRAY_SIZE(unwanted); i++) {
        setup(state);
        msrs[VMX_CAP_TRUE_PROC] |= unwanted[i];
        assert_int_equal(evaluate(0), -BH_ENOTSUP);
        assert_non_null(strstr(why, "without exits of INVLPG, RDTSC, PAUSE and CR3"));
    }
}

static void test_invalidation(void **state)
{
    assert_int_equal(evaluate(0), 0);
    assert_true(caps.proc2 & PROC2_VPID);
    msrs[VMX_CAP_EPT_VPID] &= ~(EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVVPID_SINGLE);
    assert_int_equal(evaluate(0), 0);
    assert_int_equal(caps.invept, INV_ALL);
    assert_int_equal(caps.invvpid, INV_ALL);
    assert_true(caps.proc2 & PROC2_VPID);

    /* A VPID's translations must be flushable, or there is no VPID. */
    msrs[VMX_CAP_EPT_VPID] &= ~EPT_CAP_INVVPID_ALL;
    assert_int_equal(evaluate(0), 0);
    assert_int_equal(caps.invvpid, 0);
    assert_false(caps.proc2 & PROC2_VPID);
    setup(state);
    msrs[VMX_CAP_EPT_VPID] &= ~EPT_CAP_INVVPID;
    assert_int_equal(evaluate(0), 0);
    assert_int_equal(caps.invvpid, 0);
    assert_false(caps.proc2 & PROC2_VPID);
}

static void test_misc(void **state)
{
    msrs[VMX_CAP_MISC] |= 31;
    msrs[VMX_CAP_BASIC] = VMX_BASIC_TRUE | 0xfffffffful; /* bit 31 is not the revision's */
    assert_int_equal(evaluate(0), 0);
    assert_int_equal(caps.timer_shift, 31);
    assert_int_equal(caps.revision, 0x7fffffff);
}

/* On any CPU: refused with words, or with controls that it allows. */
static void test_random(void **state)
{
    static const enum vmx_cap_msr words[] = {VMX_CAP_TRUE_PIN, VMX_CAP_TRUE_PROC, VMX_CAP_PROC2,
                                             VMX_CAP_TRUE_EXIT, VMX_CAP_TRUE_ENTRY};
    unsigned int seed = 1, accepted = 0;

    for (unsigned int round = 0; round < 20000; round++) {
        setup(state);
        for (unsigned int n = rand_r(&seed) % 4; n > 0; n--)
            take_away(words[rand_r(&seed) % ARRAY_SIZE(words)], BIT(rand_r(&seed) % 32));
        uint32_t off = (uint32_t)rand_r(&seed);
        if (evaluate(off) != 0) {
            assert_int_equal(strncmp(why, PREFIX, strlen(PREFIX)), 0);
            continue;
        }
        const uint32_t chosen[] = {caps.pin, caps.proc, caps.proc2, caps.exit, caps.entry};
        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
            assert_int_equal(chosen[i] & ~(msrs[words[i]] >> 32), 0);
            assert_int_equal((uint32_t)msrs[words[i]] & ~chosen[i], 0);
        }
        accepted++;
    }
    assert_true(accepted > 1000 && accepted < 19000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_haswell, setup),
        cmocka_unit_test_setup(test_other_models, setup),
        cmocka_unit_test_setup(test_each_required, setup),
        cmocka_unit_test_setup(test_several_missing, setup),
        cmocka_unit_test_setup(test_ept_capabilities, setup),
        cmocka_unit_test_setup(test_no_true_controls, setup),
        cmocka_unit_test_setup(test_optional, setup),
        cmocka_unit_test_setup(test_cr8, setup),
        cmocka_unit_test_setup(test_must_be, setup),
        cmocka_unit_test_setup(test_invalidation, setup),
        cmocka_unit_test_setup(test_misc, setup),
        cmocka_unit_test_setup(test_random, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
