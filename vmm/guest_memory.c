#include "vmm/guest_memory.h"

#include "arch/x86/mm/window.h"
#include "lib/error.h"
#include "lib/string.h"
#include "vmm/guest_memory_bulk.h"
#include "vmm/vm.h"

/* Host address of `gpa` and how many bytes from there on are contiguous RAM. */
static int translate(const struct vm *vm, uint64_t gpa, uint64_t *hpa, uint64_t *left)
{
    if (gpa - VM_VGA_BASE < VM_VGA_SIZE)
        return -BH_EFAULT;
    for (unsigned int i = 0; i < vm->region_count; i++) {
        const struct vm_region *region = &vm->regions[i];
        if (gpa - region->gpa < region->size) {
            *hpa = region->hpa + (gpa - region->gpa);
            *left = (gpa < VM_VGA_BASE ? MIN(region->size, VM_VGA_BASE) : region->size) -
                    (gpa - region->gpa);
            return 0;
        }
    }
    return -BH_EFAULT;
}

int guest_check(const struct vm *vm, uint64_t gpa, uint64_t len)
{
    uint64_t hpa, left;

    while (len > 0) {
        int err = translate(vm, gpa, &hpa, &left);
        if (err)
            return err;
        uint64_t n = MIN(len, left);
        gpa += n;
        len -= n;
    }
    return 0;
}

/* Of `len` bytes those up to the end of a page of size `page`. */
static inline uint64_t piece(uint64_t gpa, uint64_t len, uint64_t page)
{
    return MIN(len, page - gpa % page);
}

/* Host address of `gpa` in a range that was checked. */
static uint64_t physical(const struct vm *vm, uint64_t gpa)
{
    uint64_t hpa = 0, left;

    (void)translate(vm, gpa, &hpa, &left);
    return hpa;
}

int guest_physical(const struct vm *vm, uint64_t gpa, uint64_t *pa)
{
    uint64_t left;

    return translate(vm, gpa, pa, &left);
}

int guest_read(struct vm *vm, uint64_t gpa, void *dst, size_t len)
{
    int err = guest_check(vm, gpa, len);

    for (uint64_t n; !err && len > 0; gpa += n, dst = (char *)dst + n, len -= n) {
        n = piece(gpa, len, PAGE_SIZE_4K);
        memcpy(dst, window_map(WINDOW_COPY, physical(vm, gpa)), n);
        window_unmap(WINDOW_COPY);
    }
    return err;
}

int guest_write(struct vm *vm, uint64_t gpa, const void *src, size_t len)
{
    int err = guest_check(vm, gpa, len);

    for (uint64_t n; !err && len > 0; gpa += n, src = (const char *)src + n, len -= n) {
        n = piece(gpa, len, PAGE_SIZE_4K);
        memcpy(window_map(WINDOW_COPY, physical(vm, gpa)), src, n);
        window_unmap(WINDOW_COPY);
    }
    return err;
}

int guest_fill(struct vm *vm, uint64_t gpa, uint8_t byte, size_t len)
{
    int err = guest_check(vm, gpa, len);

    for (uint64_t n; !err && len > 0; gpa += n, len -= n) {
        n = piece(gpa, len, PAGE_SIZE_2M);
        memset(window_map_2m(WINDOW_2M_TARGET, physical(vm, gpa)), byte, n);
        window_unmap_2m(WINDOW_2M_TARGET);
    }
    return err;
}

int guest_read_pte(struct vm *vm, uint64_t gpa, unsigned int size, uint64_t *pte)
{
    const void *p;
    uint64_t hpa;
    int err = guest_physical(vm, gpa, &hpa);

    if (err)
        return err;
    p = window_map(WINDOW_PTE, ALIGN_DOWN(hpa, (uint64_t)size));
    *pte = size == 8 ? *(const volatile uint64_t *)p : *(const volatile uint32_t *)p;
    window_unmap(WINDOW_PTE);
    return 0;
}

int guest_copy_physical(struct vm *vm, uint64_t gpa, uint64_t pa, uint64_t len)
{
    int err = guest_check(vm, gpa, len);

    for (uint64_t n; !err && len > 0; gpa += n, pa += n, len -= n) {
        n = piece(pa, piece(gpa, len, PAGE_SIZE_2M), PAGE_SIZE_2M);
        memcpy(window_map_2m(WINDOW_2M_TARGET, physical(vm, gpa)),
               window_map_2m(WINDOW_2M_SOURCE, pa), n);
        window_unmap_2m(WINDOW_2M_TARGET);
        window_unmap_2m(WINDOW_2M_SOURCE);
    }
    return err;
}

void physical_scrub(uint64_t pa, uint64_t len)
{
    for (uint64_t n; len > 0; pa += n, len -= n) {
        n = piece(pa, len, PAGE_SIZE_2M);
        memset(window_map_2m(WINDOW_2M_TARGET, pa), 0, n);
        window_unmap_2m(WINDOW_2M_TARGET);
    }
}
