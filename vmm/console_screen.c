#include "vmm/console_screen.h"

#include "arch/x86/asm.h"
#include "arch/x86/lapic.h"
#include "arch/x86/percpu.h"
#include "arch/x86/smp.h"
#include "arch/x86/time.h"
#include "drivers/screen.h"
#include "lib/spinlock.h"
#include "vmm/console.h"
#include "vmm/timer.h"

#define DRAW_AT_ONCE 4u      /* characters between two looks at the time */
#define DRAW_NS      50000u  /* a step */
#define PAUSE_NS     250000u /* until the next one: others get most of the processor */

bool console_has_screen;
static unsigned int served_by; /* constant after boot, as is the next one */
static bool running;           /* the run loops are */
static bool asked;             /* the serving CPU knows that there is something */
static struct timer next_step; /* of the serving CPU, as the next one */
static uint64_t pause_end;     /* TSC */

static void end_pause(struct timer *timer, uint64_t now)
{
    this_cpu->console_input = true;
}

INIT void console_screen_served_by(unsigned int cpu)
{
    timer_init(&next_step, end_pause);
    served_by = cpu;
}

void console_screen_run(void)
{
    running = true;
}

/* A fault while it draws leads here again, and to nothing. */
void console_screen_draw(void)
{
    static bool drawing;

    if (!console_has_screen || drawing)
        return;
    drawing = true;
    (void)screen_draw(UINT32_MAX);
    drawing = false;
}

/* By the UART's vector: the serving CPU looks at the console then, whether it is this one or not.
 */
static void ask(void)
{
    __atomic_store_n(&asked, true, __ATOMIC_RELAXED);
    lapic_hw_send(smp_apic_id(served_by), IPI_FIXED(VECTOR_UART));
}

COLD void console_screen_write(const char *text, size_t len)
{
    screen_write(text, len);
    if (!running || spin_machine_ends())
        console_screen_draw();
    else if (!asked)
        ask();
}

static bool draw_step(void)
{
    uint64_t end = rdtsc() + ns_span_to_tsc(DRAW_NS);
    bool more = true;

    (void)console_acquire(0);
    while (more && rdtsc() < end)
        more = screen_draw(DRAW_AT_ONCE);
    asked = more;
    console_release();
    pause_end = rdtsc() + ns_span_to_tsc(PAUSE_NS);
    return more;
}

void console_screen_poll(void)
{
    if (likely(!__atomic_load_n(&asked, __ATOMIC_RELAXED)) || timer_is_armed(&next_step))
        return;
    if (rdtsc() < pause_end || draw_step())
        timer_arm(&this_cpu->timers, &next_step, pause_end);
}
