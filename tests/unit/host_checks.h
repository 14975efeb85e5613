#ifndef BULKHEAD_TESTS_UNIT_HOST_CHECKS_H
#define BULKHEAD_TESTS_UNIT_HOST_CHECKS_H

#include <setjmp.h>

#include "lib/macros.h"

/* What core_panic() said. It goes on at `host_panic_jump` when that is set, and aborts otherwise.
 */
extern char host_panic_text[200];
extern jmp_buf *host_panic_jump;

/* What spin_machine_ends() returns. */
extern bool host_machine_ends;

/* The last that stat_exit() reported. */
extern uint16_t host_exit_offset;
extern uint32_t host_exit_cycles;

#endif
