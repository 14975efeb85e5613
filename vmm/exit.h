#ifndef BULKHEAD_VMM_EXIT_H
#define BULKHEAD_VMM_EXIT_H

/* What an exit means, for both vendors. The backends find out what happened and how long the
 * instruction is, and call these. All run on the vCPU's pCPU with the guest's registers in the
 * vCPU; `length` is that of the instruction that exited. */

#include "vmm/emulate/decode.h"
#include "vmm/vcpu.h"

enum exit_action exit_cpuid(struct vcpu *v, unsigned int length);
enum exit_action exit_rdmsr(struct vcpu *v, unsigned int length);
enum exit_action exit_wrmsr(struct vcpu *v, unsigned int length);
enum exit_action exit_hlt(struct vcpu *v, unsigned int length);
enum exit_action exit_hypercall(struct vcpu *v, unsigned int length);
enum exit_action exit_xsetbv(struct vcpu *v, unsigned int length);

/* INVD and WBINVD: nothing to do, as no device sees the guest's memory past the caches. */
enum exit_action exit_cache(struct vcpu *v, unsigned int length);

/* IN and OUT of a byte, and of 2 or 4. `next_rip`: of the instruction behind (vcpu_skip_to()). */
enum exit_action exit_in(struct vcpu *v, unsigned int port, uint64_t next_rip);
enum exit_action exit_out(struct vcpu *v, unsigned int port, uint64_t next_rip);
enum exit_action exit_in_wide(struct vcpu *v, unsigned int port, uint64_t next_rip,
                              unsigned int size);
enum exit_action exit_out_wide(struct vcpu *v, unsigned int port, uint64_t next_rip,
                               unsigned int size);

/* A loop of PAUSEs (vmm/pause.h). */
enum exit_action exit_pause(struct vcpu *v);

/* INS and OUTS. */
enum exit_action exit_string_io(struct vcpu *v);

/* The usual nested page fault, that of an access and not of a fetch or a table walk, to a device's
 * register at `gpa`: what faults is no RAM, which is mapped with all rights. */
enum exit_action exit_device_access(struct vcpu *v, uint64_t gpa, bool write);

/* The same in fewer steps. `code` is code_cache_insn() of RIP, and kept for this RIP: with a mode
 * that was compared, or with mode and bytes that were. */
enum exit_action exit_device_mov(struct vcpu *v, uint64_t gpa, bool write,
                                 const struct code_insn *code);
enum exit_action exit_decoded_mov(struct vcpu *v, uint64_t gpa, bool write,
                                  const struct code_insn *code);

/* Any nested page fault at `gpa`. `bytes`/`len`: the instruction, when the CPU gave it. */
enum exit_action exit_nested_fault(struct vcpu *v, uint64_t gpa, bool write, bool fetch,
                                   bool table_walk, const uint8_t *bytes, unsigned int len);

/* MOV to CR0/CR4/CR8 with the value already known. Raises #GP for what is not allowed. Returns true
 * when the register was written. */
bool exit_write_cr0(struct vcpu *v, uint64_t value);
bool exit_write_cr4(struct vcpu *v, uint64_t value);
bool exit_write_cr8(struct vcpu *v, uint64_t value);

/* The guest's IDT, or the stack of a handler, is not in memory: the VM ends. */
enum exit_action exit_delivery_fault(struct vcpu *v, uint64_t gpa);

/* A task switch by hardware, to the TSS `selector`: no system in use does that. Refused with #GP.
 */
enum exit_action exit_task_switch(struct vcpu *v, uint16_t selector);

/* #DB and #AC that were intercepted are raised. Their delivery may bring the next one, and so on,
 * with no instruction in between at which an interrupt could end the guest (CVE-2015-5307,
 * CVE-2015-8104): interrupts are taken here, and the run loop looks at the time. */
enum exit_action exit_exception(struct vcpu *v, uint8_t vector);

/* An instruction that the VM must not have: #UD. */
enum exit_action exit_undefined(struct vcpu *v);

/* Fetches the bytes at CS:RIP, and tells the mode that the guest's code runs in. Returns the number
 * (>= 1), 0 when a fault was raised in the guest, or negative when they are not in RAM. */
int exit_fetch(struct vcpu *v, uint8_t bytes[INSN_MAX_LENGTH], enum cpu_mode *mode);

/* Length of the instruction at CS:RIP, which must be `id`. 0: a fault was raised in the guest, or
 * another instruction stands there by now: enter the guest again. */
unsigned int exit_insn_length(struct vcpu *v, enum insn_id id);

#endif
