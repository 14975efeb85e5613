/* Runs code below 64-bit mode: the C half of low.asm. */

#include "low.h"

#define BOX_AT        0x7c00u
#define IVT_AT        0x2000u
#define IVT_VECTORS   128
#define STUB_SIZE     8
#define TSS_AVAILABLE 0x89ull
#define PD_ENTRIES    1024
#define PAE_ENTRIES   512

extern const uint8_t low_start[], low_end[], low_gdt[], low_tss[], low_v86_done[];
extern const uint8_t low_real_stubs[];

uint32_t low_pd32[1024] ALIGNED(4096), low_pt32[1024] ALIGNED(4096);
uint64_t low_pdpt[512] ALIGNED(4096), low_pd[512] ALIGNED(4096), low_pd_high[512] ALIGNED(4096);

/* The compiler must not know that these addresses are small constants. */
static void *physical(uint64_t pa)
{
    void *p = (void *)(uintptr_t)pa;

    __asm__("" : "+r"(p));
    return p;
}

static void *in_copy(const uint8_t *label)
{
    return physical(LOW_HOME + (uint64_t)(label - low_start));
}

static void set_up(void)
{
    static bool done;
    uint16_t *ivt = physical(IVT_AT);

    if (done)
        return;
    done = true;
    memcpy(physical(LOW_HOME), low_start, (size_t)(low_end - low_start));
    for (unsigned int i = 0; i < IVT_VECTORS; i++) {
        ivt[2 * i] = (uint16_t)((uintptr_t)low_real_stubs + i * STUB_SIZE);
        ivt[2 * i + 1] = 0;
    }
}

uint64_t *low_gdt_entry(unsigned int selector)
{
    set_up();
    return (uint64_t *)in_copy(low_gdt) + selector / 8;
}

uint32_t *low_tss_word(unsigned int index)
{
    set_up();
    return (uint32_t *)in_copy(low_tss) + index;
}

void low_run(struct low_box *box, const uint8_t *code, const uint8_t *end)
{
    struct low_box *shared = physical(BOX_AT);
    void (*enter)(void) = (void (*)(void))physical(LOW_HOME);
    uint64_t guest_tss = guest_gdt[SEL_TSS / 8];

    set_up();
    memcpy(physical(LOW_CODE), code, (size_t)(end - code));
    *shared = *box;
    shared->eflags |= RFLAGS_FIXED;
    enter();
    *box = *shared;
    /* The task register was loaded down there. */
    guest_gdt[SEL_TSS / 8] = (guest_tss & ~(0xffull << 40)) | (TSS_AVAILABLE << 40);
    __asm__ volatile("ltr %w0" ::"r"(SEL_TSS) : "memory");
    if (box->mode == LOW_V86 && box->vector == EXC_GP &&
        box->eip == (uintptr_t)in_copy(low_v86_done))
        box->vector = LOW_RETURNED;
}

void low_check(const struct low_row *row)
{
    struct low_box box = row->box;

    low_run(&box, row->code, row->end);
    if (box.vector != row->vector)
        check_eq(row->name, box.vector, row->vector);
    else if (row->vector != LOW_RETURNED && box.eip != LOW_CODE + row->at)
        check_eq(row->name, box.eip, LOW_CODE + row->at);
    else
        check_eq(row->name, row->vector == LOW_RETURNED ? 0 : box.error, row->error);
}

void low_make_tables(void)
{
    for (uint32_t i = 0; i < PD_ENTRIES; i++) {
        low_pd32[i] = i << 22 | (uint32_t)(PT_P | PT_W | PT_U | PT_LARGE);
        low_pt32[i] = i << 12 | (uint32_t)(PT_P | PT_W | PT_U);
    }
    for (uint64_t i = 0; i < PAE_ENTRIES; i++) {
        low_pd[i] = i << 21 | PT_P | PT_W | PT_U | PT_LARGE;
        low_pd_high[i] = ((i << 21) + 3 * GIB) | PT_P | PT_W | PT_LARGE;
    }
    memset(low_pdpt, 0, sizeof(low_pdpt));
    low_pdpt[0] = (uintptr_t)low_pd | PT_P;
    low_pdpt[3] = (uintptr_t)low_pd_high | PT_P;
}
