#include "vmm/platform.h"

#include "arch/x86/percpu.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmm/console.h"
#include "vmm/sched.h"

#define COM1_BASE 0x3f8
#define COM1_IRQ  4
#define PIT_IRQ   0
#define PIT_GSI   2 /* the MADT's override */

#define POST_PORT 0x80

uint64_t platform_boot_epoch;

/* Interrupt lines ---------------------------------------------------------------------------- */

/* An ISA line reaches both the 8259s and the I/O APIC, as on a PC; the guest masks one of them. */
static void set_isa_irq(struct vm *vm, unsigned int irq, bool level)
{
    pic_set_irq(&vm->pic, irq, level);
    ioapic_set_irq(&vm->ioapic, irq == PIT_IRQ ? PIT_GSI : irq, level);
    if (pic_pending(&vm->pic)) {
        vcpu_kick(vm->vcpu);
    }
}

/* An interrupt message that names this vCPU. */
static void take_message(struct vcpu *v, unsigned int mode, uint8_t vector, bool level)
{
    switch (mode) {
    case APIC_DELIVERY_FIXED:
    case APIC_DELIVERY_LOWEST:
        lapic_accept(&v->lapic, vector, level);
        vcpu_kick(v);
        break;
    case APIC_DELIVERY_NMI: vcpu_nmi(v); break;
    case APIC_DELIVERY_EXTINT: vcpu_kick(v); break;
    default: break; /* INIT and STARTUP to the only CPU: nobody is there to wake it up again */
    }
}

static void ioapic_deliver(void *ctx, const struct ioapic_message *msg)
{
    struct vm *vm = ctx;

    if (lapic_match(&vm->vcpu->lapic, msg->dest, msg->logical, false)) {
        take_message(vm->vcpu, msg->delivery_mode, msg->vector, msg->level);
    }
}

static const struct ioapic_ops ioapic_ops = {.deliver = ioapic_deliver};

static void lapic_send_ipi(void *ctx, const struct lapic_ipi *ipi)
{
    struct vcpu *v = ctx;

    if (ipi->shorthand == LAPIC_TO_SELF || ipi->shorthand == LAPIC_TO_ALL ||
        (ipi->shorthand == LAPIC_TO_DEST &&
         lapic_match(&v->lapic, ipi->dest, ipi->logical, ipi->x2apic))) {
        take_message(v, ipi->delivery_mode, ipi->vector, ipi->trigger_level);
    }
}

static void lapic_eoi_message(void *ctx, uint8_t vector)
{
    struct vcpu *v = ctx;

    ioapic_eoi(&v->vm->ioapic, vector);
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
bool platform_extint_wired(const struct vm *vm)
{
    struct ioapic_message msg;

    return lapic_lint0_extint(&vm->vcpu->lapic) ||
           (ioapic_pin_message(&vm->ioapic, 0, &msg) && msg.delivery_mode == APIC_DELIVERY_EXTINT);
}

uint8_t platform_extint_ack(struct vm *vm)
{
    return pic_ack(&vm->pic);
}

/* Timed devices ------------------------------------------------------------------------------ */

/* Nobody would see IRQ 0 when both ways to the CPU are masked: then no timer is needed, and an idle
 * guest is left alone. */
static bool pit_is_heard(const struct vm *vm)
{
    struct ioapic_message msg;

    return !(vm->pic.chip[0].imr & BIT(PIT_IRQ)) || ioapic_pin_message(&vm->ioapic, PIT_GSI, &msg);
}

static void arm_device_timer(struct vm *vm)
{
    uint64_t next = MIN(vm->rtc_due, vm->pm_due);

    if (vm->pit_due < next && pit_is_heard(vm)) {
        next = vm->pit_due;
    }
    sched_timer_arm(&vm->device_timer, next);
}

static uint64_t due(uint64_t ns)
{
    return ns == UINT64_MAX ? TIMER_NEVER : ns_to_tsc(ns);
}

static void update_pit(struct vm *vm, uint64_t now)
{
    if (pit_poll_irq(&vm->pit, now) > 0) {
        set_isa_irq(vm, PIT_IRQ, false);
        set_isa_irq(vm, PIT_IRQ, true);
    }
    vm->pit_due = due(pit_next_irq(&vm->pit, now));
}

/* An edge that came while no timer was armed counts as it was then: latched in the 8259, lost in a
 * masked input of the I/O APIC. To be called before either changes or shows what it has. */
static void catch_up_pit(struct vm *vm)
{
    uint64_t tsc = rdtsc();

    if (unlikely(tsc >= vm->pit_due)) {
        update_pit(vm, tsc_to_ns(tsc));
    }
}

static void update_rtc(struct vm *vm, uint64_t now)
{
    set_isa_irq(vm, RTC_IRQ, rtc_poll(&vm->rtc, now));
    vm->rtc_due = due(rtc_next_event(&vm->rtc, now));
}

static void update_pm(struct vm *vm, uint64_t now)
{
    acpi_pm_poll(&vm->pm, now);
    set_isa_irq(vm, GUEST_PM_SCI_IRQ, acpi_pm_sci(&vm->pm));
    vm->pm_due = due(acpi_pm_next_event(&vm->pm, now));
}

static void update_devices(struct vm *vm, uint64_t now)
{
    update_pit(vm, now);
    update_rtc(vm, now);
    update_pm(vm, now);
    arm_device_timer(vm);
}

static void device_timer_expired(struct timer *timer, uint64_t tsc)
{
    struct vm *vm = CONTAINER_OF(timer, struct vm, device_timer);

    update_devices(vm, tsc_to_ns(tsc));
    sched_timer_arm(timer, vcpu_timer_limit(vm->vcpu, timer->deadline));
}

void platform_resume(struct vm *vm)
{
    uint64_t tsc = rdtsc();

    if (tsc >= vm->pit_due || tsc >= vm->rtc_due || tsc >= vm->pm_due) {
        update_devices(vm, tsc_to_ns(tsc));
    } else {
        arm_device_timer(vm);
    }
}

/* Serial port -------------------------------------------------------------------------------- */

static void uart_tx(void *ctx, uint8_t c)
{
    console_vm_output(ctx, &c, 1);
}

static void uart_irq(void *ctx, bool level)
{
    set_isa_irq(ctx, COM1_IRQ, level);
}

static const struct guest_uart_ops uart_ops = {.tx = uart_tx, .irq = uart_irq};

void platform_feed_input(struct vm *vm)
{
    while (vm->input_count > 0 && guest_uart_rx(&vm->uart, vm->input[vm->input_head])) {
        vm->input_head = (vm->input_head + 1) % VM_INPUT_SIZE;
        vm->input_count--;
    }
}

/* Ports -------------------------------------------------------------------------------------- */

static void act(struct vm *vm, enum pm_action action)
{
    if (action == PM_POWER_OFF) {
        vm_request(vm, VM_REQUEST_OFF, "powered off");
    } else if (action == PM_RESET) {
        vm_request(vm, VM_REQUEST_RESET, "reset");
    }
}

static uint32_t in_pic(struct vm *vm, uint16_t port, unsigned int size)
{
    catch_up_pit(vm);
    return pic_read(&vm->pic, port);
}

static void out_pic(struct vm *vm, uint16_t port, unsigned int size, uint32_t value)
{
    catch_up_pit(vm);
    pic_write(&vm->pic, port, (uint8_t)value);
    arm_device_timer(vm); /* unmasking IRQ 0 may make the PIT heard */
    vcpu_check_interrupts(vm->vcpu);
}

static uint32_t in_pit(struct vm *vm, uint16_t port, unsigned int size)
{
    return pit_read(&vm->pit, port, time_now_ns());
}

static void out_pit(struct vm *vm, uint16_t port, unsigned int size, uint32_t value)
{
    uint64_t now = time_now_ns();

    if (pit_write(&vm->pit, port, (uint8_t)value, now)) {
        update_pit(vm, now);
        arm_device_timer(vm);
    }
}

static uint32_t in_rtc(struct vm *vm, uint16_t port, unsigned int size)
{
    uint64_t now = time_now_ns();
    uint8_t value = rtc_read(&vm->rtc, port, now);

    if (vm->rtc.index == RTC_FLAGS) {
        update_rtc(vm, now);
        arm_device_timer(vm);
    }
    return value;
}

static void out_rtc(struct vm *vm, uint16_t port, unsigned int size, uint32_t value)
{
    uint64_t now = time_now_ns();

    rtc_write(&vm->rtc, port, (uint8_t)value, now);
    if (port == RTC_PORT_DATA) {
        update_rtc(vm, now);
        arm_device_timer(vm);
    }
}

static uint32_t in_uart(struct vm *vm, uint16_t port, unsigned int size)
{
    uint8_t value = guest_uart_read(&vm->uart, port - COM1_BASE);

    if (unlikely(vm->input_count > 0)) {
        platform_feed_input(vm);
    }
    return value;
}

static void out_uart(struct vm *vm, uint16_t port, unsigned int size, uint32_t value)
{
    guest_uart_write(&vm->uart, port - COM1_BASE, (uint8_t)value);
    if (unlikely(vm->input_count > 0)) {
        platform_feed_input(vm);
    }
}

static uint32_t in_reset(struct vm *vm, uint16_t port, unsigned int size)
{
    return reset_control_read(&vm->reset, port);
}

static void out_reset(struct vm *vm, uint16_t port, unsigned int size, uint32_t value)
{
    act(vm, reset_control_write(&vm->reset, port, (uint8_t)value));
}

static uint32_t in_pm(struct vm *vm, uint16_t port, unsigned int size)
{
    return acpi_pm_read(&vm->pm, port, size, time_now_ns());
}

static void out_pm(struct vm *vm, uint16_t port, unsigned int size, uint32_t value)
{
    uint64_t now = time_now_ns();

    act(vm, acpi_pm_write(&vm->pm, port, size, value, now));
    update_pm(vm, now);
    arm_device_timer(vm);
}

/* CF9h is the reset register for bytes, and a part of PCI's CF8h..CFBh for wider accesses. */
static uint32_t in_pci(struct vm *vm, uint16_t port, unsigned int size)
{
    return port == RESET_PORT_CONTROL && size == 1 ? in_reset(vm, port, size)
                                                   : pci_host_read(&vm->pci, port, size);
}

static void out_pci(struct vm *vm, uint16_t port, unsigned int size, uint32_t value)
{
    if (port == RESET_PORT_CONTROL && size == 1) {
        out_reset(vm, port, size, value);
    } else {
        pci_host_write(&vm->pci, port, size, value);
    }
}

/* I/O delay and POST codes. */
static uint32_t in_ignored(struct vm *vm, uint16_t port, unsigned int size)
{
    return UINT32_MAX;
}

static void out_ignored(struct vm *vm, uint16_t port, unsigned int size, uint32_t value)
{
}

COLD static void log_port(struct vm *vm, const char *what, uint16_t port)
{
    if (!vm->logged_port) {
        vm->logged_port = true;
        log_debug("%s: %s of port 0x%x, where no device is (further ones are not logged)",
                  vm_name(vm), what, port);
    }
}

static uint32_t in_nothing(struct vm *vm, uint16_t port, unsigned int size)
{
    log_port(vm, "read", port);
    return UINT32_MAX;
}

static void out_nothing(struct vm *vm, uint16_t port, unsigned int size, uint32_t value)
{
    log_port(vm, "write", port);
}

enum port_device {
    PORT_NOTHING,
    PORT_PIC,
    PORT_PIT,
    PORT_RESET,
    PORT_RTC,
    PORT_IGNORED,
    PORT_UART,
    PORT_PM,
    PORT_PCI,
};

static const struct port_ops {
    unsigned int widest; /* access in bytes; wider ones are taken apart */
    uint32_t (*in)(struct vm *vm, uint16_t port, unsigned int size);
    void (*out)(struct vm *vm, uint16_t port, unsigned int size, uint32_t value);
} port_ops[] = {
    [PORT_NOTHING] = {4, in_nothing, out_nothing},
    [PORT_PIC] = {1, in_pic, out_pic},
    [PORT_PIT] = {1, in_pit, out_pit},
    [PORT_RESET] = {1, in_reset, out_reset},
    [PORT_RTC] = {1, in_rtc, out_rtc},
    [PORT_IGNORED] = {1, in_ignored, out_ignored},
    [PORT_UART] = {1, in_uart, out_uart},
    [PORT_PM] = {4, in_pm, out_pm},
    [PORT_PCI] = {4, in_pci, out_pci},
};

static const uint8_t port_map[] = {
    [PIC_PORT_MASTER_CMD] = PORT_PIC,
    [PIC_PORT_MASTER_DATA] = PORT_PIC,
    [PIT_PORT_CHANNEL0... PIT_PORT_COMMAND] = PORT_PIT,
    [RESET_PORT_KBD_DATA] = PORT_RESET,
    [PIT_PORT_SPEAKER] = PORT_PIT,
    [RESET_PORT_KBD_CMD] = PORT_RESET,
    [RTC_PORT_INDEX] = PORT_RTC,
    [RTC_PORT_DATA] = PORT_RTC,
    [POST_PORT] = PORT_IGNORED,
    [RESET_PORT_SYSTEM] = PORT_RESET,
    [PIC_PORT_SLAVE_CMD] = PORT_PIC,
    [PIC_PORT_SLAVE_DATA] = PORT_PIC,
    [COM1_BASE... COM1_BASE + GUEST_UART_PORTS - 1] = PORT_UART,
    [PIC_PORT_ELCR_MASTER] = PORT_PIC,
    [PIC_PORT_ELCR_SLAVE] = PORT_PIC,
    [GUEST_PM_BASE... GUEST_PM_BASE + GUEST_PM_LEN - 1] = PORT_PM,
    [PCI_HOST_ADDRESS... PCI_HOST_DATA + 3] = PORT_PCI,
};

static const struct port_ops *ops_of(uint16_t port)
{
    return &port_ops[port < ARRAY_SIZE(port_map) ? port_map[port] : PORT_NOTHING];
}

COLD static uint32_t in_bytes(struct vm *vm, uint16_t port, unsigned int size)
{
    uint32_t value = 0;

    for (unsigned int i = 0; i < size; i++) {
        uint16_t at = (uint16_t)(port + i);
        value |= (ops_of(at)->in(vm, at, 1) & 0xff) << 8 * i;
    }
    return value;
}

COLD static void out_bytes(struct vm *vm, uint16_t port, unsigned int size, uint32_t value)
{
    for (unsigned int i = 0; i < size; i++) {
        uint16_t at = (uint16_t)(port + i);
        ops_of(at)->out(vm, at, 1, value >> 8 * i & 0xff);
    }
}

uint32_t platform_in(struct vm *vm, uint16_t port, unsigned int size)
{
    const struct port_ops *ops = ops_of(port);

    return likely(size <= ops->widest) ? ops->in(vm, port, size) : in_bytes(vm, port, size);
}

void platform_out(struct vm *vm, uint16_t port, unsigned int size, uint32_t value)
{
    const struct port_ops *ops = ops_of(port);

    if (likely(size <= ops->widest)) {
        ops->out(vm, port, size, value);
    } else {
        out_bytes(vm, port, size, value);
    }
}

unsigned int platform_out_bytes(struct vm *vm, uint16_t port, const uint8_t *data,
                                unsigned int count)
{
    if (port != COM1_BASE || !guest_uart_sends(&vm->uart)) {
        return 0;
    }
    console_vm_output(vm, data, count);
    return count;
}

void platform_power_button(struct vm *vm)
{
    acpi_pm_power_button(&vm->pm);
    set_isa_irq(vm, GUEST_PM_SCI_IRQ, acpi_pm_sci(&vm->pm));
}

/* I/O APIC ---------------------------------------------------------------------------------- */

void platform_write_ioapic(struct vm *vm, uint32_t offset, uint32_t value)
{
    catch_up_pit(vm);
    ioapic_write(&vm->ioapic, offset, value);
    arm_device_timer(vm);
    vcpu_check_interrupts(vm->vcpu);
}

/* Life --------------------------------------------------------------------------------------- */

void platform_reset(struct vm *vm)
{
    uint64_t now = time_now_ns();

    pic_reset(&vm->pic);
    pit_reset(&vm->pit, now);
    ioapic_init(&vm->ioapic, &ioapic_ops, vm);
    rtc_reset(&vm->rtc, platform_boot_epoch + now / 1000000000u, now);
    guest_uart_init(&vm->uart, &uart_ops, vm);
    acpi_pm_reset(&vm->pm, now);
    reset_control_reset(&vm->reset);
    pci_host_init(&vm->pci);
    timer_init(&vm->device_timer, device_timer_expired);
    vm->pit_due = vm->rtc_due = vm->pm_due = 0;
    vm->input_count = 0;
}

void platform_stop(struct vm *vm)
{
    timer_cancel(&vm->device_timer);
    timer_cancel(&vm->vcpu->lapic_timer);
}
