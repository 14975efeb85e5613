#ifndef BULKHEAD_ARCH_X86_SVM_DETECT_H
#define BULKHEAD_ARCH_X86_SVM_DETECT_H

/* Whether this CPU has AMD-V, and what of it. Boot only; the UEFI loader asks, too. */

#include "lib/macros.h"

/* CPUID 8000000Ah (APM vol. 3, E.4.9). */
struct svm_features {
    bool nrips;
    bool decode_assists;
    bool flush_by_asid;
    bool clean_bits;
    bool pause_filter;
    bool pause_threshold;
    bool large_pages;   /* of 1 GiB */
    bool virq_delivers; /* and not EVENTINJ: `off=event-injection` */
    uint32_t asids;
    uint32_t revision;
};

/* It is there, and firmware has not turned it off. */
bool svm_can_be_used(void);

/* As struct virt_ops' detect; fills in *features. */
MUST_CHECK int svm_detect(uint32_t off, struct svm_features *features, char *why, size_t size);

#endif
