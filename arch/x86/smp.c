/* Starts the machine's other CPUs (SDM vol. 3, 9.4.4), and stops them at the end. */

#include "arch/x86/smp.h"

#include "arch/x86/acpi/acpi.h"
#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/fpu.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/lapic.h"
#include "arch/x86/memory_types.h"
#include "arch/x86/mm/address_space.h"
#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/mm/window.h"
#include "arch/x86/percpu.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "arch/x86/watchdog.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

#define AFTER_INIT_NS 10000000u /* SDM vol. 3, 9.4.4.1 */
#define AFTER_SIPI_NS 200000u
#define ANSWER_NS     1000000000u /* from a CPU that works: more than enough */
#define STOP_NS       20000000u

#define VMS_PART 8 /* of the core's pool: that is left for VMs */

#define TSC_ROUNDS   64u
#define TSC_NS       10000000u /* for all of them, where they take long: but for the first */
#define TSC_DONE     UINT64_MAX
#define PAUSE_ROUNDS 64u

/* What a CPU shares with the others, a cache line each. Written by: the boot CPU (B), the CPU
 * itself (S). */
struct cpu_slot {
    uint32_t apic_id;      /* B, before it is started */
    uint32_t state;        /* enum cpu_state; S, B when it starts and fails */
    uint64_t tsc_ask;      /* B: number of a round */
    uint64_t tsc_answer;   /* S: the round that it has answered, */
    uint64_t tsc_value;    /* by this */
    uint32_t flush_wanted; /* B: TLB flushes so far */
    uint32_t flush_done;   /* S */
    uint8_t vector;        /* S: one that nobody expects; 0: none came */
    bool types_changed;    /* S: MTRRs or PAT were not the boot CPU's */
    bool crash;            /* B */
} ALIGNED(64);
static_assert(sizeof(struct cpu_slot) == 64, "a cache line");

static struct cpu_slot cpus[MAX_PCPUS];
static unsigned int cpu_count = 1; /* constant once the first CPU is started */

static bool tsc_consistent = true; /* constant once they are */

static void (*released_to)(void); /* what parked CPUs go on with */

#define NOBODY UINT32_MAX
static uint32_t ending = NOBODY; /* the CPU that ends the machine */

/* arch/x86/ap_entry.asm */
extern char ap_trampoline[], ap_trampoline_end[];
extern uint32_t ap_gdt_base, ap_long_address, ap_root;
extern uint64_t ap_lapic;
extern uint32_t ap_count;
extern uint32_t ap_apic_ids[MAX_PCPUS];
extern uint64_t ap_roots[MAX_PCPUS];
static_assert(MAX_PCPUS == 64, "ap_entry.asm");
static_assert(CPU_STACKS_VA == 0xffffffffc0010000 && CPU_STACK_SIZE == 0x4000, "ap_entry.asm");

NORETURN void ap_main(void);

static const char *const state_names[] = {
    [CPU_STARTING] = "starting",
    [CPU_ARRIVED] = "arrived",
    [CPU_RUNNING] = "running",
    [CPU_PARKED] = "parked",
    [CPU_REFUSED] = "left out: no virtualization",
    [CPU_FAILED] = "left out: does not answer",
    [CPU_STOPPED] = "stopped",
};

static enum cpu_state state_of(unsigned int cpu)
{
    return __atomic_load_n(&cpus[cpu].state, __ATOMIC_ACQUIRE);
}

static void set_state(unsigned int cpu, enum cpu_state state)
{
    __atomic_store_n(&cpus[cpu].state, state, __ATOMIC_RELEASE);
}

static struct cpu_slot *own_slot(void)
{
    return &cpus[this_cpu->id];
}

unsigned int smp_cpu_count(void)
{
    return cpu_count;
}

bool smp_tsc_consistent(void)
{
    return tsc_consistent;
}

static uint64_t deadline_in(uint64_t ns)
{
    return rdtsc() + ns_span_to_tsc(ns);
}

INIT static void delay(uint64_t ns)
{
    uint64_t end = deadline_in(ns);

    while (rdtsc() < end)
        cpu_pause();
}

/* At most until `deadline`. */
INIT static void wait_while(unsigned int cpu, enum cpu_state state, uint64_t deadline)
{
    while (state_of(cpu) == state && rdtsc() < deadline)
        cpu_pause();
}

/* ---- On the CPU that is started ---- */

/* Not INIT: that is given back before it goes on. */
NORETURN static void park(void)
{
    void (*run)(void);

    set_state(this_cpu->id, CPU_PARKED);
    while (!(run = __atomic_load_n(&released_to, __ATOMIC_ACQUIRE)))
        interrupts_wait();
    set_state(this_cpu->id, CPU_RUNNING);
    run();
    core_panic("the run loop of CPU %u has ended", this_cpu->id);
}

void smp_take_kick(void)
{
    struct cpu_slot *slot = own_slot();
    uint32_t wanted = __atomic_load_n(&slot->flush_wanted, __ATOMIC_ACQUIRE);

    if (wanted != slot->flush_done) {
        write_cr3(read_cr3());
        __atomic_store_n(&slot->flush_done, wanted, __ATOMIC_RELEASE);
    }
    if (__atomic_load_n(&slot->crash, __ATOMIC_RELAXED))
        core_panic("a crash of CPU %u was asked for", this_cpu->id);
}

/* Sleeps until the boot CPU asks, then reads the TSC whenever it does, until it has enough. */
INIT static void answer_tsc(struct cpu_slot *slot)
{
    uint64_t round = 0;

    while (__atomic_load_n(&slot->tsc_ask, __ATOMIC_ACQUIRE) == 0)
        interrupts_wait();
    while (round != TSC_DONE) {
        uint64_t ask = __atomic_load_n(&slot->tsc_ask, __ATOMIC_ACQUIRE);

        if (ask == round) {
            cpu_pause();
            continue;
        }
        slot->tsc_value = rdtsc_ordered();
        __atomic_store_n(&slot->tsc_answer, ask, __ATOMIC_RELEASE);
        round = ask;
    }
}

/* From ap_entry.asm, on its own page tables and stack. It must not log, allocate, or touch a
 * device: the boot CPU does. */
INIT void ap_main(void)
{
    struct cpu_slot *slot = own_slot();

    gdt_init();
    interrupts_load();
    cpu_protect();
    slot->types_changed = !memory_types_load();
    fpu_init_cpu();
    lapic_hw_init_cpu();
    set_state(this_cpu->id, CPU_ARRIVED);
    answer_tsc(slot);
    if (virt->cpu_enable() != 0) {
        set_state(this_cpu->id, CPU_REFUSED);
        cpu_stop(); /* the boot CPU sends it an INIT */
    }
    stack_switch(percpu_stack_top(0), park);
}

/* ---- On the boot CPU ---- */

static void kick(const struct cpu_slot *slot)
{
    lapic_hw_send(slot->apic_id, IPI_FIXED(VECTOR_KICK));
}

void smp_kick(unsigned int cpu)
{
    kick(&cpus[cpu]);
}

bool smp_is_usable(unsigned int cpu)
{
    enum cpu_state state;

    if (cpu >= cpu_count)
        return false;
    state = state_of(cpu);
    return state == CPU_RUNNING || state == CPU_PARKED;
}

uint32_t smp_apic_id(unsigned int cpu)
{
    return cpus[cpu].apic_id;
}

void smp_release(void (*run)(void))
{
    __atomic_store_n(&released_to, run, __ATOMIC_RELEASE);
    for (unsigned int i = 1; i < cpu_count; i++)
        if (state_of(i) == CPU_PARKED)
            kick(&cpus[i]);
}

/* After INIT it waits for a start-up IPI that never comes: it cannot wake up in memory that has
 * another use by then. */
INIT static void leave_out(unsigned int cpu, enum cpu_state state)
{
    lapic_hw_send(cpus[cpu].apic_id, IPI_INIT);
    delay(AFTER_SIPI_NS);
    set_state(cpu, state);
}

INIT static int create_cpu(unsigned int cpu)
{
    struct percpu *percpu = address_space_create_cpu();

    if (!percpu || virt->cpu_prepare(percpu) != 0)
        return -BH_ENOMEM;
    percpu->id = cpu;
    percpu->apic_id = cpus[cpu].apic_id;
    ap_apic_ids[cpu] = cpus[cpu].apic_id;
    ap_roots[cpu] = page_to_pa(percpu->pagetable.root);
    return 0;
}

/* Memory for all of them, as far as the pool reaches. */
INIT static void create_cpus(void)
{
    for (unsigned int i = 1; i < cpu_count; i++) {
        if (page_free_count() < page_total_count() / VMS_PART || create_cpu(i) != 0) {
            log_error("cpus: the core's memory has room for %u of %u: raise [core] memory", i,
                      cpu_count);
            cpu_count = i;
        }
    }
}

/* SIPIs to those that have not come; the second one is for hardware that misses the first. */
INIT static void send_startup(uint64_t low_page)
{
    for (unsigned int i = 1; i < cpu_count; i++)
        if (state_of(i) == CPU_STARTING)
            lapic_hw_send(cpus[i].apic_id, IPI_STARTUP(low_page));
    delay(AFTER_SIPI_NS);
}

INIT static void start_all(uint64_t low_page)
{
    for (unsigned int i = 1; i < cpu_count; i++)
        lapic_hw_send(cpus[i].apic_id, IPI_INIT);
    delay(AFTER_INIT_NS);
    uint64_t deadline = deadline_in(ANSWER_NS);
    send_startup(low_page);
    send_startup(low_page);
    for (unsigned int i = 1; i < cpu_count; i++) {
        watchdog_progress(i, cpu_count, "CPUs have been waited for");
        wait_while(i, CPU_STARTING, deadline);
        if (state_of(i) == CPU_STARTING) {
            log_warn("cpus: APIC id %u does not start within %u ms: left out", cpus[i].apic_id,
                     ANSWER_NS / 1000000);
            leave_out(i, CPU_FAILED);
        }
    }
}

/* Puts `size` bytes at `code` into the page, and what stood there into `saved`. */
INIT static void swap_in(uint64_t page, const void *code, void *saved, size_t size)
{
    void *at = window_map(WINDOW_FIRMWARE, page);

    memcpy(saved, at, size);
    memcpy(at, code, size);
    window_unmap(WINDOW_FIRMWARE);
}

INIT static int start_from(uint64_t low_page)
{
    size_t size = (size_t)(ap_trampoline_end - ap_trampoline);
    void *saved = page_alloc();
    struct pagetable low;

    if (!saved || address_space_create_low(&low, low_page) != 0)
        return -BH_ENOMEM;
    ap_gdt_base += (uint32_t)low_page;
    ap_long_address += (uint32_t)low_page;
    ap_root = (uint32_t)page_to_pa(low.root);
    ap_lapic = lapic_hw_registers();
    ap_count = cpu_count;
    swap_in(low_page, ap_trampoline, saved, size);
    start_all(low_page);
    swap_in(low_page, saved, ap_trampoline, size);
    address_space_destroy_low(&low);
    page_free(saved);
    return 0;
}

/* Asks for the other TSC between two readings of the own one, again and again, and keeps what that
 * proves in `offset`. Returns 0 or -BH_EIO. */
INIT static int measure_tsc(struct cpu_slot *slot, struct tsc_offset *offset)
{
    uint64_t end = deadline_in(TSC_NS);

    for (uint64_t round = 1; round == 1 || (round <= TSC_ROUNDS && rdtsc() < end); round++) {
        uint64_t deadline = deadline_in(ANSWER_NS);
        uint64_t before = rdtsc_ordered();

        __atomic_store_n(&slot->tsc_ask, round, __ATOMIC_RELEASE);
        if (round == 1)
            kick(slot);
        for (unsigned int i = 1; __atomic_load_n(&slot->tsc_answer, __ATOMIC_ACQUIRE) != round;
             i++) {
            if (rdtsc() > deadline)
                return -BH_EIO;
            if (i % PAUSE_ROUNDS ==
                0) /* an emulator that runs one CPU at a time goes on to the next */
                cpu_pause();
        }
        tsc_offset_narrow(offset, before, slot->tsc_value, rdtsc_ordered());
    }
    return 0;
}

/* Of a CPU that has arrived: compares the TSC, then parks it. Returns whether it is parked. */
INIT static bool take_in(unsigned int cpu)
{
    struct cpu_slot *slot = &cpus[cpu];
    struct tsc_offset measured = TSC_OFFSET_UNKNOWN;
    int err = measure_tsc(slot, &measured);
    int64_t offset = tsc_offset_least(&measured);

    __atomic_store_n(&slot->tsc_ask, TSC_DONE, __ATOMIC_RELEASE);
    wait_while(cpu, CPU_ARRIVED, deadline_in(err ? 0 : ANSWER_NS));
    if (err || state_of(cpu) != CPU_PARKED) {
        bool refused = state_of(cpu) == CPU_REFUSED;
        log_warn("cpus: APIC id %u %s: left out", slot->apic_id,
                 refused ? "cannot run VMs: virtualization is missing or turned off there"
                         : "does not answer");
        leave_out(cpu, refused ? CPU_REFUSED : CPU_FAILED);
        return false;
    }
    if (slot->types_changed)
        log_debug("cpus: CPU %u had other MTRRs or another PAT than the boot CPU", cpu);
    if (offset != 0) {
        log_warn("cpus: TSC of CPU %u is %llu ticks %s", cpu,
                 LLU(offset < 0 ? -(uint64_t)offset : (uint64_t)offset),
                 offset < 0 ? "behind" : "ahead");
        tsc_consistent = false;
    }
    return true;
}

INIT void smp_start(const struct acpi_info *acpi, uint64_t low_page)
{
    uint32_t ids[MAX_PCPUS];
    unsigned int started = 1;
    unsigned int listed = smp_list_cpus(acpi, this_cpu->apic_id, lapic_hw_max_id(), ids);

    for (unsigned int i = 0; i < listed; i++)
        cpus[i].apic_id = ids[i];
    set_state(0, CPU_RUNNING);
    if (listed > 1 && low_page == 0) {
        log_error("cpus: no free page below 640 KiB to start the others from");
        listed = 1;
    }
    cpu_count = listed;
    memory_types_save();
    create_cpus();
    if (cpu_count > 1 && start_from(low_page) != 0) {
        log_error("cpus: the core's memory is used up: raise [core] memory");
        cpu_count = 1;
    }
    for (unsigned int i = 1; i < cpu_count; i++) {
        watchdog_progress(i, cpu_count, "CPUs are set up");
        if (state_of(i) == CPU_ARRIVED && take_in(i))
            started++;
    }
    log_info("cpus: %u started%s", started,
             started > 1 && tsc_consistent ? ", TSC consistent" : "");
}

/* ---- Signals ---- */

void smp_flush_tlbs(void)
{
    for (unsigned int i = 1; i < cpu_count; i++) {
        if (state_of(i) == CPU_PARKED) {
            __atomic_add_fetch(&cpus[i].flush_wanted, 1, __ATOMIC_RELEASE);
            kick(&cpus[i]);
        }
    }
    for (unsigned int i = 1; i < cpu_count; i++) {
        const struct cpu_slot *slot = &cpus[i];
        uint64_t deadline = deadline_in(ANSWER_NS);

        while (state_of(i) == CPU_PARKED &&
               __atomic_load_n(&slot->flush_done, __ATOMIC_ACQUIRE) != slot->flush_wanted) {
            if (rdtsc() > deadline) {
                log_error("cpus: CPU %u does not answer a kick", i);
                break;
            }
            cpu_pause();
        }
    }
}

bool smp_crash(unsigned int cpu)
{
    if (cpu == 0 || !smp_is_usable(cpu))
        return false;
    __atomic_store_n(&cpus[cpu].crash, true, __ATOMIC_RELEASE);
    kick(&cpus[cpu]);
    return true;
}

bool smp_is_ending(void)
{
    return __atomic_load_n(&ending, __ATOMIC_ACQUIRE) != NOBODY;
}

void smp_stop_self(void)
{
    enum cpu_state state = state_of(this_cpu->id);

    interrupts_off();
    if (state == CPU_PARKED || state == CPU_RUNNING)
        virt->cpu_disable(); /* INIT is held back in VMX operation (SDM vol. 3, 24.8) */
    set_state(this_cpu->id, CPU_STOPPED);
    cpu_stop();
}

void smp_claim_end(void)
{
    uint32_t first = NOBODY;
    uint32_t self = cpu_count > 1 ? this_cpu->id : 0; /* early there is no struct percpu yet */

    if (!__atomic_compare_exchange_n(&ending, &first, self, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE) &&
        first != self)
        smp_stop_self();
}

static bool is_live(unsigned int cpu)
{
    enum cpu_state state = state_of(cpu);

    return cpu != this_cpu->id &&
           (state == CPU_ARRIVED || state == CPU_RUNNING || state == CPU_PARKED);
}

/* Returns how many have not stopped. */
static unsigned int stop_by(uint32_t command)
{
    uint64_t deadline = deadline_in(STOP_NS);
    unsigned int left;

    for (unsigned int i = 0; i < cpu_count; i++)
        if (is_live(i))
            lapic_hw_send(cpus[i].apic_id, command);
    do {
        left = 0;
        for (unsigned int i = 0; i < cpu_count; i++)
            left += is_live(i);
        cpu_pause();
    } while (left > 0 && rdtsc() < deadline);
    return left;
}

/* By an interrupt, which finds each CPU between two steps; by an NMI if it takes none. */
unsigned int smp_stop_others(void)
{
    if (cpu_count == 1)
        return 0;
    smp_claim_end();
    return stop_by(IPI_FIXED(VECTOR_STOP)) > 0 ? stop_by(IPI_NMI) : 0;
}

void smp_note_vector(uint8_t vector)
{
    own_slot()->vector = vector;
}

void smp_print(emit_fn *emit)
{
    for (unsigned int i = 0; i < cpu_count; i++) {
        const struct cpu_slot *slot = &cpus[i];

        emit_line(emit, "CPU %u: APIC id %u, %s", i, slot->apic_id, state_names[state_of(i)]);
        if (slot->vector != 0)
            emit_line(emit, "CPU %u: unexpected interrupt vector 0x%x", i, slot->vector);
    }
}
