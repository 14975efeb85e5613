/* The multiboot loader, on an arbitrary kernel file, sizes and memory.
 *
 * Input: struct params, then the file's first bytes; what follows in the file is zeros, up to the
 * size that the parameters say. The guest's memory keeps no content, only the rules: a refused
 * kernel writes nothing, a loaded one nothing but RAM, and nothing twice. */

#include <stdint.h>
#include <string.h>

#include "boot/multiboot1.h"
#include "lib/error.h"
#include "lib/macros.h"
#include "tests/fuzz/loader_input.h"
#include "tests/fuzz/require.h"
#include "tests/unit/host_log.h"
#include "vmm/guest_memory.h"
#include "vmm/loader/loader_internal.h"
#include "vmm/loader/multiboot_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct params {
    uint8_t flags; /* CUSTOM_MAP, HAS_INITRD */
    uint8_t modules;
    uint16_t low_mib, high_mib;
    uint32_t kernel_size;
    uint32_t module_size; /* of the first; each further one has half of it */
} PACKED;

enum { CUSTOM_MAP = 2, HAS_INITRD = 4 };

#define WRITES_MAX 8192

struct vm {
    const struct guest_e820_entry *map;
    unsigned int count;
    struct guest_range writes[WRITES_MAX];
    unsigned int write_count;
};

/* Nothing is written twice; pieces that follow each other are one range. */
static int note_write(struct vm *vm, uint64_t gpa, uint64_t len)
{
    if (len == 0)
        return 0;
    REQUIRE(guest_e820_is_ram(vm->map, vm->count, gpa, len));
    for (unsigned int i = 0; i < vm->write_count; i++) {
        const struct guest_range *w = &vm->writes[i];
        REQUIRE(gpa >= w->base + w->size || w->base >= gpa + len);
    }
    for (unsigned int i = 0; i < vm->write_count; i++) {
        struct guest_range *w = &vm->writes[i];
        if (w->base + w->size == gpa) {
            w->size += len;
            return 0;
        }
    }
    REQUIRE(vm->write_count < WRITES_MAX);
    vm->writes[vm->write_count++] = (struct guest_range){gpa, len};
    return 0;
}

int guest_check(const struct vm *vm, uint64_t gpa, uint64_t len)
{
    REQUIRE(len == 0 || guest_e820_is_ram(vm->map, vm->count, gpa, len));
    return 0;
}

int guest_write(struct vm *vm, uint64_t gpa, const void *src, size_t len)
{
    volatile uint8_t sink = 0;

    for (size_t i = 0; i < len; i++)
        sink = (uint8_t)(sink + ((const uint8_t *)src)[i]);
    return note_write(vm, gpa, len);
}

int guest_fill(struct vm *vm, uint64_t gpa, uint8_t byte, size_t len)
{
    (void)byte;
    return note_write(vm, gpa, len);
}

static int file_copy(void *ctx, struct vm *vm, uint64_t gpa, uint64_t offset, uint64_t len)
{
    const struct file *f = ctx;

    REQUIRE(offset <= f->size && len <= f->size - offset);
    return note_write(vm, gpa, len);
}

/* What a loaded kernel may count on. */
static void check_loaded(const struct load_request *req, const struct guest_entry *entry)
{
    static char err[256];
    struct multiboot_image image;
    bool entry_in_segment = false;

    REQUIRE(multiboot_image_parse(&image, req->kernel, err, sizeof(err)) == 0);
    REQUIRE(image.segment_count >= 1 && image.segment_count <= MULTIBOOT_SEGMENTS_MAX);
    for (unsigned int i = 0; i < image.segment_count; i++) {
        const struct multiboot_segment *s = &image.segments[i];

        REQUIRE(s->size > 0 && s->filled <= s->size && s->gpa + s->size <= 4 * GIB);
        REQUIRE(s->offset <= req->kernel->size && s->filled <= req->kernel->size - s->offset);
        entry_in_segment |= entry->rip - s->gpa < s->size;
    }
    REQUIRE(entry_in_segment && entry->rip == image.entry && !entry->long_mode);
    REQUIRE(entry->rax == MULTIBOOT1_MAGIC && entry->rbx < 4 * GIB);
}

static void run(const struct params *p, struct file *kernel_file)
{
    static struct guest_e820_entry map[GUEST_E820_PC_MAX];
    static struct load_module modules[LOAD_MODULES_MAX];
    static struct file files[LOAD_MODULES_MAX];
    static struct vm vm;
    static char err[256];
    const struct blob kernel = {"kernel", p->kernel_size, file_read, file_copy, kernel_file};
    struct load_request req = {.vm = &vm,
                               .vm_name = "fuzz",
                               .kernel = &kernel,
                               .modules = modules,
                               .module_count = p->modules % (LOAD_MODULES_MAX + 1),
                               .cmdline = "a b c",
                               .ram_low = p->low_mib * MIB,
                               .ram_high = p->high_mib * MIB,
                               .err = err,
                               .err_size = sizeof(err)};
    struct guest_entry entry;
    static struct load_list list;

    for (unsigned int i = 0; i < req.module_count; i++) {
        files[i] = (struct file){NULL, 0, p->module_size >> i};
        modules[i] = (struct load_module){
            {"module", files[i].size, file_read, file_copy, &files[i]}, i % 2 == 0 ? "x=y" : ""};
    }
    if (p->flags & HAS_INITRD)
        req.initrd = &kernel;
    vm.write_count = 0;
    vm.map = p->flags & CUSTOM_MAP ? memory_with_holes : map;
    vm.count = p->flags & CUSTOM_MAP ? ARRAY_SIZE(memory_with_holes)
                                     : guest_e820_pc(map, req.ram_low, req.ram_high);
    if (p->flags & CUSTOM_MAP) {
        req.e820 = memory_with_holes;
        req.e820_count = vm.count;
    }
    host_log_clear();
    err[0] = '\0';
    if (!multiboot_probe(&kernel) || linux_probe(&kernel))
        return;
    req.list = &list;
    if (kernel_load(&req, &entry) == 0) {
        while (load_step(&req, 1 * MIB) > 0)
            ;
        check_loaded(&req, &entry);
        REQUIRE(err[0] == '\0');
    } else {
        /* The fake files and memory never fail, so that every refusal comes before any write. */
        REQUIRE(vm.write_count == 0);
        REQUIRE(err[0] != '\0' && strlen(err) < sizeof(err));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct params p;
    struct file kernel_file;

    if (size < sizeof(p))
        return 0;
    memcpy(&p, data, sizeof(p));
    kernel_file = (struct file){data + sizeof(p), size - sizeof(p), p.kernel_size};
    run(&p, &kernel_file);
    return 0;
}
