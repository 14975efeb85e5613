/* Which device answers at which port. */

#include "vmm/exit.h"

#include "lib/log.h"
#include "lib/string.h"
#include "vmm/platform_internal.h"
#include "vmm/sched.h"

#define COM1_BASE 0x3f8
#define POST_PORT 0x80

static void act(struct vm *vm, enum pm_action action)
{
    if (action == PM_POWER_OFF)
        vm_request(vm, VM_REQUEST_OFF, "powered off");
    else if (action == PM_RESET)
        vm_request(vm, VM_REQUEST_RESET, "reset");
}

/* Masks show nothing of the PIT. (Polled through this port, the 8259 shows IRQ 0 when that is not
 * masked, and then the PIT's timer is armed.) */
static uint32_t in_pic_mask(struct vm *vm, unsigned int port, unsigned int size)
{
    return pic_read(&vm->pic, port);
}

static uint32_t in_pic(struct vm *vm, unsigned int port, unsigned int size)
{
    platform_catch_up_pit(vm);
    return pic_read(&vm->pic, port);
}

/* The PIT is not heard while IRQ 0 is masked: then its timer may not be armed. */
static NOINLINE void hear_pit(struct vm *vm)
{
    platform_catch_up_pit(vm);
    platform_arm_device_timer(vm);
}

static void out_pic_mask(struct vm *vm, unsigned int port, unsigned int size, uint32_t value)
{
    pic_write(&vm->pic, port, (uint8_t)value);
    if (unlikely(vm->pit_due < vm->device_timer.deadline))
        hear_pit(vm);
    if (unlikely(pic_pending(&vm->pic)))
        platform_signal_extint(vm);
}

static void out_pic(struct vm *vm, unsigned int port, unsigned int size, uint32_t value)
{
    platform_catch_up_pit(vm);
    out_pic_mask(vm, port, size, value);
}

static uint32_t in_pit(struct vm *vm, unsigned int port, unsigned int size)
{
    return pit_read(&vm->pit, port, ticks_since_boot(rdtsc(), vm->pit_ratio));
}

static NOINLINE void out_pit(struct vm *vm, unsigned int port, unsigned int size, uint32_t value)
{
    uint64_t tsc = rdtsc();

    if (pit_write(&vm->pit, port, (uint8_t)value, ticks_since_boot(tsc, vm->pit_ratio))) {
        platform_update_pit(vm, tsc);
        platform_arm_device_timer(vm);
    }
}

/* Latches are read often, and change no interrupt. */
static void out_pit_command(struct vm *vm, unsigned int port, unsigned int size, uint32_t value)
{
    if (likely(pit_is_latch((uint8_t)value)))
        pit_latch(&vm->pit, (uint8_t)value, ticks_since_boot(rdtsc(), vm->pit_ratio));
    else
        out_pit(vm, port, size, value);
}

static NOINLINE void update_rtc(struct vm *vm, uint64_t tsc)
{
    platform_update_rtc(vm, tsc);
    platform_arm_device_timer(vm);
}

static NOINLINE uint32_t in_rtc_flags(struct vm *vm, unsigned int port)
{
    uint64_t tsc = rdtsc();
    uint8_t value = rtc_read(&vm->rtc, (uint16_t)port, tsc_to_ns(tsc));

    update_rtc(vm, tsc);
    return value;
}

static uint32_t in_rtc(struct vm *vm, unsigned int port, unsigned int size)
{
    return unlikely(vm->rtc.index == RTC_FLAGS) ? in_rtc_flags(vm, port)
                                                : rtc_read(&vm->rtc, (uint16_t)port, time_now_ns());
}

static void out_rtc(struct vm *vm, unsigned int port, unsigned int size, uint32_t value)
{
    uint64_t tsc = rdtsc();

    rtc_write(&vm->rtc, (uint16_t)port, (uint8_t)value, tsc_to_ns(tsc));
    if (port == RTC_PORT_DATA)
        update_rtc(vm, tsc);
}

static uint32_t in_uart(struct vm *vm, unsigned int port, unsigned int size)
{
    return guest_uart_read(&vm->uart, port - COM1_BASE);
}

static NOINLINE uint32_t in_uart_data(struct vm *vm, unsigned int port, unsigned int size)
{
    uint8_t value = guest_uart_read(&vm->uart, 0);

    platform_feed_input(vm);
    return value;
}

/* Registers that have to do with what was received. */
static NOINLINE void out_uart_control(struct vm *vm, unsigned int port, unsigned int size,
                                      uint32_t value)
{
    guest_uart_write(&vm->uart, port - COM1_BASE, (uint8_t)value);
    platform_feed_input(vm);
}

static void out_uart(struct vm *vm, unsigned int port, unsigned int size, uint32_t value)
{
    guest_uart_write(&vm->uart, port - COM1_BASE, (uint8_t)value);
}

static uint32_t in_reset(struct vm *vm, unsigned int port, unsigned int size)
{
    return reset_control_read(&vm->reset, (uint16_t)port);
}

static void out_reset(struct vm *vm, unsigned int port, unsigned int size, uint32_t value)
{
    act(vm, reset_control_write(&vm->reset, (uint16_t)port, (uint8_t)value));
}

static uint32_t in_pm(struct vm *vm, unsigned int port, unsigned int size)
{
    uint64_t ticks = ticks_since_boot(rdtsc(), vm->pm_ratio);

    if (likely(port == GUEST_PM_TMR && size == GUEST_PM_TMR_LEN))
        return (uint32_t)ticks;
    return acpi_pm_read(&vm->pm, (uint16_t)port, size, ticks);
}

static void out_pm(struct vm *vm, unsigned int port, unsigned int size, uint32_t value)
{
    uint64_t tsc = rdtsc();

    act(vm,
        acpi_pm_write(&vm->pm, (uint16_t)port, size, value, ticks_since_boot(tsc, vm->pm_ratio)));
    platform_update_pm(vm, tsc);
    platform_arm_device_timer(vm);
}

/* CF9h is the reset register for bytes, and a part of PCI's CF8h..CFBh for wider accesses. */
static uint32_t in_pci(struct vm *vm, unsigned int port, unsigned int size)
{
    return port == RESET_PORT_CONTROL && size == 1 ? in_reset(vm, port, size)
                                                   : pci_host_read(&vm->pci, (uint16_t)port, size);
}

static void out_pci(struct vm *vm, unsigned int port, unsigned int size, uint32_t value)
{
    if (port == RESET_PORT_CONTROL && size == 1)
        out_reset(vm, port, size, value);
    else
        pci_host_write(&vm->pci, (uint16_t)port, size, value);
}

/* I/O delay and POST codes. */
static uint32_t in_ignored(struct vm *vm, unsigned int port, unsigned int size)
{
    return UINT32_MAX;
}

static void out_ignored(struct vm *vm, unsigned int port, unsigned int size, uint32_t value)
{
}

COLD static void log_port(struct vm *vm, const char *what, unsigned int port)
{
    vm->logged_port = true;
    log_debug("%s: %s of port 0x%x, where no device is (further ones are not logged)", vm_name(vm),
              what, port);
}

static uint32_t in_nothing(struct vm *vm, unsigned int port, unsigned int size)
{
    if (unlikely(!vm->logged_port))
        log_port(vm, "read", port);
    return UINT32_MAX;
}

static void out_nothing(struct vm *vm, unsigned int port, unsigned int size, uint32_t value)
{
    if (unlikely(!vm->logged_port))
        log_port(vm, "write", port);
}

enum port_device {
    /* These take accesses of any size; for others, wide ones are taken apart. */
    PORT_NOTHING,
    PORT_PM,
    PORT_PCI,
    PORT_LAST_WIDE = PORT_PCI,

    PORT_PIC,
    PORT_PIC_MASK,
    PORT_PIT,
    PORT_PIT_COMMAND,
    PORT_RESET,
    PORT_RTC,
    PORT_IGNORED,
    PORT_UART,
    PORT_UART_DATA,
    PORT_UART_CONTROL,
};

static const struct port_ops {
    /* Of a value only the bits count that `size` says. */
    uint32_t (*in)(struct vm *vm, unsigned int port, unsigned int size);
    void (*out)(struct vm *vm, unsigned int port, unsigned int size, uint32_t value);
} port_ops[] = {
    [PORT_NOTHING] = {in_nothing, out_nothing},
    [PORT_PM] = {in_pm, out_pm},
    [PORT_PCI] = {in_pci, out_pci},
    [PORT_PIC] = {in_pic, out_pic},
    [PORT_PIC_MASK] = {in_pic_mask, out_pic_mask},
    [PORT_PIT] = {in_pit, out_pit},
    [PORT_PIT_COMMAND] = {in_pit, out_pit_command},
    [PORT_RESET] = {in_reset, out_reset},
    [PORT_RTC] = {in_rtc, out_rtc},
    [PORT_IGNORED] = {in_ignored, out_ignored},
    [PORT_UART] = {in_uart, out_uart},
    [PORT_UART_DATA] = {in_uart_data, out_uart},
    [PORT_UART_CONTROL] = {in_uart, out_uart_control},
};

static const uint8_t port_map[] = {
    [PIC_PORT_MASTER_CMD] = PORT_PIC,
    [PIC_PORT_MASTER_DATA] = PORT_PIC_MASK,
    [PIT_PORT_CHANNEL0... PIT_PORT_CHANNEL2] = PORT_PIT,
    [PIT_PORT_COMMAND] = PORT_PIT_COMMAND,
    [RESET_PORT_KBD_DATA] = PORT_RESET,
    [PIT_PORT_SPEAKER] = PORT_PIT,
    [RESET_PORT_KBD_CMD] = PORT_RESET,
    [RTC_PORT_INDEX] = PORT_RTC,
    [RTC_PORT_DATA] = PORT_RTC,
    [POST_PORT] = PORT_IGNORED,
    [RESET_PORT_SYSTEM] = PORT_RESET,
    [PIC_PORT_SLAVE_CMD] = PORT_PIC,
    [PIC_PORT_SLAVE_DATA] = PORT_PIC_MASK,
    [COM1_BASE] = PORT_UART_DATA,
    [COM1_BASE + 1] = PORT_UART,
    [COM1_BASE + 2 ... COM1_BASE + 4] = PORT_UART_CONTROL,
    [COM1_BASE + 5 ... COM1_BASE + GUEST_UART_PORTS - 1] = PORT_UART,
    [PIC_PORT_ELCR_MASTER] = PORT_PIC,
    [PIC_PORT_ELCR_SLAVE] = PORT_PIC,
    [GUEST_PM_BASE... GUEST_PM_BASE + GUEST_PM_LEN - 1] = PORT_PM,
    [PCI_HOST_ADDRESS... PCI_HOST_DATA + 3] = PORT_PCI,
};

static inline enum port_device device_at(unsigned int port)
{
    return port < ARRAY_SIZE(port_map) ? port_map[port] : PORT_NOTHING;
}

COLD static uint32_t in_bytes(struct vm *vm, unsigned int port, unsigned int size)
{
    uint32_t value = 0;

    for (unsigned int i = 0; i < size; i++) {
        unsigned int at = (uint16_t)(port + i);
        value |= (port_ops[device_at(at)].in(vm, at, 1) & 0xff) << 8 * i;
    }
    return value;
}

COLD static void out_bytes(struct vm *vm, unsigned int port, unsigned int size, uint32_t value)
{
    for (unsigned int i = 0; i < size; i++) {
        unsigned int at = (uint16_t)(port + i);
        port_ops[device_at(at)].out(vm, at, 1, value >> 8 * i);
    }
}

static inline uint32_t in(struct vm *vm, unsigned int port, unsigned int size)
{
    enum port_device device = device_at(port);

    return likely(device <= PORT_LAST_WIDE) ? port_ops[device].in(vm, port, size)
                                            : in_bytes(vm, port, size);
}

static inline void out(struct vm *vm, unsigned int port, unsigned int size, uint32_t value)
{
    enum port_device device = device_at(port);

    if (likely(device <= PORT_LAST_WIDE))
        port_ops[device].out(vm, port, size, value);
    else
        out_bytes(vm, port, size, value);
}

static inline enum exit_action do_in(struct vcpu *v, unsigned int port, unsigned int size)
{
    uint64_t *rax = &v->gpr[GPR_RAX];

    switch (size) {
    case 1: *(uint8_t *)rax = (uint8_t)port_ops[device_at(port)].in(v->vm, port, 1); break;
    case 2: *(uint16_t *)rax = (uint16_t)in(v->vm, port, 2); break;
    default: *rax = in(v->vm, port, 4); break;
    }
    return EXIT_RESUME;
}

static inline enum exit_action do_out(struct vcpu *v, unsigned int port, unsigned int size)
{
    uint32_t value = (uint32_t)v->gpr[GPR_RAX];

    if (size == 1)
        port_ops[device_at(port)].out(v->vm, port, 1, value);
    else
        out(v->vm, port, size, value);
    return EXIT_RESUME;
}

/* What is rare is kept apart, so that the functions below save few registers. */
static NOINLINE enum exit_action skip_and_in(struct vcpu *v, unsigned int port, uint64_t next_rip,
                                             unsigned int size)
{
    vcpu_skip_to(v, next_rip);
    vm_lock(v->vm);
    (void)do_in(v, port, size);
    vm_unlock(v->vm);
    return EXIT_RESUME;
}

static NOINLINE enum exit_action skip_and_out(struct vcpu *v, unsigned int port, uint64_t next_rip,
                                              unsigned int size)
{
    vm_lock(v->vm);
    if (unlikely(port == COM1_BASE && guest_uart_tx_full(&v->vm->uart) &&
                 !platform_resume_uart(v->vm))) {
        sched_give_way(); /* the instruction is executed again */
    } else {
        vcpu_skip_to(v, next_rip);
        (void)do_out(v, port, size);
    }
    vm_unlock(v->vm);
    return EXIT_RESUME;
}

static inline enum exit_action quick_in(struct vcpu *v, unsigned int port, uint64_t next_rip,
                                        unsigned int size)
{
    if (unlikely(!vcpu_skip_is_plain_alone(v, next_rip)))
        return skip_and_in(v, port, next_rip, size);
    v->rip = next_rip;
    return do_in(v, port, size);
}

static inline enum exit_action quick_out(struct vcpu *v, unsigned int port, uint64_t next_rip,
                                         unsigned int size)
{
    if (unlikely(!vcpu_skip_is_plain_alone(v, next_rip) || v->vm->slow_out))
        return skip_and_out(v, port, next_rip, size);
    v->rip = next_rip;
    return do_out(v, port, size);
}

enum exit_action exit_in(struct vcpu *v, unsigned int port, uint64_t next_rip)
{
    return quick_in(v, port, next_rip, 1);
}

enum exit_action exit_out(struct vcpu *v, unsigned int port, uint64_t next_rip)
{
    return quick_out(v, port, next_rip, 1);
}

enum exit_action exit_in_wide(struct vcpu *v, unsigned int port, uint64_t next_rip,
                              unsigned int size)
{
    return size == 2 ? skip_and_in(v, port, next_rip, 2) : quick_in(v, port, next_rip, 4);
}

enum exit_action exit_out_wide(struct vcpu *v, unsigned int port, uint64_t next_rip,
                               unsigned int size)
{
    return size == 2 ? skip_and_out(v, port, next_rip, 2) : quick_out(v, port, next_rip, 4);
}

void platform_in_string(void *vcpu, uint16_t port, unsigned int size, void *data,
                        unsigned int count)
{
    struct vm *vm = ((struct vcpu *)vcpu)->vm;
    uint8_t *at = data;

    vm_lock(vm);
    for (unsigned int i = 0; i < count; i++, at += size) {
        uint32_t value = in(vm, port, size);
        memcpy(at, &value, size);
    }
    vm_unlock(vm);
}

static unsigned int out_string(struct vm *vm, uint16_t port, unsigned int size, const uint8_t *at,
                               unsigned int count)
{
    if (port == COM1_BASE && size == 1) {
        if (unlikely(guest_uart_tx_waits(&vm->uart)))
            (void)platform_resume_uart(vm);
        return guest_uart_write_data(&vm->uart, at, count);
    }
    for (unsigned int i = 0; i < count; i++, at += size) {
        uint32_t value = 0;
        memcpy(&value, at, size);
        out(vm, port, size, value);
    }
    return count;
}

unsigned int platform_out_string(void *vcpu, uint16_t port, unsigned int size, const void *data,
                                 unsigned int count)
{
    struct vm *vm = ((struct vcpu *)vcpu)->vm;

    vm_lock(vm);
    count = out_string(vm, port, size, data, count);
    vm_unlock(vm);
    return count;
}
