#include "vmm/loader/loader.h"

#include "lib/log.h"
#include "lib/string.h"
#include "vmm/guest_memory.h"
#include "vmm/loader/loader_internal.h"

#define REASON_SIZE 256
#define PIECES      16 /* of a load_step() */

#define FLAT_CS     0x10
#define FLAT_DS     0x18
#define GDT_ENTRIES 4
#define FLAT_LIMIT  0xffffffffu
#define TYPE_CODE   0xbu /* executable, readable, accessed */
#define TYPE_DATA   0x3u /* writable, accessed */

/* The first one that knows the file's signature has it. */
static const struct {
    bool (*probe)(const struct blob *kernel);
    int (*load)(const struct load_job *job, struct guest_entry *out);
} kinds[] = {
    {linux_probe, linux_load},
    {multiboot_probe, multiboot_load},
};
#define KINDS_EXPECTED                                            \
    "a Linux bzImage (0x53726448, \"HdrS\", at offset 0x202) or " \
    "a multiboot 1 kernel (0x1badb002 within the first 8192 bytes)"

static struct segment flat_segment(uint16_t selector, unsigned int attrib)
{
    return (struct segment){
        .selector = selector,
        .attrib = (uint16_t)(attrib | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_G),
        .limit = FLAT_LIMIT,
    };
}

/* A flat segment's descriptor (SDM vol. 3, 3.4.5). */
static uint64_t descriptor(const struct segment *s)
{
    uint64_t limit = s->limit >> 12;

    return (limit & 0xffff) | (uint64_t)(s->attrib & 0xff) << 40 | (limit >> 16 & 0xf) << 48 |
           (uint64_t)(s->attrib >> 8 & 0xf) << 52;
}

int load_flat_gdt(struct vm *vm, uint64_t gpa, bool long_mode, struct guest_entry *out)
{
    uint64_t gdt[GDT_ENTRIES] = {0};

    static_assert(sizeof(gdt) == FLAT_GDT_SIZE, "callers keep this much room");
    out->cs = flat_segment(FLAT_CS, TYPE_CODE | (long_mode ? SEG_ATTR_L : SEG_ATTR_DB));
    out->data = flat_segment(FLAT_DS, TYPE_DATA | SEG_ATTR_DB);
    gdt[FLAT_CS / sizeof(gdt[0])] = descriptor(&out->cs);
    gdt[FLAT_DS / sizeof(gdt[0])] = descriptor(&out->data);
    out->gdt_gpa = gpa;
    out->gdt_limit = sizeof(gdt) - 1;
    return guest_write(vm, gpa, gdt, sizeof(gdt));
}

static int copy_failed(char *err, size_t err_size, const char *what, int rc)
{
    format(err, err_size, "%s cannot be %s (error %d)", what,
           rc == -BH_EFAULT ? "written: the memory map names RAM that is not there" : "read", -rc);
    return rc == -BH_EFAULT ? rc : -BH_EIO;
}

int load_copy_failed(const struct load_job *job, const char *what, int rc)
{
    return copy_failed(job->err, job->err_size, what, rc);
}

int load_later(const struct load_job *job, const struct blob *blob, uint64_t gpa, uint64_t offset,
               uint64_t size)
{
    struct load_list *list = job->req->list;

    if (blob && !blob_has(blob, offset, size))
        return -BH_ERANGE;
    if (guest_check(job->req->vm, gpa, size) != 0)
        return -BH_EFAULT;
    if (size == 0)
        return 0;
    if (list->count == LOAD_COPIES_MAX)
        return -BH_ENOMEM;
    list->copies[list->count++] =
        (struct load_copy){blob ? *blob : (struct blob){.name = NULL}, gpa, offset, size};
    return 0;
}

static int copy_piece(const struct load_copy *copy, struct vm *vm, uint64_t at, uint64_t size)
{
    if (!copy->blob.name)
        return guest_fill(vm, copy->gpa + at, 0, size);
    return blob_copy_to_guest(&copy->blob, vm, copy->gpa + at, copy->offset + at, size);
}

uint64_t load_ram_below_4g(const struct load_job *job)
{
    uint64_t sum = 0;

    for (unsigned int i = 0; i < job->count && job->map[i].base < 4 * GIB; i++)
        if (job->map[i].type == GUEST_E820_RAM)
            sum += MIN(job->map[i].size, 4 * GIB - job->map[i].base);
    return sum;
}

static int load(const struct load_request *req, struct guest_entry *out, char *err, size_t err_size)
{
    struct guest_e820_entry pc_map[GUEST_E820_PC_MAX];
    struct load_job job = {
        req, req->cmdline ? req->cmdline : "", req->e820, req->e820_count, err, err_size};

    if (!job.map) {
        job.map = pc_map;
        job.count = guest_e820_pc(pc_map, req->ram_low, req->ram_high);
    }
    if (guest_e820_check(job.map, job.count) != 0 || (!req->e820 && req->ram_low < GUEST_BIOS_END))
        REFUSE("memory map is malformed (%u entries, %llu bytes below 4 GiB)", job.count,
               LLU(req->ram_low));
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i].probe(req->kernel))
            return kinds[i].load(&job, out);
    REFUSE("kernel \"%s\": found no known signature in its %llu bytes, expected " KINDS_EXPECTED,
           req->kernel->name, LLU(req->kernel->size));
}

static void report(const struct load_request *request, const char *reason)
{
    log_error("vm %s: %s", request->vm_name, reason);
    if (request->err)
        safe_copy(request->err, request->err_size, reason);
}

int kernel_load(const struct load_request *request, struct guest_entry *out)
{
    char reason[REASON_SIZE] = "";

    memset(out, 0, sizeof(*out));
    request->list->count = request->list->next = 0;
    request->list->done = 0;

    int rc = load(request, out, reason, sizeof(reason));

    if (rc != 0)
        report(request, reason);
    return rc;
}

int load_step(const struct load_request *request, uint64_t limit)
{
    struct load_list *list = request->list;
    char reason[REASON_SIZE];

    for (unsigned int i = 0; i < PIECES && limit > 0 && list->next < list->count; i++) {
        const struct load_copy *copy = &list->copies[list->next];
        uint64_t size = MIN(limit, copy->size - list->done);
        int rc = copy_piece(copy, request->vm, list->done, size);

        if (rc != 0) {
            rc = copy_failed(reason, sizeof(reason), copy->blob.name, rc);
            report(request, reason);
            return rc;
        }
        limit -= size;
        list->done += size;
        if (list->done == copy->size) {
            list->next++;
            list->done = 0;
        }
    }
    return list->next < list->count;
}
