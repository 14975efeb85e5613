#ifndef BULKHEAD_BOOT_UEFI_ELF_H
#define BULKHEAD_BOOT_UEFI_ELF_H

/* The core as an ELF64 file: what it asks for, and its bytes put in their place. Trusts nothing in
 * the file; knows nothing of UEFI. */

#include "lib/macros.h"

#define CORE_SEGMENTS_MAX 16

struct core_segment {
    uint64_t offset, size; /* in the file */
    uint64_t base, room;   /* physical, as linked; what `size` does not fill is zero */
};

struct core_image {
    uint64_t base, end; /* physical, as linked */
    uint64_t entry;     /* of struct core_header, inside the two */
    unsigned int segment_count;
    struct core_segment segments[CORE_SEGMENTS_MAX];
};

/* Why a file is refused: "WHAT: found FOUND, expected RELATION EXPECTED". */
struct core_problem {
    const char *what, *relation;
    uint64_t found, expected;
};

/* Reads `size` bytes at `file`, which must be the whole of it. Returns 0, or -BH_EINVAL with
 * `problem` filled in. */
MUST_CHECK int core_elf_read(const void *file, uint64_t size, struct core_image *image,
                             struct core_problem *problem);

/* Writes all of the image: `to` stands for image->base, and image->end - image->base bytes are
 * there. */
void core_elf_place(const void *file, const struct core_image *image, void *to);

#endif
