#include "vmm/console_screen.h"

#include "arch/x86/asm.h"
#include "arch/x86/lapic.h"
#include "arch/x86/percpu.h"
#include "arch/x86/smp.h"
#include "arch/x86/time.h"
#include "drivers/screen.h"
#include "lib/qr.h"
#include "lib/spinlock.h"
#include "vmm/console.h"
#include "vmm/timer.h"

#define DRAW_AT_ONCE 4u      /* characters between two looks at the time */
#define DRAW_NS      50000u  /* a step */
#define PAUSE_NS     250000u /* until the next one: others get most of the processor */

/* A QR code in characters, two modules each, one above the other. */
#define QR_COLUMNS (QR_SIZE + 2 * QR_QUIET)
#define QR_ROWS    ((QR_COLUMNS + 1) / 2)

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

/* A fault while it draws leads here again, and the next one to nothing. Once again, as the CPU that
 * was inside may be another one, which has been stopped there. */
void console_screen_draw(void)
{
    static unsigned int inside;

    if (!console_has_screen || inside == 2)
        return;
    inside++;
    (void)screen_draw(UINT32_MAX);
    __asm__ volatile("sfence" ::: "memory"); /* nothing may come after it that would */
    inside--;
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

COLD void console_screen_crash_line(const char *text, size_t len)
{
    static bool is_page;

    if (!console_has_screen)
        return;
    if (!is_page)
        screen_clear();
    is_page = true;
    screen_write(text, len);
    screen_write("\r\n", 2);
}

static bool has_qr_room(void)
{
    return screen_columns() >= 3 * QR_COLUMNS && screen_rows() >= 2 * QR_ROWS + 2;
}

static unsigned int is_light(const uint32_t rows[QR_SIZE], unsigned int x, unsigned int y)
{
    return !(x - QR_QUIET < QR_SIZE && y - QR_QUIET < QR_SIZE &&
             rows[y - QR_QUIET] >> (x - QR_QUIET) & 1);
}

COLD void console_screen_crash_qr(const char *text)
{
    unsigned int top = screen_rows() - QR_ROWS - 1, left = screen_columns() - QR_COLUMNS;
    uint32_t rows[QR_SIZE];

    if (!console_has_screen || !has_qr_room() || qr_encode(text, rows) != 0)
        return;
    for (unsigned int y = 0; y < QR_ROWS; y++)
        for (unsigned int x = 0; x < QR_COLUMNS; x++)
            screen_put_blocks(top + y, left + x,
                              is_light(rows, x, 2 * y) * SCREEN_UPPER |
                                  is_light(rows, x, 2 * y + 1) * SCREEN_LOWER);
}

unsigned int console_screen_crash_room(unsigned int *columns)
{
    *columns = screen_columns() - (has_qr_room() ? QR_COLUMNS + 1 : 0);
    return console_has_screen ? screen_rows_left() : 0;
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
