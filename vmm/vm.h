#ifndef BULKHEAD_VMM_VM_H
#define BULKHEAD_VMM_VM_H

/* A virtual machine: memory, vCPUs and the devices of a small PC. */

#include "arch/x86/mm/pagetable.h"
#include "lib/emit.h"
#include "lib/spinlock.h"
#include "vmm/config.h"
#include "vmm/devices/acpi_pm.h"
#include "vmm/devices/guest_uart.h"
#include "vmm/devices/pci_host.h"
#include "vmm/devices/reset.h"
#include "vmm/devices/rtc.h"
#include "vmm/irqchip/ioapic.h"
#include "vmm/irqchip/pic.h"
#include "vmm/irqchip/pit.h"
#include "vmm/loader/loader.h"
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
    VM_STARTING, /* its memory is being mapped, and its kernel copied */
    VM_RUNNING,
    VM_STOPPING, /* its vCPUs are taken off their pCPUs */
    VM_ENDING,   /* runs no more; its memory is being scrubbed */
};

/* What a VM's home still has to do for it. */
enum vm_request {
    VM_REQUEST_NONE,
    VM_REQUEST_START,
    VM_REQUEST_OFF,
    VM_REQUEST_RESET,
    VM_REQUEST_CRASH
};

/* Contiguous guest RAM. */
struct vm_region {
    uint64_t gpa, hpa, size;
};

struct vm {
    unsigned int index; /* 0.. in the order of the configuration */
    const struct vm_config *config;
    unsigned int home;   /* the pCPU that starts and ends it, and owns its stopped vCPUs */
    uint64_t serial;     /* of this start, of all starts of VMs; not 0 */
    enum vm_state state; /* written by the home */
    struct spinlock request_lock;
    enum vm_request request;
    const struct vcpu *culprit;      /* of a crash, or NULL */
    bool start_again;                /* when it has ended */
    char end_text[VM_END_TEXT_SIZE]; /* why it is off */
    unsigned int running_vcpus;      /* that are not stopped yet; atomic */
    struct guest_entry entry;        /* of this start */
    uint64_t tsc_offset;             /* that all vCPUs start with */

    struct pagetable nested;
    struct vm_region regions[VM_REGIONS_MAX];
    unsigned int region_count;
    uint64_t ram_low, ram_high;
    /* How far the mapping, while it starts, or the scrubbing, while it ends, has come. */
    unsigned int step_region;
    uint64_t step_offset;
    struct load_list loading; /* what is to be copied while it starts */

    unsigned int vcpu_count;
    struct vcpu *vcpus[VM_MAX_VCPUS]; /* the first is the boot CPU */

    uint64_t flush_wanted;     /* vm_flush() so far; atomic */
    struct sched_cap cap;      /* all vCPUs together, if the configuration has one */
    unsigned int last_lowest;  /* that took a lowest-priority message */
    unsigned int last_boosted; /* that another vCPU waited for: vmm/pause.c */

    struct spinlock lock; /* of the devices: vm_lock() */
    bool slow_out;        /* OUT has to take the lock, or the UART may have to wait */
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
    uint64_t pit_due, rtc_due, pm_due, uart_due;
    uint64_t pit_ratio, pm_ratio; /* of these clocks to the TSC, lib/ticks.h */

    /* Console. */
    uint8_t input[VM_INPUT_SIZE];
    unsigned int input_head, input_tail; /* written by: the VM's side; console.c. Run through */
    char line[VM_LINE_MAX];              /* the output line that is not finished */
    unsigned int line_len;
    unsigned int output_span, output_bytes; /* its part of the UART, see console_vm_output() */
    bool cr_seen;
    unsigned int escape; /* state of the escape-sequence filter */

    /* What has been logged once already. */
    bool logged_msr, logged_port, logged_mmio, logged_insn, logged_task_switch;
};

extern struct vm *vms[CONFIG_MAX_VMS];
extern unsigned int vm_count;

/* Makes the VM of a configuration section, off. NULL when the pool is empty. */
struct vm *vm_create(const struct vm_config *config);

/* Asks its home to start it. Returns 0, or -BH_EBUSY when it is not off. */
int vm_start(struct vm *vm);

/* Asks its home to end, or restart, or end and dump a VM that runs; usable inside exit handlers. Of
 * several the first one counts, and its reason, but a VM that is to end does not start again. */
void vm_request(struct vm *vm, enum vm_request request, const char *fmt, ...) PRINTF(3, 4);

/* The same by a vCPU that cannot go on, which is dumped. */
void vm_crash(struct vcpu *v, const char *fmt, ...) PRINTF(2, 3);

/* VMs that have been asked to start, and neither run nor failed to. */
extern unsigned int vm_starting_count;

/* Nested translations were taken away: returns when no guest code can use them any more. By one
 * pCPU at a time, the service CPU, from its run loop: vCPUs that it owns flush when they are next
 * entered. */
void vm_flush(struct vm *vm);

/* Takes 2 MiB at `gpa` out of the guest's address space, or maps them again. 0; -BH_EINVAL: that is
 * no such piece of its memory. As vm_flush(). */
MUST_CHECK int vm_take_page(struct vm *vm, uint64_t gpa, bool take);

/* Guards the devices. A VM of one vCPU needs no lock: only its pCPU touches them. */
static inline bool vm_needs_lock(const struct vm *vm)
{
    return vm->vcpu_count > 1;
}
static inline void vm_lock(struct vm *vm)
{
    if (unlikely(vm_needs_lock(vm)))
        spin_acquire(&vm->lock);
}
static inline void vm_assert_locked(const struct vm *vm)
{
    if (CHECKS && vm_needs_lock(vm))
        spin_assert_held(&vm->lock);
}
static inline void vm_unlock(struct vm *vm)
{
    if (unlikely(vm_needs_lock(vm)))
        spin_release(&vm->lock);
}

/* What happens when the last VM has ended, and whether it still is to. Starting a VM arms it. */
extern enum config_done vm_when_done;
extern bool vm_when_done_armed;

/* Its vCPUs do not enter their guest any more. */
static inline bool vm_is_to_end(const struct vm *vm)
{
    return __atomic_load_n(&vm->request, __ATOMIC_RELAXED) > VM_REQUEST_START;
}

/* Ends all VMs, and then powers the machine off. */
void vm_end_all(void);

/* True when no VM runs any more. */
bool vm_all_off(void);

/* Prints the vCPU's registers and recent state, for a VM that ends unexpectedly. Owner. */
void vm_dump(struct vcpu *v, emit_fn *emit);

/* For a crash of the core: which vCPU was loaded and where it stood. */
void vm_print_crash_context(emit_fn *emit);

static inline const char *vm_name(const struct vm *vm)
{
    return vm->config->name;
}

#endif
