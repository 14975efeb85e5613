/* Decides where kernel, initrd and boot data go in a VM's memory. */

#include "lib/string.h"
#include "vmm/loader/bzimage.h"
#include "vmm/loader/loader_internal.h"

/* Boot data, one block in low memory: GDT page, page tables, boot_params page, command line.
 * Page 0 stays free: Linux keeps it, and a real-mode BIOS data area would be in it. */
#define BLOCK_GDT         0
#define BLOCK_PAGE_TABLES PAGE_SIZE_4K
#define BLOCK_BOOT_PARAMS (BLOCK_PAGE_TABLES + LINUX_PAGE_TABLES * PAGE_SIZE_4K)
#define BLOCK_CMDLINE     (BLOCK_BOOT_PARAMS + PAGE_SIZE_4K)
#define BLOCK_MIN         PAGE_SIZE_4K
#define LOW_MEMORY_END    0xa0000ull
#define KERNEL_MIN        GUEST_BIOS_END
#define IDENTITY_END      (4 * GIB) /* the boot page tables, and 32-bit mode, reach this far */

static unsigned long long mib_up(uint64_t bytes)
{
    return bytes / MIB + (bytes % MIB != 0);
}

static int place_boot_data(struct linux_plan *out, const struct load_job *job)
{
    uint64_t block;
    uint64_t size = BLOCK_CMDLINE + ALIGN_UP(out->cmdline_size, PAGE_SIZE_4K);

    if (guest_e820_lowest(job->map, job->count, size, PAGE_SIZE_4K, BLOCK_MIN, LOW_MEMORY_END,
                          &block) != 0)
        REFUSE_JOB(-BH_ENOMEM, "no %llu KiB of RAM in one piece below 640 KiB for boot data",
                   LLU(size / KIB));
    out->gdt_gpa = block + BLOCK_GDT;
    out->page_tables_gpa = block + BLOCK_PAGE_TABLES;
    out->boot_params_gpa = block + BLOCK_BOOT_PARAMS;
    out->cmdline_gpa = block + BLOCK_CMDLINE;
    return 0;
}

/* A relocatable kernel may stand anywhere, but unpacks itself to pref_address when it is loaded
 * below that; so it goes there or higher. */
static int place_kernel(struct linux_plan *out, const struct bzimage *image,
                        const struct load_job *job)
{
    uint64_t min = MAX(image->pref_address, KERNEL_MIN);
    int rc = guest_e820_lowest(job->map, job->count, image->init_size, image->alignment, min,
                               IDENTITY_END, &out->kernel_gpa);

    if (rc != 0 || (!image->relocatable && out->kernel_gpa != min))
        REFUSE_JOB(-BH_ENOMEM,
                   "memory is too small for kernel \"%s\": it needs %llu MiB in one piece at "
                   "0x%llx%s, there are %llu MiB in all below 4 GiB",
                   job->req->kernel->name, mib_up(image->init_size), LLU(min),
                   image->relocatable ? " or higher" : "", LLU(load_ram_below_4g(job) / MIB));
    out->kernel_size = image->init_size;
    return 0;
}

static int place_initrd(struct linux_plan *out, const struct bzimage *image,
                        const struct load_job *job)
{
    const struct guest_range used = {out->kernel_gpa, out->kernel_size};
    const struct blob *initrd = job->req->initrd;
    uint64_t max = MIN(image->initrd_addr_max + 1, IDENTITY_END);

    if (initrd->size == 0)
        REFUSE_JOB(-BH_EINVAL, "initrd \"%s\": file is empty", initrd->name);
    if (guest_e820_highest(job->map, job->count, initrd->size, PAGE_SIZE_4K, KERNEL_MIN, max, &used,
                           &out->initrd_gpa) != 0)
        REFUSE_JOB(-BH_ENOMEM,
                   "memory is too small for initrd \"%s\": it needs %llu MiB below 0x%llx besides "
                   "kernel \"%s\" with %llu MiB, there are %llu MiB in all below 4 GiB",
                   initrd->name, mib_up(initrd->size), LLU(max), job->req->kernel->name,
                   mib_up(image->init_size), LLU(load_ram_below_4g(job) / MIB));
    out->initrd_size = initrd->size;
    return 0;
}

int linux_plan(struct linux_plan *out, const struct bzimage *image, const struct load_job *job)
{
    uint64_t max = MIN(image->cmdline_max, (uint64_t)LINUX_CMDLINE_MAX - 1);
    size_t length = strnlen(job->cmdline, LINUX_CMDLINE_MAX);
    int rc;

    memset(out, 0, sizeof(*out));
    if (length > max)
        REFUSE_JOB(-BH_EINVAL,
                   "command line has %s%zu characters, kernel \"%s\" takes at most %llu",
                   length == LINUX_CMDLINE_MAX ? "at least " : "", length, job->req->kernel->name,
                   LLU(max));
    out->cmdline_size = length + 1;
    out->long_mode = image->entry_64 && !job->req->force_32bit;

    rc = place_boot_data(out, job);
    if (rc == 0)
        rc = place_kernel(out, image, job);
    if (rc == 0 && job->req->initrd)
        rc = place_initrd(out, image, job);
    if (rc == 0)
        out->entry_gpa = out->kernel_gpa + (out->long_mode ? BZIMAGE_ENTRY_64 : 0);
    return rc;
}
