/* Device memory: the LAPIC's page and the I/O APIC's. */

#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "lib/log.h"
#include "vmm/platform.h"
#include "vmm/pv_eoi.h"

#define LAPIC_BASE  0xfee00000ull
#define LAPIC_SIZE  0x1000ull
#define IOAPIC_SIZE 0x1000ull
#define ONES_ABOVE  (~(uint64_t)UINT32_MAX) /* a register of 32 bits */

COLD static void log_mmio(struct vm *vm, const char *what, uint64_t gpa)
{
    if (!vm->logged_mmio) {
        vm->logged_mmio = true;
        log_info("%s: %s of address 0x%llx, where no memory or device is (further ones are not "
                 "logged)",
                 vm_name(vm), what, LLU(gpa));
    }
}

/* The registers below SVR have nothing to do with the time. */
static inline uint64_t lapic_time(uint32_t offset)
{
    return offset >= LAPIC_SVR ? rdtsc() : 0;
}

static NOINLINE uint64_t read_lapic_slowly(struct vcpu *v, uint32_t offset)
{
    uint32_t value = UINT32_MAX;

    virt_sync_lapic(v);
    if (lapic_mmio_read(&v->lapic, offset & ~3u, &value, lapic_time(offset)) == 0)
        value >>= 8 * (offset & 3);
    vcpu_check_lapic(v); /* a register that is not there is an error, with a vector */
    return ONES_ABOVE | value;
}

static NOINLINE uint64_t read_lapic_further(struct vcpu *v, uint32_t offset)
{
    uint32_t value;

    if (unlikely(offset != LAPIC_TIMER_CUR || !lapic_is_xapic(&v->lapic) || !virt_lapic_synced(v)))
        return read_lapic_slowly(v, offset);
    value = lapic_timer_read(&v->lapic, rdtsc());
    vcpu_check_lapic(v);
    return ONES_ABOVE | value;
}

static inline uint64_t read_lapic(struct vcpu *v, uint32_t offset)
{
    if (unlikely(!virt_lapic_synced(v) || !lapic_is_plain(&v->lapic, offset)))
        return read_lapic_further(v, offset);
    return ONES_ABOVE | *lapic_reg(&v->lapic, offset);
}

static NOINLINE void write_lapic_timed(struct vcpu *v, uint32_t offset, uint32_t value)
{
    lapic_mmio_write(&v->lapic, offset, value, rdtsc());
    vcpu_check_interrupts(v);
}

static NOINLINE void write_tpr(struct vcpu *v, uint32_t value)
{
    if (likely(lapic_is_xapic(&v->lapic))) {
        lapic_mmio_write(&v->lapic, LAPIC_TPR, value, 0);
        vcpu_set_cpu_tpr(v);
        vcpu_check_lapic(v);
    }
}

static NOINLINE void write_lapic_low(struct vcpu *v, uint32_t offset, uint32_t value)
{
    lapic_mmio_write(&v->lapic, offset, value, 0);
    vcpu_check_lapic(v);
}

static inline void write_lapic_register(struct vcpu *v, uint32_t offset, uint32_t value)
{
    if (offset >= LAPIC_SVR)
        write_lapic_timed(v, offset, value);
    else if (offset == LAPIC_TPR)
        write_tpr(v, value);
    else
        write_lapic_low(v, offset, value);
}

/* Other than 32-bit accesses are undefined (SDM vol. 3, 11.4.1): ignored. */
static COLD void write_lapic_specially(struct vcpu *v, uint32_t offset, unsigned int size,
                                       uint32_t value)
{
    pv_eoi_sync(v);
    if (size == 4)
        write_lapic_register(v, offset, value);
}

/* A request that comes by a TPR that the CPU has changed is looked at again in
 * vcpu_deliver_pending(). */
static inline void write_lapic(struct vcpu *v, uint32_t offset, unsigned int size, uint32_t value)
{
    if (unlikely(size != 4 || v->pv_eoi_offered))
        write_lapic_specially(v, offset, size, value);
    else
        write_lapic_register(v, offset, value);
}

/* Both apart, so that the functions below save no registers. */
static NOINLINE uint64_t read_ioapic_locked(struct vm *vm, uint32_t offset)
{
    uint64_t value;

    vm_lock(vm);
    value = ONES_ABOVE | ioapic_read(&vm->ioapic, offset);
    vm_unlock(vm);
    return value;
}

static inline uint64_t read_ioapic(struct vm *vm, uint32_t offset)
{
    if (unlikely(vm_needs_lock(vm)))
        return read_ioapic_locked(vm, offset);
    return ONES_ABOVE | ioapic_read(&vm->ioapic, offset);
}

static NOINLINE void write_ioapic(struct vcpu *v, uint32_t offset, uint32_t value)
{
    vm_lock(v->vm);
    platform_write_ioapic(v->vm, offset, value);
    vm_unlock(v->vm);
    vcpu_check_lapic(v);
}

uint64_t platform_mmio_read(struct vcpu *v, uint64_t gpa)
{
    if (gpa - LAPIC_BASE < LAPIC_SIZE)
        return read_lapic(v, (uint32_t)(gpa - LAPIC_BASE));
    if (gpa - IOAPIC_BASE < IOAPIC_SIZE)
        return read_ioapic(v->vm, (uint32_t)(gpa - IOAPIC_BASE));
    log_mmio(v->vm, "read", gpa);
    return UINT64_MAX;
}

void platform_mmio_write(struct vcpu *v, uint64_t gpa, unsigned int size, uint64_t value)
{
    if (gpa - LAPIC_BASE < LAPIC_SIZE)
        write_lapic(v, (uint32_t)(gpa - LAPIC_BASE), size, (uint32_t)value);
    else if (gpa - IOAPIC_BASE < IOAPIC_SIZE)
        write_ioapic(v, (uint32_t)(gpa - IOAPIC_BASE), (uint32_t)value);
    else
        log_mmio(v->vm, "write", gpa);
}
