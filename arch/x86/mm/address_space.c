#include "arch/x86/mm/address_space.h"

#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/smp.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

#define TABLE_ENTRIES 512u

static struct pagetable shared; /* never loaded: the source of all CPUs' upper tables */
static uint64_t device_next = DEVICE_VA;

static uint64_t host_leaf(unsigned int flags, unsigned int level)
{
    return PTE_P | PTE_A | (flags & PT_WRITE ? PTE_W | PTE_D : 0) | (flags & PT_EXEC ? 0 : PTE_NX) |
           (flags & PT_USER ? PTE_U : 0) | (flags & PT_GLOBAL ? PTE_G : 0) |
           (flags & (PT_UNCACHED | PT_COMBINED) ? PTE_PCD | PTE_PWT : 0) |
           (flags & PT_COMBINED ? (level == 1 ? PTE_PAT : PTE_PAT_L) : 0);
}

const struct pt_format host_pt_format = {
    .levels = 4,
    .leaf_max = 2,
    .present = PTE_P,
    .large = PTE_LARGE,
    .table = PTE_P | PTE_W | PTE_A,
    .addr_mask = PTE_ADDR,
    .leaf = host_leaf,
};

INIT static int map_image_part(const char *start, const char *end, unsigned int flags)
{
    return pt_map(&shared, (uint64_t)start, image_to_pa(start), (uint64_t)(end - start), flags);
}

/* W^X: nothing is both writable and executable, and constants are neither. */
INIT static int map_shared(uint64_t pool_pa, uint64_t pool_size)
{
    int err = pt_create(&shared, &host_pt_format);

    if (!err)
        err = map_image_part(text_start, init_text_end, PT_READ | PT_EXEC);
    if (!err)
        err = map_image_part(rodata_start, rodata_end, PT_READ);
    if (!err)
        err = map_image_part(init_data_start, data_end, PT_READ | PT_WRITE);
    if (!err)
        err = pt_map(&shared, POOL_VA, pool_pa, pool_size, PT_READ | PT_WRITE);
    /* The table for device registers exists from the start, so that every CPU's copy of the top
     * levels has it. */
    if (!err && !pt_table(&shared, DEVICE_VA, 2))
        err = -BH_ENOMEM;
    return err;
}

/* This CPU's copy of the two top levels, and below them its private tables. */
INIT static int map_private(struct percpu *cpu, struct pagetable *pt)
{
    int err = pt_create(pt, &host_pt_format);
    if (err)
        return err;
    uint64_t *pdpt = pt_table(pt, CPU_LOCAL_VA, 3);
    uint64_t *shared_pdpt = pt_table(&shared, KERNEL_VMA, 3);
    if (!pdpt || !shared_pdpt)
        return -BH_ENOMEM;
    memcpy(pdpt, shared_pdpt, TABLE_ENTRIES * sizeof(*pdpt));

    static_assert(sizeof(struct percpu) <= PAGE_SIZE_4K, "struct percpu is one page");
    err = pt_map(pt, CPU_LOCAL_VA, page_to_pa(cpu), PAGE_SIZE_4K, PT_READ | PT_WRITE);
    for (unsigned int i = 0; i < IST_COUNT && !err; i++) {
        void *stack = page_alloc_contiguous(CPU_STACK_SIZE / PAGE_SIZE_4K, 1);
        err = stack ? pt_map(pt, percpu_stack_bottom(i), page_to_pa(stack), CPU_STACK_SIZE,
                             PT_READ | PT_WRITE)
                    : -BH_ENOMEM;
    }
    if (err)
        return err;
    uint64_t *ptes = pt_table(pt, CPU_WINDOW_VA, 1);
    uint64_t *pdes = pt_table(pt, CPU_WINDOW2M_VA, 2);
    if (!ptes || !pdes)
        return -BH_ENOMEM;
    cpu->window_ptes = ptes;
    cpu->window_2m_pdes = pdes + (CPU_WINDOW2M_VA >> 21) % TABLE_ENTRIES;
    return 0;
}

static_assert(CPU_STACKS_VA + IST_COUNT * 2ull * CPU_STACK_SIZE <= CPU_WINDOW_VA,
              "stacks must end below the windows");

static uint64_t boot_cpu_root;

INIT struct percpu *address_space_create_cpu(void)
{
    struct pagetable pt;
    struct percpu *cpu = page_alloc();

    if (!cpu || map_private(cpu, &pt) != 0)
        return NULL;
    cpu->pagetable = pt;
    cpu->timer_armed = TIMER_NEVER;
    return cpu;
}

INIT int address_space_init(uint64_t pool_pa, uint64_t pool_size)
{
    int err = map_shared(pool_pa, pool_size);
    struct percpu *cpu = err ? NULL : address_space_create_cpu();

    if (!cpu)
        return -BH_ENOMEM;
    boot_cpu_root = page_to_pa(cpu->pagetable.root);
    return 0;
}

INIT int address_space_create_low(struct pagetable *pt, uint64_t pa)
{
    int err = pt_create(pt, &host_pt_format);

    if (!err)
        err = pt_map(pt, pa, pa, PAGE_SIZE_4K, PT_READ | PT_EXEC);
    if (!err)
        pt->root[TABLE_ENTRIES - 1] = shared.root[TABLE_ENTRIES - 1];
    return err;
}

INIT void address_space_destroy_low(struct pagetable *pt)
{
    pt->root[TABLE_ENTRIES - 1] = 0; /* not its own */
    pt_destroy(pt);
}

INIT void address_space_enter(void)
{
    write_cr3(boot_cpu_root);
    if (CHECKS)
        spin_checks_begin();
}

static volatile void *map_as(uint64_t pa, uint64_t size, unsigned int type)
{
    uint64_t start = ALIGN_DOWN(pa, PAGE_SIZE_4K);
    uint64_t len = ALIGN_UP(pa + size, PAGE_SIZE_4K) - start;
    uint64_t va = device_next;

    if (start + len > cpu_physical_end() || len > DEVICE_VA + DEVICE_SIZE - va ||
        pt_map(&shared, va, start, len, PT_READ | PT_WRITE | type) != 0) {
        log_error("found no way to map %llu bytes of device registers at 0x%llx", LLU(size),
                  LLU(pa));
        return NULL;
    }
    device_next += len + PAGE_SIZE_4K;
    return (volatile void *)(va + (pa - start));
}

volatile void *device_map(uint64_t pa, uint64_t size)
{
    return map_as(pa, size, PT_UNCACHED);
}

volatile void *device_map_combined(uint64_t pa, uint64_t size)
{
    return map_as(pa, size, PT_COMBINED);
}

static void free_part(const char *start, const char *end)
{
    uint64_t size = (uint64_t)(end - start);
    uint64_t pa = image_to_pa(start);

    if (size == 0)
        return;
    if (pt_unmap(&shared, (uint64_t)start, size) != 0) {
        log_warn("boot memory at %p is not given back", (const void *)start);
        return;
    }
    write_cr3(read_cr3());
    smp_flush_tlbs();
    uint64_t new_va = POOL_VA + POOL_MAX - PAGE_SIZE_2M + (uint64_t)(start - image_start);
    if (pt_map(&shared, new_va, pa, size, PT_READ | PT_WRITE) != 0) {
        log_warn("boot memory at %p is not given back", (const void *)start);
        return;
    }
    page_pool_add((void *)new_va, pa, size);
}

void address_space_free_init(void)
{
    free_part(init_text_start, init_text_end);
    free_part(init_data_start, init_data_end);
}

struct leaf_query {
    bool (*matches)(const struct leaf_query *query, uint64_t entry, uint64_t page);
    uint64_t pa, size;
};

/* True when any leaf below `table` matches. Depth is bounded by the number of levels. */
static bool any_leaf(const uint64_t *table, unsigned int level, const struct leaf_query *query)
{
    for (unsigned int i = 0; i < TABLE_ENTRIES; i++) {
        uint64_t entry = table[i];
        if (!(entry & PTE_P))
            continue;
        bool leaf = level == 1 || (entry & PTE_LARGE);
        if (leaf ? query->matches(query, entry, 1ull << (12 + 9 * (level - 1)))
                 : any_leaf(pa_to_page(entry & PTE_ADDR), level - 1, query))
            return true;
    }
    return false;
}

static bool maps_pa(const struct leaf_query *query, uint64_t entry, uint64_t page)
{
    uint64_t base = entry & PTE_ADDR & ~(page - 1);

    return base < query->pa + query->size && query->pa < base + page;
}

static bool is_wx(const struct leaf_query *query, uint64_t entry, uint64_t page)
{
    return (entry & PTE_W) && !(entry & PTE_NX);
}

bool address_space_maps_pa(uint64_t pa, uint64_t size)
{
    const struct leaf_query query = {.matches = maps_pa, .pa = pa, .size = size};

    return any_leaf(this_cpu->pagetable.root, host_pt_format.levels, &query);
}

bool address_space_has_wx(void)
{
    const struct leaf_query query = {.matches = is_wx};

    return any_leaf(this_cpu->pagetable.root, host_pt_format.levels, &query);
}
