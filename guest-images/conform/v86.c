/* Virtual-8086 mode (SDM vol. 3, chapter 20). */

#include "low.h"

#define EFLAGS_VM    0x20000u
#define EFLAGS_IOPL3 0x3000u

SNIPPET16(v_nop, "mov $0x1234, %ax; mov %ax, %bx");
SNIPPET16(v_cpuid, "cpuid");
SNIPPET16(v_cli, "cli");
SNIPPET16(v_sti_cli, "cli; nop");
SNIPPET16(v_pushf, "pushf; pop %ax");
SNIPPET16(v_int, "int $0x42; mov $0x77, %ax");
SNIPPET16(v_int3, "int3");
SNIPPET16(v_hlt, "hlt");
SNIPPET16(v_in, "in $0x61, %al");
SNIPPET16(v_out, "out %al, $0x80");
SNIPPET16(v_rdmsr, "rdmsr");
SNIPPET16(v_read_cr0, "mov %cr0, %eax");
SNIPPET16(v_read_dr7, "mov %dr7, %eax");
SNIPPET16(v_lidt, "lidt (%bx)");
SNIPPET16(v_sldt, "sldt %ax");
SNIPPET16(v_limit, "mov 0xffff, %ax");
SNIPPET16(v_ud, "ud2");
SNIPPET16(v_de, "xor %cl, %cl; div %cl");
SNIPPET16(v_segment, "mov $0x600, %ax; mov %ax, %es; mov %es:4, %eax");
SNIPPET16(v_invlpg, "invlpg (%bx)");

#define V86(iopl)                                     \
    {                                                 \
        .mode = LOW_V86, .eflags = EFLAGS_VM | (iopl) \
    }
#define ROW(name, code, vector, error, at, iopl)             \
    {                                                        \
        name, code, code##_end, vector, error, at, V86(iopl) \
    }
static const struct low_row rows[] = {
    ROW("cli-iopl-0", v_cli, EXC_GP, 0, 0, 0),
    ROW("cli-iopl-3", v_sti_cli, LOW_RETURNED, 0, 0, EFLAGS_IOPL3),
    ROW("pushf-iopl-0", v_pushf, EXC_GP, 0, 0, 0),
    ROW("pushf-iopl-3", v_pushf, LOW_RETURNED, 0, 0, EFLAGS_IOPL3),
    ROW("int-n-iopl-0", v_int, EXC_GP, 0, 0, 0),
    ROW("int3", v_int3, EXC_BP, 0, 1, 0),
    ROW("hlt", v_hlt, EXC_GP, 0, 0, EFLAGS_IOPL3),
    ROW("in", v_in, EXC_GP, 0, 0, EFLAGS_IOPL3),
    ROW("out", v_out, EXC_GP, 0, 0, EFLAGS_IOPL3),
    ROW("rdmsr", v_rdmsr, EXC_GP, 0, 0, EFLAGS_IOPL3),
    ROW("read-cr0", v_read_cr0, EXC_GP, 0, 0, EFLAGS_IOPL3),
    ROW("read-dr7", v_read_dr7, EXC_GP, 0, 0, EFLAGS_IOPL3),
    ROW("lidt", v_lidt, EXC_GP, 0, 0, EFLAGS_IOPL3),
    ROW("invlpg", v_invlpg, EXC_GP, 0, 0, EFLAGS_IOPL3),
    ROW("sldt", v_sldt, EXC_UD, 0, 0, EFLAGS_IOPL3),
    ROW("limit", v_limit, EXC_GP, 0, 0, 0),
    ROW("ud", v_ud, EXC_UD, 0, 0, 0),
    ROW("de", v_de, EXC_DE, 0, 2, 0),
};

void group_v86(void)
{
    struct low_box box = V86(0);
    volatile uint32_t *data = (volatile uint32_t *)(uintptr_t)LOW_DATA;

    __asm__("" : "+r"(data));
    data[1] = 0xfeed5678;
    LOW_RUN(&box, v_nop);
    check_eq("runs", box.vector == LOW_RETURNED ? box.ebx & 0xffff : box.vector, 0x1234);
    check_eq("eflags-vm", box.eflags & EFLAGS_VM, EFLAGS_VM);
    box = (struct low_box)V86(0);
    LOW_RUN(&box, v_cpuid);
    check_eq("cpuid", box.ebx, cpuid(0, 0).ebx);
    box = (struct low_box)V86(0);
    LOW_RUN(&box, v_segment);
    check_eq("segment-base", box.eax, 0xfeed5678);
    box = (struct low_box)V86(EFLAGS_IOPL3);
    LOW_RUN(&box, v_int);
    check_eq("int-n-iopl-3", box.last, 0x42);
    check_eq("int-n-returns", box.eax & 0xffff, 0x77);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        low_check(&rows[i]);
    /* With paging, which makes ring 3 of it for the page tables. */
    low_make_tables();
    box = (struct low_box)V86(0);
    box.cr0_set = CR0_PG;
    box.cr4 = CR4_PSE;
    box.cr3 = (uintptr_t)low_pd32;
    LOW_RUN(&box, v_nop);
    check_eq("with-paging", box.vector == LOW_RETURNED ? box.ebx & 0xffff : box.vector, 0x1234);
}
