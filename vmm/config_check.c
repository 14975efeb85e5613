/* What must fit together in bulkhead.conf: the keys of a VM with its class, slots with the VMs that
 * they name, and CPUs with the VMs that have them for themselves. */

#include "lib/string.h"
#include "vmm/config_internal.h"

#define NO_VM UINT16_MAX

static const char *const class_names[] = {
    [CONFIG_CLASS_FAIR] = "fair",
    [CONFIG_CLASS_DEDICATED] = "dedicated",
    [CONFIG_CLASS_SLOTS] = "slots",
};

/* Where the current VM has a key; 0 = nowhere. */
INIT static unsigned int key_line(const struct config_parser *p, const char *name)
{
    unsigned int i = 0;

    while (strcmp(config_vm_keys[i].name, name) != 0)
        i++;
    return p->key_lines[i];
}

INIT static unsigned int count_bits(uint64_t mask)
{
    unsigned int count = 0;

    for (; mask != 0; mask &= mask - 1)
        count++;
    return count;
}

INIT static void check_only_fair(struct config_parser *p, const char *key)
{
    unsigned int line = key_line(p, key);

    if (line != 0 && p->vm->sched_class != CONFIG_CLASS_FAIR) {
        config_error(p, line, "%s: found with class = %s, expected with class = fair only", key,
                     class_names[p->vm->sched_class]);
    }
}

INIT void config_check_vm(struct config_parser *p)
{
    const struct vm_config *vm = p->vm;

    check_only_fair(p, "weight");
    check_only_fair(p, "cap");
    if (vm->cap > CONFIG_CAP_PER_VCPU * vm->vcpus) {
        config_error(p, key_line(p, "cap"), "cap: found %u, expected at most %u with vcpus = %u",
                     vm->cap, CONFIG_CAP_PER_VCPU * vm->vcpus, vm->vcpus);
    }
    if (vm->sched_class != CONFIG_CLASS_DEDICATED)
        return;
    if (!vm->cpus_given) {
        config_error(p, key_line(p, "class"),
                     "class: found dedicated without cpus, expected cpus = as many CPUs as vcpus");
    } else if (count_bits(vm->cpus) != vm->vcpus) {
        config_error(p, vm->cpus_line,
                     "cpus: found %u CPUs, expected %u: class = dedicated needs as many as vcpus",
                     count_bits(vm->cpus), vm->vcpus);
    }
}

INIT static bool is_bad(const struct config_parser *p, size_t vm)
{
    return (p->bad_vms[vm / 64] & BIT64(vm % 64)) != 0;
}

/* Fills in which VM has each CPU for itself, or NULL. */
INIT static void find_owners(struct config_parser *p, const struct vm_config *owners[MAX_PCPUS])
{
    for (unsigned int cpu = 0; cpu < MAX_PCPUS; cpu++)
        owners[cpu] = NULL;
    for (unsigned int i = 0; i < p->out->vm_count; i++) {
        const struct vm_config *vm = &p->out->vms[i];

        if (is_bad(p, i) || vm->sched_class != CONFIG_CLASS_DEDICATED)
            continue;
        for (unsigned int cpu = 0; cpu < MAX_PCPUS; cpu++)
            if ((vm->cpus & BIT64(cpu)) && owners[cpu] == NULL)
                owners[cpu] = vm;
    }
}

/* Nobody else is on a dedicated VM's CPU; VMs that do not name theirs keep off. */
INIT static void check_owners(struct config_parser *p, const struct vm_config *owners[MAX_PCPUS])
{
    for (unsigned int i = 0; i < p->out->vm_count; i++) {
        struct vm_config *vm = &p->out->vms[i];
        uint64_t taken = 0;

        for (unsigned int cpu = 0; cpu < MAX_PCPUS; cpu++)
            if (owners[cpu] != NULL && owners[cpu] != vm)
                taken |= BIT64(cpu);
        taken &= vm->cpus;
        if (is_bad(p, i) || taken == 0)
            continue;
        if (vm->cpus_given) {
            unsigned int cpu = (unsigned int)__builtin_ctzll(taken);

            config_error(p, vm->cpus_line,
                         "cpus: found CPU %u, which is dedicated to [vm %s] in line %u, expected "
                         "none of another VM's own",
                         cpu, owners[cpu]->name, owners[cpu]->line);
        } else if (vm->cpus == taken) {
            config_error(p, vm->line,
                         "cpus: found no CPU for [vm %s], expected one that is not dedicated to "
                         "another VM",
                         vm->name);
        } else {
            vm->cpus &= ~taken;
        }
    }
    for (unsigned int cpu = 0; cpu < MAX_PCPUS; cpu++) {
        if (p->out->cpus[cpu].slot_count > 0 && owners[cpu] != NULL) {
            config_error(p, p->out->cpus[cpu].line,
                         "slot: found in [cpu %u], which is dedicated to [vm %s] in line %u, "
                         "expected none there",
                         cpu, owners[cpu]->name, owners[cpu]->line);
        }
    }
}

/* The VM by its name; NO_VM when there is none, or when a slot can be said nothing about. */
INIT static uint16_t find_vm(struct config_parser *p, const struct config_slot *slot)
{
    for (uint16_t i = 0; i < p->out->vm_count; i++)
        if (strcmp(p->out->vms[i].name, slot->vm_name) == 0)
            return is_bad(p, i) ? NO_VM : i;
    if (!p->vms_missing) {
        config_error(p, slot->line, "slot: found %s.%u, expected a VM of this file", slot->vm_name,
                     slot->vcpu);
    }
    return NO_VM;
}

/* A slot and the VM that it names. */
INIT static void check_vm_of(struct config_parser *p, struct config_slot *slot)
{
    slot->vm = find_vm(p, slot);
    if (slot->vm == NO_VM)
        return;
    const struct vm_config *vm = &p->out->vms[slot->vm];

    if (vm->sched_class != CONFIG_CLASS_SLOTS) {
        config_error(p, slot->line,
                     "slot: found %s.%u, expected a VM with class = slots: [vm %s] in line %u has "
                     "class = %s",
                     vm->name, slot->vcpu, vm->name, vm->line, class_names[vm->sched_class]);
    } else if (slot->vcpu >= vm->vcpus) {
        config_error(p, slot->line, "slot: found %s.%u, expected a number below its vcpus = %u",
                     vm->name, slot->vcpu, vm->vcpus);
    } else if (!(vm->cpus & BIT64(slot->cpu)) && vm->cpus_given) {
        config_error(p, slot->line,
                     "slot: found %s.%u in [cpu %u], expected one of its cpus in line %u", vm->name,
                     slot->vcpu, slot->cpu, vm->cpus_line);
    }
}

/* The slots of a CPU and its frame. */
INIT static void check_times(struct config_parser *p, const struct config_cpu *cpu)
{
    const struct config_slot *last = NULL; /* of those before, the one that ends last */

    for (unsigned int i = 0; i < cpu->slot_count; i++) {
        const struct config_slot *slot = &cpu->slots[i];
        uint32_t end = slot->offset_us + slot->length_us;
        uint32_t last_end = last != NULL ? last->offset_us + last->length_us : 0;

        if (cpu->frame_us != 0 && end > cpu->frame_us) {
            config_error(p, slot->line,
                         "slot: found %s.%u until %u us, expected its end within the frame of %u "
                         "us",
                         slot->vm_name, slot->vcpu, end, cpu->frame_us);
        }
        if (slot->offset_us < last_end) {
            config_error(p, slot->line,
                         "slot: found %s.%u from %u us on, expected no overlap with %s.%u in line "
                         "%u, which ends at %u us",
                         slot->vm_name, slot->vcpu, slot->offset_us, last->vm_name, last->vcpu,
                         last->line, last_end);
        }
        if (end > last_end)
            last = slot;
    }
}

/* A vCPU has one home: the CPU of its first slot. */
INIT static void check_home(struct config_parser *p, const struct config_slot *slot)
{
    const struct config_slot *first = p->out->slots;

    while (first->vm != slot->vm || first->vcpu != slot->vcpu)
        first++;
    if (slot->vm != NO_VM && first->cpu != slot->cpu) {
        config_error(p, slot->line,
                     "slot: found %s.%u in [cpu %u], expected all its slots in [cpu %u] as in line "
                     "%u",
                     slot->vm_name, slot->vcpu, slot->cpu, first->cpu, first->line);
    }
}

/* Each vCPU of a VM with slots has one; where they are, the VM runs. */
INIT static void check_has_slots(struct config_parser *p, unsigned int index)
{
    struct vm_config *vm = &p->out->vms[index];
    uint64_t vcpus = 0, cpus = 0;

    for (const struct config_slot *s = p->out->slots; s < &p->out->slots[p->slots_used]; s++) {
        if (s->vm == index) {
            vcpus |= BIT64(s->vcpu);
            cpus |= BIT64(s->cpu);
        }
    }
    for (unsigned int i = 0; i < vm->vcpus && !p->slots_missing; i++) {
        if (!(vcpus & BIT64(i))) {
            config_error(p, vm->line,
                         "slot: found none for %s.%u, expected at least one in a [cpu N]: [vm %s] "
                         "has class = slots",
                         vm->name, i, vm->name);
        }
    }
    vm->cpus = cpus;
}

INIT void config_check_cpus(struct config_parser *p)
{
    const struct vm_config *owners[MAX_PCPUS];

    find_owners(p, owners);
    check_owners(p, owners);
    for (unsigned int i = 0; i < MAX_PCPUS; i++)
        check_times(p, &p->out->cpus[i]);
    for (unsigned int i = 0; i < p->slots_used; i++)
        check_vm_of(p, &p->out->slots[i]);
    for (unsigned int i = 0; i < p->slots_used; i++)
        check_home(p, &p->out->slots[i]);
    for (unsigned int i = 0; i < p->out->vm_count; i++)
        if (!is_bad(p, i) && p->out->vms[i].sched_class == CONFIG_CLASS_SLOTS)
            check_has_slots(p, i);
}

uint64_t config_dedicated_cpus(const struct config *config)
{
    uint64_t cpus = 0;

    for (unsigned int i = 0; i < config->vm_count; i++)
        if (config->vms[i].sched_class == CONFIG_CLASS_DEDICATED)
            cpus |= config->vms[i].cpus;
    return cpus;
}
