#ifndef BULKHEAD_VMM_LOADER_LOADER_H
#define BULKHEAD_VMM_LOADER_LOADER_H

/* Puts a kernel into a new VM, whichever of the known kinds it is of. */

#include "arch/x86/segment.h"
#include "vmm/loader/blob.h"
#include "vmm/loader/e820.h"

/* A file for the kernel besides its initrd. */
struct load_module {
    struct blob blob;
    const char *arguments; /* "": none */
};

#define LOAD_MODULES_MAX 8

/* The big pieces of what is loaded: they are planned at once, and copied bit by bit. */
struct load_copy {
    struct blob blob; /* without a name: zeros are written */
    uint64_t gpa, offset, size;
};

#define LOAD_COPIES_MAX 48

struct load_list {
    unsigned int count;
    unsigned int next; /* the one that is being copied, and */
    uint64_t done;     /* how much of it has been */
    struct load_copy copies[LOAD_COPIES_MAX];
};

struct load_request {
    struct vm *vm;
    struct load_list *list; /* where kernel_load() leaves what load_step() is to copy */
    const char *vm_name;    /* for messages */
    const struct blob *kernel;
    const struct blob *initrd; /* NULL: none */
    const struct load_module *modules;
    unsigned int module_count; /* up to LOAD_MODULES_MAX */
    const char *cmdline;       /* NULL: empty */
    /* The VM's RAM: either sizes for the virtual PC (guest_e820_pc), or, when `e820` is not NULL,
     * any sorted map (the management partition, which sees the machine's addresses). */
    uint64_t ram_low;  /* bytes from GPA 0 */
    uint64_t ram_high; /* bytes from 4 GiB */
    const struct guest_e820_entry *e820;
    unsigned int e820_count;
    uint64_t
        rsdp_gpa;     /* 0: the kernel searches the BIOS area, as one without a field for it does */
    bool force_32bit; /* take the 32-bit entry even when there is a 64-bit one */
    /* Where the reason of a refusal is copied to, besides the log; may be NULL. */
    char *err;
    size_t err_size;
};

/* The boot processor's state at the kernel's first instruction. RFLAGS is RFLAGS_ONE (interrupts
 * off); general registers that are not named here are 0; no IDT. */
struct guest_entry {
    bool long_mode; /* 64-bit mode with paging; otherwise 32-bit protected mode without */
    uint64_t rip;
    uint64_t rax, rbx, rsi;
    uint64_t cr0, cr3, cr4, efer;
    uint64_t gdt_gpa;
    uint16_t gdt_limit;
    struct segment cs;
    struct segment data; /* all but CS */
};

/* Finds out what `kernel` is and loads it: checks everything, and only then writes the small pieces
 * into the VM's memory, and leaves the others to load_step(). Returns 0, or a negative BH_E* after
 * logging the reason with the VM's name: -BH_EINVAL, -BH_ENOMEM (the VM's memory is too small),
 * -BH_EIO (a file cannot be read), -BH_EFAULT (the map claims RAM that the VM has not). The VM must
 * not run. */
MUST_CHECK int kernel_load(const struct load_request *request, struct guest_entry *out);

/* Copies up to `limit` bytes, and not more than 16 pieces of it. Returns 1 when something is left,
 * 0 when all has been copied, or a negative BH_E* after logging it: -BH_EIO as above, where a file
 * can be read in part only. */
MUST_CHECK int load_step(const struct load_request *request, uint64_t limit);

#endif
