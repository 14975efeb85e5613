/* The setup header of a Linux kernel (boot.rst, "The Real-Mode Kernel Header"). */

#include "vmm/loader/bzimage.h"

#include "lib/string.h"
#include "vmm/loader/loader_internal.h"

#define SECTOR_SIZE         512
#define SETUP_SECTS_DEFAULT 4 /* what 0 means, from before the header */
#define PARAGRAPH           16

#define PROTOCOL_MIN       BOOT_PROTOCOL(2, 6)  /* cmdline_size */
#define PROTOCOL_INIT_SIZE BOOT_PROTOCOL(2, 10) /* pref_address, init_size */
#define PROTOCOL_XLOAD     BOOT_PROTOCOL(2, 12) /* xloadflags */

/* Before protocol 2.10 the file does not say how much memory unpacking needs. Such kernels
 * compress to no less than a fifth. */
#define INIT_SIZE_FACTOR 6
#define OLD_LOAD_ADDRESS 0x100000ull
#define ALIGNMENT_MAX    (1 * GIB)
#define INIT_SIZE_MAX    (4 * GIB)

static uint32_t get(const struct bzimage *b, unsigned int offset, unsigned int size)
{
    uint32_t value = 0;

    memcpy(&value, b->header + (offset - BZIMAGE_HEADER_START), size);
    return value;
}

/* Reads the header into out->header. Its end is given by the operand of the jump over it; what
 * lies behind that belongs to the code and must not be taken for fields. */
static int read_header(struct bzimage *out, const struct blob *kernel, char *err, size_t err_size)
{
    uint8_t head[BP_HEADER_MAGIC + 4 - BZIMAGE_HEADER_START];
    size_t len;

    if (kernel->size < BZIMAGE_HEADER_END)
        REFUSE("kernel \"%s\": file has %llu bytes, expected at least %d", kernel->name,
               LLU(kernel->size), BZIMAGE_HEADER_END);
    if (blob_read(kernel, BZIMAGE_HEADER_START, head, sizeof(head)) != 0)
        goto unreadable;
    memcpy(out->header, head, sizeof(head));
    if (get(out, BP_BOOT_FLAG, 2) != BOOT_FLAG_MAGIC)
        REFUSE("kernel \"%s\": not a Linux kernel: boot flag is 0x%04x, expected 0x%04x",
               kernel->name, get(out, BP_BOOT_FLAG, 2), BOOT_FLAG_MAGIC);
    if (get(out, BP_HEADER_MAGIC, 4) != BOOT_HDRS_MAGIC)
        REFUSE("kernel \"%s\": not a Linux kernel: header magic is 0x%08x, expected 0x%08x "
               "(\"HdrS\")",
               kernel->name, get(out, BP_HEADER_MAGIC, 4), BOOT_HDRS_MAGIC);

    len = (size_t)(BP_HEADER_MAGIC + get(out, BP_JUMP + 1, 1) - BZIMAGE_HEADER_START);
    len = MIN(len, (size_t)BZIMAGE_HEADER_MAX);
    if (blob_read(kernel, BZIMAGE_HEADER_START, out->header, len) != 0)
        goto unreadable;
    return 0;

unreadable:
    format(err, err_size, "kernel \"%s\": its header cannot be read", kernel->name);
    return -BH_EIO;
}

static int check_sizes(struct bzimage *out, const struct blob *kernel, char *err, size_t err_size)
{
    unsigned int sectors = get(out, BP_SETUP_SECTS, 1);
    uint64_t syssize = (uint64_t)get(out, BP_SYSSIZE, 4) * PARAGRAPH;

    if (sectors == 0)
        sectors = SETUP_SECTS_DEFAULT;
    out->image_offset = (uint64_t)(sectors + 1) * SECTOR_SIZE;
    if (syssize == 0)
        REFUSE("kernel \"%s\": header says that the kernel has 0 bytes", kernel->name);
    /* syssize is rounded up to a paragraph; the file need not be. */
    if (kernel->size + PARAGRAPH - 1 < out->image_offset + syssize)
        REFUSE("kernel \"%s\": file is truncated: it has %llu bytes, its header says %llu",
               kernel->name, LLU(kernel->size), LLU(out->image_offset + syssize));
    out->image_size = MIN(syssize, kernel->size - out->image_offset);
    if (out->entry_64 && out->image_size <= BZIMAGE_ENTRY_64)
        REFUSE("kernel \"%s\": kernel has %llu bytes, its 64-bit entry would be at 0x%x",
               kernel->name, LLU(out->image_size), BZIMAGE_ENTRY_64);
    return 0;
}

static int check_placement(struct bzimage *out, const struct blob *kernel, char *err,
                           size_t err_size)
{
    out->relocatable = get(out, BP_RELOCATABLE, 1) != 0;
    out->alignment = get(out, BP_KERNEL_ALIGNMENT, 4);
    if (out->protocol >= PROTOCOL_INIT_SIZE) {
        out->pref_address =
            get(out, BP_PREF_ADDRESS, 4) | (uint64_t)get(out, BP_PREF_ADDRESS + 4, 4) << 32;
        out->init_size = get(out, BP_INIT_SIZE, 4);
    } else {
        out->pref_address = OLD_LOAD_ADDRESS;
        out->init_size = MIN(out->image_size * INIT_SIZE_FACTOR, INIT_SIZE_MAX);
    }
    /* Only a relocatable kernel has to name its alignment. */
    if (!out->relocatable)
        out->alignment = PAGE_SIZE_4K;
    if (out->alignment == 0 || out->alignment > ALIGNMENT_MAX ||
        (out->alignment & (out->alignment - 1)) != 0)
        REFUSE("kernel \"%s\": alignment is 0x%llx, expected a power of two up to 0x%llx",
               kernel->name, LLU(out->alignment), ALIGNMENT_MAX);
    if (!out->relocatable && !IS_ALIGNED(out->pref_address, out->alignment))
        REFUSE("kernel \"%s\": load address is 0x%llx, expected a multiple of 0x%llx", kernel->name,
               LLU(out->pref_address), LLU(out->alignment));
    if (out->pref_address < OLD_LOAD_ADDRESS)
        out->pref_address = OLD_LOAD_ADDRESS;
    out->init_size = MAX(out->init_size, out->image_size);
    return 0;
}

int bzimage_parse(struct bzimage *out, const struct blob *kernel, char *err, size_t err_size)
{
    int rc;

    memset(out, 0, sizeof(*out));
    rc = read_header(out, kernel, err, err_size);
    if (rc != 0)
        return rc;
    out->protocol = (uint16_t)get(out, BP_VERSION, 2);
    if (out->protocol < PROTOCOL_MIN)
        REFUSE("kernel \"%s\": boot protocol is %u.%02u, expected at least %u.%02u", kernel->name,
               out->protocol >> 8, out->protocol & 0xff, PROTOCOL_MIN >> 8, PROTOCOL_MIN & 0xff);
    if ((get(out, BP_LOADFLAGS, 1) & LOADFLAG_HIGH) == 0)
        REFUSE("kernel \"%s\": is a zImage that loads below 1 MiB, expected a bzImage",
               kernel->name);
    out->entry_64 =
        out->protocol >= PROTOCOL_XLOAD && (get(out, BP_XLOADFLAGS, 2) & XLOADFLAG_64) != 0;
    out->initrd_addr_max = get(out, BP_INITRD_ADDR_MAX, 4);
    out->cmdline_max = get(out, BP_CMDLINE_SIZE, 4);
    rc = check_sizes(out, kernel, err, err_size);
    return rc != 0 ? rc : check_placement(out, kernel, err, err_size);
}
