#ifndef BULKHEAD_VMM_LOADER_BZIMAGE_H
#define BULKHEAD_VMM_LOADER_BZIMAGE_H

/* A Linux kernel file and where to put it. Facts: Linux Documentation/arch/x86/boot.rst. */

#include "vmm/loader/blob.h"
#include "vmm/loader/e820.h"

struct load_job;

/* The setup header stands at this offset in the file and in boot_params. */
#define BZIMAGE_HEADER_START 0x1f1
#define BZIMAGE_HEADER_END   0x290 /* where the E820 and EDD data begin at the latest */
#define BZIMAGE_HEADER_MAX   (BZIMAGE_HEADER_END - BZIMAGE_HEADER_START)

/* Offsets in boot_params; what is below BZIMAGE_HEADER_END is in the file, too. */
enum boot_params_offset {
    BP_ACPI_RSDP_ADDR = 0x070,
    BP_EXT_RAMDISK_IMAGE = 0x0c0,
    BP_EXT_RAMDISK_SIZE = 0x0c4,
    BP_EXT_CMD_LINE_PTR = 0x0c8,
    BP_E820_ENTRIES = 0x1e8,
    BP_SETUP_SECTS = 0x1f1,
    BP_SYSSIZE = 0x1f4,
    BP_VID_MODE = 0x1fa,
    BP_BOOT_FLAG = 0x1fe,
    BP_JUMP = 0x200,
    BP_HEADER_MAGIC = 0x202,
    BP_VERSION = 0x206,
    BP_TYPE_OF_LOADER = 0x210,
    BP_LOADFLAGS = 0x211,
    BP_CODE32_START = 0x214,
    BP_RAMDISK_IMAGE = 0x218,
    BP_RAMDISK_SIZE = 0x21c,
    BP_CMD_LINE_PTR = 0x228,
    BP_INITRD_ADDR_MAX = 0x22c,
    BP_KERNEL_ALIGNMENT = 0x230,
    BP_RELOCATABLE = 0x234,
    BP_XLOADFLAGS = 0x236,
    BP_CMDLINE_SIZE = 0x238,
    BP_HARDWARE_SUBARCH = 0x23c,
    BP_SETUP_DATA = 0x250,
    BP_PREF_ADDRESS = 0x258,
    BP_INIT_SIZE = 0x260,
    BP_E820_TABLE = 0x2d0,
};

#define BOOT_FLAG_MAGIC             0xaa55u
#define BOOT_HDRS_MAGIC             0x53726448u /* "HdrS" */
#define LOADFLAG_HIGH               0x01u
#define XLOADFLAG_64                0x0001u
#define LOADER_UNDEFINED            0xffu
#define VID_MODE_NORMAL             0xffffu
#define BZIMAGE_ENTRY_64            0x200u /* of the 64-bit entry, from the load address */
#define BOOT_PROTOCOL(major, minor) ((uint16_t)((major) << 8 | (minor)))

/* What a kernel file says about itself, checked. */
struct bzimage {
    uint8_t header[BZIMAGE_HEADER_MAX]; /* file bytes from BZIMAGE_HEADER_START, zero-padded */
    uint16_t protocol;                  /* e.g. 0x20f */
    bool relocatable;
    bool entry_64;            /* has the 64-bit entry */
    uint64_t image_offset;    /* of the protected-mode code in the file */
    uint64_t image_size;      /* bytes */
    uint64_t init_size;       /* bytes needed from the load address until it has unpacked itself */
    uint64_t alignment;       /* of the load address, power of two */
    uint64_t pref_address;    /* GPA where it wants to stand */
    uint64_t initrd_addr_max; /* highest address that a byte of the initrd may have */
    uint64_t cmdline_max;     /* characters without the terminator */
};

/* Reads and checks the header of `kernel`. Returns 0; or -BH_EINVAL (not a usable kernel) or
 * -BH_EIO (cannot be read) with the reason, a text naming what was found and expected, in `err`. */
MUST_CHECK int bzimage_parse(struct bzimage *out, const struct blob *kernel, char *err,
                             size_t err_size);

/* Where everything goes. All of it lies in RAM of the map and nothing overlaps. */
struct linux_plan {
    uint64_t kernel_gpa, kernel_size; /* size: what the kernel needs until it is unpacked */
    uint64_t initrd_gpa, initrd_size; /* 0, 0: none */
    uint64_t gdt_gpa;
    uint64_t page_tables_gpa;           /* LINUX_PAGE_TABLES pages; used by the 64-bit entry only */
    uint64_t boot_params_gpa;           /* one page */
    uint64_t cmdline_gpa, cmdline_size; /* size with the terminator */
    uint64_t entry_gpa;
    bool long_mode;
};

#define LINUX_PAGE_TABLES 6 /* PML4, PDPT, and a page directory for each of the first 4 GiB */
#define LINUX_CMDLINE_MAX 0x10000

/* Finds the places in the job's map, which was checked. Returns 0; or -BH_ENOMEM (memory too small)
 * or -BH_EINVAL (command line too long, initrd empty or too big), with the reason in job->err. */
MUST_CHECK int linux_plan(struct linux_plan *out, const struct bzimage *image,
                          const struct load_job *job);

#endif
