#ifndef BULKHEAD_TESTS_UNIT_LOADER_FAKE_H
#define BULKHEAD_TESTS_UNIT_LOADER_FAKE_H

/* A VM that is nothing but memory, and a Linux kernel file that is nothing but a header, for the
 * loader's tests. Include it in one file of a test program only: it defines guest_write(). */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/error.h"
#include "vmm/guest_memory.h"
#include "vmm/loader/blob.h"
#include "vmm/loader/bzimage.h"
#include "vmm/loader/loader.h"

struct vm {
    uint64_t low, high; /* RAM: [0, low) and [4 GiB, 4 GiB + high) */
    uint8_t *low_mem, *high_mem;
    unsigned int writes;
};

static inline void fake_vm_open(struct vm *vm, uint64_t low, uint64_t high)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

    *vm = (struct vm){.low = low, .high = high};
    vm->low_mem = mmap(NULL, low, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (high)
        vm->high_mem = mmap(NULL, high, PROT_READ | PROT_WRITE, flags, -1, 0);
}

static inline void fake_vm_close(struct vm *vm)
{
    munmap(vm->low_mem, vm->low);
    if (vm->high)
        munmap(vm->high_mem, vm->high);
}

static inline uint8_t *fake_vm_at(struct vm *vm, uint64_t gpa, uint64_t len)
{
    if (gpa <= vm->low && len <= vm->low - gpa)
        return vm->low_mem + gpa;
    if (gpa >= 4 * GIB && gpa - 4 * GIB <= vm->high && len <= vm->high - (gpa - 4 * GIB))
        return vm->high_mem + (gpa - 4 * GIB);
    return NULL;
}

int guest_read(struct vm *vm, uint64_t gpa, void *dst, size_t len)
{
    uint8_t *p = fake_vm_at(vm, gpa, len);

    if (!p)
        return -BH_EFAULT;
    memcpy(dst, p, len);
    return 0;
}

int guest_check(const struct vm *vm, uint64_t gpa, uint64_t len)
{
    return fake_vm_at((struct vm *)vm, gpa, len) ? 0 : -BH_EFAULT;
}

int guest_write(struct vm *vm, uint64_t gpa, const void *src, size_t len)
{
    uint8_t *p = fake_vm_at(vm, gpa, len);

    vm->writes++;
    if (!p)
        return -BH_EFAULT;
    memcpy(p, src, len);
    return 0;
}

int guest_fill(struct vm *vm, uint64_t gpa, uint8_t byte, size_t len)
{
    uint8_t *p = fake_vm_at(vm, gpa, len);

    vm->writes++;
    if (!p)
        return -BH_EFAULT;
    memset(p, byte, len);
    return 0;
}

/* A file: `head` first, then a pattern that depends on the offset. */
#define FAKE_HEAD 1024
struct fake_file {
    uint8_t head[FAKE_HEAD];
    uint64_t fail_at; /* reading this byte fails; UINT64_MAX: never */
};

static inline uint8_t fake_file_byte(const struct fake_file *f, uint64_t offset)
{
    return offset < FAKE_HEAD ? f->head[offset] : (uint8_t)(offset * 7 + (offset >> 8));
}

static inline int fake_file_read(void *ctx, uint64_t offset, void *buf, size_t len)
{
    const struct fake_file *f = ctx;

    if (f->fail_at >= offset && f->fail_at - offset < len)
        return -BH_EIO;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)buf)[i] = fake_file_byte(f, offset + i);
    return 0;
}

static inline int fake_file_copy(void *ctx, struct vm *vm, uint64_t gpa, uint64_t offset,
                                 uint64_t len)
{
    uint8_t *p = fake_vm_at(vm, gpa, len);

    vm->writes++;
    return p ? fake_file_read(ctx, offset, p, len) : -BH_EFAULT;
}

static inline void fake_put(struct fake_file *f, unsigned int offset, uint64_t value,
                            unsigned int size)
{
    for (unsigned int i = 0; i < size; i++)
        f->head[offset + i] = (uint8_t)(value >> 8 * i);
}

#define FAKE_SETUP_SECTS 3
#define FAKE_IMAGE_START ((FAKE_SETUP_SECTS + 1) * 512)
#define FAKE_IMAGE_SIZE  (2 * MIB)
#define FAKE_INIT_SIZE   (8 * MIB)
#define FAKE_PREF        (16 * MIB)

/* A kernel like those of today: protocol 2.15, relocatable, 64-bit entry. */
static inline struct blob fake_kernel(struct fake_file *f)
{
    memset(f, 0, sizeof(*f));
    f->fail_at = UINT64_MAX;
    fake_put(f, BP_SETUP_SECTS, FAKE_SETUP_SECTS, 1);
    fake_put(f, BP_SYSSIZE, FAKE_IMAGE_SIZE / 16, 4);
    fake_put(f, BP_BOOT_FLAG, BOOT_FLAG_MAGIC, 2);
    fake_put(f, BP_JUMP, 0x6aeb, 2); /* jmp 0x26c */
    fake_put(f, BP_HEADER_MAGIC, BOOT_HDRS_MAGIC, 4);
    fake_put(f, BP_VERSION, 0x20f, 2);
    fake_put(f, BP_LOADFLAGS, LOADFLAG_HIGH | 0x20, 1);
    fake_put(f, BP_INITRD_ADDR_MAX, 0x7fffffff, 4);
    fake_put(f, BP_KERNEL_ALIGNMENT, 2 * MIB, 4);
    fake_put(f, BP_RELOCATABLE, 1, 1);
    fake_put(f, BP_XLOADFLAGS, 0x3f, 2);
    fake_put(f, BP_CMDLINE_SIZE, 2047, 4);
    fake_put(f, BP_HARDWARE_SUBARCH, 0x11111111, 4); /* must not reach the guest */
    fake_put(f, BP_SETUP_DATA, 0x2222222222222222, 8);
    fake_put(f, BP_PREF_ADDRESS, FAKE_PREF, 8);
    fake_put(f, BP_INIT_SIZE, FAKE_INIT_SIZE, 4);
    return (struct blob){.name = "vmlinuz",
                         .size = FAKE_IMAGE_START + FAKE_IMAGE_SIZE,
                         .read = fake_file_read,
                         .copy_to_guest = fake_file_copy,
                         .ctx = f};
}

static inline struct blob fake_initrd(struct fake_file *f, uint64_t size)
{
    memset(f, 0x5a, sizeof(*f));
    f->fail_at = UINT64_MAX;
    return (struct blob){.name = "initrd.gz",
                         .size = size,
                         .read = fake_file_read,
                         .copy_to_guest = fake_file_copy,
                         .ctx = f};
}

/* kernel_load(), and all steps after it, of odd sizes. */
static inline int fake_load(struct load_request *req, struct guest_entry *entry)
{
    static struct load_list list;
    int rc;

    req->list = &list;
    rc = kernel_load(req, entry);
    if (rc == 0)
        do {
            rc = load_step(req, 77777);
        } while (rc > 0);
    return rc;
}

#endif
