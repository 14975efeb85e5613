#ifndef BULKHEAD_VMM_CPUID_TOPOLOGY_H
#define BULKHEAD_VMM_CPUID_TOPOLOGY_H

/* What CPUID says of a VM's CPUs, for Intel's and AMD's ways to tell: one package, with a core of
 * one thread for each vCPU. APIC ids are 0.. without gaps, as in the guest's MADT. */

#include "arch/x86/asm.h"

struct cpuid_topology {
    unsigned int cores; /* 1..VM_MAX_VCPUS */
    uint32_t apic_id;   /* of the vCPU that asks, below `cores` */
    bool amd;           /* the CPU is AMD's or like it */
};

/* The leaves with topology (0Bh is nothing else). */
#define CPUID_FEATURES     0x1u
#define CPUID_CACHES       0x4u
#define CPUID_TOPOLOGY     0xbu
#define CPUID_EXT_FEATURES 0x80000001u
#define CPUID_EXT_SIZES    0x80000008u
#define CPUID_EXT_CACHES   0x8000001du
#define CPUID_EXT_TOPOLOGY 0x8000001eu

/* Adds the topology to `r`, the answer to one of these leaves, in which it is 0. With one core that
 * is nothing for CPUID_EXT_FEATURES and CPUID_EXT_SIZES. Needs no context. */
void cpuid_add_topology(const struct cpuid_topology *t, uint32_t leaf, uint32_t subleaf,
                        struct cpuid_regs *r);

#endif
