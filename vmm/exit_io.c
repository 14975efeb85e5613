/* Ports and device memory: what the instruction does is the emulator's business
 * (vmm/emulate/), who answers is the platform's. This file connects the two with a vCPU. */

#include "vmm/exit.h"

#include "arch/x86/asm.h"
#include "arch/x86/mm/window_path.h"
#include "arch/x86/virt.h"
#include "lib/error.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmm/cpuid.h"
#include "vmm/emulate/emulate.h"
#include "vmm/guest_memory_bulk.h"
#include "vmm/platform.h"
#include "vmm/sched.h"
#include "vmm/vm.h"

#define BYTES_PER_WORD 3 /* two hex digits and a space */

static void emu_read(void *ctx, uint64_t gpa, void *buf, unsigned int len)
{
    struct vcpu *v = ctx;

    if (guest_read(v->vm, gpa, buf, len) != 0) {
        uint64_t value = platform_mmio_read(v, gpa);
        memcpy(buf, &value, len);
    }
}

static void emu_write(void *ctx, uint64_t gpa, const void *buf, unsigned int len)
{
    struct vcpu *v = ctx;

    if (guest_write(v->vm, gpa, buf, len) != 0) {
        uint64_t value = 0;
        memcpy(&value, buf, MIN(len, (unsigned int)sizeof(value)));
        platform_mmio_write(v, gpa, len, value);
    }
}

static int emu_read_ram(void *ctx, uint64_t gpa, void *buf, unsigned int len)
{
    struct vcpu *v = ctx;

    return guest_read(v->vm, gpa, buf, len);
}

static int emu_read_pte(void *ctx, uint64_t gpa, unsigned int size, uint64_t *pte)
{
    struct vcpu *v = ctx;

    return guest_read_pte(v->vm, gpa, size, pte);
}

/* TSC ticks that an iteration takes at most, or not much more: both operands in tables of their
 * own. */
#define ITERATION_TICKS 2048

/* By the end of a turn a string instruction has come to its end, too: then others wait. */
static unsigned int emu_time_for(void *ctx, unsigned int count)
{
    uint64_t now = rdtsc(), until = rq_until(&this_cpu->queue);
    uint64_t left = until > now ? (until - now) / ITERATION_TICKS : 0;

    return (unsigned int)MIN((uint64_t)count, left);
}

static const struct emu_ops emu_ops = {
    .read = emu_read,
    .write = emu_write,
    .read_ram = emu_read_ram,
    .read_pte = emu_read_pte,
    .io_in = platform_in_string,
    .io_out = platform_out_string,
    .time_for = emu_time_for,
};

static void emu_cpu_get(struct vcpu *v, struct emu_cpu *cpu)
{
    struct vcpu_sysregs regs;

    virt->get_sysregs(v, &regs);
    *cpu = (struct emu_cpu){
        .gpr = v->gpr,
        .rip = v->rip,
        .rflags = v->rflags,
        .cr0 = regs.cr0,
        .cr3 = regs.cr3,
        .cr4 = regs.cr4,
        .efer = regs.efer,
        .cpl = regs.cpl,
    };
    memcpy(cpu->seg, regs.seg, sizeof(cpu->seg));
}

static void raise_fault(struct vcpu *v, const struct emu_fault *fault)
{
    if (fault->vector == EXC_PF)
        vcpu_raise_page_fault(v, fault->cr2, fault->error_code);
    else if (fault->has_error)
        vcpu_raise_error(v, fault->vector, fault->error_code);
    else
        vcpu_raise(v, fault->vector);
}

/* Once a VM: what it executed that is not emulated. */
static void log_unknown(struct vcpu *v, struct emu_cpu *cpu, uint64_t gpa)
{
    uint8_t bytes[INSN_MAX_LENGTH];
    char text[INSN_MAX_LENGTH * BYTES_PER_WORD + 1] = "";
    struct emu_fault fault;
    size_t len = 0;

    if (v->vm->logged_insn)
        return;
    v->vm->logged_insn = true;
    if (emu_fetch(cpu, &emu_ops, v, bytes, &len, &fault) != EMU_DONE)
        len = 0;
    for (size_t i = 0; i < len; i++)
        format(text + i * BYTES_PER_WORD, BYTES_PER_WORD + 1, "%02x ", bytes[i]);
    log_warn("%s: instruction at 0x%llx on device address 0x%llx is not emulated, #UD: %s"
             "(further ones are not logged)",
             vm_name(v->vm), LLU(v->rip), LLU(gpa), text);
}

static enum exit_action finish(struct vcpu *v, struct emu_cpu *cpu, uint64_t gpa,
                               enum emu_result result, const struct emu_fault *fault)
{
    switch (result) {
    case EMU_DONE:
        v->rip = cpu->rip;
        v->rflags = cpu->rflags;
        v->pending |= PENDING_REGISTERS;
        vcpu_skip(v, 0);
        break;
    case EMU_RETRY:
        v->rflags = cpu->rflags;
        vcpu_end_shadow(v);
        sched_leave(); /* it has taken long: what waits for the CPU comes first */
        v->pending |= PENDING_REGISTERS | (v->rflags & RFLAGS_TF ? PENDING_DEBUG : 0);
        break;
    case EMU_WAIT: sched_give_way(); break;
    case EMU_FAULT: raise_fault(v, fault); break;
    case EMU_UNKNOWN:
        log_unknown(v, cpu, gpa);
        vcpu_raise(v, EXC_UD);
        break;
    }
    return EXIT_RESUME;
}

static int code_page(void *ctx, uint64_t gpa, uint64_t *pa)
{
    struct vcpu *v = ctx;

    return guest_physical(v->vm, gpa, pa);
}

static NOINLINE struct window_bytes walk_to_code(struct vcpu *v, struct code_walk *walk)
{
    struct code_mode mode;

    virt->get_code_mode(v, &mode);
    mode.cpu_mode = (uint8_t)emu_mode_of(mode.cr0, mode.efer, v->rflags, mode.cs.attrib);
    if (!code_cache_fill(&v->code, &mode, v->rip, code_page, v))
        return (struct window_bytes){0, 0};
    return window_path_read(&walk->path, &v->rip);
}

/* The bytes at CS:RIP, when they are to be had quickly, and the mode in walk->mode.cpu_mode; else
 * zeroes, which are no instruction that matters. */
static inline struct window_bytes read_code(struct vcpu *v, const struct code_walk **found)
{
    struct code_walk *walk = code_cache_walk(&v->code, v->rip);
    struct window_bytes bytes = {0, 0};
    uint64_t offset = v->rip % PAGE_SIZE_4K;

    *found = walk;
    if (unlikely(offset > PAGE_SIZE_4K - sizeof(bytes)))
        return bytes;
    if (likely(walk->rip_page == v->rip - offset && virt->in_code_mode(v, &walk->mode)))
        bytes = window_path_read(&walk->path, &v->rip);
    return likely(bytes.low) ? bytes : walk_to_code(v, walk);
}

static NOINLINE enum exit_action read_device(struct vcpu *v, uint64_t gpa, const struct insn *insn)
{
    emu_mov_finish(insn, v->gpr, platform_mmio_read(v, gpa));
    return EXIT_RESUME;
}

/* RIP is behind it already: nothing is left to be done afterwards. */
static inline enum exit_action access_device(struct vcpu *v, uint64_t gpa,
                                             const struct code_insn *code)
{
    if (!code->mov.write)
        return read_device(v, gpa, &code->insn);
    platform_mmio_write(v, gpa, code->mov.size, emu_mov_value(&code->insn, v->gpr));
    return EXIT_RESUME;
}

static NOINLINE enum exit_action skip_and_access(struct vcpu *v, uint64_t gpa,
                                                 const struct code_insn *code)
{
    vcpu_skip(v, code->insn.length);
    return access_device(v, gpa, code);
}

static NOINLINE enum exit_action any_mov(struct vcpu *v, uint64_t gpa, bool write,
                                         const struct code_insn *code)
{
    uint64_t base = code->mov.has_base ? virt->get_segment_base(v, code->insn.mem.seg) : 0;

    if (!emu_mov_fits(&code->mov, &code->insn, v->gpr, v->rip, base, gpa, write))
        return exit_nested_fault(v, gpa, write, false, false, NULL, 0);
    return skip_and_access(v, gpa, code);
}

static inline enum exit_action decoded_mov(struct vcpu *v, uint64_t gpa, bool write,
                                           const struct code_insn *code)
{
    if (unlikely(!emu_mov_fits_plainly(&code->mov, &code->insn, v->gpr, gpa, write)))
        return any_mov(v, gpa, write, code);
    if (unlikely(v->in_shadow || (v->rflags & (RFLAGS_RF | RFLAGS_TF))))
        return skip_and_access(v, gpa, code);
    v->rip += code->insn.length; /* in 64-bit mode */
    return access_device(v, gpa, code);
}

enum exit_action exit_decoded_mov(struct vcpu *v, uint64_t gpa, bool write,
                                  const struct code_insn *code)
{
    return decoded_mov(v, gpa, write, code);
}

enum exit_action exit_device_mov(struct vcpu *v, uint64_t gpa, bool write,
                                 const struct code_insn *code)
{
    struct window_bytes bytes = window_path_read(&code->walk->path, &v->rip);

    if (unlikely(!code_insn_is(code, bytes)))
        return exit_device_access(v, gpa, write);
    return decoded_mov(v, gpa, write, code);
}

enum exit_action exit_device_access(struct vcpu *v, uint64_t gpa, bool write)
{
    const struct code_walk *walk;
    const struct code_insn *code = NULL;
    struct window_bytes bytes = read_code(v, &walk);

    if (bytes.low)
        code = code_cache_decode(&v->code, walk->mode.cpu_mode, v->rip, walk, bytes);
    if (unlikely(!code || code->mov.size == 0))
        return exit_nested_fault(v, gpa, write, false, false, NULL, 0);
    return any_mov(v, gpa, write, code);
}

enum exit_action exit_nested_fault(struct vcpu *v, uint64_t gpa, bool write, bool fetch,
                                   bool table_walk, const uint8_t *bytes, unsigned int len)
{
    struct emu_cpu cpu;
    struct emu_fault fault;

    if (fetch) {
        vm_crash(v, "executes at 0x%llx, which is not memory", LLU(gpa));
        return EXIT_STOP;
    }
    if (table_walk) {
        vm_crash(v, "page table at 0x%llx, which is not memory", LLU(gpa));
        return EXIT_STOP;
    }
    emu_cpu_get(v, &cpu);
    cpu.hint = (struct emu_hint){.gpa = gpa, .valid = true, .write = write};
    return finish(v, &cpu, gpa, emu_step(&cpu, &emu_ops, v, bytes, len, &fault), &fault);
}

enum exit_action exit_string_io(struct vcpu *v)
{
    const struct code_walk *walk;
    const struct code_insn *code = NULL;
    struct window_bytes bytes = read_code(v, &walk);
    enum emu_result result;
    struct emu_fault fault;
    struct emu_cpu cpu;

    if (likely(bytes.low))
        code = code_cache_decode(&v->code, walk->mode.cpu_mode, v->rip, walk, bytes);
    emu_cpu_get(v, &cpu);
    result = likely(code) ? emu_execute(&cpu, &code->insn, &emu_ops, v, &fault)
                          : emu_step(&cpu, &emu_ops, v, NULL, 0, &fault);
    return finish(v, &cpu, (uint16_t)v->gpr[GPR_RDX], result, &fault);
}

static int fetch(struct vcpu *v, uint8_t bytes[INSN_MAX_LENGTH], enum cpu_mode *mode)
{
    struct emu_cpu cpu;
    struct emu_fault fault;
    size_t len;

    emu_cpu_get(v, &cpu);
    *mode = emu_mode(&cpu);
    switch (emu_fetch(&cpu, &emu_ops, v, bytes, &len, &fault)) {
    case EMU_DONE: return (int)len;
    case EMU_FAULT: raise_fault(v, &fault); return 0;
    default: return -BH_EFAULT;
    }
}

int exit_fetch(struct vcpu *v, uint8_t bytes[INSN_MAX_LENGTH], enum cpu_mode *mode)
{
    const struct code_walk *walk;
    struct window_bytes quick = read_code(v, &walk);

    if (quick.low == 0)
        return fetch(v, bytes, mode);
    *mode = walk->mode.cpu_mode;
    memcpy(bytes, &quick, INSN_MAX_LENGTH);
    return INSN_MAX_LENGTH;
}

static NOINLINE unsigned int long_way(struct vcpu *v, enum insn_id id)
{
    uint8_t bytes[INSN_MAX_LENGTH];
    enum cpu_mode mode;
    int len = fetch(v, bytes, &mode);

    if (len < 0)
        vm_crash(v, "executes at 0x%llx, which is not memory", LLU(v->rip));
    if (len <= 0)
        return 0;
    len = insn_length_of(bytes, (size_t)len, mode, id);
    return len > 0 ? (unsigned int)len : 0;
}

unsigned int exit_insn_length(struct vcpu *v, enum insn_id id)
{
    const struct code_walk *walk;
    int len = insn_plain_length((uint32_t)read_code(v, &walk).low, id);

    return likely(len > 0) ? (unsigned int)len : long_way(v, id);
}
