#ifndef BULKHEAD_VMM_LOADER_MULTIBOOT_IMAGE_H
#define BULKHEAD_VMM_LOADER_MULTIBOOT_IMAGE_H

/* A multiboot 1 kernel file: ELF32, ELF64 or any file whose multiboot header says where it goes.
 * Facts: Multiboot 0.6.96, section 3.1; System V ABI, "Object Files". */

#include "vmm/loader/blob.h"

#define MULTIBOOT_SEARCH       8192 /* the header lies within this many bytes */
#define MULTIBOOT_HEADER_MAGIC 0x1badb002u

/* What the header asks for; a loader that does not know a bit below 16 must refuse. */
#define MULTIBOOT_PAGE_ALIGN BIT(0) /* modules on page boundaries */
#define MULTIBOOT_MEMORY     BIT(1) /* memory information */
#define MULTIBOOT_VIDEO      BIT(2) /* a video mode */
#define MULTIBOOT_ADDRESSES  BIT(16)
#define MULTIBOOT_REQUIRED   0xffffu
#define MULTIBOOT_KNOWN      (MULTIBOOT_PAGE_ALIGN | MULTIBOOT_MEMORY | MULTIBOOT_VIDEO)

#define MULTIBOOT_SEGMENTS_MAX 16
#define MULTIBOOT_PHDRS_MAX    64

/* A piece of the file and where it goes. All of it lies below 4 GiB. */
struct multiboot_segment {
    uint64_t gpa;
    uint64_t size;       /* bytes in memory, at least 1 */
    uint64_t offset;     /* in the file */
    uint64_t filled;     /* bytes from the file; the rest up to `size` is zeros */
    unsigned int number; /* of the program header, for messages */
};

struct multiboot_image {
    const char *format; /* "ELF32", "ELF64" or "flat" */
    uint32_t flags;
    uint64_t entry; /* GPA, in a segment */
    unsigned int segment_count;
    struct multiboot_segment segments[MULTIBOOT_SEGMENTS_MAX];
};

/* Reads and checks a kernel file. Segments do not overlap, and their file ranges lie in the file.
 * Returns 0; or -BH_EINVAL (not a usable kernel) or -BH_EIO (cannot be read) with the reason, a
 * text naming what was found and expected, in `err`. */
MUST_CHECK int multiboot_image_parse(struct multiboot_image *out, const struct blob *kernel,
                                     char *err, size_t err_size);

#endif
