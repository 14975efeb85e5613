#include "vmm/balance.h"

#include "arch/x86/lapic.h"
#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/percpu.h"
#include "arch/x86/smp.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "lib/error.h"
#include "vmm/mail.h"
#include "vmm/platform.h"
#include "vmm/sched.h"
#include "vmm/vm.h"

/* How often a pCPU looks for one with less to do, while it has vCPUs that wait. */
#define BALANCE_NS 4000000u

static_assert(SCHED_FAIR == (int)CONFIG_CLASS_FAIR && SCHED_SLOTS == (int)CONFIG_CLASS_SLOTS &&
                  SCHED_DEDICATED == (int)CONFIG_CLASS_DEDICATED,
              "vm_life.c");

static struct slot_table *slot_tables[MAX_PCPUS];
static uint64_t fair_cpus; /* those that fair vCPUs may have */

INIT static int make_table(unsigned int cpu, const struct config_cpu *config, uint64_t epoch)
{
    size_t size = sizeof(struct slot_table) + config->slot_count * sizeof(struct slot);
    unsigned int pages = (unsigned int)(ALIGN_UP(size, PAGE_SIZE_4K) / PAGE_SIZE_4K);
    struct slot_table *table = page_alloc_contiguous(pages, 1);
    struct slot *slots = (struct slot *)(table + 1);

    if (!table)
        return -BH_ENOMEM;
    for (unsigned int i = 0; i < config->slot_count; i++) {
        const struct config_slot *from = &config->slots[i];
        slots[i] = (struct slot){
            .owner = &vms[from->vm]->vcpus[from->vcpu]->sched,
            .offset = ns_span_to_tsc(from->offset_us * 1000ull),
            .length = ns_span_to_tsc(from->length_us * 1000ull),
            .share = from->share,
        };
        vms[from->vm]->vcpus[from->vcpu]->slot_cpu = cpu;
    }
    slot_tables[cpu] = table;
    return slots_init(table, slots, config->slot_count, ns_span_to_tsc(config->frame_us * 1000ull),
                      epoch, epoch);
}

INIT int balance_init(const struct config *config, uint64_t epoch)
{
    int err = 0;

    for (unsigned int i = 0; i < MAX_PCPUS; i++)
        if (smp_is_usable(i))
            fair_cpus |= BIT64(i);
    fair_cpus &= ~config_dedicated_cpus(config);
    for (unsigned int i = 0; i < MAX_PCPUS && !err; i++)
        if (config->cpus[i].slot_count > 0)
            err = make_table(i, &config->cpus[i], epoch);
    return err;
}

/* An I/O APIC reaches APIC ids of 8 bits. */
INIT unsigned int balance_service_cpu(const struct config *config)
{
    uint64_t dedicated = config_dedicated_cpus(config), any = 0, without_slots = 0;

    for (unsigned int i = 0; i < MAX_PCPUS; i++) {
        if (!smp_is_usable(i) || dedicated & BIT64(i) || smp_apic_id(i) > XAPIC_ID_MAX)
            continue;
        any |= BIT64(i);
        if (config->cpus[i].slot_count == 0)
            without_slots |= BIT64(i);
    }
    if (any == 0)
        return 0;
    return (unsigned int)__builtin_ctzll(without_slots ? without_slots : any);
}

struct slot_table *slot_table_of(unsigned int cpu)
{
    return slot_tables[cpu];
}

static uint64_t load_of(unsigned int cpu)
{
    return __atomic_load_n(&cpu_mails[cpu].load, __ATOMIC_RELAXED);
}

/* With its siblings that start at the same time, and have not been counted yet. */
static uint64_t load_with_siblings(unsigned int cpu, const struct vcpu *v)
{
    uint64_t load = load_of(cpu);

    for (unsigned int i = 0; i < v->id && load != UINT64_MAX; i++)
        if (v->vm->vcpus[i]->cpu == cpu)
            load += v->sched.weight;
    return load;
}

static unsigned int nth_cpu(uint64_t cpus, unsigned int n)
{
    while (n-- > 0)
        cpus &= cpus - 1;
    return (unsigned int)__builtin_ctzll(cpus);
}

unsigned int balance_choose(const struct vcpu *v)
{
    const struct vm_config *config = v->vm->config;
    unsigned int best = v->vm->home;
    uint64_t least = UINT64_MAX;

    if (config->sched_class == CONFIG_CLASS_DEDICATED)
        return nth_cpu(config->cpus, v->id);
    if (config->sched_class == CONFIG_CLASS_SLOTS)
        return v->slot_cpu;
    for (uint64_t cpus = config->cpus; cpus != 0; cpus &= cpus - 1) {
        unsigned int cpu = (unsigned int)__builtin_ctzll(cpus);
        uint64_t load = load_with_siblings(cpu, v);
        if (load < least) {
            least = load;
            best = cpu;
        }
    }
    return best;
}

/* It keeps its state, and its mail follows it. */
static void give(struct vcpu *v, unsigned int cpu)
{
    sched_take_off(v);
    platform_stop_vcpu(v);
    __atomic_store_n(&v->cpu, cpu, __ATOMIC_RELEASE);
    mail_post(v, POSTED_MOVED);
}

/* The pCPU of a set with the least to do, which is less than *load; that of it in *load. `self`
 * when there is none. */
static unsigned int find_least(uint64_t cpus, uint64_t *load)
{
    unsigned int best = this_cpu->id;

    for (; cpus != 0; cpus &= cpus - 1) {
        unsigned int cpu = (unsigned int)__builtin_ctzll(cpus);
        uint64_t other = load_of(cpu);
        if (other < *load) {
            *load = other;
            best = cpu;
        }
    }
    return best;
}

static uint64_t others(void)
{
    return fair_cpus & ~BIT64(this_cpu->id);
}

void balance_woken(const struct vcpu *v)
{
    uint64_t least = 1; /* an idle one */

    if (this_cpu->queue.ready > 1 && v->sched.class == SCHED_FAIR &&
        find_least(v->sched.allowed & others(), &least) != this_cpu->id) {
        this_cpu->rebalance = true;
        sched_leave();
    }
}

/* One goes when the other pCPU has less to do even with it. That shows more at once, so that others
 * do not choose it, too, before it looks. */
static void give_one(struct run_queue *queue, uint64_t own)
{
    for (uint64_t cpus = others(); cpus != 0;) {
        uint64_t least = own;
        unsigned int cpu = find_least(cpus, &least);
        if (cpu == this_cpu->id)
            return;
        struct sched_entity *se = rq_steal(queue, BIT64(cpu));
        if (se && least + se->weight < own) {
            __atomic_store_n(&cpu_mails[cpu].load, least + se->weight, __ATOMIC_RELAXED);
            give(CONTAINER_OF(se, struct vcpu, sched), cpu);
            return;
        }
        cpus &= ~BIT64(cpu);
    }
}

/* Of several. */
void balance_give(uint64_t load)
{
    struct percpu *cpu = this_cpu;
    uint64_t now;

    if (others() == 0)
        return;
    now = rdtsc();
    if (now < cpu->balance_next && !cpu->rebalance)
        return;
    cpu->rebalance = false;
    cpu->balance_next = now + ns_span_to_tsc(BALANCE_NS);
    give_one(&cpu->queue, load);
}
