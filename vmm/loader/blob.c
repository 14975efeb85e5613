#include "vmm/loader/blob.h"

#include "lib/error.h"
#include "vmm/guest_memory.h"

#define BOUNCE_SIZE 1024 /* stands on the stack */

int blob_read(const struct blob *blob, uint64_t offset, void *buf, size_t len)
{
    if (offset > blob->size || len > blob->size - offset)
        return -BH_ERANGE;
    return blob->read(blob->ctx, offset, buf, len);
}

int blob_copy_to_guest(const struct blob *blob, struct vm *vm, uint64_t gpa, uint64_t offset,
                       uint64_t len)
{
    uint8_t bounce[BOUNCE_SIZE];

    if (offset > blob->size || len > blob->size - offset)
        return -BH_ERANGE;
    if (blob->copy_to_guest)
        return blob->copy_to_guest(blob->ctx, vm, gpa, offset, len);

    while (len > 0) {
        size_t step = (size_t)MIN(len, (uint64_t)sizeof(bounce));
        int rc = blob->read(blob->ctx, offset, bounce, step);

        if (rc == 0)
            rc = guest_write(vm, gpa, bounce, step);
        if (rc != 0)
            return rc;
        offset += step;
        gpa += step;
        len -= step;
    }
    return 0;
}
