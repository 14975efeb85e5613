#ifndef BULKHEAD_ARCH_X86_PERCPU_H
#define BULKHEAD_ARCH_X86_PERCPU_H

/* What belongs to one CPU. Each CPU's page tables map its own copy at the same address, so that
 * reaching it takes no register and no lock, and no CPU can reach another's by accident. */

#include "arch/x86/gdt.h"
#include "arch/x86/layout.h"
#include "arch/x86/mm/pagetable.h"
#include "lib/spinlock.h"
#include "vmm/run_queue.h"
#include "vmm/timer.h"

struct cpu_mail;
struct vcpu;
struct vmx_vcpu;

#define WINDOW_SLOTS    4 /* 4 KiB windows */
#define WINDOW_SLOTS_2M 2

struct percpu {
    unsigned int id;
    uint32_t apic_id;

    /* Set by interrupt handlers, cleared by the run loop; `noted` is not 0 while any is set. */
    union {
        struct {
            volatile bool timer_fired; /* not acknowledged yet: lapic_hw_eoi() */
            volatile bool console_input;
            volatile bool nmi_seen;
            bool console_polled; /* stays set: no interrupt tells when the UART has something */
        };
        volatile uint32_t noted;
    };

    struct vcpu *current; /* whose state the CPU holds, or NULL */
    uint64_t last_vm;     /* serial number of the VM that was last loaded */
    struct timer_queue timers;
    uint64_t timer_armed; /* TSC that the LAPIC timer is set to, UINT64_MAX: off */

    struct cpu_mail *mail; /* its own, vmm/mail.h: sched_loop() */
    struct run_queue queue;
    uint64_t balance_next;      /* TSC */
    bool rebalance;             /* a pCPU is idle and could have one of this one's vCPUs */
    unsigned int changing_vms;  /* whose home this is, and that start or end, step by step */
    unsigned int changing_turn; /* index of the one whose step was last */

    union { /* the backend's part */
        struct {
            uint32_t asid_next; /* address-space identifier to give out */
            uint64_t asid_generation;
            uint64_t host_vmcb_pa; /* page for VMSAVE/VMLOAD of the core's own state */
            uint64_t hsave_pa;     /* VMRUN's own */
        } svm;
        struct {
            struct vmx_vcpu *current; /* whose VMCS is the current one, or NULL */
            uint64_t vmxon_pa;
        } vmx;
    };

    uint64_t *window_ptes;    /* entries behind CPU_WINDOW_VA */
    uint64_t *window_2m_pdes; /* entries behind CPU_WINDOW2M_VA */
    struct pagetable pagetable;

    struct held_locks held_locks; /* CHECKS builds */

    struct tss tss;
    struct gdt gdt;
};

static_assert(offsetof(struct percpu, timer_fired) == 8, "arch/x86/entry.asm");

extern struct percpu cpu_local;
#define this_cpu (&cpu_local)

/* Address of the top of one of this CPU's stacks: 0 the main one, else an enum ist_index. */
static inline uint64_t percpu_stack_top(unsigned int index)
{
    return CPU_STACKS_VA + (uint64_t)index * 2 * CPU_STACK_SIZE + 2 * CPU_STACK_SIZE;
}

/* Lowest mapped address of that stack; below it lies an unmapped guard of the same size. */
static inline uint64_t percpu_stack_bottom(unsigned int index)
{
    return percpu_stack_top(index) - CPU_STACK_SIZE;
}

#endif
