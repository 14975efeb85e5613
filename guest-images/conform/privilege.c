/* What ring 3 may not do, and the instructions of virtualization itself, which must not exist. */

#include "check.h"

#define HYPERCALL_UNKNOWN 0xfffffffffffffc18ull /* -1000: vmm/hypercall.c */
#define JUNK              0x1122334455667788ull

#define PRIV(name, text) SNIPPET(r3_##name, text)
PRIV(hlt, "hlt");
PRIV(cli, "cli");
PRIV(sti, "sti");
PRIV(lgdt, "lgdt (%rbx)");
PRIV(lidt, "lidt (%rbx)");
PRIV(lldt, "lldt %ax");
PRIV(ltr, "ltr %ax");
PRIV(read_cr0, "mov %cr0, %rax");
PRIV(write_cr0, "mov %rax, %cr0");
PRIV(read_cr2, "mov %cr2, %rax");
PRIV(read_cr3, "mov %cr3, %rax");
PRIV(write_cr3, "mov %rax, %cr3");
PRIV(read_cr4, "mov %cr4, %rax");
PRIV(write_cr4, "mov %rax, %cr4");
PRIV(read_cr8, "mov %cr8, %rax");
PRIV(write_cr8, "mov %rax, %cr8");
PRIV(read_dr0, "mov %dr0, %rax");
PRIV(write_dr7, "mov %rax, %dr7");
PRIV(clts, "clts");
PRIV(lmsw, "lmsw %ax");
PRIV(invd, "invd");
PRIV(wbinvd, "wbinvd");
PRIV(invlpg, "invlpg (%rbx)");
PRIV(swapgs, "swapgs");
PRIV(sysret, "sysretq");
PRIV(rdpmc, "rdpmc");
PRIV(in_imm, "in $0x61, %al");
PRIV(in_dx, "in %dx, %eax");
PRIV(out_imm, "out %al, $0x80");
PRIV(out_dx, "out %ax, %dx");
PRIV(insb, "insb");
PRIV(outsb, "outsb");
PRIV(rep_outsw, "rep outsw");
PRIV(rsm, "rsm");

#define GP3(name, label)                                 \
    {                                                    \
        name, r3_##label, EXC_GP, 0, 0, SEL_USER_CODE64, \
        {                                                \
            0                                            \
        }                                                \
    }
static const struct trap_row ring3[] = {
    GP3("hlt", hlt),
    GP3("cli", cli),
    GP3("sti", sti),
    GP3("lgdt", lgdt),
    GP3("lidt", lidt),
    GP3("lldt", lldt),
    GP3("ltr", ltr),
    GP3("read-cr0", read_cr0),
    GP3("write-cr0", write_cr0),
    GP3("read-cr2", read_cr2),
    GP3("read-cr3", read_cr3),
    GP3("write-cr3", write_cr3),
    GP3("read-cr4", read_cr4),
    GP3("write-cr4", write_cr4),
    GP3("read-cr8", read_cr8),
    GP3("write-cr8", write_cr8),
    GP3("read-dr0", read_dr0),
    GP3("write-dr7", write_dr7),
    GP3("clts", clts),
    GP3("lmsw", lmsw),
    GP3("invd", invd),
    GP3("wbinvd", wbinvd),
    GP3("invlpg", invlpg),
    GP3("swapgs", swapgs),
    GP3("sysret", sysret),
    GP3("in-imm", in_imm),
    GP3("in-dx", in_dx),
    GP3("out-imm", out_imm),
    GP3("out-dx", out_dx),
    GP3("insb", insb),
    GP3("outsb", outsb),
    GP3("rep-outsw", rep_outsw),
    {"rsm-ring-3", r3_rsm, EXC_UD, 0, 0, SEL_USER_CODE64, {0}},
    {"in-compatibility-ring-3", r3_in_imm, EXC_GP, 0, 0, SEL_USER_CODE32, {0}},
    {"hlt-compatibility-ring-3", r3_hlt, EXC_GP, 0, 0, SEL_USER_CODE32, {0}},
};

#define GONE(name, bytes) SNIPPET(v_##name, ".byte " bytes)
GONE(vmrun, "0x0f, 0x01, 0xd8");
GONE(vmload, "0x0f, 0x01, 0xda");
GONE(vmsave, "0x0f, 0x01, 0xdb");
GONE(stgi, "0x0f, 0x01, 0xdc");
GONE(clgi, "0x0f, 0x01, 0xdd");
GONE(skinit, "0x0f, 0x01, 0xde");
GONE(invlpga, "0x0f, 0x01, 0xdf");
GONE(vmlaunch, "0x0f, 0x01, 0xc2");
GONE(vmresume, "0x0f, 0x01, 0xc3");
GONE(vmxoff, "0x0f, 0x01, 0xc4");
GONE(vmfunc, "0x0f, 0x01, 0xd4");
GONE(vmclear, "0x66, 0x0f, 0xc7, 0x33");
GONE(vmptrld, "0x0f, 0xc7, 0x33");
GONE(vmptrst, "0x0f, 0xc7, 0x3b");
GONE(vmxon, "0xf3, 0x0f, 0xc7, 0x33");
GONE(vmread, "0x0f, 0x78, 0xc1");
GONE(vmwrite, "0x0f, 0x79, 0xc1");
GONE(invept, "0x66, 0x0f, 0x38, 0x80, 0x03");
GONE(invvpid, "0x66, 0x0f, 0x38, 0x81, 0x03");
GONE(getsec, "0x0f, 0x37");
GONE(rsm, "0x0f, 0xaa");
GONE(encls, "0x0f, 0x01, 0xcf");
GONE(rdpru, "0x0f, 0x01, 0xfd");
GONE(monitor, "0x0f, 0x01, 0xc8");
GONE(mwait, "0x0f, 0x01, 0xc9");
GONE(vmcall, "0x0f, 0x01, 0xc1");
GONE(vmmcall, "0x0f, 0x01, 0xd9");

static uint64_t operand[2];
#define UD0(name, label)                  \
    {                                     \
        name, v_##label, EXC_UD, 0, 0, 0, \
        {                                 \
            .rbx = (uintptr_t)operand     \
        }                                 \
    }
static const struct trap_row gone[] = {
    UD0("vmload", vmload),     UD0("vmsave", vmsave),     UD0("stgi", stgi),
    UD0("clgi", clgi),         UD0("skinit", skinit),     UD0("invlpga", invlpga),
    UD0("vmlaunch", vmlaunch), UD0("vmresume", vmresume), UD0("vmxoff", vmxoff),
    UD0("vmclear", vmclear),   UD0("vmptrld", vmptrld),   UD0("vmptrst", vmptrst),
    UD0("vmxon", vmxon),       UD0("vmread", vmread),     UD0("vmwrite", vmwrite),
    UD0("invept", invept),     UD0("invvpid", invvpid),   UD0("getsec", getsec),
    UD0("rsm", rsm),           UD0("vmrun", vmrun),       UD0("vmfunc", vmfunc),
    UD0("encls", encls),
};
/* Only where Bulkhead hides them. */
static const struct trap_row hidden[] = {
    UD0("monitor", monitor),
    UD0("mwait", mwait),
    UD0("rdpru", rdpru),
};

static void check_hypercall(void)
{
    const uint8_t *own = has.amd ? v_vmmcall : v_vmcall, *other = has.amd ? v_vmcall : v_vmmcall;
    struct trap_row row = {"hypercall-of-the-other-vendor", other, EXC_UD, 0, 0, 0, {0}};
    struct guest_regs r = {.rax = 0x1234, .rbx = JUNK, .rcx = JUNK, .rdx = JUNK, .rsi = JUNK};

    check_trap(&row);
    if (has.native)
        return;
    check_eq("hypercall", (uint64_t)guest_exec(own, &r), (uint64_t)GUEST_RETURNED);
    check_eq("hypercall-unknown", r.rax, HYPERCALL_UNKNOWN);
    check_that("hypercall-registers",
               r.rbx == JUNK && r.rcx == JUNK && r.rdx == JUNK && r.rsi == JUNK, r.rbx,
               "unchanged registers");
}

void group_privilege(void)
{
    struct guest_regs r = {0};

    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE); /* or SYSRET is #UD */
    check_traps(ring3, ARRAY_SIZE(ring3));
    check_traps(gone, ARRAY_SIZE(gone));
    if (!has.native) {
        static const struct trap_row rdpmc3 = GP3("rdpmc", rdpmc);
        static const struct trap_row rdpmc0 = {"rdpmc-ring-0", r3_rdpmc, EXC_GP, 0, 0, 0,
                                               {.rcx = 0xffff}};

        check_traps(hidden, ARRAY_SIZE(hidden));
        check_trap(&rdpmc3);
        check_trap(&rdpmc0);
    }
    check_hypercall();
    /* IOPL 3 lets ring 3 at ports and IF. */
    r.rflags = RFLAGS_IOPL;
    check_eq("in-iopl-3", (uint64_t)guest_exec_in(SEL_USER_CODE64, r3_in_imm, &r),
             (uint64_t)GUEST_RETURNED);
    check_eq("cli-iopl-3", (uint64_t)guest_exec_in(SEL_USER_CODE64, r3_cli, &r),
             (uint64_t)GUEST_RETURNED);
    check_eq("wbinvd-ring-0", (uint64_t)guest_exec(r3_wbinvd, &r), (uint64_t)GUEST_RETURNED);
    check_eq("invlpg-ring-0-noncanonical",
             (uint64_t)guest_exec(r3_invlpg, &(struct guest_regs){.rbx = NONCANONICAL}),
             (uint64_t)GUEST_RETURNED);
}
