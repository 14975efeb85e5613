/* The Linux loader, on an arbitrary kernel file, sizes and memory.
 *
 * Input: struct params, the command line, then the file's first bytes; what follows in the file
 * is zeros, up to the size that the parameters say. The guest's memory keeps no content, only the
 * rules: a refused kernel writes nothing, a loaded one nothing but RAM and nothing twice. */

#include <stdint.h>
#include <string.h>

#include "lib/error.h"
#include "lib/macros.h"
#include "tests/fuzz/loader_input.h"
#include "tests/fuzz/require.h"
#include "tests/unit/host_log.h"
#include "vmm/guest_memory.h"
#include "vmm/loader/bzimage.h"
#include "vmm/loader/loader_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct params {
    uint8_t flags;
    uint16_t low_mib, high_mib;
    uint32_t initrd_size;
    uint32_t kernel_size;
    uint8_t cmdline_len;
} PACKED;

enum { HAS_INITRD = 1, FORCE_32BIT = 2, CUSTOM_MAP = 8 };

struct vm {
    const struct guest_e820_entry *map;
    unsigned int count;
    unsigned int writes;
};

static bool in_ram(const struct vm *vm, uint64_t gpa, uint64_t len)
{
    return guest_e820_is_ram(vm->map, vm->count, gpa, len);
}

int guest_check(const struct vm *vm, uint64_t gpa, uint64_t len)
{
    REQUIRE(in_ram(vm, gpa, len));
    return 0;
}

int guest_write(struct vm *vm, uint64_t gpa, const void *src, size_t len)
{
    volatile uint8_t sink = 0;

    for (size_t i = 0; i < len; i++)
        sink = (uint8_t)(sink + ((const uint8_t *)src)[i]);
    REQUIRE(in_ram(vm, gpa, len));
    vm->writes++;
    return 0;
}

int guest_fill(struct vm *vm, uint64_t gpa, uint8_t byte, size_t len)
{
    (void)byte;
    REQUIRE(in_ram(vm, gpa, len));
    vm->writes++;
    return 0;
}

static int file_copy(void *ctx, struct vm *vm, uint64_t gpa, uint64_t offset, uint64_t len)
{
    const struct file *f = ctx;

    REQUIRE(offset <= f->size && len <= f->size - offset);
    REQUIRE(in_ram(vm, gpa, len));
    vm->writes++;
    return 0;
}

static void check_apart(const struct guest_range *r, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        for (unsigned int k = 0; k < i; k++)
            REQUIRE(r[i].base >= r[k].base + r[k].size || r[k].base >= r[i].base + r[i].size ||
                    r[i].size == 0 || r[k].size == 0);
    }
}

/* What the plan promises, checked on the plan itself. */
static void check_plan(const struct load_request *req, const struct guest_entry *entry)
{
    static char err[256];
    struct bzimage image;
    struct linux_plan plan;
    const struct load_job job = {req, req->cmdline, req->vm->map, req->vm->count, err, sizeof(err)};

    REQUIRE(bzimage_parse(&image, req->kernel, err, sizeof(err)) == 0);
    REQUIRE(linux_plan(&plan, &image, &job) == 0);

    const struct guest_range ranges[] = {
        {plan.kernel_gpa, plan.kernel_size},
        {plan.initrd_gpa, plan.initrd_size},
        {plan.gdt_gpa, 4096},
        {plan.page_tables_gpa, LINUX_PAGE_TABLES * 4096},
        {plan.boot_params_gpa, 4096},
        {plan.cmdline_gpa, plan.cmdline_size},
    };

    check_apart(ranges, ARRAY_SIZE(ranges));
    for (unsigned int i = 0; i < ARRAY_SIZE(ranges); i++) {
        REQUIRE(ranges[i].base + ranges[i].size <= 4 * GIB);
        REQUIRE(ranges[i].size == 0 || in_ram(req->vm, ranges[i].base, ranges[i].size));
    }
    REQUIRE(plan.kernel_size >= image.image_size);
    REQUIRE(!image.relocatable || plan.kernel_gpa % image.alignment == 0);
    REQUIRE(plan.initrd_size == 0 ||
            plan.initrd_gpa + plan.initrd_size - 1 <= image.initrd_addr_max);
    REQUIRE(entry->long_mode == plan.long_mode && entry->rip == plan.entry_gpa);
    REQUIRE(entry->rsi == plan.boot_params_gpa);
    REQUIRE(!plan.long_mode || plan.kernel_size > BZIMAGE_ENTRY_64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct guest_e820_entry map[GUEST_E820_PC_MAX];
    static char cmdline[256], err[256];
    struct params p;

    if (size < sizeof(p))
        return 0;
    memcpy(&p, data, sizeof(p));
    data += sizeof(p);
    size -= sizeof(p);

    size_t length = MIN(size, (size_t)p.cmdline_len);

    memcpy(cmdline, data, length);
    cmdline[length] = '\0';

    struct file kernel_file = {data + length, size - length, p.kernel_size};
    struct file initrd_file = {data, 0, p.initrd_size};
    const struct blob kernel = {"vmlinuz", p.kernel_size, file_read, file_copy, &kernel_file};
    const struct blob initrd = {"initrd", p.initrd_size, file_read, file_copy, &initrd_file};
    struct vm vm = {.map = memory_with_holes, .count = ARRAY_SIZE(memory_with_holes)};
    struct load_request req = {.vm = &vm,
                               .vm_name = "fuzz",
                               .kernel = &kernel,
                               .initrd = p.flags & HAS_INITRD ? &initrd : NULL,
                               .cmdline = cmdline,
                               .ram_low = p.low_mib * MIB,
                               .ram_high = p.high_mib * MIB,
                               .force_32bit = p.flags & FORCE_32BIT,
                               .err = err,
                               .err_size = sizeof(err)};
    struct guest_entry entry;
    static struct load_list list;

    if (p.flags & CUSTOM_MAP) {
        req.e820 = memory_with_holes;
        req.e820_count = vm.count;
    } else {
        vm.map = map;
        vm.count = guest_e820_pc(map, req.ram_low, req.ram_high);
    }
    host_log_clear();
    err[0] = '\0';
    req.list = &list;
    if (kernel_load(&req, &entry) == 0) {
        while (load_step(&req, 1 * MIB) > 0)
            ;
        /* Other kinds of kernel keep to the rules of writing, too; the rest is their fuzzer's. */
        if (linux_probe(&kernel))
            check_plan(&req, &entry);
        else
            REQUIRE(multiboot_probe(&kernel));
        REQUIRE(err[0] == '\0');
    } else {
        /* The fake files and memory never fail, so that every refusal comes before any write. */
        REQUIRE(vm.writes == 0);
        REQUIRE(err[0] != '\0' && strlen(err) < sizeof(err));
    }
    return 0;
}
