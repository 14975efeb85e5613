#ifndef BULKHEAD_VMM_PLATFORM_H
#define BULKHEAD_VMM_PLATFORM_H

/* The small PC that a VM sees: which device answers at which port and address, and how interrupt
 * lines are wired. */

#include "vmm/vm.h"

/* Puts all devices into their power-up state. The VM does not run. */
void platform_reset(struct vm *vm);

/* Brings the devices up to date and arms their timer: vCPU 0 gets the CPU. */
void platform_resume(struct vm *vm);

/* Takes the vCPU's timers, and with vCPU 0 the devices', out of this pCPU's queue: it ends, or goes
 * to another pCPU. */
void platform_stop_vcpu(struct vcpu *v);

/* `count` > 0 elements of 1, 2 or 4 bytes from or to one port, one after the other, as by INS and
 * OUTS of the vCPU `vcpu` (struct emu_ops). What no device answers reads all ones. The UART may
 * take less than `count`: how many were taken is returned. IN and OUT: vmm/exit.h. */
void platform_in_string(void *vcpu, uint16_t port, unsigned int size, void *data,
                        unsigned int count);
unsigned int platform_out_string(void *vcpu, uint16_t port, unsigned int size, const void *data,
                                 unsigned int count);

/* Device memory accesses of 1 to 8 bytes inside a page, of which a value has the low ones. */
uint64_t platform_mmio_read(struct vcpu *v, uint64_t gpa);
void platform_mmio_write(struct vcpu *v, uint64_t gpa, unsigned int size, uint64_t value);

/* A write to the I/O APIC's register at `offset`. */
void platform_write_ioapic(struct vm *vm, uint32_t offset, uint32_t value);

/* The VM's power button is pressed. */
void platform_power_button(struct vm *vm);

/* Input for the serial port: takes what fits. */
void platform_feed_input(struct vm *vm);

/* Whether the 8259's output reaches the vCPU, and whether it is up as well; the vector then.
 * Without the lock: whoever changes something tells vCPU 0 afterwards. */
bool platform_extint_wired(const struct vcpu *v);
static inline bool platform_extint_pending(const struct vcpu *v)
{
    return unlikely(pic_pending(&v->vm->pic)) && platform_extint_wired(v);
}
/* Its output is up: tells vCPU 0, the only one that hears it. */
void platform_signal_extint(struct vm *vm);
uint8_t platform_extint_ack(struct vm *vm);

extern const struct lapic_ops platform_lapic_ops;

/* Wall-clock time at the core's start, in seconds since 1970. */
extern uint64_t platform_boot_epoch;

#endif
