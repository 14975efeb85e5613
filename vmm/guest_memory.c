#include "vmm/guest_memory.h"

#include "arch/x86/mm/window.h"
#include "lib/error.h"
#include "lib/string.h"
#include "vmm/guest_memory_bulk.h"
#include "vmm/vm.h"

/* Host address of `gpa` and how many bytes from there on are contiguous RAM. */
static int translate(const struct vm *vm, uint64_t gpa, uint64_t *hpa, uint64_t *left)
{
    if (gpa - VM_VGA_BASE < VM_VGA_SIZE) {
        return -BH_EFAULT;
    }
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

static int check(const struct vm *vm, uint64_t gpa, uint64_t len)
{
    uint64_t hpa;
    uint64_t left;

    while (len > 0) {
        int err = translate(vm, gpa, &hpa, &left);
        if (err) {
            return err;
        }
        uint64_t n = MIN(len, left);
        gpa += n;
        len -= n;
    }
    return 0;
}

static size_t step(uint64_t gpa, size_t len)
{
    return MIN(len, (size_t)(PAGE_SIZE_4K - (gpa & (PAGE_SIZE_4K - 1))));
}

int guest_physical(const struct vm *vm, uint64_t gpa, uint64_t *pa)
{
    uint64_t left;

    return translate(vm, gpa, pa, &left);
}

int guest_read(struct vm *vm, uint64_t gpa, void *dst, size_t len)
{
    uint64_t hpa;
    uint64_t left;
    char *out = dst;
    int err = check(vm, gpa, len);

    while (!err && len > 0) {
        size_t n = step(gpa, len);
        err = translate(vm, gpa, &hpa, &left);
        if (!err) {
            memcpy(out, window_map(WINDOW_COPY, hpa), n);
            window_unmap(WINDOW_COPY);
        }
        gpa += n;
        out += n;
        len -= n;
    }
    return err;
}

int guest_write(struct vm *vm, uint64_t gpa, const void *src, size_t len)
{
    uint64_t hpa;
    uint64_t left;
    const char *in = src;
    int err = check(vm, gpa, len);

    while (!err && len > 0) {
        size_t n = step(gpa, len);
        err = translate(vm, gpa, &hpa, &left);
        if (!err) {
            memcpy(window_map(WINDOW_COPY, hpa), in, n);
            window_unmap(WINDOW_COPY);
        }
        gpa += n;
        in += n;
        len -= n;
    }
    return err;
}

int guest_fill(struct vm *vm, uint64_t gpa, uint8_t byte, size_t len)
{
    uint64_t hpa;
    uint64_t left;
    int err = check(vm, gpa, len);

    while (!err && len > 0) {
        size_t n = MIN(len, (size_t)(PAGE_SIZE_2M - (gpa & (PAGE_SIZE_2M - 1))));
        err = translate(vm, gpa, &hpa, &left);
        if (!err) {
            memset(window_map_2m(WINDOW_2M_TARGET, hpa), byte, n);
            window_unmap_2m(WINDOW_2M_TARGET);
        }
        gpa += n;
        len -= n;
    }
    return err;
}

int guest_read_pte(struct vm *vm, uint64_t gpa, unsigned int size, uint64_t *pte)
{
    uint64_t hpa;
    uint64_t left;
    int err = translate(vm, gpa, &hpa, &left);

    if (err) {
        return err;
    }
    const void *p = window_map(WINDOW_PTE, ALIGN_DOWN(hpa, (uint64_t)size));
    *pte = size == 8 ? *(const volatile uint64_t *)p : *(const volatile uint32_t *)p;
    window_unmap(WINDOW_PTE);
    return 0;
}

int guest_copy_physical(struct vm *vm, uint64_t gpa, uint64_t pa, uint64_t len)
{
    uint64_t hpa;
    uint64_t left;
    int err = check(vm, gpa, len);

    while (!err && len > 0) {
        uint64_t n = MIN(len, PAGE_SIZE_2M - (gpa & (PAGE_SIZE_2M - 1)));
        n = MIN(n, PAGE_SIZE_2M - (pa & (PAGE_SIZE_2M - 1)));
        err = translate(vm, gpa, &hpa, &left);
        if (!err) {
            memcpy(window_map_2m(WINDOW_2M_TARGET, hpa), window_map_2m(WINDOW_2M_SOURCE, pa), n);
            window_unmap_2m(WINDOW_2M_TARGET);
            window_unmap_2m(WINDOW_2M_SOURCE);
        }
        gpa += n;
        pa += n;
        len -= n;
    }
    return err;
}

void physical_scrub(uint64_t pa, uint64_t len)
{
    for (uint64_t at = 0; at < len; at += PAGE_SIZE_2M) {
        memset(window_map_2m(WINDOW_2M_TARGET, pa + at), 0, PAGE_SIZE_2M);
        window_unmap_2m(WINDOW_2M_TARGET);
    }
}
