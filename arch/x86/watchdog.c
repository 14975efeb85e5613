#include "arch/x86/watchdog.h"

#include "arch/x86/asm.h"
#include "arch/x86/lapic.h"
#include "arch/x86/time.h"
#include "lib/log.h"
#include "vmm/console.h"
#include "vmm/timer.h"

#define PATIENCE_S     10u
#define RETRY_PART     1000u         /* of a second: when the console is in use */
#define UNMEASURED_TSC 3000000000ull /* a second's ticks, before the TSC is measured */

/* Not INIT: the last phase is when boot memory has been given back. The interrupt comes at any
 * point of what the boot CPU does with these. */
static bool on;
static const char *volatile phase;
static volatile uint64_t since; /* TSC */
static volatile uint64_t said;  /* seconds, in the last line on this phase */
static struct {
    volatile uint64_t done, total;
    const char *volatile unit;
} progress;

static uint64_t second_tsc(void)
{
    return time_is_calibrated() ? time_scale.khz * 1000 : UNMEASURED_TSC;
}

static void arm(void)
{
    lapic_hw_timer_arm(since + (said + PATIENCE_S) * second_tsc());
}

void watchdog_start(void)
{
    on = true;
    lapic_hw_watch(true);
    interrupts_on();
    arm();
}

void watchdog_stop(void)
{
    interrupts_off();
    on = false;
    lapic_hw_timer_arm(TIMER_NEVER);
    lapic_hw_watch(false);
}

void watchdog_phase(const char *name)
{
    since = rdtsc(); /* first, so that no phase gets the last one's time */
    said = 0;
    progress.total = 0;
    phase = name;
}

void watchdog_progress(uint64_t done, uint64_t total, const char *unit)
{
    progress.unit = unit;
    progress.done = done;
    progress.total = total;
}

static void say(uint64_t seconds)
{
    if (progress.total > 0)
        log_warn("boot: still %s after %llu s: %llu of %llu %s", phase, LLU(seconds),
                 LLU(progress.done), LLU(progress.total), progress.unit);
    else
        log_warn("boot: still %s after %llu s", phase, LLU(seconds));
}

void watchdog_tick(void)
{
    if (!on) /* it was on its way when the watchdog stopped */
        return;
    uint64_t seconds = (rdtsc() - since) / second_tsc();

    if (seconds >= said + PATIENCE_S) {
        /* Maybe it is this CPU that is in the middle of a line. */
        if (!console_is_free()) {
            lapic_hw_timer_arm(rdtsc() + second_tsc() / RETRY_PART);
            return;
        }
        said = seconds - seconds % PATIENCE_S;
        uint32_t destination = lapic_hw_destination(); /* it may be about to send an IPI */
        say(said);
        console_flush(); /* nobody else may get to it, and a UART takes but 16 bytes at once */
        lapic_hw_set_destination(destination);
    }
    arm();
}
