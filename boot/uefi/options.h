#ifndef BULKHEAD_BOOT_UEFI_OPTIONS_H
#define BULKHEAD_BOOT_UEFI_OPTIONS_H

/* Words of the core's command line that concern its loader. Knows nothing of UEFI. */

#include "vmm/config_text.h"

#define MENU_SECONDS_MAX 3600u

/* Takes every `menu=SECONDS` off `line`. Returns 0, with the last one's value in *seconds, which
 * stays as it was without any; or -BH_EINVAL, with the word that makes no sense in *bad and `line`
 * as it was. */
MUST_CHECK int options_take_menu(char *line, unsigned int *seconds, struct text_span *bad);

bool options_have(const char *line, const char *word);

/* Appends `words`. Returns false, and changes nothing, when `size` bytes do not hold all of it. */
MUST_CHECK bool options_append(char *line, size_t size, const char *words);

#endif
