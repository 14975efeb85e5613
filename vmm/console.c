#include "vmm/console.h"

#include "arch/x86/asm.h"
#include "arch/x86/percpu.h"
#include "drivers/ps2.h"
#include "drivers/uart.h"
#include "lib/emit.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "vmm/console_screen.h"
#include "vmm/mail.h"
#include "vmm/monitor.h"
#include "vmm/platform.h"
#include "vmm/vm.h"

#define KEY_ESCAPE   0x01       /* Ctrl-A */
#define HIDE         "\r\033[K" /* ECMA-48, 8.3.41 */
#define BREAK        "\r\n"
#define POLL_ROUNDS  4
#define POLL_KEYS    16
#define ANSWER_LINES 4 /* that the monitor prints without a pause */
#define POLL_BYTES   64
#define ESC          0x1b

/* A VM's escape sequences: shown only while it has the keyboard, and never shown again. */
enum escape_state { ESCAPE_NONE, ESCAPE_START, ESCAPE_SEQUENCE };

/* What must fit into the UART's queue: for VMs' output, so that the core's own finds room; for what
 * a key brings about. */
#define ROOM_VM      4096u
#define ROOM_FOR_ALL 12288u /* a quarter of the queue may wait before VMs get parts */
#define PART_SPAN    2048u  /* bytes that are sent, of which each has its part */
#define ROOM_KEYS    2048u

/* Guards all of this, each VM's unfinished line, drivers/uart.c, lib/log.c, and the monitor's line.
 */
static struct spinlock console_lock = SPINLOCK(LOCK_CONSOLE, "console");

static struct vm *focus;      /* NULL: the monitor has the keyboard. Written by the serving CPU */
static bool line_open;        /* the cursor stands behind the unfinished line of the focus */
static bool in_monitor_write; /* what is printed answers a command */
unsigned int console_polled_by = MAX_PCPUS;
static bool key_escape;           /* Ctrl-A was typed. Of the serving CPU alone */
static unsigned int answer_lines; /* of the monitor, in all. Of the serving CPU alone */
static unsigned int skipped;      /* lines of the core's that there was no room for */
static bool running;              /* the run loops are; constant from then on */

bool console_acquire(unsigned int room)
{
    spin_acquire(&console_lock);
    while (likely(room > 0) && unlikely(!uart_has_room(room)) && !spin_machine_ends()) {
        if (running)
            return false;
        spin_release(&console_lock);
        cpu_pause();
        spin_acquire(&console_lock);
    }
    return true;
}

bool console_is_free(void)
{
    return spin_is_free(&console_lock);
}

void console_run(void)
{
    running = true;
    console_screen_run();
}

void console_release(void)
{
    spin_release(&console_lock);
}

static void put(const char *text, size_t len)
{
    spin_assert_held(&console_lock);
    uart_write(text, len);
    if (unlikely(console_has_screen))
        console_screen_write(text, len);
}

static void put_prefix(const struct vm *vm)
{
    put(vm_name(vm), strlen(vm_name(vm)));
    put("| ", 2);
}

/* Ends the unfinished line on the screen: HIDE takes it off, so that another one can be printed in
 * its place and it comes back after it; with BREAK it stays there. */
static void end_line(const char *how)
{
    if (line_open) {
        put(how, strlen(how));
        line_open = false;
    }
}

/* Shows the unfinished line of whoever has the keyboard again. */
static void restore_line(void)
{
    if (line_open || in_monitor_write)
        return;
    if (!focus) {
        if (monitor_line_open()) {
            monitor_redraw();
            line_open = true;
        }
    } else if (focus->line_len > 0) {
        put_prefix(focus);
        put(focus->line, focus->line_len);
        line_open = true;
    }
}

static void put_line(const char *text, size_t len)
{
    put(text, len);
    put("\r\n", 2);
}

#define say(...) emit_line(put_line, __VA_ARGS__)

void console_core_line(const char *text, size_t len)
{
    end_line(HIDE);
    if (unlikely(skipped > 0)) {
        say("--- the UART is slow: %u lines are in the log only", skipped);
        skipped = 0;
    }
    put_line(text, len);
    restore_line();
}

void console_line(const char *text, size_t len)
{
    if (console_acquire(CONSOLE_ROOM_LINE))
        console_core_line(text, len);
    else
        skipped++;
    console_release();
}

void console_skip_line(void)
{
    skipped++;
}

void console_crash_line(const char *text, size_t len)
{
    static const char line_end[] = BREAK;
    static bool is_begun;

    uart_flush();
    if (!is_begun) /* another CPU may have been stopped in the middle of a line */
        uart_write(line_end, sizeof(line_end) - 1);
    is_begun = true;
    uart_write(text, len);
    uart_write(line_end, sizeof(line_end) - 1);
    uart_flush();
}

void console_crash_flush(void)
{
    console_screen_draw();
    uart_flush();
}

void console_flush(void)
{
    (void)console_acquire(0);
    console_crash_flush();
    console_release();
}

void console_monitor_write(const char *text, size_t len)
{
    put(text, len);
}

void console_answer_begin(void)
{
    (void)console_acquire(0);
    end_line(BREAK);
    in_monitor_write = true;
    console_release();
}

static void wait_for_room(void)
{
    while (!console_acquire(CONSOLE_ROOM_LINE)) {
        console_release();
        monitor_pause();
    }
}

void console_answer_line(const char *text, size_t len)
{
    wait_for_room();
    put_line(text, len);
    console_release();
    if (++answer_lines % ANSWER_LINES == 0)
        monitor_pause();
}

void console_answer_end(void)
{
    wait_for_room();
    in_monitor_write = false;
    restore_line();
    console_release();
}

/* A finished line of a VM that has not the keyboard, or what fits of it. restore_line() is to be
 * called some time after it. */
static void print_line(struct vm *vm)
{
    end_line(HIDE);
    put_prefix(vm);
    put_line(vm->line, vm->line_len);
    vm->line_len = 0;
}

/* True when `c` belongs to an escape sequence (ECMA-48: ESC [ parameters final byte, or ESC and one
 * byte). */
static bool is_escape(struct vm *vm, uint8_t c)
{
    switch (vm->escape) {
    case ESCAPE_START: vm->escape = c == '[' ? ESCAPE_SEQUENCE : ESCAPE_NONE; return true;
    case ESCAPE_SEQUENCE:
        if (c >= 0x40 && c <= 0x7e)
            vm->escape = ESCAPE_NONE;
        return true;
    default:
        if (c == ESC) {
            vm->escape = ESCAPE_START;
            return true;
        }
        return false;
    }
}

static void open_line(const struct vm *vm)
{
    if (!line_open) {
        put_prefix(vm);
        line_open = true;
    }
}

static void output_newline(struct vm *vm)
{
    if (vm != focus) {
        print_line(vm);
        return;
    }
    open_line(vm);
    end_line(BREAK);
    vm->line_len = 0;
}

static bool is_printable(uint8_t c)
{
    return c >= ' ' || c == '\t';
}

/* Takes as many bytes as are part of the line, and fit in it. */
static size_t output_text(struct vm *vm, const uint8_t *data, size_t len)
{
    size_t room = MIN(len, (size_t)(VM_LINE_MAX - vm->line_len)), n = 0;
    char *line = vm->line + vm->line_len;

    for (; n < room && is_printable(data[n]); n++)
        line[n] = (char)data[n];
    vm->line_len += (unsigned int)n;
    if (n > 0 && vm == focus) {
        open_line(vm);
        put((const char *)data, n);
    }
    return n;
}

/* What is not to be printed, or not in this line any more. */
static void output_control(struct vm *vm, uint8_t c)
{
    if (is_printable(c)) {
        if (vm != focus)
            print_line(vm);
        else
            vm->line_len = 0; /* only what is shown again after a break is lost */
        (void)output_text(vm, &c, 1);
        return;
    }
    if (vm == focus) {
        open_line(vm);
        put((const char *)&c, 1);
    }
    if (c == '\b')
        vm->line_len -= vm->line_len > 0;
}

/* Line ends and escape sequences are looked at byte by byte. */
static void output_byte(struct vm *vm, uint8_t c)
{
    if (is_escape(vm, c)) {
        if (vm == focus)
            put((const char *)&c, 1);
        return;
    }
    if (vm->cr_seen && c != '\n' && c != '\r') {
        /* A lone carriage return: the line is written anew from its start. */
        vm->line_len = 0;
        if (vm == focus && line_open) {
            put("\r", 1);
            put_prefix(vm);
        }
    }
    vm->cr_seen = c == '\r';
    if (c == '\n')
        output_newline(vm);
    else if (c != '\r' && output_text(vm, &c, 1) == 0)
        output_control(vm, c);
}

static unsigned int output_piece(struct vm *vm, const uint8_t *data, unsigned int len)
{
    bool plain = !vm->cr_seen && vm->escape == ESCAPE_NONE;
    size_t n = plain ? output_text(vm, data, len) : 0;

    if (n == 0) {
        output_byte(vm, *data);
        n = 1;
    }
    return (unsigned int)n;
}

/* While more is waiting than that, each VM gets an equal part of what the UART sends: all together
 * less than it, so that there always is room for one that prints little. */
static bool has_part(struct vm *vm)
{
    unsigned int span;

    if (likely(uart_has_room(ROOM_FOR_ALL)))
        return true;
    span = uart_sent() / PART_SPAN;
    if (vm->output_span != span) {
        vm->output_span = span;
        vm->output_bytes = 0;
    }
    return vm->output_bytes < PART_SPAN / (vm_count + 1);
}

unsigned int console_vm_output(struct vm *vm, const uint8_t *data, unsigned int len)
{
    bool room = console_acquire(ROOM_VM);
    unsigned int done = 0;

    while (room && done < len && has_part(vm)) {
        unsigned int n = output_piece(vm, data + done, len - done);
        done += n;
        vm->output_bytes += n;
        room = uart_has_room(ROOM_VM);
    }
    restore_line();
    console_release();
    return done;
}

void console_vm_last(struct vm *vm, uint8_t c)
{
    if (console_acquire(CONSOLE_ROOM_LINE))
        (void)output_piece(vm, &c, 1);
    restore_line();
    console_release();
}

void console_vm_end(struct vm *vm)
{
    bool room = console_acquire(CONSOLE_ROOM_LINE);

    if (room && vm->line_len > 0) {
        if (vm == focus) {
            end_line(BREAK);
            vm->line_len = 0;
        } else {
            print_line(vm);
        }
    }
    vm->line_len = 0;
    vm->cr_seen = false;
    vm->escape = ESCAPE_NONE;
    restore_line();
    console_release();
}

static void set_focus(struct vm *vm)
{
    (void)console_acquire(ROOM_KEYS);
    end_line(BREAK);
    focus = vm;
    if (vm) {
        say("--- keyboard: %s%s (Ctrl-A ? for keys)", vm_name(vm),
            vm->state == VM_RUNNING ? "" : ", which is off");
    } else {
        say("--- keyboard: the core's monitor");
        monitor_enter();
    }
    restore_line();
    console_release();
}

static void focus_next(void)
{
    unsigned int next = focus ? focus->index + 1 : 0;

    set_focus(next < vm_count ? vms[next] : NULL);
}

static void list_keys(void)
{
    (void)console_acquire(ROOM_KEYS);
    end_line(BREAK);
    say("Ctrl-A 0    the core's monitor");
    for (unsigned int i = 0; i < vm_count && i < 9; i++)
        say("Ctrl-A %u    %s%s", i + 1, vm_name(vms[i]), vms[i] == focus ? " (now)" : "");
    say("Ctrl-A n    the next of these");
    say("Ctrl-A a    sends Ctrl-A itself");
    say("Ctrl-A q    powers the machine off");
    say("Ctrl-A ?    this list");
    restore_line();
    console_release();
}

/* `vm` is to look at its input: vm->input_tail has moved. */
static void console_input_ready(struct vm *vm)
{
    mail_post(vm->vcpus[0], POSTED_INPUT);
}

/* One producer, this CPU; one consumer, platform_feed_input(). */
static bool put_input(struct vm *vm, uint8_t c)
{
    unsigned int tail = vm->input_tail;

    if (__atomic_load_n(&vm->state, __ATOMIC_RELAXED) != VM_RUNNING ||
        tail - __atomic_load_n(&vm->input_head, __ATOMIC_ACQUIRE) == VM_INPUT_SIZE)
        return false;
    vm->input[tail % VM_INPUT_SIZE] = c;
    __atomic_store_n(&vm->input_tail, tail + 1, __ATOMIC_RELEASE);
    return true;
}

static void feed(uint8_t c)
{
    if (!focus) {
        monitor_input(c);
    } else if (put_input(focus, c)) {
        console_input_ready(focus);
    } else {
        (void)console_acquire(ROOM_KEYS);
        put("\a", 1);
        console_release();
    }
}

static void command_key(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        unsigned int n = c - '0';
        if (n <= vm_count) {
            set_focus(n ? vms[n - 1] : NULL);
        } else {
            (void)console_acquire(ROOM_KEYS);
            end_line(BREAK);
            say("--- there is no VM %u", n);
            restore_line();
            console_release();
        }
        return;
    }
    switch (c) {
    case 'n': focus_next(); break;
    case 'q':
        (void)console_acquire(ROOM_KEYS);
        end_line(BREAK);
        console_release();
        monitor_power_off();
        break;
    case 'a':
    case KEY_ESCAPE: feed(KEY_ESCAPE); break;
    default: list_keys(); break;
    }
}

static void receive(uint8_t c)
{
    if (key_escape) {
        key_escape = false;
        command_key(c);
    } else if (c == KEY_ESCAPE) {
        key_escape = true;
    } else {
        feed(c);
    }
}

/* A key may bring about some output. While the monitor answers, further ones wait in the UART
 * and in the keyboard's controller. */
static int read_key(void)
{
    bool room = console_acquire(ROOM_KEYS);
    int c = -1;

    if (room && !monitor_answers()) {
        c = ps2_read(); /* first: what one key sends stays together */
        if (c < 0)
            c = uart_read();
    }

    console_release();
    return c;
}

/* The UART's interrupt is an edge: it must be seen without a reason at least once, or no further
 * one comes. Bounded all the same: the next interrupt or poll goes on. */
void console_poll(void)
{
    bool pending = true;

    if (monitor_answers())
        monitor_go_on();
    for (unsigned int round = 0; round < POLL_ROUNDS && pending; round++) {
        for (unsigned int i = 0; i < POLL_KEYS; i++) {
            int c = read_key();
            if (c < 0)
                break;
            receive((uint8_t)c);
        }
        (void)console_acquire(0);
        uart_pump(POLL_BYTES);
        pending = uart_interrupt_pending() || ps2_is_pending();
        console_release();
    }
    console_screen_poll();
    this_cpu->console_input |= pending || monitor_answers();
}

void console_start(void)
{
    for (unsigned int i = 0; i < vm_count; i++) {
        if (vms[i]->state == VM_RUNNING) {
            (void)console_acquire(0);
            focus = vms[i];
            restore_line(); /* it may be in the middle of one already */
            console_release();
            return;
        }
    }
    set_focus(NULL);
}
