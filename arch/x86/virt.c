#include "arch/x86/virt.h"

#include "arch/x86/lapic.h"
#include "arch/x86/percpu.h"
#include "arch/x86/speculation.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

#define WHY_SIZE 512

const struct virt_ops *virt;

static const struct virt_ops *const backends[] = {&svm_ops, &vmx_ops};

static uint32_t features_off INIT_DATA;

static const char *const feature_names[FEATURE_COUNT] = {
    [FEATURE_NEXT_RIP] = "next-rip",
    [FEATURE_DECODE_ASSISTS] = "decode-assists",
    [FEATURE_APICV] = "apicv",
    [FEATURE_TPR_SHADOW] = "tpr-shadow",
    [FEATURE_PREEMPTION_TIMER] = "preemption-timer",
    [FEATURE_VPID] = "vpid",
    [FEATURE_LARGE_PAGES] = "large-pages",
    [FEATURE_PAUSE_EXIT] = "pause-exit",
    [FEATURE_EVENT_INJECTION] = "event-injection",
};

/* Sets the bit of the name in the list. */
INIT static bool note(const char *const *names, unsigned int count, const char *name, size_t len,
                      uint32_t *bits)
{
    for (unsigned int i = 0; i < count; i++) {
        if (strlen(names[i]) == len && strncmp(names[i], name, len) == 0) {
            *bits |= BIT(i);
            return true;
        }
    }
    return false;
}

INIT static void turn(bool on, const char *name, size_t len)
{
    if (note(defence_names, DEFENCE_COUNT, name, len, on ? &defences_on : &defences_off) ||
        (!on && note(feature_names, FEATURE_COUNT, name, len, &features_off)))
        return;
    if (on && len == 6 && strncmp(name, "x2apic", len) == 0) {
        lapic_hw_want_x2apic = true;
        return;
    }
    if (!on && len == 3 && strncmp(name, "all", len) == 0) {
        features_off |= (BIT(FEATURE_COUNT) - 1) & ~BIT(FEATURE_EVENT_INJECTION);
        return;
    }
    log_error(
        "core command line: %s: found \"%.*s\", expected %sibrs, retpoline, rsb, ibpb, verw%s",
        on ? "on" : "off", (int)len, name,
        on ? ""
           : "all, next-rip, decode-assists, apicv, tpr-shadow, preemption-timer, vpid, "
             "large-pages, pause-exit, event-injection, ",
        on ? ", l1d or x2apic" : " or l1d");
}

INIT void virt_turn(bool on, const char *list, size_t len)
{
    size_t start = 0;

    for (size_t i = 0; i <= len; i++) {
        if (i == len || list[i] == ',') {
            turn(on, list + start, i - start);
            start = i + 1;
        }
    }
}

INIT static int init_boot_cpu(void)
{
    int err = virt->cpu_prepare(this_cpu);

    if (!err && virt->cpu_enable() != 0) {
        log_error("refused: %s cannot be turned on, although the processor says that it can: "
                  "another hypervisor?",
                  virt->name);
        err = -BH_ENOTSUP;
    }
    return err;
}

INIT int virt_init(void)
{
    char why[ARRAY_SIZE(backends)][WHY_SIZE];
    int err[ARRAY_SIZE(backends)];
    bool own_kind = false;

    for (unsigned int i = 0; i < ARRAY_SIZE(backends); i++) {
        err[i] = backends[i]->detect(features_off, why[i], sizeof(why[i]));
        if (err[i] == 0) {
            virt = backends[i];
            return init_boot_cpu();
        }
        own_kind |= err[i] != -BH_ENODEV;
    }
    for (unsigned int i = 0; i < ARRAY_SIZE(backends); i++)
        if (!own_kind || err[i] != -BH_ENODEV)
            log_error("refused: %s", why[i]);
    return -BH_ENOTSUP;
}
