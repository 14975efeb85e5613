#include "vmm/ipi.h"

#include "arch/x86/virt.h"
#include "vmm/mail.h"

/* What all CPUs of a message get; a start-up IPI has a page as its vector. */
static void deliver(struct vcpu *v, unsigned int mode, uint8_t vector, bool level)
{
    switch (mode) {
    case APIC_DELIVERY_FIXED:
    case APIC_DELIVERY_LOWEST: mail_interrupt(v, vector, level); break;
    case APIC_DELIVERY_NMI:
        if (vcpu_is_here(v) && v->state != VCPU_WAITING)
            vcpu_nmi(v);
        else
            mail_signal(v, POSTED_NMI);
        break;
    case APIC_DELIVERY_INIT: mail_init(v); break;
    case APIC_DELIVERY_STARTUP: mail_startup(v, vector); break;
    case APIC_DELIVERY_EXTINT:
        if (vcpu_is_here(v))
            vcpu_kick(v);
        else
            mail_signal(v, POSTED_EXTINT);
        break;
    default: break; /* SMI: there is no SMM */
    }
}

/* A LAPIC of another pCPU is read as it happens to be: messages on a real bus race with such
 * changes, too. */
static bool is_addressed(const struct vcpu *v, const struct vcpu *from, const struct lapic_ipi *ipi)
{
    switch (ipi->shorthand) {
    case LAPIC_TO_SELF: return v == from;
    case LAPIC_TO_ALL: return true;
    case LAPIC_TO_OTHERS: return v != from;
    default: return lapic_match(&v->lapic, ipi->dest, ipi->logical, ipi->x2apic);
    }
}

/* Arbitration priority (SDM vol. 3, 11.6.2.4): the lower TPR takes a lowest-priority message; among
 * equals the next after the one that took the last, so that none gets them all. */
static bool is_preferred(const struct vm *vm, const struct vcpu *v, const struct vcpu *than)
{
    uint32_t mine = *lapic_reg(&v->lapic, LAPIC_TPR) >> 4, other;

    if (!than)
        return true;
    other = *lapic_reg(&than->lapic, LAPIC_TPR) >> 4;
    if (mine != other)
        return mine < other;
    return v->id > vm->last_lowest && than->id <= vm->last_lowest;
}

/* Only a CPU that can be interrupted takes part. */
static bool takes_interrupts(const struct vcpu *v)
{
    return v->state != VCPU_WAITING && lapic_enabled(&v->lapic);
}

static void send(struct vm *vm, struct vcpu *from, const struct lapic_ipi *ipi)
{
    bool lowest = ipi->delivery_mode == APIC_DELIVERY_LOWEST;
    struct vcpu *chosen = NULL;

    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        struct vcpu *v = vm->vcpus[i];
        if (!is_addressed(v, from, ipi))
            continue;
        if (!lowest)
            deliver(v, ipi->delivery_mode, ipi->vector, ipi->trigger_level);
        else if (takes_interrupts(v) && is_preferred(vm, v, chosen))
            chosen = v;
    }
    if (chosen) {
        vm->last_lowest = chosen->id;
        deliver(chosen, APIC_DELIVERY_FIXED, ipi->vector, ipi->trigger_level);
    }
}

/* By physical id, of which the vCPU's number is the APIC id, there is nothing to search. */
static bool is_physical(const struct lapic_ipi *ipi)
{
    return ipi->shorthand == LAPIC_TO_DEST && !ipi->logical &&
           ipi->dest != (ipi->x2apic ? UINT32_MAX : UINT8_MAX);
}

void ipi_send(struct vcpu *from, const struct lapic_ipi *ipi)
{
    struct vm *vm = from->vm;

    if (!is_physical(ipi))
        send(vm, from, ipi);
    else if (ipi->dest < vm->vcpu_count && lapic_hw_enabled(&vm->vcpus[ipi->dest]->lapic))
        deliver(vm->vcpus[ipi->dest], ipi->delivery_mode, ipi->vector, ipi->trigger_level);
}

void ipi_from_ioapic(struct vm *vm, const struct ioapic_message *msg)
{
    const struct lapic_ipi ipi = {
        .vector = msg->vector,
        .delivery_mode = msg->delivery_mode,
        .shorthand = LAPIC_TO_DEST,
        .logical = msg->logical,
        .trigger_level = msg->level,
        .dest = msg->dest,
    };

    send(vm, NULL, &ipi);
}

unsigned int ipi_send_set(struct vcpu *from, uint64_t set, uint64_t first, uint32_t icr)
{
    struct vm *vm = from->vm;
    unsigned int mode = (icr & ICR_MODE) >> ICR_MODE_SHIFT, sent = 0;

    for (; set != 0; set &= set - 1) {
        uint64_t id = first + (unsigned int)__builtin_ctzll(set);
        if (id >= vm->vcpu_count || id < first)
            continue;
        deliver(vm->vcpus[id], mode, (uint8_t)(icr & ICR_VECTOR), false);
        sent++;
    }
    return sent;
}
