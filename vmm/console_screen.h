#ifndef BULKHEAD_VMM_CONSOLE_SCREEN_H
#define BULKHEAD_VMM_CONSOLE_SCREEN_H

/* The console's screen, beside its serial line. At boot, and when the machine ends, what is written
 * is drawn at once; in between the CPU that serves the console draws, in steps, so that nobody
 * waits for a slow framebuffer and lines that scroll by are not drawn at all. */

#include "lib/macros.h"

/* Whether the console writes to the screen (drivers/screen.h). Boot CPU; constant after boot. */
extern bool console_has_screen;

/* `cpu` draws once the run loops begin: console_screen_run(). Boot CPU. */
void console_screen_served_by(unsigned int cpu);
void console_screen_run(void);

/* Writes, and has it drawn. The console's lock is held. */
void console_screen_write(const char *text, size_t len);

/* Draws all, at once: at boot, and when the machine ends. */
void console_screen_draw(void);

/* The page that a crash leaves: a line, with which it begins, or goes on. Drawn by
 * console_screen_draw(), nothing before that. */
void console_screen_crash_line(const char *text, size_t len);

/* A QR code of the text at the lower right, where the screen is large enough. */
void console_screen_crash_qr(const char *text);

/* How many more rows it has, the last one to stay empty, and of how many characters beside that. */
unsigned int console_screen_crash_room(unsigned int *columns);

/* The serving CPU's part: a step, if there is something to draw and the last one is some time ago.
 */
void console_screen_poll(void);

#endif
