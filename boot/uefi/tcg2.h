#ifndef BULKHEAD_BOOT_UEFI_TCG2_H
#define BULKHEAD_BOOT_UEFI_TCG2_H

/* Firmware's interface to a TPM: TCG EFI Protocol Specification 1.00, revision 00.13 ("EFI" below),
 * 6; and one TPM command (TPM 2.0 Library, revision 1.59, part 3, "TPM"). gnu-efi has no header for
 * it. */

#include <efi.h>

#include "lib/sha256.h"

#define TCG2_GUID                                          \
    {                                                      \
        0x607f766c, 0x7455, 0x42be,                        \
        {                                                  \
            0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f \
        }                                                  \
    }
#define TCG2_HEADER_VERSION 1
#define TCG2_EV_IPL         0x0du /* PFP 10.4.1 */

/* EFI 6.4.2; of later versions, longer. */
struct tcg2_capability {
    uint8_t size;
    uint8_t structure_version[2], protocol_version[2];
    uint32_t hash_algorithms, event_logs; /* a bit each */
    uint8_t is_present;
    uint16_t max_command_size, max_response_size;
    uint32_t manufacturer, bank_count, active_banks;
};
static_assert(sizeof(struct tcg2_capability) == 36, "EFI 6.4.2");
static_assert(offsetof(struct tcg2_capability, is_present) == 16, "EFI 6.4.2");

/* EFI 6.6.2 */
#define TCG2_EVENT_TEXT_MAX 512
struct PACKED tcg2_event {
    uint32_t size; /* of all that follows and of this */
    uint32_t header_size;
    uint16_t header_version;
    uint32_t pcr, type;
    char text[TCG2_EVENT_TEXT_MAX];
};
#define TCG2_EVENT_HEADER_SIZE 14
#define TCG2_EVENT_SIZE        offsetof(struct tcg2_event, text)
static_assert(offsetof(struct tcg2_event, text) == 4 + TCG2_EVENT_HEADER_SIZE, "EFI 6.6.2");

/* EFI 6.3 */
struct tcg2_protocol {
    EFI_STATUS(EFIAPI *get_capability)
    (struct tcg2_protocol *self, struct tcg2_capability *capability);
    EFI_STATUS(EFIAPI *get_event_log)
    (struct tcg2_protocol *self, uint32_t format, EFI_PHYSICAL_ADDRESS *log,
     EFI_PHYSICAL_ADDRESS *last_event, BOOLEAN *is_truncated);
    EFI_STATUS(EFIAPI *hash_log_extend_event)
    (struct tcg2_protocol *self, uint64_t flags, EFI_PHYSICAL_ADDRESS data, uint64_t size,
     struct tcg2_event *event);
    EFI_STATUS(EFIAPI *submit_command)
    (struct tcg2_protocol *self, uint32_t in_size, void *in, uint32_t out_size, void *out);
    void *get_active_banks, *set_active_banks, *get_result_of_set_active_banks;
};
static_assert(sizeof(struct tcg2_protocol) == 7 * 8, "EFI 6.3");

/* EFI 7: what is measured after the first GetEventLog(), in ACPI NVS memory, which outlives
 * firmware. */
#define TCG2_FINAL_EVENTS_GUID                             \
    {                                                      \
        0x1e2ed096, 0x30e2, 0x4254,                        \
        {                                                  \
            0xbd, 0x89, 0x86, 0x3b, 0xbe, 0xf8, 0x23, 0x25 \
        }                                                  \
    }
struct tcg2_final_events {
    uint64_t version, count;
    uint8_t events[]; /* of the crypto-agile format */
};

/* TPM2_PCR_Read (TPM 22.4), of one PCR in one bank. All numbers are big-endian. */
#define TPM_ST_NO_SESSIONS 0x8001u
#define TPM_CC_PCR_READ    0x17eu
#define TPM_ALG_SHA256     0x0bu
#define TPM_PCR_BYTES      3 /* a bit for each of 24 PCRs */

struct PACKED tpm_pcr_selection {
    uint32_t count; /* 1 */
    uint16_t algorithm;
    uint8_t bytes, pcrs[TPM_PCR_BYTES];
};

struct PACKED tpm_pcr_read {
    uint16_t tag;
    uint32_t size, code;
    struct tpm_pcr_selection selection;
};
static_assert(sizeof(struct tpm_pcr_read) == 20, "TPM 22.4.2");

struct PACKED tpm_pcr_value {
    uint16_t tag;
    uint32_t size, code; /* 0: done */
    uint32_t update_counter;
    struct tpm_pcr_selection selection;
    uint32_t digest_count;
    uint16_t digest_size;
    uint8_t digest[SHA256_SIZE];
};
static_assert(sizeof(struct tpm_pcr_value) == 62, "TPM 22.4.2");

#endif
