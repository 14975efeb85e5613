#include "vmm/loader/blob.h"

#include "lib/error.h"

bool blob_has(const struct blob *blob, uint64_t offset, uint64_t len)
{
    return offset <= blob->size && len <= blob->size - offset;
}

int blob_read(const struct blob *blob, uint64_t offset, void *buf, size_t len)
{
    return blob_has(blob, offset, len) ? blob->read(blob->ctx, offset, buf, len) : -BH_ERANGE;
}

int blob_copy_to_guest(const struct blob *blob, struct vm *vm, uint64_t gpa, uint64_t offset,
                       uint64_t len)
{
    return blob_has(blob, offset, len) ? blob->copy_to_guest(blob->ctx, vm, gpa, offset, len)
                                       : -BH_ERANGE;
}
