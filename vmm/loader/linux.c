/* Writes a Linux kernel, its initrd and its boot data into a VM (boot.rst, "32-bit Boot Protocol"
 * and "64-bit Boot Protocol"). */

#include "arch/x86/mm/pte.h"
#include "arch/x86/regs.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmm/guest_memory.h"
#include "vmm/loader/bzimage.h"
#include "vmm/loader/loader_internal.h"

#define PTE_SIZE   8
#define PD_COUNT   4 /* of 1 GiB each */
#define PD_ENTRIES 512
#define PTE_BATCH  64
static_assert(LINUX_PAGE_TABLES == 2 + PD_COUNT, "PML4, PDPT and the page directories");

/* Maps the first 4 GiB 1:1 with 2 MiB pages, which every 64-bit CPU has. */
static int write_page_tables(struct vm *vm, uint64_t base)
{
    const uint64_t link = PTE_P | PTE_W;
    const uint64_t pdpt = base + PAGE_SIZE_4K, pd = base + 2 * PAGE_SIZE_4K;
    uint64_t batch[PTE_BATCH] = {pdpt | link};
    int rc = guest_fill(vm, base, 0, 2 * PAGE_SIZE_4K);

    if (rc == 0)
        rc = guest_write(vm, base, batch, PTE_SIZE);
    for (unsigned int i = 0; i < PD_COUNT; i++)
        batch[i] = (pd + i * PAGE_SIZE_4K) | link;
    if (rc == 0)
        rc = guest_write(vm, pdpt, batch, PD_COUNT * PTE_SIZE);
    for (unsigned int i = 0; i < PD_COUNT * PD_ENTRIES && rc == 0; i += PTE_BATCH) {
        for (unsigned int k = 0; k < PTE_BATCH; k++)
            batch[k] = (i + k) * PAGE_SIZE_2M | link | PTE_LARGE;
        rc = guest_write(vm, pd + i * PTE_SIZE, batch, sizeof(batch));
    }
    return rc;
}

static void put(uint8_t *header, unsigned int offset, uint64_t value, unsigned int size)
{
    for (unsigned int i = 0; i < size; i++)
        header[offset - BZIMAGE_HEADER_START + i] = (uint8_t)(value >> 8 * i);
}

/* The header of the file with a boot loader's fields filled in. All else in boot_params is 0:
 * screen_info then says that there is no video, which keeps Linux off VGA. */
static void fill_header(struct bzimage *image, const struct linux_plan *plan)
{
    uint8_t *h = image->header;

    put(h, BP_VID_MODE, VID_MODE_NORMAL, 2);
    put(h, BP_TYPE_OF_LOADER, LOADER_UNDEFINED, 1);
    put(h, BP_LOADFLAGS, LOADFLAG_HIGH, 1);
    put(h, BP_CODE32_START, plan->kernel_gpa, 4);
    put(h, BP_RAMDISK_IMAGE, plan->initrd_gpa, 4);
    put(h, BP_RAMDISK_SIZE, plan->initrd_size, 4);
    put(h, BP_CMD_LINE_PTR, plan->cmdline_gpa, 4);
    put(h, BP_HARDWARE_SUBARCH, 0, 4);
    put(h, BP_SETUP_DATA, 0, 8);
}

static int write_boot_params(const struct load_job *job, struct bzimage *image,
                             const struct linux_plan *plan)
{
    const struct load_request *req = job->req;
    const uint64_t bp = plan->boot_params_gpa;
    const uint32_t high[3] = {(uint32_t)(plan->initrd_gpa >> 32),
                              (uint32_t)(plan->initrd_size >> 32),
                              (uint32_t)(plan->cmdline_gpa >> 32)};
    const uint8_t entries = (uint8_t)job->count;
    int rc = guest_fill(req->vm, bp, 0, PAGE_SIZE_4K);

    fill_header(image, plan);
    if (rc == 0)
        rc = guest_write(req->vm, bp + BZIMAGE_HEADER_START, image->header, sizeof(image->header));
    /* Until 2.14 the field was padding: an older kernel does not look at it. */
    if (rc == 0)
        rc = guest_write(req->vm, bp + BP_ACPI_RSDP_ADDR, &req->rsdp_gpa, sizeof(req->rsdp_gpa));
    static_assert(BP_EXT_RAMDISK_SIZE == BP_EXT_RAMDISK_IMAGE + 4 &&
                      BP_EXT_CMD_LINE_PTR == BP_EXT_RAMDISK_SIZE + 4,
                  "written at once");
    if (rc == 0)
        rc = guest_write(req->vm, bp + BP_EXT_RAMDISK_IMAGE, high, sizeof(high));
    if (rc == 0)
        rc = guest_write(req->vm, bp + BP_E820_ENTRIES, &entries, sizeof(entries));
    if (rc == 0)
        rc = guest_write(req->vm, bp + BP_E820_TABLE, job->map, job->count * sizeof(*job->map));
    return rc;
}

static void set_entry(struct guest_entry *out, const struct linux_plan *plan)
{
    out->long_mode = plan->long_mode;
    out->rip = plan->entry_gpa;
    out->rsi = plan->boot_params_gpa;
    out->cr0 = CR0_PE | CR0_ET | CR0_NE;
    if (plan->long_mode) {
        out->cr0 |= CR0_PG;
        out->cr3 = plan->page_tables_gpa;
        out->cr4 = CR4_PAE;
        out->efer = EFER_LME | EFER_LMA;
    }
}

/* All that goes into the VM; `what` says which failed. */
static int write_all(const struct load_job *job, struct bzimage *image,
                     const struct linux_plan *plan, struct guest_entry *out, const char **what)
{
    const struct load_request *req = job->req;
    int rc;

    *what = req->kernel->name;
    rc = load_later(job, req->kernel, plan->kernel_gpa, image->image_offset, image->image_size);
    if (rc == 0 && req->initrd) {
        *what = req->initrd->name;
        rc = load_later(job, req->initrd, plan->initrd_gpa, 0, plan->initrd_size);
    }
    if (rc != 0)
        return rc;
    *what = "boot data";
    rc = guest_write(req->vm, plan->cmdline_gpa, job->cmdline, plan->cmdline_size);
    if (rc == 0)
        rc = write_boot_params(job, image, plan);
    if (rc == 0)
        rc = load_flat_gdt(req->vm, plan->gdt_gpa, plan->long_mode, out);
    if (rc == 0 && plan->long_mode)
        rc = write_page_tables(req->vm, plan->page_tables_gpa);
    return rc;
}

bool linux_probe(const struct blob *kernel)
{
    uint32_t magic;

    return blob_read(kernel, BP_HEADER_MAGIC, &magic, sizeof(magic)) == 0 &&
           magic == BOOT_HDRS_MAGIC;
}

int linux_load(const struct load_job *job, struct guest_entry *out)
{
    const struct load_request *req = job->req;
    char *const err = job->err;
    const size_t err_size = job->err_size;
    struct bzimage image;
    struct linux_plan plan;
    const char *what;
    int rc;

    if (req->module_count > 0)
        REFUSE(
            "module: found \"%s\", expected none for kernel \"%s\": it is a Linux bzImage, which "
            "takes one file, as initrd",
            req->modules[0].blob.name, req->kernel->name);
    rc = bzimage_parse(&image, req->kernel, err, err_size);
    if (rc == 0)
        rc = linux_plan(&plan, &image, job);
    if (rc != 0)
        return rc;

    rc = write_all(job, &image, &plan, out, &what);
    if (rc != 0)
        return load_copy_failed(job, what, rc);
    set_entry(out, &plan);
    log_debug("vm %s: kernel at 0x%llx, initrd at 0x%llx, boot data at 0x%llx, %s entry",
              req->vm_name, LLU(plan.kernel_gpa), LLU(plan.initrd_gpa), LLU(plan.gdt_gpa),
              plan.long_mode ? "64-bit" : "32-bit");
    return 0;
}
