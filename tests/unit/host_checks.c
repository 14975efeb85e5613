/* What locks and checks want of the machine, for host builds: a thread is a CPU. */

#include "tests/unit/host_checks.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "arch/x86/interrupt.h"
#include "lib/format.h"
#include "lib/spinlock.h"
#include "vmm/stats.h"

char host_panic_text[200];
jmp_buf *host_panic_jump;
bool host_machine_ends;
uint16_t host_exit_offset;
uint32_t host_exit_cycles;

static _Thread_local struct held_locks held;

struct held_locks *spin_held(void)
{
    return &held;
}

/* Whoever waits asks: the other threads get on meanwhile. */
bool spin_machine_ends(void)
{
    sched_yield();
    return __atomic_load_n(&host_machine_ends, __ATOMIC_RELAXED);
}

void core_panic(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    format_v(host_panic_text, sizeof(host_panic_text), fmt, ap);
    va_end(ap);
    if (host_panic_jump)
        longjmp(*host_panic_jump, 1);
    fprintf(stderr, "panic: %s\n", host_panic_text);
    abort();
}

void checks_exit(const struct exit_stats *stats, uint16_t offset, uint32_t cycles)
{
    host_exit_offset = offset;
    host_exit_cycles = cycles;
}
