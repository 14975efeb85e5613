/* Which speculation defences are chosen for a CPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "arch/x86/speculation.h"

#define RTM          BIT(11)
#define MD_CLEAR     BIT(10)
#define SPEC_CTRL    BIT(26)
#define FLUSH_L1D    BIT(28)
#define ARCH_CAP     BIT(29)
#define IBPB         BIT(12)
#define AUTO_IBRS    BIT(8)
#define MICROCODE    (MD_CLEAR | SPEC_CTRL | FLUSH_L1D)
#define RDCL_NO      BIT64(0)
#define IBRS_ALL     BIT64(1)
#define SKIP_L1DFL   BIT64(3)
#define MDS_NO       BIT64(5)
#define TAA_NO       BIT64(8)
#define PBRSB_NO     BIT64(24)
#define RFDS_NO      BIT64(27)
#define RFDS_CLEAR   BIT64(28)
#define CASCADE_LAKE (RDCL_NO | IBRS_ALL | SKIP_L1DFL | MDS_NO)
#define SAPPHIRE     (CASCADE_LAKE | TAA_NO | PBRSB_NO)
#define ALDER_LAKE_N (SAPPHIRE | RFDS_CLEAR)

/* One letter a defence, in the order of enum defence: on, not needed, missing, turned off. */
static const char letters[] = {'+', '-', '?', '0'};

struct row {
    const char *name;
    struct speculation_cpu cpu;
    uint32_t off, on;
    const char *expected;
};

#define INTEL(f7b, f7d, cap)                                                        \
    {                                                                               \
        .intel = true, .f7_ebx = (f7b), .f7_edx = (f7d), .arch_capabilities = (cap) \
    }
#define AMD(fe8b, fe21a)                       \
    {                                          \
        .fe8_ebx = (fe8b), .fe21_eax = (fe21a) \
    }

static const struct row rows[] = {
    /* The order: ibrs, retpoline, rsb, ibpb, verw, l1d. */
    {"Sandy Bridge, no microcode", INTEL(0, 0, 0), 0, 0, "?++???"},
    {"Haswell, microcode", INTEL(RTM, MICROCODE, 0), 0, 0, "?+++++"},
    {"Skylake, microcode that lists itself as affected",
     INTEL(RTM, MICROCODE | ARCH_CAP, SKIP_L1DFL), 0, 0, "?++++-"},
    {"Cascade Lake: enhanced IBRS, still TAA", INTEL(RTM, MICROCODE | ARCH_CAP, CASCADE_LAKE), 0, 0,
     "+-+++-"},
    {"Cascade Lake, TSX turned off", INTEL(0, MICROCODE | ARCH_CAP, CASCADE_LAKE), 0, 0, "+-++--"},
    {"Ice Lake: TAA_NO", INTEL(RTM, MICROCODE | ARCH_CAP, CASCADE_LAKE | TAA_NO), 0, 0, "+-++--"},
    {"Sapphire Rapids: no post-barrier flaw", INTEL(RTM, MICROCODE | ARCH_CAP, SAPPHIRE), 0, 0,
     "+--+--"},
    {"Alder Lake N: register file", INTEL(0, MICROCODE | ARCH_CAP, ALDER_LAKE_N), 0, 0, "+--++-"},
    {"the same, fixed", INTEL(0, MICROCODE | ARCH_CAP, ALDER_LAKE_N | RFDS_NO), 0, 0, "+--+--"},
    {"RFDS_CLEAR is an offer, too", INTEL(0, SPEC_CTRL | ARCH_CAP, ALDER_LAKE_N), 0, 0, "+--++-"},
    {"IBRS_ALL without SPEC_CTRL", INTEL(0, ARCH_CAP, CASCADE_LAKE), 0, 0, "?++?--"},
    {"Zen 1, no microcode", AMD(0, 0), 0, 0, "?++?--"},
    {"Zen 2", AMD(IBPB, 0), 0, 0, "?+++--"},
    {"Zen 4: automatic IBRS", AMD(IBPB, AUTO_IBRS), 0, 0, "+--+--"},
    /* AMD below a hypervisor that shows Intel's register. */
    {"AMD with capabilities of 0", {.f7_edx = ARCH_CAP, .fe8_ebx = IBPB}, 0, 0, "?+++--"},

    {"everything off", INTEL(RTM, MICROCODE, 0), UINT32_MAX, 0, "?00000"},
    {"off: not offered and not needed stay", AMD(0, 0), UINT32_MAX, 0, "?00?--"},
    {"IBRS off: retpolines take over", INTEL(0, MICROCODE | ARCH_CAP, SAPPHIRE), BIT(DEFENCE_IBRS),
     0, "0+++--"},
    {"automatic IBRS off: the same", AMD(IBPB, AUTO_IBRS), BIT(DEFENCE_IBRS), 0, "0+++--"},
    {"retpoline off: IBRS stays", INTEL(0, MICROCODE | ARCH_CAP, SAPPHIRE), BIT(DEFENCE_RETPOLINE),
     0, "+--+--"},
    {"one off", INTEL(RTM, MICROCODE, 0), BIT(DEFENCE_VERW), 0, "?+++0+"},
    {"all on, needed or not", INTEL(0, MICROCODE | ARCH_CAP, SAPPHIRE), 0, UINT32_MAX, "++++++"},
    {"on needs an offer", AMD(IBPB, AUTO_IBRS), 0, UINT32_MAX, "++++??"},
    {"off wins over on", AMD(IBPB, AUTO_IBRS), BIT(DEFENCE_RSB), UINT32_MAX, "++0+??"},
};

static void test_choice(void **context)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        enum defence_state state[DEFENCE_COUNT];
        char found[DEFENCE_COUNT + 1] = "";

        memset(state, 0x5a, sizeof(state));
        speculation_choose(&rows[i].cpu, rows[i].off, rows[i].on, state);
        for (unsigned int d = 0; d < DEFENCE_COUNT; d++) {
            assert_in_range(state[d], 0, sizeof(letters) - 1);
            found[d] = letters[state[d]];
        }
        if (strcmp(found, rows[i].expected) != 0)
            fail_msg("%s: found %s, expected %s", rows[i].name, found, rows[i].expected);
    }
}

static void test_names(void **context)
{
    for (unsigned int d = 0; d < DEFENCE_COUNT; d++) {
        assert_non_null(defence_names[d]);
        for (unsigned int e = 0; e < d; e++)
            assert_string_not_equal(defence_names[d], defence_names[e]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
