#ifndef BULKHEAD_VMM_IRQCHIP_LAPIC_REGS_H
#define BULKHEAD_VMM_IRQCHIP_LAPIC_REGS_H

/* The local APIC's registers (SDM vol. 3, table 10-1). An x2APIC MSR is 800h + offset / 16. */

#include "lib/macros.h"

#define LAPIC_ID         0x020u
#define LAPIC_VERSION    0x030u
#define LAPIC_TPR        0x080u
#define LAPIC_PPR        0x0A0u
#define LAPIC_EOI        0x0B0u
#define LAPIC_LDR        0x0D0u
#define LAPIC_DFR        0x0E0u
#define LAPIC_SVR        0x0F0u
#define LAPIC_ISR        0x100u /* eight registers each, 10h apart */
#define LAPIC_TMR        0x180u
#define LAPIC_IRR        0x200u
#define LAPIC_ESR        0x280u
#define LAPIC_ICR        0x300u
#define LAPIC_ICR_HIGH   0x310u
#define LAPIC_LVT_TIMER  0x320u
#define LAPIC_LVT_THERM  0x330u
#define LAPIC_LVT_PERF   0x340u
#define LAPIC_LVT_LINT0  0x350u
#define LAPIC_LVT_LINT1  0x360u
#define LAPIC_LVT_ERROR  0x370u
#define LAPIC_TIMER_INIT 0x380u
#define LAPIC_TIMER_CUR  0x390u
#define LAPIC_TIMER_DIV  0x3E0u
#define LAPIC_SELF_IPI   0x3F0u /* x2APIC only */

/* Those that xAPIC reads give as they stand in the page, a bit each. */
#define LAPIC_BIT(reg) BIT64((reg) / 0x10)
#define LAPIC_PLAIN                                                                                \
    (LAPIC_BIT(LAPIC_ID) | LAPIC_BIT(LAPIC_VERSION) | LAPIC_BIT(LAPIC_TPR) |                       \
     LAPIC_BIT(LAPIC_PPR) | LAPIC_BIT(LAPIC_EOI) | LAPIC_BIT(LAPIC_LDR) | LAPIC_BIT(LAPIC_DFR) |   \
     LAPIC_BIT(LAPIC_SVR) | (LAPIC_BIT(LAPIC_ESR) - LAPIC_BIT(LAPIC_ISR)) | /* with TMR and IRR */ \
     LAPIC_BIT(LAPIC_ESR) |                                                                        \
     (LAPIC_BIT(LAPIC_TIMER_CUR) - LAPIC_BIT(LAPIC_ICR)) | /* ICR, LVT, initial count */           \
     LAPIC_BIT(LAPIC_TIMER_DIV))

#define X2APIC_MSR_FIRST 0x800u
#define X2APIC_MSR_TPR   (X2APIC_MSR_FIRST + LAPIC_TPR / 0x10)
#define X2APIC_MSR_EOI   (X2APIC_MSR_FIRST + LAPIC_EOI / 0x10)
#define X2APIC_MSR_TIMER (X2APIC_MSR_FIRST + LAPIC_TIMER_INIT / 0x10)
#define X2APIC_MSR_LAST  0x8FFu

/* LVT entries (figure 10-8). */
#define LVT_VECTOR         0xFFu
#define LVT_MODE_SHIFT     8
#define LVT_MODE           (7u << LVT_MODE_SHIFT)
#define LVT_PENDING        BIT(12) /* delivery status, read-only */
#define LVT_POLARITY       BIT(13)
#define LVT_REMOTE_IRR     BIT(14) /* read-only */
#define LVT_LEVEL          BIT(15)
#define LVT_MASKED         BIT(16)
#define LVT_TIMER_MODE     (3u << 17)
#define LVT_TIMER_PERIODIC (1u << 17)
#define LVT_TIMER_DEADLINE (2u << 17)

/* Spurious-interrupt vector register (figure 10-23). */
#define SVR_VECTOR       0xFFu
#define SVR_ENABLE       BIT(8)
#define SVR_FOCUS        BIT(9)
#define SVR_SUPPRESS_EOI BIT(12)

/* Version (figure 10-7): EOI-broadcast suppression, LVT entries - 1, version. */
#define LAPIC_VERSION_EOI_SUPPRESS BIT(24)
#define LAPIC_VERSION_VALUE        (LAPIC_VERSION_EOI_SUPPRESS | (6u - 1) << 16 | 0x14)

/* Interrupt command register (figures 10-12 and 10-28). */
#define ICR_VECTOR          0xFFu
#define ICR_MODE_SHIFT      8
#define ICR_MODE            (7u << ICR_MODE_SHIFT)
#define ICR_LOGICAL         BIT(11)
#define ICR_PENDING         BIT(12) /* delivery status, read-only */
#define ICR_LEVEL           BIT(14)
#define ICR_TRIGGER_LEVEL   BIT(15)
#define ICR_SHORTHAND_SHIFT 18
#define ICR_SHORTHAND       (3u << ICR_SHORTHAND_SHIFT)

/* Error status register (figure 10-9). */
#define ESR_SEND_ILLEGAL_VECTOR    BIT(5)
#define ESR_RECEIVE_ILLEGAL_VECTOR BIT(6)
#define ESR_ILLEGAL_REGISTER       BIT(7)

/* IA32_APIC_BASE (figure 10-26). */
#define APIC_BASE_BSP     BIT64(8)
#define APIC_BASE_X2APIC  BIT64(10)
#define APIC_BASE_ENABLE  BIT64(11)
#define APIC_BASE_ADDRESS 0xFEE00000ull

#endif
