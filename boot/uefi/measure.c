/* Measured boot: each file and the command line go into the TPM before they are used, and what
 * firmware has logged of that, and of all before it, to the core. A machine without a TPM has
 * nothing of it. */

#include "boot/event_log.h"
#include "boot/uefi/loader.h"
#include "boot/uefi/tcg2.h"
#include "lib/string.h"

/* As GRUB does: files, and the words of the command line. */
#define PCR_FILES BOOT_PCR_FILES
#define PCR_WORDS BOOT_PCR_WORDS

/* Room for what is measured when firmware ends: two events in PCR 5 (PFP 3.3.4.6). */
#define FINAL_MAX (4 * KIB)

static struct tcg2_protocol *tpm; /* NULL: none */
static struct event_log measured;
static const struct tcg2_final_events *final_events;
static uint64_t final_begin; /* where those begin that the log has not */

void measure_init(void)
{
    EFI_GUID guid = TCG2_GUID;
    struct tcg2_capability have = {.size = sizeof(have)};

    if (EFI_ERROR(BS->LocateProtocol(&guid, NULL, (void **)&tpm)))
        tpm = NULL;
    if (tpm == NULL)
        return;
    EFI_STATUS status = tpm->get_capability(tpm, &have);

    if (EFI_ERROR(status) || !have.is_present) {
        tpm = NULL;
        return;
    }
    measured.format = have.event_logs & EVENT_LOG_AGILE ? EVENT_LOG_AGILE : EVENT_LOG_SHA1;
}

/* The event has the text, with its terminator as GRUB's have. A TPM that fails does not stop the
 * boot: its PCRs then do not have the values that somebody expects. */
static void measure(uint32_t pcr, const void *data, uint64_t size, const char *text)
{
    static struct tcg2_event event;
    uint32_t length = (uint32_t)strnlen(text, sizeof(event.text) - 1);

    if (tpm == NULL)
        return;
    memset(&event, 0, sizeof(event));
    event.size = TCG2_EVENT_SIZE + length + 1;
    event.header_size = TCG2_EVENT_HEADER_SIZE;
    event.header_version = TCG2_HEADER_VERSION;
    event.pcr = pcr;
    event.type = TCG2_EV_IPL;
    memcpy(event.text, text, length);
    EFI_STATUS status =
        tpm->hash_log_extend_event(tpm, 0, (EFI_PHYSICAL_ADDRESS)data, size, &event);

    if (EFI_ERROR(status))
        Print(
            L"bulkhead: measuring \"%a\" into the TPM's PCR %d: found \"%r\", expected no error\n",
            text, pcr, status);
}

void measure_file(const char *name, const struct file *file)
{
    measure(PCR_FILES, file->at, file->size, name);
}

void measure_words(const char *words)
{
    measure(PCR_WORDS, words, strlen(words), words);
}

static void read_memory(const void *ctx, uint64_t at, void *buf, size_t len)
{
    memcpy(buf, (const uint8_t *)ctx + at, len);
}

/* Firmware says where the last event begins: walks to its end. Returns false when there is none
 * there. */
static bool find_end(struct event_log *log, uint64_t last)
{
    struct event event;
    uint64_t begin = 0;

    if (event_log_open(log) != 0)
        return false;
    while (begin < last) {
        begin = log->at;
        if (begin > last || event_log_next(log, &event) != 0)
            return false;
    }
    return true;
}

/* Bytes of the final events. */
static uint64_t final_size(void)
{
    struct event_log log = measured;
    struct event event;

    if (final_events == NULL)
        return 0;
    log.ctx = final_events->events;
    log.size = EVENT_LOG_MAX;
    log.at = 0;
    for (uint64_t i = 0; i < final_events->count; i++)
        if (event_log_next(&log, &event) != 0)
            break;
    return log.at;
}

static void find_final_events(void)
{
    static const EFI_GUID guid = TCG2_FINAL_EVENTS_GUID;

    for (UINTN i = 0; i < ST->NumberOfTableEntries; i++)
        if (memcmp(&ST->ConfigurationTable[i].VendorGuid, &guid, sizeof(guid)) == 0)
            final_events = ST->ConfigurationTable[i].VendorTable;
    final_begin = final_size();
}

/* A copy, as firmware frees its own, with room for the final events. */
static void copy_log(struct boot_measurements *out)
{
    EFI_PHYSICAL_ADDRESS base = 0, last = 0;
    BOOLEAN is_truncated = FALSE;
    void *copy = NULL;
    EFI_STATUS status = tpm->get_event_log(tpm, measured.format, &base, &last, &is_truncated);

    measured.read = read_memory;
    measured.ctx = (const void *)base;
    measured.size = EVENT_LOG_MAX - FINAL_MAX;
    if (!EFI_ERROR(status) && base != 0 && last >= base && find_end(&measured, last - base))
        copy = pages_allocate(measured.at + FINAL_MAX, ~0ull, EfiLoaderData);
    if (copy == NULL || is_truncated)
        Print(L"bulkhead: the TPM's event log: found %a, expected it whole\n",
              copy == NULL ? "none that can be read" : "a part of it");
    if (copy == NULL)
        return;
    memcpy(copy, (const void *)base, measured.at);
    out->base = (uint64_t)copy;
    out->size = measured.at;
    out->format = measured.format;
    if (measured.format == EVENT_LOG_AGILE)
        find_final_events();
}

void measure_after_firmware(struct boot_measurements *out)
{
    uint64_t end = out->size > 0 ? final_size() : 0;

    if (end <= final_begin || end - final_begin > FINAL_MAX)
        return;
    memcpy((uint8_t *)out->base + out->size, final_events->events + final_begin, end - final_begin);
    out->size += end - final_begin;
}

/* From the bank of SHA-256. Returns false when there is none. */
static bool read_pcr(unsigned int pcr, uint8_t value[SHA256_SIZE])
{
    struct tpm_pcr_read command = {
        .tag = __builtin_bswap16(TPM_ST_NO_SESSIONS),
        .size = __builtin_bswap32(sizeof(command)),
        .code = __builtin_bswap32(TPM_CC_PCR_READ),
        .selection = {.count = __builtin_bswap32(1),
                      .algorithm = __builtin_bswap16(TPM_ALG_SHA256),
                      .bytes = TPM_PCR_BYTES},
    };
    struct tpm_pcr_value answer = {.size = 0};

    command.selection.pcrs[pcr / 8] = (uint8_t)BIT(pcr % 8);
    EFI_STATUS status =
        tpm->submit_command(tpm, sizeof(command), &command, sizeof(answer), &answer);

    if (EFI_ERROR(status) || answer.code != 0 || answer.size != __builtin_bswap32(sizeof(answer)) ||
        answer.digest_count != __builtin_bswap32(1) ||
        answer.digest_size != __builtin_bswap16(SHA256_SIZE))
        return false;
    memcpy(value, answer.digest, SHA256_SIZE);
    return true;
}

void measure_end(struct boot_measurements *out)
{
    if (tpm == NULL)
        return;
    out->has_pcrs = read_pcr(PCR_WORDS, out->pcr_words) && read_pcr(PCR_FILES, out->pcr_files);
    copy_log(out);
}
