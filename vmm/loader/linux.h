#ifndef BULKHEAD_VMM_LOADER_LINUX_H
#define BULKHEAD_VMM_LOADER_LINUX_H

/* Puts a Linux kernel into a new VM. Facts: Linux Documentation/arch/x86/boot.rst. */

#include "arch/x86/segment.h"
#include "vmm/loader/blob.h"
#include "vmm/loader/e820.h"

struct linux_load_request {
    struct vm *vm;
    const char *vm_name; /* for messages */
    const struct blob *kernel;
    const struct blob *initrd; /* NULL: none */
    const char *cmdline;       /* NULL: empty */
    /* The VM's RAM: either sizes for the virtual PC (guest_e820_pc), or, when `e820` is not NULL,
     * any sorted map (the management partition, which sees the machine's addresses). */
    uint64_t ram_low;  /* bytes from GPA 0 */
    uint64_t ram_high; /* bytes from 4 GiB */
    const struct guest_e820_entry *e820;
    unsigned int e820_count;
    uint64_t rsdp_gpa; /* 0: Linux searches the BIOS area */
    bool force_32bit;  /* take the 32-bit entry even when there is a 64-bit one */
    /* Where the reason of a refusal is copied to, besides the log; may be NULL. */
    char *err;
    size_t err_size;
};

/* The boot processor's state at the kernel's first instruction. RFLAGS is RFLAGS_ONE (interrupts
 * off), RBX, RBP and RDI are 0, all other general registers may hold anything; no IDT. */
struct linux_entry {
    bool long_mode; /* 64-bit mode with paging; otherwise 32-bit protected mode without */
    uint64_t rip;
    uint64_t rsi; /* boot_params */
    uint64_t cr0, cr3, cr4, efer;
    uint64_t gdt_gpa;
    uint16_t gdt_limit;
    struct segment cs;   /* __BOOT_CS */
    struct segment data; /* __BOOT_DS: DS, ES and SS; FS and GS may have it, too */
};

/* Checks everything, and only then writes kernel, initrd, command line, boot_params, GDT and page
 * tables into the VM's memory. Returns 0, or a negative BH_E* after logging the reason with the
 * VM's name: -BH_EINVAL, -BH_ENOMEM (the VM's memory is too small), -BH_EIO (a file cannot be
 * read), -BH_EFAULT (the map claims RAM that the VM has not). The VM must not run. */
MUST_CHECK int linux_load(const struct linux_load_request *request, struct linux_entry *out);

#endif
