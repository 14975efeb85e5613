#ifndef BULKHEAD_ARCH_X86_SEGMENT_H
#define BULKHEAD_ARCH_X86_SEGMENT_H

/* A guest's segment register with its hidden part, in the VMCB's packed form (APM vol. 2,
 * appendix B, "VMCB State Save Area"), which serves both vendors in vendor-neutral code. */

#include "lib/macros.h"

enum seg_index { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

/* attrib: descriptor bits 40..47 in bits 0..7 and descriptor bits 52..55 in bits 8..11. */
#define SEG_ATTR_TYPE    0x000fu
#define SEG_ATTR_CODE    0x0008u /* type: code segment */
#define SEG_ATTR_READ    0x0002u /* type, code: readable */
#define SEG_ATTR_EXPDOWN 0x0004u /* type, data: expand down */
#define SEG_ATTR_WRITE   0x0002u /* type, data: writable */
#define SEG_ATTR_S       0x0010u
#define SEG_ATTR_P       0x0080u
#define SEG_ATTR_L       0x0200u
#define SEG_ATTR_DB      0x0400u
#define SEG_ATTR_G       0x0800u

#define SEG_TYPE_TSS16_BUSY 3u

struct segment {
    uint16_t selector;
    uint16_t attrib;
    uint32_t limit; /* in bytes, already scaled by G */
    uint64_t base;
};
static_assert(sizeof(struct segment) == 16, "VMCB segment layout");

#endif
