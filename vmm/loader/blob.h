#ifndef BULKHEAD_VMM_LOADER_BLOB_H
#define BULKHEAD_VMM_LOADER_BLOB_H

/* A file that the core has not mapped (a boot module, or something that the management partition
 * sends) and that a loader reads in pieces. Its content is not trusted. */

#include "lib/macros.h"

struct vm;

struct blob {
    const char *name; /* for messages */
    uint64_t size;    /* bytes */
    /* Copies [offset, offset + len) into `buf`. The caller keeps the range inside `size`. Returns 0
     * or a negative BH_E*. */
    int (*read)(void *ctx, uint64_t offset, void *buf, size_t len);
    /* Copies a range straight into guest memory, so that nothing is bounced through the stack. Same
     * rules; -BH_EFAULT when the target is not the VM's RAM. */
    int (*copy_to_guest)(void *ctx, struct vm *vm, uint64_t gpa, uint64_t offset, uint64_t len);
    void *ctx;
};

/* Whether the range is inside the blob. */
bool blob_has(const struct blob *blob, uint64_t offset, uint64_t len);

/* Reads `len` bytes at `offset`. -BH_ERANGE when the range is not inside the blob, else what
 * `read` returns. */
MUST_CHECK int blob_read(const struct blob *blob, uint64_t offset, void *buf, size_t len);

/* Copies a range of the blob into guest memory. -BH_ERANGE as above, -BH_EFAULT when the target is
 * not RAM of `vm` (a part may have been written then). */
MUST_CHECK int blob_copy_to_guest(const struct blob *blob, struct vm *vm, uint64_t gpa,
                                  uint64_t offset, uint64_t len);

#endif
