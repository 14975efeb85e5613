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
#include "vmm/guest_memory_bulk.h"
#include "vmm/loader/guest_acpi.h"
#include "vmm/loader/loader.h"
#include "vmm/modules.h"
#include "vmm/platform.h"
#include "vmm/pvclock.h"
#include "vmm/sched.h"

/* The virtual PC's address space: RAM up to the PCI window of the DSDT at the most, the rest from
 * 4 GiB on. The VGA frame buffer's place is a hole. */
#define LOW_RAM_MAX 0xc0000000ull
#define HIGH_RAM    (4 * GIB)
/* Memory that is scrubbed without looking at anything else in between. */
#define SCRUB_STEP               (4 * MIB)
#define MISC_ENABLE_FAST_STRINGS 1ull
#define PAT_RESET                0x0007040600070406ull
#define MTRR_WB_ON               0xc06ull /* enabled, fixed ranges too, default write-back: as firmware does */
#define MTRR_ALL_WB              0x0606060606060606ull

struct vm *vms[CONFIG_MAX_VMS];
unsigned int vm_count;
enum config_done vm_when_done;
bool vm_when_done_armed;
bool vm_requests_waiting;
unsigned int vm_ending_count;

static unsigned int pages_of(size_t size)
{
    return (unsigned int)(ALIGN_UP(size, PAGE_SIZE_4K) / PAGE_SIZE_4K);
}

static struct vcpu *vcpu_create(struct vm *vm)
{
    struct vcpu *v = page_alloc_contiguous(pages_of(sizeof(*v)), 1);
    uint32_t *apic_page = page_alloc();

    if (!v || !apic_page)
        return NULL;
    v->vm = vm;
    v->lapic.regs = apic_page;
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
    vm->index = vm_count;
    format(vm->end_text, sizeof(vm->end_text), "not started");
    vm->vcpu = vcpu_create(vm);
    if (!vm->vcpu)
        return NULL; /* boot stops: nothing is taken apart */
    platform_reset(vm);
    timer_init(&vm->vcpu->lapic_timer, vcpu_lapic_timer_expired);
    vms[vm_count++] = vm;
    return vm;
}

/* Gives memory back that has been scrubbed, or never used. */
static void free_memory(struct vm *vm)
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

static int map_regions(struct vm *vm)
{
    int err = pt_create(&vm->nested, virt->nested_format);

    for (unsigned int i = 0; i < vm->region_count && !err; i++) {
        const struct vm_region *r = &vm->regions[i];
        err = pt_map(&vm->nested, r->gpa, r->hpa, r->size, PT_READ | PT_WRITE | PT_EXEC);
    }
    return err ? err : pt_unmap(&vm->nested, VM_VGA_BASE, VM_VGA_SIZE);
}

static int alloc_memory(struct vm *vm)
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
        err = map_regions(vm);
    if (err) {
        log_error("%s: the core's own memory is used up: raise [core] memory", vm_name(vm));
        free_memory(vm);
    }
    return err;
}

static int load_kernel(struct vm *vm, struct guest_entry *entry)
{
    struct blob kernel;
    struct blob initrd;
    struct load_module modules[LOAD_MODULES_MAX];
    static_assert(CONFIG_VM_MODULES_MAX <= LOAD_MODULES_MAX, "each has a place");
    struct load_request request = {
        .vm = vm,
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
        err = guest_acpi_build(vm, &request.rsdp_gpa);
    return err ? err : kernel_load(&request, entry);
}

/* CPU state as the kernel's boot protocol wants it. */
static void reset_vcpu(struct vm *vm, const struct guest_entry *entry)
{
    struct vcpu *v = vm->vcpu;
    struct vcpu_sysregs regs = {0};
    uint32_t *apic_page = v->lapic.regs;
    const struct segment unusable_ldt = {.attrib = 0x082, .limit = 0xffff};
    const struct segment busy_tss = {.attrib = 0x08b, .limit = 0xffff};

    regs.cr0 = entry->cr0;
    regs.cr3 = entry->cr3;
    regs.cr4 = entry->cr4;
    regs.efer = entry->efer;
    regs.gdtr = (struct segment){.base = entry->gdt_gpa, .limit = entry->gdt_limit};
    for (unsigned int i = 0; i < SEG_COUNT; i++)
        regs.seg[i] = entry->data;
    regs.seg[SEG_CS] = entry->cs;
    regs.ldtr = unusable_ldt;
    regs.tr = busy_tss;
    memset(v->gpr, 0, sizeof(v->gpr));
    v->gpr[GPR_RAX] = entry->rax;
    v->gpr[GPR_RBX] = entry->rbx;
    v->gpr[GPR_RSI] = entry->rsi;
    v->rip = entry->rip;
    v->rflags = RFLAGS_ONE;
    v->pending = PENDING_REGISTERS;
    v->in_shadow = false;
    v->nmi_blocked = false;
    v->pat = PAT_RESET;
    v->mtrr_def_type = MTRR_WB_ON;
    memset(v->mtrr_variable, 0, sizeof(v->mtrr_variable));
    for (unsigned int i = 0; i < ARRAY_SIZE(v->mtrr_fixed); i++)
        v->mtrr_fixed[i] = MTRR_ALL_WB;
    v->misc_enable = MISC_ENABLE_FAST_STRINGS;
    v->tsc_adjust = v->tsc_aux = v->mcg_status = v->hwcr = 0;
    v->kvm_system_time = v->pv_eoi = 0;
    v->pv_eoi_offered = false;
    memset(v->dr, 0, sizeof(v->dr));
    v->dr_live = false;
    fpu_reset(v);
    code_cache_reset(&v->code);
    lapic_init(&v->lapic, apic_page, v->id, true, &platform_lapic_ops, v);
    lapic_set_virtual_wire(&v->lapic);
    virt->vcpu_reset(v, &regs);
    /* The guest's TSC starts at 0. */
    v->tsc_offset = -rdtsc();
    virt->set_tsc_offset(v, v->tsc_offset);
}

static void begin_scrub(struct vm *vm)
{
    vm->state = VM_ENDING;
    vm->scrub_region = 0;
    vm->scrub_offset = 0;
    vm_ending_count++;
}

int vm_start(struct vm *vm)
{
    static uint64_t starts;
    struct guest_entry entry;
    int err;

    if (vm->state != VM_OFF)
        return -BH_EBUSY;
    err = alloc_memory(vm);
    if (!err) {
        err = load_kernel(vm, &entry);
        if (err) {
            /* What had been loaded was the VM's own; still, nobody else is to find it. */
            begin_scrub(vm);
        }
    }
    if (err) {
        format(vm->end_text, sizeof(vm->end_text), "could not be started");
        return err;
    }
    speculation_flush_l1d(); /* of what was loaded */
    vm->serial = ++starts;
    platform_reset(vm);
    reset_vcpu(vm, &entry);
    vm->request = VM_REQUEST_NONE;
    vm->logged_msr = vm->logged_port = vm->logged_mmio = vm->logged_insn = false;
    vm->logged_task_switch = false;
    vm->state = VM_RUNNING;
    vm_when_done_armed = true;
    vm->vcpu->state = VCPU_RUNNABLE;
    sched_enqueue(vm->vcpu);
    log_info("%s: started, %llu MiB, entry 0x%llx in %s mode", vm_name(vm),
             (unsigned long long)(vm->config->memory / MIB), (unsigned long long)entry.rip,
             entry.long_mode ? "64-bit" : "32-bit");
    return 0;
}

/* Takes a running VM off the CPU and begins to end it. The reason is in end_text. */
static void begin_end(struct vm *vm)
{
    sched_remove(vm->vcpu);
    platform_stop(vm);
    console_vm_end(vm);
    vm->request = VM_REQUEST_NONE;
    begin_scrub(vm);
}

void vm_stop(struct vm *vm, const char *why)
{
    if (vm->state != VM_RUNNING && !vm->start_again)
        return;
    vm->start_again = false;
    format(vm->end_text, sizeof(vm->end_text), "%s", why);
    if (vm->state == VM_RUNNING)
        begin_end(vm);
}

static void end(struct vm *vm)
{
    vm->state = VM_OFF;
    vm_ending_count--;
    free_memory(vm);
    log_info("%s: ended: %s; its %llu MiB are scrubbed and free", vm_name(vm), vm->end_text,
             (unsigned long long)(vm->config->memory / MIB));
    if (vm->start_again) {
        vm->start_again = false;
        if (vm_start(vm) != 0)
            log_error("%s: could not be started again", vm_name(vm));
    }
}

static void scrub(struct vm *vm)
{
    uint64_t left = SCRUB_STEP;

    while (left > 0 && vm->scrub_region < vm->region_count) {
        const struct vm_region *region = &vm->regions[vm->scrub_region];
        uint64_t n = MIN(left, region->size - vm->scrub_offset);
        physical_scrub(region->hpa + vm->scrub_offset, n);
        vm->scrub_offset += n;
        left -= n;
        if (vm->scrub_offset == region->size) {
            vm->scrub_region++;
            vm->scrub_offset = 0;
        }
    }
    if (vm->scrub_region == vm->region_count)
        end(vm);
}

void vm_scrub_step(void)
{
    for (unsigned int i = 0; i < vm_count; i++) {
        if (vms[i]->state == VM_ENDING) {
            scrub(vms[i]);
            return;
        }
    }
}

void vm_request(struct vm *vm, enum vm_request request, const char *fmt, ...)
{
    va_list ap;

    /* The first one counts, but a VM that is to end does not start again. */
    if (vm->request != VM_REQUEST_NONE &&
        !(vm->request == VM_REQUEST_RESET && request == VM_REQUEST_OFF))
        return;
    vm->request = request;
    vm_requests_waiting = true;
    sched_leave();
    va_start(ap, fmt);
    format_v(vm->end_text, sizeof(vm->end_text), fmt, ap);
    va_end(ap);
}

static void emit_to_log(const char *text, size_t len)
{
    log_error("  %.*s", (int)len, text);
}

static void handle_request(struct vm *vm)
{
    enum vm_request request = vm->request;

    if (request == VM_REQUEST_CRASH) {
        console_vm_end(vm);
        log_error("%s: crashed: %s", vm_name(vm), vm->end_text);
        vm_dump(vm, emit_to_log);
    }
    begin_end(vm);
    vm->start_again = request == VM_REQUEST_RESET;
}

void vm_handle_requests(void)
{
    vm_requests_waiting = false;
    for (unsigned int i = 0; i < vm_count; i++)
        if (vms[i]->state == VM_RUNNING && vms[i]->request != VM_REQUEST_NONE)
            handle_request(vms[i]);
}

bool vm_all_off(void)
{
    for (unsigned int i = 0; i < vm_count; i++)
        if (vms[i]->state != VM_OFF)
            return false;
    return true;
}
