/* The local APIC in both modes (SDM vol. 3, chapter 10), and the 8259s, which are masked. */

#include "guestlib.h"

#define MSR_APIC_BASE  0x1b
#define BASE_ENABLE    BIT64(11)
#define BASE_X2        BIT64(10)
#define MSR_X2APIC     0x800
#define CPUID1C_X2APIC BIT(21)
#define SVR_ENABLE     0x100u
#define ICR_LEVEL      BIT(14) /* "assert" */
#define PIC1_CMD       0x20
#define PIC1_DATA      0x21
#define PIC2_CMD       0xa0
#define PIC2_DATA      0xa1
#define PIC1_VECTOR    0x20
#define PIC2_VECTOR    0x28

static bool x2_mode;

bool lapic_is_x2(void)
{
    return x2_mode;
}

uint32_t lapic_read(uint32_t reg)
{
    return x2_mode ? (uint32_t)rdmsr(MSR_X2APIC + reg / 16)
                   : *(volatile uint32_t *)(GUEST_LAPIC + reg);
}

void lapic_write(uint32_t reg, uint32_t value)
{
    if (x2_mode)
        wrmsr(MSR_X2APIC + reg / 16, value);
    else
        *(volatile uint32_t *)(GUEST_LAPIC + reg) = value;
}

void lapic_eoi(void)
{
    lapic_write(LAPIC_REG_EOI, 0);
}

bool lapic_set_mode(bool x2)
{
    uint64_t base = rdmsr(MSR_APIC_BASE) & ~(BASE_ENABLE | BASE_X2);

    if (x2 && !(cpuid(1, 0).ecx & CPUID1C_X2APIC))
        return false;
    /* Figure 10-27: from x2APIC to xAPIC only by way of "disabled". */
    if (!x2 && x2_mode)
        wrmsr(MSR_APIC_BASE, base);
    wrmsr(MSR_APIC_BASE, base | BASE_ENABLE);
    if (x2)
        wrmsr(MSR_APIC_BASE, base | BASE_ENABLE | BASE_X2);
    if (!(rdmsr(MSR_APIC_BASE) & BASE_ENABLE))
        return false;
    x2_mode = x2;
    lapic_write(LAPIC_REG_SVR, SVR_ENABLE | GUEST_SPURIOUS_VECTOR);
    lapic_write(LAPIC_REG_TPR, 0);
    for (uint32_t lvt = LAPIC_REG_LVT_TIMER; lvt <= LAPIC_REG_LVT_ERROR; lvt += 16)
        lapic_write(lvt, 0x10000);
    return true;
}

void lapic_init(void)
{
    outb(PIC1_CMD, 0x11);
    outb(PIC1_DATA, PIC1_VECTOR);
    outb(PIC1_DATA, 4);
    outb(PIC1_DATA, 1);
    outb(PIC2_CMD, 0x11);
    outb(PIC2_DATA, PIC2_VECTOR);
    outb(PIC2_DATA, 2);
    outb(PIC2_DATA, 1);
    outb(PIC1_DATA, 0xff);
    outb(PIC2_DATA, 0xff);
    x2_mode = (rdmsr(MSR_APIC_BASE) & BASE_X2) != 0;
    lapic_set_mode(false);
}

void lapic_send_self(uint32_t icr)
{
    uint32_t id = lapic_read(LAPIC_REG_ID);

    if (x2_mode) {
        wrmsr(MSR_X2APIC + LAPIC_REG_ICR / 16, (uint64_t)id << 32 | icr | ICR_LEVEL);
    } else {
        lapic_write(LAPIC_REG_ICR_HIGH, id & 0xff000000);
        lapic_write(LAPIC_REG_ICR, icr | ICR_LEVEL);
    }
}
