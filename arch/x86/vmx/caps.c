#include "arch/x86/vmx/caps.h"

#include "arch/x86/virt.h"
#include "arch/x86/vmx/vmcs.h"
#include "lib/error.h"
#include "lib/format.h"
#include "lib/string.h"

enum control_word { WORD_PIN, WORD_PROC, WORD_PROC2, WORD_EXIT, WORD_ENTRY, WORD_COUNT };

static const struct {
    uint8_t msr; /* bits 31:0: must be 1; bits 63:32: may be 1 */
    const char *name;
} words[WORD_COUNT] = {
    [WORD_PIN] = {VMX_CAP_TRUE_PIN, "pin-based"},
    [WORD_PROC] = {VMX_CAP_TRUE_PROC, "processor-based"},
    [WORD_PROC2] = {VMX_CAP_PROC2, "secondary processor-based"},
    [WORD_EXIT] = {VMX_CAP_TRUE_EXIT, "VM-exit"},
    [WORD_ENTRY] = {VMX_CAP_TRUE_ENTRY, "VM-entry"},
};

#define REQUIRED UINT8_MAX /* else the feature that the control is for */

static const struct control {
    uint8_t word;
    uint8_t feature;
    uint32_t bit;
    const char *name;
} controls[] = {
    {WORD_PIN, REQUIRED, PIN_EXTERNAL_INTERRUPT, "external-interrupt exiting"},
    {WORD_PIN, REQUIRED, PIN_NMI, "NMI exiting"},
    {WORD_PIN, REQUIRED, PIN_VIRTUAL_NMI, "virtual NMIs"},
    {WORD_PROC, REQUIRED, PROC_INTERRUPT_WINDOW, "interrupt-window exiting"},
    {WORD_PROC, REQUIRED, PROC_TSC_OFFSET, "use TSC offsetting"},
    {WORD_PROC, REQUIRED, PROC_HLT, "HLT exiting"},
    {WORD_PROC, REQUIRED, PROC_MWAIT, "MWAIT exiting"},
    {WORD_PROC, REQUIRED, PROC_RDPMC, "RDPMC exiting"},
    {WORD_PROC, REQUIRED, PROC_CR8_LOAD, "CR8-load exiting"},
    {WORD_PROC, REQUIRED, PROC_CR8_STORE, "CR8-store exiting"},
    {WORD_PROC, REQUIRED, PROC_NMI_WINDOW, "NMI-window exiting"},
    {WORD_PROC, REQUIRED, PROC_MOV_DR, "MOV-DR exiting"},
    {WORD_PROC, REQUIRED, PROC_IO_BITMAPS, "use I/O bitmaps"},
    {WORD_PROC, REQUIRED, PROC_MSR_BITMAPS, "use MSR bitmaps"},
    {WORD_PROC, REQUIRED, PROC_MONITOR, "MONITOR exiting"},
    {WORD_PROC, REQUIRED, PROC_SECONDARY, "activate secondary controls"},
    {WORD_PROC2, REQUIRED, PROC2_EPT, "enable EPT"},
    {WORD_PROC2, REQUIRED, PROC2_UNRESTRICTED_GUEST, "unrestricted guest"},
    {WORD_PROC2, REQUIRED, PROC2_WBINVD, "WBINVD exiting"},
    {WORD_EXIT, REQUIRED, EXIT_SAVE_DEBUG, "save debug controls"},
    {WORD_EXIT, REQUIRED, EXIT_HOST_64BIT, "host address-space size"},
    {WORD_EXIT, REQUIRED, EXIT_ACK_INTERRUPT, "acknowledge interrupt on exit"},
    {WORD_EXIT, REQUIRED, EXIT_SAVE_PAT, "save IA32_PAT"},
    {WORD_EXIT, REQUIRED, EXIT_LOAD_PAT, "load IA32_PAT"},
    {WORD_EXIT, REQUIRED, EXIT_SAVE_EFER, "save IA32_EFER"},
    {WORD_EXIT, REQUIRED, EXIT_LOAD_EFER, "load IA32_EFER"},
    {WORD_ENTRY, REQUIRED, ENTRY_LOAD_DEBUG, "load debug controls"},
    {WORD_ENTRY, REQUIRED, ENTRY_IA32E_GUEST, "IA-32e mode guest"},
    {WORD_ENTRY, REQUIRED, ENTRY_LOAD_PAT, "load IA32_PAT"},
    {WORD_ENTRY, REQUIRED, ENTRY_LOAD_EFER, "load IA32_EFER"},
    {WORD_PIN, FEATURE_PREEMPTION_TIMER, PIN_PREEMPTION_TIMER, NULL},
    {WORD_PROC, FEATURE_TPR_SHADOW, PROC_TPR_SHADOW, NULL},
    {WORD_PROC2, FEATURE_TPR_SHADOW, PROC2_X2APIC, NULL},
    {WORD_PROC2, FEATURE_APICV, PROC2_APIC_REGISTERS, NULL},
    {WORD_PROC2, FEATURE_APICV, PROC2_VIRTUAL_INTERRUPTS, NULL},
    {WORD_PROC2, FEATURE_VPID, PROC2_VPID, NULL},
    {WORD_PROC2, FEATURE_COUNT, PROC2_ENCLS, NULL}, /* SGX is not shown to guests */
    /* Without these, the instructions that CPUID shows would be #UD in the guest. */
    {WORD_PROC2, FEATURE_COUNT, PROC2_RDTSCP, NULL},
    {WORD_PROC2, FEATURE_COUNT, PROC2_INVPCID, NULL},
};

/* Exits that nothing here would handle: a CPU that insists on them is refused. */
#define PROC_UNWANTED (PROC_INVLPG | PROC_RDTSC | PROC_CR3_LOAD | PROC_CR3_STORE | PROC_PAUSE)

/* Set only while they are needed. */
#define PROC_AT_TIMES (PROC_INTERRUPT_WINDOW | PROC_NMI_WINDOW)

static const struct {
    uint64_t bit;
    const char *name;
} ept_needs[] = {
    {EPT_CAP_WALK_4, "EPT with 4 levels"},
    {EPT_CAP_WB, "EPT with write-back memory"},
};

struct list {
    char *text;
    size_t size, used;
    unsigned int count;
};

static void append(struct list *list, const char *name, const char *of)
{
    int n = format(list->text + list->used, list->size - list->used, "%s%s%s%s%s",
                   list->count ? ", " : "VT-x is there, but lacks: ", name, *of ? " (" : "", of,
                   *of ? " control)" : "");

    list->count++;
    list->used = MIN(list->used + (size_t)MAX(n, 0), list->size - 1);
}

static void pick_controls(const uint64_t *msrs, uint32_t off, uint32_t value[WORD_COUNT],
                          struct list *missing)
{
    for (unsigned int w = 0; w < WORD_COUNT; w++) {
        value[w] = (uint32_t)msrs[words[w].msr];
    }
    for (unsigned int i = 0; i < ARRAY_SIZE(controls); i++) {
        const struct control *c = &controls[i];
        bool may = msrs[words[c->word].msr] >> 32 & c->bit;
        if (c->feature == REQUIRED && !may) {
            append(missing, c->name, words[c->word].name);
        }
        if (may && (c->feature >= FEATURE_COUNT || !(off & BIT(c->feature)))) {
            value[c->word] |= c->bit;
        }
    }
    if (msrs[VMX_CAP_TRUE_PROC] & PROC_UNWANTED) {
        append(missing, "running without exits of INVLPG, RDTSC, PAUSE and CR3", "");
    }
}

/* Features that rest on one another (SDM vol. 3, 27.2.1.1). */
static void drop_incomplete(uint32_t value[WORD_COUNT], uint32_t proc_must)
{
    const uint32_t apicv = PROC2_APIC_REGISTERS | PROC2_VIRTUAL_INTERRUPTS;

    if (!(value[WORD_PROC] & PROC_TPR_SHADOW)) {
        value[WORD_PROC2] &= ~PROC2_X2APIC;
    }
    if (!(value[WORD_PROC2] & PROC2_X2APIC) || (value[WORD_PROC2] & apicv) != apicv) {
        value[WORD_PROC2] &= ~apicv;
    }
    if (value[WORD_PROC] & PROC_TPR_SHADOW) {
        value[WORD_PROC] &= ~(PROC_CR8_LOAD | PROC_CR8_STORE) | proc_must;
    }
    value[WORD_PROC] &= ~PROC_AT_TIMES;
}

static unsigned int invalidation(uint64_t cap, uint64_t any, uint64_t single, uint64_t all)
{
    if (!(cap & any)) {
        return 0;
    }
    return cap & single ? INV_SINGLE : cap & all ? INV_ALL : 0;
}

int vmx_caps_evaluate(const uint64_t msrs[VMX_CAP_COUNT], uint32_t off, struct vmx_caps *caps,
                      char *why, size_t size)
{
    struct list missing = {.text = why, .size = size};
    uint64_t ept = msrs[VMX_CAP_EPT_VPID];
    unsigned int invept =
        invalidation(ept, EPT_CAP_INVEPT, EPT_CAP_INVEPT_SINGLE, EPT_CAP_INVEPT_ALL);
    uint32_t value[WORD_COUNT];

    if (!(msrs[VMX_CAP_BASIC] & VMX_BASIC_TRUE)) {
        append(&missing, "the TRUE capability MSRs (IA32_VMX_BASIC bit 55)", "");
        return -BH_ENOTSUP;
    }
    pick_controls(msrs, off, value, &missing);
    for (unsigned int i = 0; i < ARRAY_SIZE(ept_needs); i++) {
        if ((msrs[VMX_CAP_PROC2] >> 32 & PROC2_EPT) && !(ept & ept_needs[i].bit)) {
            append(&missing, ept_needs[i].name, "");
        }
    }
    if ((msrs[VMX_CAP_PROC2] >> 32 & PROC2_EPT) && !invept) {
        append(&missing, "INVEPT", "");
    }
    if (missing.count > 0) {
        return -BH_ENOTSUP;
    }
    drop_incomplete(value, (uint32_t)msrs[VMX_CAP_TRUE_PROC]);
    *caps = (struct vmx_caps){
        .revision = (uint32_t)(msrs[VMX_CAP_BASIC] & VMX_BASIC_REVISION),
        .pin = value[WORD_PIN],
        .proc = value[WORD_PROC],
        .proc2 = value[WORD_PROC2],
        .exit = value[WORD_EXIT],
        .entry = value[WORD_ENTRY] & ~ENTRY_IA32E_GUEST,
        .cr0_fixed0 = msrs[VMX_CAP_CR0_FIXED0],
        .cr4_fixed0 = msrs[VMX_CAP_CR4_FIXED0],
        .timer_shift = (unsigned int)(msrs[VMX_CAP_MISC] & VMX_MISC_TIMER_SHIFT),
        .ept_leaf_max = !(ept & EPT_CAP_2M)                                       ? 1
                        : (ept & EPT_CAP_1G) && !(off & BIT(FEATURE_LARGE_PAGES)) ? 3
                                                                                  : 2,
        .invept = invept,
        .invvpid = invalidation(ept, EPT_CAP_INVVPID, EPT_CAP_INVVPID_SINGLE, EPT_CAP_INVVPID_ALL),
    };
    /* Translations that cannot be thrown away must not be kept. */
    if (!caps->invvpid) {
        caps->proc2 &= ~PROC2_VPID;
    }
    return 0;
}
