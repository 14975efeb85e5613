#ifndef BULKHEAD_ARCH_X86_EVENT_INFO_H
#define BULKHEAD_ARCH_X86_EVENT_INFO_H

/* How both vendors describe an event that is injected, or whose delivery an exit has interrupted
 * (SDM vol. 3, tables 25-17 to 25-19; APM vol. 2, 15.20). The types are those of enum event_type.
 */

#include "vmm/vcpu.h"

#define INTR_INFO_VECTOR(info) ((uint8_t)(info))
#define INTR_INFO_TYPE(info)   ((uint8_t)((info) >> 8 & 7))
#define INTR_INFO_TYPE_SHIFT   8
#define INTR_INFO_ERROR        BIT(11)
#define INTR_INFO_VALID        BIT(31)

static inline struct vcpu_event event_of(uint32_t info, uint32_t error)
{
    return (struct vcpu_event){
        .vector = INTR_INFO_VECTOR(info),
        .type = INTR_INFO_TYPE(info),
        .has_error = (info & INTR_INFO_ERROR) != 0,
        .error = error,
    };
}

static inline uint32_t info_of(const struct vcpu_event *event)
{
    return INTR_INFO_VALID | event->vector | (uint32_t)event->type << INTR_INFO_TYPE_SHIFT |
           (event->has_error ? INTR_INFO_ERROR : 0);
}

#endif
