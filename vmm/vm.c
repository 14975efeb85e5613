#include "vmm/vm.h"

#include "arch/x86/fpu.h"
#include "arch/x86/mm/frame_alloc.h"
#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/percpu.h"
#include "arch/x86/speculation.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "lib/error.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmm/console.h"
#include "vmm/cpuid.h"
#include "vmm/guest_memory_bulk.h"
#include "vmm/loader/guest_acpi.h"
#include "vmm/loader/loader.h"
#include "vmm/modules.h"
#include "vmm/platform.h"
#include "vmm/pvclock.h"
#include "vmm/vm_life.h"

/* The virtual PC's address space: RAM up to the PCI window of the DSDT at the most, the rest from
 * 4 GiB on. The VGA frame buffer's place is a hole. */
#define LOW_RAM_MAX 0xc0000000ull
#define HIGH_RAM    (4 * GIB)

struct vm *vms[CONFIG_MAX_VMS];
unsigned int vm_count;

static unsigned int pages_of(size_t size)
{
    return (unsigned int)(ALIGN_UP(size, PAGE_SIZE_4K) / PAGE_SIZE_4K);
}

static struct vcpu *vcpu_create(struct vm *vm, unsigned int id)
{
    struct vcpu *v = page_alloc_contiguous(pages_of(sizeof(*v)), 1);
    uint32_t *apic_page = page_alloc();

    if (!v || !apic_page)
        return NULL;
    v->vm = vm;
    v->id = id;
    v->cpu = vm->home;
    v->has_siblings = vm->config->vcpus > 1;
    v->lapic.regs = apic_page;
    timer_init(&v->lapic_timer, vcpu_lapic_timer_expired);
    if (fpu_create(v) != 0 || virt->vcpu_create(v) != 0)
        return NULL;
    return v;
}

INIT struct vm *vm_create(const struct vm_config *config)
{
    struct vm *vm = page_alloc_contiguous(pages_of(sizeof(*vm)), 1);

    if (!vm)
        return NULL;
    vm->config = config;
    vm->lock = (struct spinlock)SPINLOCK(LOCK_VM_DEVICES, "VM's devices");
    vm->request_lock = (struct spinlock)SPINLOCK(LOCK_VM_REQUEST, "VM's request");
    vm->index = vm_count;
    vm->home = (unsigned int)__builtin_ctzll(config->cpus);
    format(vm->end_text, sizeof(vm->end_text), "not started");
    for (unsigned int i = 0; i < config->vcpus; i++) {
        vm->vcpus[i] = vcpu_create(vm, i);
        if (!vm->vcpus[i])
            return NULL; /* boot stops: nothing is taken apart */
    }
    vm->vcpu_count = config->vcpus;
    platform_reset(vm);
    cpuid_add_vm(config->vcpus);
    vms[vm_count++] = vm;
    return vm;
}

void vm_free_memory(struct vm *vm)
{
    for (unsigned int i = 0; i < vm->region_count; i++) {
        if (frame_free(vm->regions[i].hpa, vm->regions[i].size) != 0) {
            log_error("%s: memory at 0x%llx was not allocated", vm_name(vm),
                      (unsigned long long)vm->regions[i].hpa);
        }
    }
    vm->region_count = 0;
    pt_destroy(&vm->nested);
}

/* Lays the runs out from GPA 0, with the gap below 4 GiB. */
static int place_runs(struct vm *vm, const struct frame_run *runs, unsigned int count)
{
    uint64_t gpa = 0;

    vm->ram_low = MIN(vm->config->memory, LOW_RAM_MAX);
    vm->ram_high = vm->config->memory - vm->ram_low;
    for (unsigned int i = 0; i < count; i++) {
        uint64_t hpa = runs[i].base;
        uint64_t left = runs[i].size;
        while (left > 0) {
            if (gpa == LOW_RAM_MAX)
                gpa = HIGH_RAM;
            uint64_t n = gpa < LOW_RAM_MAX ? MIN(left, LOW_RAM_MAX - gpa) : left;
            if (vm->region_count == VM_REGIONS_MAX)
                return -BH_ENOMEM;
            vm->regions[vm->region_count++] = (struct vm_region){gpa, hpa, n};
            gpa += n;
            hpa += n;
            left -= n;
        }
    }
    return 0;
}

static void log_pool_empty(const struct vm *vm)
{
    log_error("%s: the core's own memory is used up: raise [core] memory", vm_name(vm));
}

int vm_map_step(struct vm *vm, uint64_t limit)
{
    const struct vm_region *r = &vm->regions[vm->step_region];
    uint64_t at = vm->step_offset, size = MIN(limit, r->size - at);
    int err = pt_map(&vm->nested, r->gpa + at, r->hpa + at, size, PT_READ | PT_WRITE | PT_EXEC);

    vm->step_offset += size;
    if (vm->step_offset == r->size) {
        vm->step_region++;
        vm->step_offset = 0;
    }
    if (!err && vm->step_region == vm->region_count)
        err = pt_unmap(&vm->nested, VM_VGA_BASE, VM_VGA_SIZE);
    if (err)
        log_pool_empty(vm);
    return err ? err : vm->step_region < vm->region_count;
}

int vm_alloc_memory(struct vm *vm)
{
    struct frame_run runs[VM_REGIONS_MAX - 1]; /* one may be cut in two by the gap */
    unsigned int count;
    int err = frame_alloc(vm->config->memory, runs, ARRAY_SIZE(runs), &count);

    if (err) {
        log_error("%s: memory: found %llu MiB, expected at most the %llu MiB that are free",
                  vm_name(vm), (unsigned long long)(vm->config->memory / MIB),
                  (unsigned long long)(frame_free_bytes() / MIB));
        return err;
    }
    vm->region_count = 0;
    err = place_runs(vm, runs, count);
    if (!err)
        err = pt_create(&vm->nested, virt->nested_format);
    if (err) {
        log_pool_empty(vm);
        vm_free_memory(vm);
    }
    vm->step_region = 0;
    vm->step_offset = 0;
    return err;
}

int vm_load_kernel(struct vm *vm)
{
    struct blob kernel;
    struct blob initrd;
    struct load_module modules[LOAD_MODULES_MAX];
    static_assert(CONFIG_VM_MODULES_MAX <= LOAD_MODULES_MAX, "each has a place");
    struct load_request request = {
        .vm = vm,
        .list = &vm->loading,
        .vm_name = vm_name(vm),
        .kernel = &kernel,
        .modules = modules,
        .module_count = vm->config->module_count,
        .cmdline = vm->config->cmdline,
        .ram_low = vm->ram_low,
        .ram_high = vm->ram_high,
        .force_32bit = vm->config->entry32,
    };
    int err = module_blob(vm->config->kernel, &kernel);

    if (!err && vm->config->initrd[0] != '\0') {
        err = module_blob(vm->config->initrd, &initrd);
        request.initrd = &initrd;
    }
    for (unsigned int i = 0; i < vm->config->module_count && !err; i++) {
        err = module_blob(vm->config->modules[i].name, &modules[i].blob);
        modules[i].arguments = vm->config->modules[i].arguments;
    }
    if (!err)
        err = guest_acpi_build(vm, vm->vcpu_count, &request.rsdp_gpa);
    return err ? err : kernel_load(&request, &vm->entry);
}

int vm_load_step(struct vm *vm, uint64_t limit)
{
    const struct load_request request = {.vm = vm, .list = &vm->loading, .vm_name = vm_name(vm)};

    return load_step(&request, limit);
}
