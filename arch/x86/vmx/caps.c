#include "arch/x86/vmx/caps.h"

#include "arch/x86/virt.h"
#include "arch/x86/vmx/vmcs.h"
#include "lib/error.h"
#include "lib/format.h"
#include "lib/string.h"

/* The words of controls: bits 31:0: must be 1; bits 63:32: may be 1. */
static const char *const words[VMX_CAP_COUNT] = {
    [VMX_CAP_TRUE_PIN] = "pin-based",
    [VMX_CAP_TRUE_PROC] = "processor-based",
    [VMX_CAP_PROC2] = "secondary processor-based",
    [VMX_CAP_TRUE_EXIT] = "VM-exit",
    [VMX_CAP_TRUE_ENTRY] = "VM-entry",
};

#define REQUIRED UINT8_MAX /* else the feature that the control is for */

static const struct control {
    uint8_t word; /* enum vmx_cap_msr */
    uint8_t feature;
    uint32_t bit;
    const char *name;
} controls[] = {
    {VMX_CAP_TRUE_PIN, REQUIRED, PIN_EXTERNAL_INTERRUPT, "external-interrupt exiting"},
    {VMX_CAP_TRUE_PIN, REQUIRED, PIN_NMI, "NMI exiting"},
    {VMX_CAP_TRUE_PIN, REQUIRED, PIN_VIRTUAL_NMI, "virtual NMIs"},
    {VMX_CAP_TRUE_PROC, REQUIRED, PROC_INTERRUPT_WINDOW, "interrupt-window exiting"},
    {VMX_CAP_TRUE_PROC, REQUIRED, PROC_TSC_OFFSET, "use TSC offsetting"},
    {VMX_CAP_TRUE_PROC, REQUIRED, PROC_HLT, "HLT exiting"},
    {VMX_CAP_TRUE_PROC, REQUIRED, PROC_MWAIT, "MWAIT exiting"},
    {VMX_CAP_TRUE_PROC, REQUIRED, PROC_RDPMC, "RDPMC exiting"},
    {VMX_CAP_TRUE_PROC, REQUIRED, PROC_CR8_LOAD, "CR8-load exiting"},
    {VMX_CAP_TRUE_PROC, REQUIRED, PROC_CR8_STORE, "CR8-store exiting"},
    {VMX_CAP_TRUE_PROC, REQUIRED, PROC_NMI_WINDOW, "NMI-window exiting"},
    {VMX_CAP_TRUE_PROC, REQUIRED, PROC_MOV_DR, "MOV-DR exiting"},
    {VMX_CAP_TRUE_PROC, REQUIRED, PROC_IO_BITMAPS, "use I/O bitmaps"},
    {VMX_CAP_TRUE_PROC, REQUIRED, PROC_MSR_BITMAPS, "use MSR bitmaps"},
    {VMX_CAP_TRUE_PROC, REQUIRED, PROC_MONITOR, "MONITOR exiting"},
    {VMX_CAP_TRUE_PROC, REQUIRED, PROC_SECONDARY, "activate secondary controls"},
    {VMX_CAP_PROC2, REQUIRED, PROC2_EPT, "enable EPT"},
    {VMX_CAP_PROC2, REQUIRED, PROC2_UNRESTRICTED_GUEST, "unrestricted guest"},
    {VMX_CAP_PROC2, REQUIRED, PROC2_WBINVD, "WBINVD exiting"},
    {VMX_CAP_TRUE_EXIT, REQUIRED, EXIT_SAVE_DEBUG, "save debug controls"},
    {VMX_CAP_TRUE_EXIT, REQUIRED, EXIT_HOST_64BIT, "host address-space size"},
    {VMX_CAP_TRUE_EXIT, REQUIRED, EXIT_ACK_INTERRUPT, "acknowledge interrupt on exit"},
    {VMX_CAP_TRUE_EXIT, REQUIRED, EXIT_SAVE_PAT, "save IA32_PAT"},
    {VMX_CAP_TRUE_EXIT, REQUIRED, EXIT_LOAD_PAT, "load IA32_PAT"},
    {VMX_CAP_TRUE_EXIT, REQUIRED, EXIT_SAVE_EFER, "save IA32_EFER"},
    {VMX_CAP_TRUE_EXIT, REQUIRED, EXIT_LOAD_EFER, "load IA32_EFER"},
    {VMX_CAP_TRUE_ENTRY, REQUIRED, ENTRY_LOAD_DEBUG, "load debug controls"},
    {VMX_CAP_TRUE_ENTRY, REQUIRED, ENTRY_IA32E_GUEST, "IA-32e mode guest"},
    {VMX_CAP_TRUE_ENTRY, REQUIRED, ENTRY_LOAD_PAT, "load IA32_PAT"},
    {VMX_CAP_TRUE_ENTRY, REQUIRED, ENTRY_LOAD_EFER, "load IA32_EFER"},
    {VMX_CAP_TRUE_PIN, FEATURE_PREEMPTION_TIMER, PIN_PREEMPTION_TIMER, NULL},
    {VMX_CAP_TRUE_PROC, FEATURE_TPR_SHADOW, PROC_TPR_SHADOW, NULL},
    {VMX_CAP_PROC2, FEATURE_TPR_SHADOW, PROC2_X2APIC, NULL},
    {VMX_CAP_PROC2, FEATURE_APICV, PROC2_APIC_REGISTERS, NULL},
    {VMX_CAP_PROC2, FEATURE_APICV, PROC2_VIRTUAL_INTERRUPTS, NULL},
    {VMX_CAP_PROC2, FEATURE_VPID, PROC2_VPID, NULL},
    {VMX_CAP_PROC2, FEATURE_PAUSE_EXIT, PROC2_PAUSE_LOOP, NULL},
    {VMX_CAP_PROC2, FEATURE_COUNT, PROC2_ENCLS, NULL}, /* SGX is not shown to guests */
    /* Without these, the instructions that CPUID shows would be #UD in the guest. */
    {VMX_CAP_PROC2, FEATURE_COUNT, PROC2_RDTSCP, NULL},
    {VMX_CAP_PROC2, FEATURE_COUNT, PROC2_INVPCID, NULL},
};

/* Exits that nothing here would handle: a CPU that insists on them is refused. */
#define PROC_UNWANTED (PROC_INVLPG | PROC_RDTSC | PROC_CR3_LOAD | PROC_CR3_STORE | PROC_PAUSE)

/* Set only while they are needed. */
#define PROC_AT_TIMES (PROC_INTERRUPT_WINDOW | PROC_NMI_WINDOW)

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

static void append_unless(struct list *list, bool there, const char *name)
{
    if (!there)
        append(list, name, "");
}

static void pick_controls(const uint64_t *msrs, uint32_t off, uint32_t value[VMX_CAP_COUNT],
                          struct list *missing)
{
    for (unsigned int w = 0; w < VMX_CAP_COUNT; w++)
        value[w] = (uint32_t)msrs[w];
    for (unsigned int i = 0; i < ARRAY_SIZE(controls); i++) {
        const struct control *c = &controls[i];
        bool may = msrs[c->word] >> 32 & c->bit;
        if (c->feature == REQUIRED && !may)
            append(missing, c->name, words[c->word]);
        if (may && (c->feature >= FEATURE_COUNT || !(off & BIT(c->feature))))
            value[c->word] |= c->bit;
    }
    append_unless(missing, !(msrs[VMX_CAP_TRUE_PROC] & PROC_UNWANTED),
                  "running without exits of INVLPG, RDTSC, PAUSE and CR3");
}

/* Features that rest on one another (SDM vol. 3, 27.2.1.1). */
static void drop_incomplete(uint32_t value[VMX_CAP_COUNT], uint32_t proc_must)
{
    const uint32_t apicv = PROC2_APIC_REGISTERS | PROC2_VIRTUAL_INTERRUPTS;

    if (!(value[VMX_CAP_TRUE_PROC] & PROC_TPR_SHADOW))
        value[VMX_CAP_PROC2] &= ~PROC2_X2APIC;
    if (!(value[VMX_CAP_PROC2] & PROC2_X2APIC) || (value[VMX_CAP_PROC2] & apicv) != apicv)
        value[VMX_CAP_PROC2] &= ~apicv;
    if (value[VMX_CAP_TRUE_PROC] & PROC_TPR_SHADOW)
        value[VMX_CAP_TRUE_PROC] &= ~(PROC_CR8_LOAD | PROC_CR8_STORE) | proc_must;
    value[VMX_CAP_TRUE_PROC] &= ~PROC_AT_TIMES;
}

static unsigned int invalidation(uint64_t cap, uint64_t any, uint64_t single, uint64_t all)
{
    if (!(cap & any))
        return 0;
    return cap & single ? INV_SINGLE : cap & all ? INV_ALL : 0;
}

int vmx_caps_evaluate(const uint64_t msrs[VMX_CAP_COUNT], uint32_t off, struct vmx_caps *caps,
                      char *why, size_t size)
{
    struct list missing = {.text = why, .size = size};
    uint64_t ept = msrs[VMX_CAP_EPT_VPID];
    unsigned int invept =
        invalidation(ept, EPT_CAP_INVEPT, EPT_CAP_INVEPT_SINGLE, EPT_CAP_INVEPT_ALL);
    uint32_t value[VMX_CAP_COUNT];

    if (!(msrs[VMX_CAP_BASIC] & VMX_BASIC_TRUE)) {
        append(&missing, "the TRUE capability MSRs (IA32_VMX_BASIC bit 55)", "");
        return -BH_ENOTSUP;
    }
    pick_controls(msrs, off, value, &missing);
    if (value[VMX_CAP_PROC2] & PROC2_EPT) {
        append_unless(&missing, ept & EPT_CAP_WALK_4, "EPT with 4 levels");
        append_unless(&missing, ept & EPT_CAP_WB, "EPT with write-back memory");
        append_unless(&missing, invept, "INVEPT");
    }
    if (missing.count > 0)
        return -BH_ENOTSUP;
    drop_incomplete(value, (uint32_t)msrs[VMX_CAP_TRUE_PROC]);
    *caps = (struct vmx_caps){
        .revision = (uint32_t)(msrs[VMX_CAP_BASIC] & VMX_BASIC_REVISION),
        .pin = value[VMX_CAP_TRUE_PIN],
        .proc = value[VMX_CAP_TRUE_PROC],
        .proc2 = value[VMX_CAP_PROC2],
        .exit = value[VMX_CAP_TRUE_EXIT],
        .entry = value[VMX_CAP_TRUE_ENTRY] & ~ENTRY_IA32E_GUEST,
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
    if (!caps->invvpid)
        caps->proc2 &= ~PROC2_VPID;
    return 0;
}
