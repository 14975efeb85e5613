#ifndef BULKHEAD_ARCH_X86_ACPI_ACPI_H
#define BULKHEAD_ARCH_X86_ACPI_ACPI_H

/* The machine's own ACPI tables, reduced to what the core needs. Firmware memory is reached only
 * through `struct acpi_memory`, so this code runs on a host, too. Nothing in the tables is trusted:
 * a broken table is logged by name and left out. References: ACPI specification 6.5, chapter 5. */

#include "lib/macros.h"

/* How the parser reads physical memory. `read` copies `len` bytes from `pa` and returns 0, or a
 * negative BH_E* (and may leave anything in `buf`) when a part of the range cannot be read. */
struct acpi_memory {
    int (*read)(void *ctx, uint64_t pa, void *buf, size_t len);
    void *ctx;
};

#define ACPI_MAX_TABLES    64
#define ACPI_MAX_CPUS      64
#define ACPI_MAX_IOAPICS   16
#define ACPI_MAX_OVERRIDES 16
#define ACPI_MAX_NMIS      16
#define ACPI_RSDP_MAX      36
#define ACPI_ISA_IRQS      16

/* The processor UID of an NMI entry that stands for all processors. */
#define ACPI_UID_ALL 0xffffffffu

struct acpi_table {
    char signature[5]; /* terminated; what is not printable is shown as '?' */
    uint32_t length;   /* with the header */
    uint64_t address;
};

struct acpi_cpu {
    uint32_t apic_id;
    uint32_t uid; /* ACPI processor UID */
};

struct acpi_ioapic {
    uint8_t id;
    uint32_t gsi_base;
    uint64_t address;
};

/* MPS INTI flags (ACPI 6.5, table 5.26) as they stand in the table: "conforms to the bus" is 0. */
#define ACPI_INTI_POLARITY_MASK 0x3u
#define ACPI_INTI_ACTIVE_HIGH   0x1u
#define ACPI_INTI_ACTIVE_LOW    0x3u
#define ACPI_INTI_TRIGGER_MASK  0xcu
#define ACPI_INTI_EDGE          0x4u
#define ACPI_INTI_LEVEL         0xcu

struct acpi_override {
    uint8_t irq; /* ISA interrupt, 0..15 */
    uint16_t flags;
    uint32_t gsi;
};

struct acpi_nmi {
    uint32_t uid; /* ACPI_UID_ALL: every processor */
    uint16_t flags;
    uint8_t lint; /* local APIC input, 0 or 1 */
};

enum acpi_space { ACPI_SPACE_MEMORY = 0, ACPI_SPACE_IO = 1, ACPI_SPACE_PCI = 2 };

/* A fixed register block. address 0: the machine has none. */
struct acpi_register {
    uint8_t space;  /* enum acpi_space; ACPI_SPACE_PCI in `reset` only */
    uint8_t length; /* in bytes */
    uint64_t address;
};

struct acpi_info {
    /* RSDP: address 0 when it came as a copy. */
    uint64_t rsdp_address;
    uint8_t rsdp[ACPI_RSDP_MAX];
    uint8_t rsdp_length;
    uint8_t rsdp_revision;

    unsigned int table_count;
    struct acpi_table tables[ACPI_MAX_TABLES]; /* checked ones; the DSDT is among them */

    /* MADT */
    bool has_madt;
    bool has_8259; /* MADT flag PCAT_COMPAT */
    uint64_t lapic_address;
    unsigned int cpu_count;
    struct acpi_cpu cpus[ACPI_MAX_CPUS]; /* enabled ones, each once */
    unsigned int ioapic_count;
    struct acpi_ioapic ioapics[ACPI_MAX_IOAPICS];
    unsigned int override_count;
    struct acpi_override overrides[ACPI_MAX_OVERRIDES];
    unsigned int nmi_count;
    struct acpi_nmi nmis[ACPI_MAX_NMIS];

    /* FADT */
    bool has_fadt;
    uint8_t fadt_revision;
    uint16_t sci_int;
    uint32_t smi_cmd; /* 0: always in ACPI mode */
    uint8_t acpi_enable;
    struct acpi_register pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm_timer;
    bool pm_timer_32bit;
    struct acpi_register reset; /* only when the FADT says that it works */
    uint8_t reset_value;
    struct acpi_register sleep_control, sleep_status; /* hardware-reduced machines */
    uint16_t iapc_boot_arch;                          /* ACPI_BOOT_* */
    uint8_t century;                                  /* index in CMOS, 0: none */
    bool hw_reduced;
    uint64_t dsdt_address, facs_address;
    uint64_t dsdt_address_old; /* the 32-bit field's, when the other one is in use and differs */

    /* \_S5: the values for SLP_TYP in PM1a/PM1b control */
    bool has_s5;
    uint8_t s5_slp_typ_a, s5_slp_typ_b;

    /* HPET */
    bool has_hpet;
    uint64_t hpet_address;
    uint32_t hpet_block_id;
    uint16_t hpet_min_tick;
};

/* IAPC_BOOT_ARCH (ACPI 6.5, table 5.11) */
#define ACPI_BOOT_LEGACY_DEVICES 0x0001u
#define ACPI_BOOT_8042           0x0002u
#define ACPI_BOOT_NO_VGA         0x0004u
#define ACPI_BOOT_NO_MSI         0x0008u
#define ACPI_BOOT_NO_CMOS_RTC    0x0020u

/* Fills `out` from the machine's tables. `rsdp_hint` is the physical address of the RSDP; when it
 * is 0 or wrong, the BIOS areas are searched. Returns 0 when a root table was found (look at
 * has_* for what was usable), -BH_ENOENT when there is no RSDP, -BH_EINVAL when no root table is
 * sound. Boot only; takes no lock. */
MUST_CHECK int acpi_parse(struct acpi_info *out, const struct acpi_memory *mem, uint64_t rsdp_hint);

/* The same, from a copy of the RSDP of `len` bytes (multiboot2 tags 14 and 15). */
MUST_CHECK int acpi_parse_rsdp_copy(struct acpi_info *out, const struct acpi_memory *mem,
                                    const void *rsdp, size_t len);

/* The checked table with that four-letter signature, or NULL. `nth` counts from 0. */
const struct acpi_table *acpi_find_table(const struct acpi_info *info, const char *signature,
                                         unsigned int nth);

/* Where ISA interrupt `isa_irq` arrives, with the MADT's overrides applied and "conforms to the
 * bus" resolved (ISA: edge, active high; the SCI: level, active low). Returns 0, or -BH_EINVAL for
 * an interrupt > 15 that is not the SCI. Any context. */
MUST_CHECK int acpi_irq_to_gsi(const struct acpi_info *info, unsigned int isa_irq, uint32_t *gsi,
                               bool *level, bool *active_low);

#endif
