#ifndef BULKHEAD_VMM_MAIL_H
#define BULKHEAD_VMM_MAIL_H

/* How pCPUs reach what another one owns. A vCPU's mail is a word of bits; the first bit that is set
 * puts the vCPU into its pCPU's inbox, which that empties before each entry of a guest. No locks,
 * and nothing is lost: whoever sends either finds the vCPU waiting in the run queue, before whose
 * end the inbox is emptied, or interrupts its pCPU. */

#include "arch/x86/percpu.h"
#include "vmm/config.h"
#include "vmm/vcpu.h"

#define POSTED_INTERRUPTS BIT(0) /* mail.irr: mail_interrupt() */
#define POSTED_NMI        BIT(1)
#define POSTED_INIT       BIT(2)
#define POSTED_STARTUP    BIT(3)  /* mail.startup */
#define POSTED_EXTINT     BIT(4)  /* the 8259 may have an interrupt */
#define POSTED_DEVICES    BIT(5)  /* arm the VM's device timer anew */
#define POSTED_INPUT      BIT(6)  /* vm->input has something */
#define POSTED_BUTTON     BIT(7)  /* the power button was pressed */
#define POSTED_DUMP       BIT(8)  /* print the registers */
#define POSTED_FLUSH      BIT(9)  /* forget nested translations: vm_flush() */
#define POSTED_UNHALT     BIT(10) /* wake up, interrupt or not */
#define POSTED_YIELD_TO   BIT(11) /* somebody waits for what it holds: go next */
#define POSTED_START      BIT(12) /* its VM starts: power on */
#define POSTED_STOP       BIT(13) /* its VM ends: leave the CPU for good */
#define POSTED_MOVED      BIT(14) /* it has a new owner: run it */

/* Nobody waits for its turn with these. */
#define POSTED_URGENT (POSTED_START | POSTED_STOP | POSTED_MOVED | POSTED_DUMP)

/* True when this pCPU owns the vCPU, and may act on it. */
static inline bool vcpu_is_here(const struct vcpu *v)
{
    return likely(__atomic_load_n(&v->cpu, __ATOMIC_RELAXED) == this_cpu->id);
}

/* Posts POSTED_* to a vCPU, whoever owns it. What was stored before is visible to the owner. */
void mail_post(struct vcpu *v, uint32_t what);

/* The same with POSTED_NMI or _EXTINT, which a vCPU that waits for a start-up IPI does
 * not get, not even later. */
void mail_signal(struct vcpu *v, uint32_t what);

/* Its VM starts: nothing that was posted before counts. */
void mail_start(struct vcpu *v);

/* Signals between a VM's vCPUs; `page` is that of the code to start at. */
void mail_init(struct vcpu *v);
void mail_startup(struct vcpu *v, uint8_t page);

/* The same with an interrupt; owned by this pCPU it is accepted at once. */
void mail_interrupt(struct vcpu *v, uint8_t vector, bool level);

/* The home pCPU of some VM has something to do for it: vm_attend(). */
void mail_ask_home(unsigned int cpu);

/* Before a queued vCPU runs: from here on senders interrupt this pCPU. A look at mail_waiting()
 * must follow. */
static inline void mail_leave_queue(struct vcpu *v)
{
    __atomic_store_n(&v->mail.queued, false, __ATOMIC_SEQ_CST); /* seen before the inbox is read */
}
static inline void mail_enter_queue(struct vcpu *v)
{
    __atomic_store_n(&v->mail.queued, true, __ATOMIC_RELAXED);
}

/* What all pCPUs see of one. */
struct cpu_mail {
    struct vcpu *inbox;
    uint64_t home_asked; /* some VM whose home this is wants attention */
    uint64_t load;       /* rq_load(), and what others have just given to it */
    uint64_t idle_tsc;   /* TSC ticks spent with nothing to run */
} ALIGNED(64);
extern struct cpu_mail cpu_mails[MAX_PCPUS];

static inline bool mail_waiting(void)
{
    return __atomic_load_n(&this_cpu->mail->inbox, __ATOMIC_ACQUIRE) != NULL;
}

/* The same, or something is to be done for a VM whose home this is: vm_attend(). */
static inline bool mail_or_home_waiting(void)
{
    const struct cpu_mail *mail = this_cpu->mail;

    return ((uintptr_t)__atomic_load_n(&mail->inbox, __ATOMIC_ACQUIRE) |
            __atomic_load_n(&mail->home_asked, __ATOMIC_ACQUIRE)) != 0;
}

/* Acts on what is in this pCPU's inbox, or on a part of it: then mail_waiting() still holds. Run
 * loop only. */
void mail_empty(void);

#endif
