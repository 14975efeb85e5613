#ifndef BULKHEAD_VMM_LOADER_LOADER_INTERNAL_H
#define BULKHEAD_VMM_LOADER_LOADER_INTERNAL_H

/* Between kernel_load() and the kinds of kernels that it knows. */

#include "lib/error.h"
#include "lib/format.h"
#include "vmm/loader/loader.h"

/* A request with its memory map in one form, checked, and where the reason of a refusal goes. */
struct load_job {
    const struct load_request *req;
    const char *cmdline; /* never NULL */
    const struct guest_e820_entry *map;
    unsigned int count;
    char *err;
    size_t err_size;
};

/* In a function that has `err` and `err_size`: the reason, and out. */
#define REFUSE(...)                         \
    do {                                    \
        format(err, err_size, __VA_ARGS__); \
        return -BH_EINVAL;                  \
    } while (0)

/* The same in a function that has `job`. */
#define REFUSE_JOB(rc, ...)                           \
    do {                                              \
        format(job->err, job->err_size, __VA_ARGS__); \
        return rc;                                    \
    } while (0)

#define FLAT_GDT_SIZE 32

/* Writes a GDT with flat segments, 0x10 code (64-bit or 32-bit) and 0x18 data, and sets GDT and
 * segments in `out`: Linux demands these selectors, and some multiboot kernels count on them. 0 or
 * -BH_EFAULT. */
MUST_CHECK int load_flat_gdt(struct vm *vm, uint64_t gpa, bool long_mode, struct guest_entry *out);

/* Says that `what` could not be copied into the VM, where content has been checked already: a file
 * that cannot be read, or RAM that is not there. Returns the error for the caller. */
MUST_CHECK int load_copy_failed(const struct load_job *job, const char *what, int rc);

/* Leaves a piece of a file, or zeros (`blob` NULL), to load_step(). -BH_ERANGE when it is not
 * inside the file, -BH_EFAULT when the target is not RAM of the VM. */
MUST_CHECK int load_later(const struct load_job *job, const struct blob *blob, uint64_t gpa,
                          uint64_t offset, uint64_t size);

/* RAM below 4 GiB in all, bytes. */
uint64_t load_ram_below_4g(const struct load_job *job);

/* Each kind: whether the file has the kind's signature, and the loader. `out` is zeroed. */
bool linux_probe(const struct blob *kernel);
MUST_CHECK int linux_load(const struct load_job *job, struct guest_entry *out);
bool multiboot_probe(const struct blob *kernel);
MUST_CHECK int multiboot_load(const struct load_job *job, struct guest_entry *out);

#endif
