#include "vmm/platform_internal.h"

#include "arch/x86/percpu.h"
#include "arch/x86/virt.h"
#include "lib/log.h"
#include "vmm/checks.h"
#include "vmm/console.h"
#include "vmm/ipi.h"
#include "vmm/mail.h"
#include "vmm/sched.h"

#define COM1_IRQ 4
#define PIT_IRQ  0
#define PIT_GSI  2 /* the MADT's override */

uint64_t platform_boot_epoch;

/* Interrupt lines ---------------------------------------------------------------------------- */

void platform_signal_extint(struct vm *vm)
{
    struct vcpu *v = vm->vcpus[0];

    if (vcpu_is_here(v))
        vcpu_kick(v);
    else
        mail_post(v, POSTED_EXTINT);
}

/* An ISA line reaches both the 8259s and the I/O APIC, as on a PC; the guest masks one of them. */
static void set_isa_irq(struct vm *vm, unsigned int irq, bool level)
{
    vm_assert_locked(vm);
    pic_set_irq(&vm->pic, irq, level);
    ioapic_set_irq(&vm->ioapic, irq == PIT_IRQ ? PIT_GSI : irq, level);
    if (pic_pending(&vm->pic))
        platform_signal_extint(vm);
}

static void ioapic_deliver(void *ctx, const struct ioapic_message *msg)
{
    ipi_from_ioapic(ctx, msg);
}

static const struct ioapic_ops ioapic_ops = {.deliver = ioapic_deliver};

static void lapic_send_ipi(void *ctx, const struct lapic_ipi *ipi)
{
    ipi_send(ctx, ipi);
}

static void lapic_eoi_message(void *ctx, uint8_t vector)
{
    struct vcpu *v = ctx;

    vm_lock(v->vm);
    ioapic_eoi(&v->vm->ioapic, vector);
    vm_unlock(v->vm);
}

static void lapic_timer_changed(void *ctx)
{
    vcpu_update_lapic_timer(ctx);
}

const struct lapic_ops platform_lapic_ops = {
    .send_ipi = lapic_send_ipi,
    .eoi = lapic_eoi_message,
    .timer_changed = lapic_timer_changed,
};

/* Through LINT0, or through an I/O APIC input in ExtINT mode. */
bool platform_extint_wired(const struct vcpu *v)
{
    struct ioapic_message msg;

    return v->id == 0 &&
           (lapic_lint0_extint(&v->lapic) || (ioapic_pin_message(&v->vm->ioapic, 0, &msg) &&
                                              msg.delivery_mode == APIC_DELIVERY_EXTINT));
}

uint8_t platform_extint_ack(struct vm *vm)
{
    uint8_t vector;

    vm_lock(vm);
    vector = pic_ack(&vm->pic);
    vm_unlock(vm);
    return vector;
}

/* Timed devices ------------------------------------------------------------------------------ */

/* Nobody would see IRQ 0 when both ways to the CPU are masked: then no timer is needed, and an idle
 * guest is left alone. */
static bool pit_is_heard(const struct vm *vm)
{
    struct ioapic_message msg;

    return !(vm->pic.chip[0].imr & BIT(PIT_IRQ)) || ioapic_pin_message(&vm->ioapic, PIT_GSI, &msg);
}

void platform_arm_device_timer(struct vm *vm)
{
    uint64_t next = MIN(vm->rtc_due, vm->pm_due);

    vm_assert_locked(vm);
    next = MIN(next, vm->uart_due);
    if (vm->pit_due < next && pit_is_heard(vm))
        next = vm->pit_due;
    if (vcpu_is_here(vm->vcpus[0]))
        sched_timer_arm(&vm->device_timer, next);
    else if (next != vm->device_timer.deadline)
        mail_post(vm->vcpus[0], POSTED_DEVICES);
}

/* When a device's clock has so many ticks; UINT64_MAX: never. */
static uint64_t due(uint64_t ticks, uint64_t ratio)
{
    uint64_t tsc = ticks_when(ticks, ratio);

    return tsc < TIMER_NEVER - time_scale.base ? tsc + time_scale.base : TIMER_NEVER;
}

void platform_update_pit(struct vm *vm, uint64_t tsc)
{
    uint64_t now = ticks_since_boot(tsc, vm->pit_ratio);

    if (pit_poll_irq(&vm->pit, now) > 0) {
        set_isa_irq(vm, PIT_IRQ, false);
        set_isa_irq(vm, PIT_IRQ, true);
    }
    vm->pit_due = due(pit_next_irq(&vm->pit, now), vm->pit_ratio);
}

void platform_update_rtc(struct vm *vm, uint64_t tsc)
{
    uint64_t now = tsc_to_ns(tsc), next;

    set_isa_irq(vm, RTC_IRQ, rtc_poll(&vm->rtc, now));
    next = rtc_next_event(&vm->rtc, now);
    vm->rtc_due = next == UINT64_MAX ? TIMER_NEVER : ns_to_tsc(next);
}

void platform_update_pm(struct vm *vm, uint64_t tsc)
{
    uint64_t now = ticks_since_boot(tsc, vm->pm_ratio);

    acpi_pm_poll(&vm->pm, now);
    set_isa_irq(vm, GUEST_PM_SCI_IRQ, acpi_pm_sci(&vm->pm));
    vm->pm_due = due(acpi_pm_next_event(&vm->pm, now), vm->pm_ratio);
}

static void update_devices(struct vm *vm, uint64_t tsc)
{
    platform_update_pit(vm, tsc);
    platform_update_rtc(vm, tsc);
    platform_update_pm(vm, tsc);
    if (unlikely(tsc >= vm->uart_due))
        platform_resume_uart(vm);
    platform_arm_device_timer(vm);
}

static void device_timer_expired(struct timer *timer, uint64_t tsc)
{
    struct vm *vm = CONTAINER_OF(timer, struct vm, device_timer);

    assert_owner(vm->vcpus[0]);
    vm_lock(vm);
    update_devices(vm, tsc);
    vm_unlock(vm);
    sched_timer_arm(timer, vcpu_timer_limit(vm->vcpus[0], timer->deadline));
}

void platform_resume(struct vm *vm)
{
    uint64_t tsc = rdtsc();

    vm_lock(vm);
    if (tsc >= vm->pit_due || tsc >= vm->rtc_due || tsc >= vm->pm_due || tsc >= vm->uart_due)
        update_devices(vm, tsc);
    else
        platform_arm_device_timer(vm);
    vm_unlock(vm);
}

/* Serial port -------------------------------------------------------------------------------- */

/* What the console has no room for waits in the UART, which tries again after this. */
#define UART_RETRY_NS 1000000u

static void note_uart_waits(struct vm *vm)
{
    vm->slow_out = true;
    vm->uart_due = rdtsc() + ns_span_to_tsc(UART_RETRY_NS);
    platform_arm_device_timer(vm);
}

static unsigned int uart_tx(void *ctx, const uint8_t *data, unsigned int count)
{
    unsigned int sent = console_vm_output(ctx, data, count);

    if (unlikely(sent < count))
        note_uart_waits(ctx);
    return sent;
}

static void uart_irq(void *ctx, bool level)
{
    set_isa_irq(ctx, COM1_IRQ, level);
}

bool platform_resume_uart(struct vm *vm)
{
    guest_uart_resume(&vm->uart); /* sets the time anew when the console still has no room */
    if (guest_uart_tx_waits(&vm->uart))
        return false;
    vm->uart_due = TIMER_NEVER;
    vm->slow_out = vm_needs_lock(vm);
    return true;
}

static const struct guest_uart_ops uart_ops = {.tx = uart_tx, .irq = uart_irq};

void platform_feed_input(struct vm *vm)
{
    unsigned int head = vm->input_head, tail = __atomic_load_n(&vm->input_tail, __ATOMIC_ACQUIRE);

    vm_assert_locked(vm);
    while (head != tail && guest_uart_rx(&vm->uart, vm->input[head % VM_INPUT_SIZE]))
        head++;
    __atomic_store_n(&vm->input_head, head, __ATOMIC_RELEASE);
}

void platform_power_button(struct vm *vm)
{
    vm_assert_locked(vm);
    acpi_pm_power_button(&vm->pm);
    set_isa_irq(vm, GUEST_PM_SCI_IRQ, acpi_pm_sci(&vm->pm));
}

/* I/O APIC ---------------------------------------------------------------------------------- */

void platform_write_ioapic(struct vm *vm, uint32_t offset, uint32_t value)
{
    vm_assert_locked(vm);
    platform_catch_up_pit(vm);
    ioapic_write(&vm->ioapic, offset, value);
    platform_arm_device_timer(vm);
    if (pic_pending(&vm->pic))
        platform_signal_extint(vm); /* it may be heard now */
}

/* Life --------------------------------------------------------------------------------------- */

void platform_reset(struct vm *vm)
{
    uint64_t tsc = rdtsc(), now = tsc_to_ns(tsc), hz = time_scale.khz * 1000;

    vm->pit_ratio = ticks_ratio(PIT_HZ, hz);
    vm->pm_ratio = ticks_ratio(GUEST_PM_TMR_HZ, hz);
    pic_reset(&vm->pic);
    pit_reset(&vm->pit, ticks_since_boot(tsc, vm->pit_ratio));
    ioapic_init(&vm->ioapic, &ioapic_ops, vm);
    rtc_reset(&vm->rtc, platform_boot_epoch + now / 1000000000u, now);
    guest_uart_init(&vm->uart, &uart_ops, vm);
    acpi_pm_reset(&vm->pm, ticks_since_boot(tsc, vm->pm_ratio));
    reset_control_reset(&vm->reset);
    vm->pci = (struct pci_host){0};
    timer_init(&vm->device_timer, device_timer_expired);
    vm->pit_due = vm->rtc_due = vm->pm_due = 0;
    vm->uart_due = TIMER_NEVER;
    vm->slow_out = vm_needs_lock(vm);
    __atomic_store_n(&vm->input_head, __atomic_load_n(&vm->input_tail, __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);
}

void platform_stop_vcpu(struct vcpu *v)
{
    timer_cancel(&v->lapic_timer);
    if (v->id == 0)
        timer_cancel(&v->vm->device_timer);
}
