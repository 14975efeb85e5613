#ifndef BULKHEAD_VMM_VM_H
#define BULKHEAD_VMM_VM_H

/* A virtual machine: memory, a vCPU and the devices of a small PC. */

#include "arch/x86/mm/pagetable.h"
#include "lib/emit.h"
#include "vmm/config.h"
#include "vmm/devices/acpi_pm.h"
#include "vmm/devices/guest_uart.h"
#include "vmm/devices/pci_host.h"
#include "vmm/devices/reset.h"
#include "vmm/devices/rtc.h"
#include "vmm/irqchip/ioapic.h"
#include "vmm/irqchip/pic.h"
#include "vmm/irqchip/pit.h"
#include "vmm/vcpu.h"

/* The PC's hole for the VGA frame buffer: no RAM. */
#define VM_VGA_BASE 0xa0000ull
#define VM_VGA_SIZE 0x20000ull

#define VM_REGIONS_MAX   32
#define VM_INPUT_SIZE    256
#define VM_LINE_MAX      200
#define VM_END_TEXT_SIZE 64

enum vm_state {
    VM_OFF,
    VM_RUNNING,
    VM_ENDING, /* runs no more; its memory is being scrubbed */
};

/* What the run loop still has to do for a VM, asked for from inside an exit handler. */
enum vm_request { VM_REQUEST_NONE, VM_REQUEST_OFF, VM_REQUEST_RESET, VM_REQUEST_CRASH };

/* Contiguous guest RAM. */
struct vm_region {
    uint64_t gpa, hpa, size;
};

struct vm {
    unsigned int index; /* 0.. in the order of the configuration */
    const struct vm_config *config;
    uint64_t serial; /* of this start, of all starts of VMs; not 0 */
    enum vm_state state;
    enum vm_request request;
    char end_text[VM_END_TEXT_SIZE]; /* why it is off */

    struct pagetable nested;
    struct vm_region regions[VM_REGIONS_MAX];
    unsigned int region_count;
    uint64_t ram_low, ram_high;
    unsigned int scrub_region; /* while ending: how far the scrubbing came */
    uint64_t scrub_offset;
    bool start_again; /* when it has ended */

    struct vcpu *vcpu;

    struct pic pic;
    struct pit pit;
    struct ioapic ioapic;
    struct rtc rtc;
    struct guest_uart uart;
    struct acpi_pm pm;
    struct reset_control reset;
    struct pci_host pci;
    struct timer device_timer; /* for the earliest of these */
    /* TSC until which each stays as it is, unless the guest touches it. */
    uint64_t pit_due, rtc_due, pm_due;
    uint64_t pit_ratio, pm_ratio; /* of these clocks to the TSC, lib/ticks.h */

    /* Console. */
    uint8_t input[VM_INPUT_SIZE];
    unsigned int input_head, input_count;
    char line[VM_LINE_MAX]; /* the output line that is not finished */
    unsigned int line_len;
    bool cr_seen;
    unsigned int escape; /* state of the escape-sequence filter */

    /* What has been logged once already. */
    bool logged_msr, logged_port, logged_mmio, logged_insn, logged_task_switch;
};

extern struct vm *vms[CONFIG_MAX_VMS];
extern unsigned int vm_count;

/* Makes the VM of a configuration section, off. NULL when the pool is empty. */
struct vm *vm_create(const struct vm_config *config);

/* Gives it memory, loads its kernel and makes it runnable. Returns 0, or a negative error after
 * logging what is wrong; the VM is off then. */
MUST_CHECK int vm_start(struct vm *vm);

/* Ends it: it runs no more, and the run loop scrubs its memory bit by bit and then gives it back.
 * One that is ending in order to start again does not start again. `why` ends up in the log and in
 * lists. */
void vm_stop(struct vm *vm, const char *why);

/* VMs that are ending: vm_scrub_step() has something to do. */
extern unsigned int vm_ending_count;

/* Scrubs a bounded piece of an ending VM's memory; ends, or starts again, a VM that is done. */
void vm_scrub_step(void);

/* Asks the run loop to end or restart the VM; usable inside exit handlers. The reason is shown. */
void vm_request(struct vm *vm, enum vm_request request, const char *fmt, ...) PRINTF(3, 4);

/* Carries out what vm_request() asked for. Run loop only, with no vCPU running. */
void vm_handle_requests(void);

/* What happens when the last VM has ended, and whether it still is to. Starting a VM arms it. */
extern enum config_done vm_when_done;
extern bool vm_when_done_armed;

/* True when no VM runs any more. */
bool vm_all_off(void);

/* Prints the vCPU's registers and recent state, for a VM that ends unexpectedly. */
void vm_dump(struct vm *vm, emit_fn *emit);

/* For a crash of the core: which vCPU was loaded and where it stood. */
void vm_print_crash_context(emit_fn *emit);

static inline const char *vm_name(const struct vm *vm)
{
    return vm->config->name;
}

#endif
