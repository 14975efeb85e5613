#ifndef BULKHEAD_VMM_GUEST_MEMORY_H
#define BULKHEAD_VMM_GUEST_MEMORY_H

/* The only way from the core into guest memory. Each call maps the pages that it needs into the
 * CPU's window, copies, and unmaps them again: the core keeps no mapping of guest RAM. */

#include <stddef.h>
#include <stdint.h>

#include "lib/macros.h"

struct vm;

/* Physical address of the guest-physical one, for who goes through the window himself. Errors as
 * below. It stays the same until the VM ends. */
MUST_CHECK int guest_physical(const struct vm *vm, uint64_t gpa, uint64_t *pa);

/* Returns 0 when all of the range is this VM's RAM, or -BH_EFAULT. */
MUST_CHECK int guest_check(const struct vm *vm, uint64_t gpa, uint64_t len);

/* Copies `len` bytes from or to guest-physical memory. Any alignment, may cross pages. Returns 0,
 * or -BH_EFAULT when any part of the range is not this VM's RAM; then nothing was copied. */
MUST_CHECK int guest_read(struct vm *vm, uint64_t gpa, void *dst, size_t len);
MUST_CHECK int guest_write(struct vm *vm, uint64_t gpa, const void *src, size_t len);

/* Fills `len` bytes with `byte`. Errors as above. */
MUST_CHECK int guest_fill(struct vm *vm, uint64_t gpa, uint8_t byte, size_t len);

/* Reads one page-table entry of `size` bytes (4 or 8, naturally aligned), zero-extended. */
MUST_CHECK int guest_read_pte(struct vm *vm, uint64_t gpa, unsigned int size, uint64_t *pte);

#endif
