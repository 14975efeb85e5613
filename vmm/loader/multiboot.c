/* Writes a multiboot 1 kernel, its modules and its boot information into a VM (Multiboot 0.6.96,
 * sections 3.2 and 3.3). */

#include "arch/x86/regs.h"
#include "boot/multiboot1.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmm/guest_memory.h"
#include "vmm/loader/loader_internal.h"
#include "vmm/loader/multiboot_image.h"

#define LOADER_NAME    "Bulkhead"
#define FILES_MAX      (LOAD_MODULES_MAX + 1) /* and the initrd */
#define ADDRESS_END    (4 * GIB - 1)          /* all ends fit in 32 bits */
#define BLOCK_MIN      PAGE_SIZE_4K           /* page 0 would hold the BIOS data area */
#define MODULES_MIN    GUEST_BIOS_END
#define LOW_MEMORY_MAX (640 * KIB) /* section 3.3, "mem_lower" */

/* The whole structure, so that a kernel which reads fields without looking at the flags finds
 * zeros. */
struct info {
    struct mb1_info head;
    uint32_t drives_length, drives_addr;
    uint32_t config_table;
    uint32_t boot_loader_name;
    uint32_t apm_table;
    uint8_t vbe[16], framebuffer[28];
} PACKED;
static_assert(offsetof(struct info, boot_loader_name) == 64 && sizeof(struct info) == 116,
              "multiboot 1 layout");

/* Where everything goes. GDT, information, memory map, module list and strings are one block. */
struct plan {
    uint64_t gdt, info, mmap, modules, strings;
    uint64_t files[FILES_MAX]; /* GPA */
    struct guest_range used[MULTIBOOT_SEGMENTS_MAX + 1 + FILES_MAX];
    unsigned int used_count;
};

struct file {
    const struct blob *blob;
    const char *arguments;
};

/* The initrd, when there is one, is the first of the modules. */
static unsigned int file_count(const struct load_request *req)
{
    return req->module_count + (req->initrd ? 1 : 0);
}

static struct file file_at(const struct load_request *req, unsigned int i)
{
    if (req->initrd && i == 0)
        return (struct file){req->initrd, ""};

    const struct load_module *m = &req->modules[i - (req->initrd ? 1 : 0)];

    return (struct file){&m->blob, m->arguments};
}

/* "name" or "name arguments", with the terminator. */
static size_t string_size(const struct file *f)
{
    size_t arguments = strlen(f->arguments);

    return strlen(f->blob->name) + (arguments > 0 ? 1 + arguments : 0) + 1;
}

static void use(struct plan *plan, uint64_t gpa, uint64_t size)
{
    plan->used[plan->used_count++] = (struct guest_range){gpa, size};
}

static int place_segments(struct plan *out, const struct load_job *job,
                          const struct multiboot_image *image)
{
    for (unsigned int i = 0; i < image->segment_count; i++) {
        const struct multiboot_segment *s = &image->segments[i];

        if (!guest_e820_is_ram(job->map, job->count, s->gpa, s->size))
            REFUSE_JOB(-BH_ENOMEM,
                       "kernel \"%s\": segment %u is to stand from 0x%llx to 0x%llx, which is not "
                       "all RAM of this VM: it has %llu MiB below 4 GiB",
                       job->req->kernel->name, s->number, LLU(s->gpa), LLU(s->gpa + s->size - 1),
                       LLU(load_ram_below_4g(job) / MIB));
        use(out, s->gpa, s->size);
    }
    return 0;
}

static int place_block(struct plan *out, const struct load_job *job)
{
    const unsigned int files = file_count(job->req);
    uint64_t size, block;

    /* Offsets first. */
    out->info = FLAT_GDT_SIZE;
    out->mmap = out->info + sizeof(struct info);
    out->modules = out->mmap + job->count * sizeof(struct mb1_mmap_entry);
    out->strings = out->modules + files * sizeof(struct mb1_module);
    size = out->strings + strlen(job->cmdline) + 1 + sizeof(LOADER_NAME);
    for (unsigned int i = 0; i < files; i++) {
        const struct file f = file_at(job->req, i);

        size += string_size(&f);
    }
    if (guest_e820_lowest_free(job->map, job->count, size, PAGE_SIZE_4K, BLOCK_MIN, ADDRESS_END,
                               out->used, out->used_count, &block) != 0)
        REFUSE_JOB(-BH_ENOMEM, "no %llu KiB of RAM in one piece for boot data",
                   LLU(ALIGN_UP(size, KIB) / KIB));
    out->gdt = block;
    out->info += block;
    out->mmap += block;
    out->modules += block;
    out->strings += block;
    use(out, block, size);
    return 0;
}

static int place_files(struct plan *out, const struct load_job *job)
{
    for (unsigned int i = 0; i < file_count(job->req); i++) {
        const struct file f = file_at(job->req, i);
        uint64_t size = MAX(f.blob->size, 1ull); /* also an empty one has a place of its own */

        if (guest_e820_lowest_free(job->map, job->count, size, PAGE_SIZE_4K, MODULES_MIN,
                                   ADDRESS_END, out->used, out->used_count, &out->files[i]) != 0)
            REFUSE_JOB(-BH_ENOMEM,
                       "memory is too small for module \"%s\": it needs %llu KiB in one piece "
                       "besides kernel \"%s\", there are %llu MiB in all below 4 GiB",
                       f.blob->name, LLU(f.blob->size / KIB + 1), job->req->kernel->name,
                       LLU(load_ram_below_4g(job) / MIB));
        use(out, out->files[i], size);
    }
    return 0;
}

static int write_segments(const struct load_job *job, const struct multiboot_image *image)
{
    int rc = 0;

    for (unsigned int i = 0; i < image->segment_count && rc == 0; i++) {
        const struct multiboot_segment *s = &image->segments[i];

        rc = load_later(job, job->req->kernel, s->gpa, s->offset, s->filled);
        if (rc == 0)
            rc = load_later(job, NULL, s->gpa + s->filled, 0, s->size - s->filled);
    }
    return rc;
}

/* Writes one thing behind the other; the first failure stays. */
struct writer {
    struct vm *vm;
    uint64_t at;
    int rc;
};

static void put(struct writer *w, const void *data, size_t size)
{
    if (w->rc == 0)
        w->rc = guest_write(w->vm, w->at, data, size);
    w->at += size;
}

static void put_mmap(struct writer *w, const struct load_job *job)
{
    for (unsigned int i = 0; i < job->count; i++) {
        const struct mb1_mmap_entry entry = {
            .size = sizeof(entry) - sizeof(entry.size),
            .base = job->map[i].base,
            .length = job->map[i].size,
            .type = job->map[i].type,
        };
        put(w, &entry, sizeof(entry));
    }
}

/* The module list, and the strings that it points to. */
static void put_modules(struct writer *list, struct writer *strings, const struct load_job *job,
                        const struct plan *plan)
{
    for (unsigned int i = 0; i < file_count(job->req); i++) {
        const struct file f = file_at(job->req, i);
        const struct mb1_module module = {
            .start = (uint32_t)plan->files[i],
            .end = (uint32_t)(plan->files[i] + f.blob->size),
            .string = (uint32_t)strings->at,
        };
        put(list, &module, sizeof(module));
        put(strings, f.blob->name, strlen(f.blob->name));
        if (f.arguments[0] != '\0') {
            put(strings, " ", 1);
            put(strings, f.arguments, strlen(f.arguments));
        }
        put(strings, "", 1);
    }
}

/* KiB of RAM in one piece from `from` on. */
static uint32_t kib_from(const struct load_job *job, uint64_t from, uint64_t max)
{
    for (unsigned int i = 0; i < job->count; i++) {
        const struct guest_e820_entry *e = &job->map[i];

        if (e->type == GUEST_E820_RAM && e->base <= from && from - e->base < e->size)
            return (uint32_t)(MIN(e->size - (from - e->base), max) / KIB);
    }
    return 0;
}

static int write_block(const struct load_job *job, const struct plan *plan, struct guest_entry *out)
{
    struct vm *vm = job->req->vm;
    const unsigned int files = file_count(job->req);
    struct info info = {
        .head = {.flags = MB1_FLAG_MEMORY | MB1_FLAG_CMDLINE | MB1_FLAG_MMAP | MB1_FLAG_LOADER |
                          (files > 0 ? MB1_FLAG_MODULES : 0),
                 .mem_lower = kib_from(job, 0, LOW_MEMORY_MAX),
                 .mem_upper = kib_from(job, MIB, ADDRESS_END),
                 .cmdline = (uint32_t)plan->strings,
                 .mods_count = files,
                 .mods_addr = (uint32_t)plan->modules,
                 .mmap_length = job->count * (uint32_t)sizeof(struct mb1_mmap_entry),
                 .mmap_addr = (uint32_t)plan->mmap},
    };
    struct writer head = {vm, plan->info, 0}, list = {vm, plan->modules, 0};
    struct writer strings = {vm, plan->strings, 0};

    put(&strings, job->cmdline, strlen(job->cmdline) + 1);
    info.boot_loader_name = (uint32_t)strings.at;
    put(&strings, LOADER_NAME, sizeof(LOADER_NAME));
    put_modules(&list, &strings, job, plan);
    put(&head, &info, sizeof(info));
    put_mmap(&head, job);
    if (head.rc != 0 || list.rc != 0 || strings.rc != 0)
        return -BH_EFAULT;
    return load_flat_gdt(vm, plan->gdt, false, out);
}

static_assert(2 * MULTIBOOT_SEGMENTS_MAX + FILES_MAX <= LOAD_COPIES_MAX, "load_later()");

/* All that goes into the VM; `what` says which failed. */
static int write_all(const struct load_job *job, const struct multiboot_image *image,
                     const struct plan *plan, struct guest_entry *out, const char **what)
{
    int rc;

    *what = job->req->kernel->name;
    rc = write_segments(job, image);
    for (unsigned int i = 0; i < file_count(job->req) && rc == 0; i++) {
        const struct file f = file_at(job->req, i);

        *what = f.blob->name;
        rc = load_later(job, f.blob, plan->files[i], 0, f.blob->size);
    }
    if (rc != 0)
        return rc;
    *what = "boot data";
    return write_block(job, plan, out);
}

int multiboot_load(const struct load_job *job, struct guest_entry *out)
{
    const struct load_request *req = job->req;
    struct multiboot_image image;
    struct plan plan = {0};
    const char *what;
    int rc = multiboot_image_parse(&image, req->kernel, job->err, job->err_size);

    if (rc == 0)
        rc = place_segments(&plan, job, &image);
    if (rc == 0)
        rc = place_block(&plan, job);
    if (rc == 0)
        rc = place_files(&plan, job);
    if (rc != 0)
        return rc;
    rc = write_all(job, &image, &plan, out, &what);
    if (rc != 0)
        return load_copy_failed(job, what, rc);
    if (image.flags & MULTIBOOT_VIDEO)
        log_info("vm %s: kernel \"%s\" asks for a video mode: there is no display", req->vm_name,
                 req->kernel->name);
    /* Section 3.2: protected mode without paging, A20 open (a VM's always is), interrupts off. */
    out->rip = image.entry;
    out->rax = MULTIBOOT1_MAGIC;
    out->rbx = plan.info;
    out->cr0 = CR0_PE | CR0_ET | CR0_NE;
    log_debug("vm %s: multiboot kernel, %s, %u segments, information at 0x%llx, %u modules",
              req->vm_name, image.format, image.segment_count, LLU(plan.info), file_count(req));
    return 0;
}
