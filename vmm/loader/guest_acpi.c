/* Generates the virtual PC's ACPI tables. Layouts: ACPI 6.5, chapter 5. */

#include "vmm/loader/guest_acpi.h"

#include "dsdt.h"
#include "lib/error.h"
#include "lib/string.h"
#include "vmm/devices/acpi_pm.h"
#include "vmm/devices/rtc.h"
#include "vmm/guest_memory.h"
#include "vmm/loader/e820.h"

/* Where they stand. RSDP: 16-byte boundary; FACS: 64-byte boundary (5.2.5.1, 5.2.10). */
enum table_gpa {
    RSDP_GPA = GUEST_BIOS_BASE,
    FACS_GPA = GUEST_BIOS_BASE + 0x40,
    XSDT_GPA = GUEST_BIOS_BASE + 0x80,
    FADT_GPA = GUEST_BIOS_BASE + 0x100,
    MADT_GPA = GUEST_BIOS_BASE + 0x240,
    DSDT_GPA = GUEST_BIOS_BASE + 0x1000,
};

#define OEM_ID       "BULKHD"
#define OEM_TABLE_ID "BULKHEAD"
#define CREATOR_ID   "BLKH"

struct acpi_sdt_header {
    char signature[4];
    uint32_t length;
    uint8_t revision;
    uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} PACKED;
static_assert(sizeof(struct acpi_sdt_header) == 36, "5.2.6");

struct rsdp {
    char signature[8];
    uint8_t checksum; /* over the first 20 bytes */
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum;
    uint8_t reserved[3];
} PACKED;
static_assert(sizeof(struct rsdp) == 36, "5.2.5.3");
#define RSDP_V1_SIZE 20

#define XSDT_TABLES 2

struct facs {
    char signature[4];
    uint32_t length;
    uint32_t hardware_signature, waking_vector, global_lock, flags;
    uint64_t x_waking_vector;
    uint8_t version;
    uint8_t reserved[31];
} PACKED;
static_assert(sizeof(struct facs) == 64, "5.2.10");

struct gas {
    uint8_t space, bit_width, bit_offset, access_size;
    uint64_t address;
} PACKED;
static_assert(sizeof(struct gas) == 12, "5.2.3.2");
enum gas_value { GAS_IO = 1, GAS_BYTE = 1, GAS_WORD = 2, GAS_DWORD = 3 };

struct fadt {
    struct acpi_sdt_header header;
    uint32_t facs, dsdt;
    uint8_t reserved0, profile;
    uint16_t sci_int;
    uint32_t smi_cmd;
    uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
    uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
    uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base;
    uint8_t cst_cnt;
    uint16_t lvl2_latency, lvl3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t iapc_boot_arch;
    uint8_t reserved1;
    uint32_t flags;
    struct gas reset_reg;
    uint8_t reset_value;
    uint16_t arm_boot_arch;
    uint8_t minor_version;
    uint64_t x_facs, x_dsdt;
    struct gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr, x_gpe0, x_gpe1;
    struct gas sleep_control, sleep_status;
    char hypervisor_vendor[8];
} PACKED;
static_assert(offsetof(struct fadt, iapc_boot_arch) == 109, "5.2.9");
static_assert(offsetof(struct fadt, x_dsdt) == 140, "5.2.9");
static_assert(sizeof(struct fadt) == 276, "5.2.9");

#define FADT_REVISION      6
#define XSDT_REVISION      1
#define MADT_REVISION      4
#define RSDP_REVISION      2
#define FACS_VERSION       2
#define PROFILE_SERVER     4    /* enterprise server */
#define LVL2_UNSUPPORTED   101  /* over 100 us: there is no C2 */
#define LVL3_UNSUPPORTED   1001 /* over 1000 us: there is no C3 */
#define HYPERVISOR_VENDOR  "Bulkhead"
#define BOOT_LEGACY_DEVICE BIT(0)
#define BOOT_NO_VGA        BIT(2)

enum fadt_flag {
    FADT_WBINVD = BIT(0),
    FADT_PROC_C1 = BIT(2),
    /* PWR_BUTTON, bit 4, is 0: the power button is a fixed one. */
    FADT_NO_SLEEP_BUTTON = BIT(5),
    FADT_NO_FIXED_RTC = BIT(6),
    FADT_TMR_VAL_EXT = BIT(8),
    FADT_RESET_REG_SUP = BIT(10),
    FADT_HEADLESS = BIT(12),
};

struct madt {
    struct acpi_sdt_header header;
    uint32_t lapic_address;
    uint32_t flags;
} PACKED;
static_assert(sizeof(struct madt) == 44, "5.2.12");

#define MADT_PCAT_COMPAT BIT(0)
#define LAPIC_ADDRESS    0xfee00000u
#define IOAPIC_ADDRESS   0xfec00000u

struct madt_lapic {
    uint8_t type, length, uid, apic_id;
    uint32_t flags;
} PACKED;
static_assert(sizeof(struct madt_lapic) == 8, "5.2.12.2");
#define MADT_LAPIC         0
#define MADT_LAPIC_ENABLED BIT(0)

/* Everything behind the local APICs. */
struct madt_ioapic {
    uint8_t type, length, id, reserved;
    uint32_t address, gsi_base;
} PACKED;
static_assert(sizeof(struct madt_ioapic) == 12, "5.2.12.3");
#define MADT_IOAPIC 1

struct madt_override {
    uint8_t type, length, bus, irq;
    uint32_t gsi;
    uint16_t flags;
} PACKED;
static_assert(sizeof(struct madt_override) == 10, "5.2.12.5");
#define MADT_OVERRIDE 2
#define PIT_IRQ       0
#define PIT_GSI       2

struct madt_lapic_nmi {
    uint8_t type, length, uid;
    uint16_t flags;
    uint8_t lint;
} PACKED;
static_assert(sizeof(struct madt_lapic_nmi) == 6, "5.2.12.7");
#define MADT_LAPIC_NMI 4
#define UID_ALL        0xff

struct madt_tail {
    struct madt_ioapic ioapic;
    struct madt_override pit, sci;
    struct madt_lapic_nmi nmi;
} PACKED;

#define MADT_SIZE(vcpus) \
    (sizeof(struct madt) + (vcpus) * sizeof(struct madt_lapic) + sizeof(struct madt_tail))

static_assert(RSDP_GPA + sizeof(struct rsdp) <= FACS_GPA, "tables overlap");
static_assert(FACS_GPA + sizeof(struct facs) <= XSDT_GPA, "tables overlap");
static_assert(XSDT_GPA + sizeof(struct acpi_sdt_header) + XSDT_TABLES * 8 <= FADT_GPA,
              "tables overlap");
static_assert(FADT_GPA + sizeof(struct fadt) <= MADT_GPA, "tables overlap");
static_assert(MADT_GPA + MADT_SIZE(GUEST_ACPI_MAX_VCPUS) <= DSDT_GPA, "tables overlap");
static_assert(DSDT_GPA + sizeof(dsdt_aml) <= GUEST_BIOS_END, "tables overlap");

static uint8_t sum_of(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + p[i]);
    return sum;
}

/* Revision and length are the caller's; the checksum is still missing. */
static struct acpi_sdt_header header(const char *signature, uint8_t revision, size_t length)
{
    struct acpi_sdt_header h = {
        .length = (uint32_t)length, .revision = revision, .oem_revision = 1, .creator_revision = 1};

    memcpy(h.signature, signature, sizeof(h.signature));
    memcpy(h.oem_id, OEM_ID, sizeof(h.oem_id));
    memcpy(h.oem_table_id, OEM_TABLE_ID, sizeof(h.oem_table_id));
    memcpy(h.creator_id, CREATOR_ID, sizeof(h.creator_id));
    return h;
}

static int write_rsdp(struct vm *vm)
{
    struct rsdp rsdp = {.revision = RSDP_REVISION, .length = sizeof(rsdp), .xsdt = XSDT_GPA};

    memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
    memcpy(rsdp.oem_id, OEM_ID, sizeof(rsdp.oem_id));
    rsdp.checksum = (uint8_t)-sum_of(&rsdp, RSDP_V1_SIZE);
    rsdp.extended_checksum = (uint8_t)-sum_of(&rsdp, sizeof(rsdp));
    return guest_write(vm, RSDP_GPA, &rsdp, sizeof(rsdp));
}

static int write_xsdt(struct vm *vm)
{
    struct {
        struct acpi_sdt_header header;
        uint64_t tables[XSDT_TABLES];
    } PACKED xsdt = {header("XSDT", XSDT_REVISION, sizeof(xsdt)), {FADT_GPA, MADT_GPA}};

    xsdt.header.checksum = (uint8_t)-sum_of(&xsdt, sizeof(xsdt));
    return guest_write(vm, XSDT_GPA, &xsdt, sizeof(xsdt));
}

/* Without sleep states nothing uses it, but Linux wants it to be there. It has no checksum. */
static int write_facs(struct vm *vm)
{
    struct facs facs = {.length = sizeof(facs), .version = FACS_VERSION};

    memcpy(facs.signature, "FACS", sizeof(facs.signature));
    return guest_write(vm, FACS_GPA, &facs, sizeof(facs));
}

static struct gas io_register(uint16_t port, unsigned int bytes, enum gas_value access)
{
    return (struct gas){.space = GAS_IO,
                        .bit_width = (uint8_t)(bytes * 8),
                        .access_size = (uint8_t)access,
                        .address = port};
}

static int write_fadt(struct vm *vm)
{
    struct fadt fadt = {
        .header = header("FACP", FADT_REVISION, sizeof(fadt)),
        .facs = FACS_GPA, /* and x_facs 0: only one of them may be set */
        .dsdt = DSDT_GPA,
        .x_dsdt = DSDT_GPA,
        .profile = PROFILE_SERVER,
        .sci_int = GUEST_PM_SCI_IRQ,
        .pm1a_evt = GUEST_PM_PM1_EVT,
        .pm1a_cnt = GUEST_PM_PM1_CNT,
        .pm_tmr = GUEST_PM_TMR,
        .pm1_evt_len = GUEST_PM_PM1_EVT_LEN,
        .pm1_cnt_len = GUEST_PM_PM1_CNT_LEN,
        .pm_tmr_len = GUEST_PM_TMR_LEN,
        .x_pm1a_evt = io_register(GUEST_PM_PM1_EVT, GUEST_PM_PM1_EVT_LEN, GAS_WORD),
        .x_pm1a_cnt = io_register(GUEST_PM_PM1_CNT, GUEST_PM_PM1_CNT_LEN, GAS_WORD),
        .x_pm_tmr = io_register(GUEST_PM_TMR, GUEST_PM_TMR_LEN, GAS_DWORD),
        .lvl2_latency = LVL2_UNSUPPORTED,
        .lvl3_latency = LVL3_UNSUPPORTED,
        .century = RTC_CENTURY,
        .iapc_boot_arch = BOOT_LEGACY_DEVICE | BOOT_NO_VGA, /* and no 8042 */
        .flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_FIXED_RTC |
                 FADT_TMR_VAL_EXT | FADT_RESET_REG_SUP | FADT_HEADLESS,
        .reset_reg = io_register(GUEST_PM_RESET_PORT, 1, GAS_BYTE),
        .reset_value = GUEST_PM_RESET_VALUE,
    };

    memcpy(fadt.hypervisor_vendor, HYPERVISOR_VENDOR, sizeof(fadt.hypervisor_vendor));
    fadt.header.checksum = (uint8_t)-sum_of(&fadt, sizeof(fadt));
    return guest_write(vm, FADT_GPA, &fadt, sizeof(fadt));
}

static struct madt_lapic lapic_entry(unsigned int id)
{
    return (struct madt_lapic){.type = MADT_LAPIC,
                               .length = sizeof(struct madt_lapic),
                               .uid = (uint8_t)id,
                               .apic_id = (uint8_t)id,
                               .flags = MADT_LAPIC_ENABLED};
}

static struct madt_tail madt_tail(unsigned int vcpus)
{
    return (struct madt_tail){
        .ioapic = {.type = MADT_IOAPIC,
                   .length = sizeof(struct madt_ioapic),
                   .id = (uint8_t)vcpus,
                   .address = IOAPIC_ADDRESS},
        .pit = {.type = MADT_OVERRIDE,
                .length = sizeof(struct madt_override),
                .irq = PIT_IRQ,
                .gsi = PIT_GSI},
        .sci = {.type = MADT_OVERRIDE,
                .length = sizeof(struct madt_override),
                .irq = GUEST_PM_SCI_IRQ,
                .gsi = GUEST_PM_SCI_IRQ,
                .flags = GUEST_PM_SCI_OVERRIDE_FLAGS},
        .nmi = {.type = MADT_LAPIC_NMI,
                .length = sizeof(struct madt_lapic_nmi),
                .uid = UID_ALL,
                .lint = 1},
    };
}

/* Written in pieces, because with all its CPUs it would not fit on the stack; the checksum is
 * complete when the head, which holds it, is written last. */
static int write_madt(struct vm *vm, unsigned int vcpus)
{
    const struct madt_tail tail = madt_tail(vcpus);
    struct madt head = {
        .header = header("APIC", MADT_REVISION, MADT_SIZE(vcpus)),
        .lapic_address = LAPIC_ADDRESS,
        .flags = MADT_PCAT_COMPAT,
    };
    uint64_t at = MADT_GPA + sizeof(head);
    uint8_t sum = (uint8_t)(sum_of(&head, sizeof(head)) + sum_of(&tail, sizeof(tail)));
    int rc = 0;

    for (unsigned int i = 0; i < vcpus && rc == 0; i++) {
        const struct madt_lapic lapic = lapic_entry(i);

        sum = (uint8_t)(sum + sum_of(&lapic, sizeof(lapic)));
        rc = guest_write(vm, at, &lapic, sizeof(lapic));
        at += sizeof(lapic);
    }
    if (rc == 0)
        rc = guest_write(vm, at, &tail, sizeof(tail));
    head.header.checksum = (uint8_t)-sum;
    return rc != 0 ? rc : guest_write(vm, MADT_GPA, &head, sizeof(head));
}

int guest_acpi_build(struct vm *vm, unsigned int vcpus, uint64_t *rsdp_gpa)
{
    int rc;

    if (vcpus == 0 || vcpus > GUEST_ACPI_MAX_VCPUS)
        return -BH_EINVAL;
    rc = guest_write(vm, DSDT_GPA, dsdt_aml, sizeof(dsdt_aml));
    if (rc == 0)
        rc = write_facs(vm);
    if (rc == 0)
        rc = write_fadt(vm);
    if (rc == 0)
        rc = write_madt(vm, vcpus);
    if (rc == 0)
        rc = write_xsdt(vm);
    if (rc == 0)
        rc = write_rsdp(vm);
    *rsdp_gpa = RSDP_GPA;
    return rc;
}
