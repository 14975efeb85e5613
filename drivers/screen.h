#ifndef BULKHEAD_DRIVERS_SCREEN_H
#define BULKHEAD_DRIVERS_SCREEN_H

/* Text on the screen that the boot loader has set up: a linear framebuffer, or VGA's text mode.
 * What is written goes into a copy in memory; drawing, which may be slow, is a step of its own. One
 * CPU at a time: the console's lock (vmm/console.h). Pure: it knows memory only. */

#include "boot/boot_info.h"

#define SCREEN_COLUMNS_MIN 80u
#define SCREEN_ROWS_MIN    24u
#define SCREEN_COLUMNS_MAX 256u
#define SCREEN_ROWS_MAX    128u

/* An empty screen, which is not drawn until screen_attach(). Returns 0, or -BH_ENOTSUP for a format
 * that it does not know, or one of less than 80 x 24 characters. */
MUST_CHECK int screen_init(const struct boot_framebuffer *framebuffer);

/* How many bytes of memory the framebuffer has, from its base. */
uint64_t screen_bytes(const struct boot_framebuffer *framebuffer);

/* Where the framebuffer is mapped, as a whole. Makes it blank, and draws nothing yet. */
void screen_attach(volatile void *pixels);

/* Rows and columns of characters. */
unsigned int screen_columns(void);
unsigned int screen_rows(void);

/* Rows below the cursor's. */
unsigned int screen_rows_left(void);

/* Empties it, the cursor at its top, whatever was being written. */
void screen_clear(void);

/* Writes as a terminal does: printable ASCII, \r \n \b \t, and of ECMA-48's control sequences those
 * that move the cursor (A B C D G H f) or erase (J K); others are passed over. The work is
 * bounded by the length. */
void screen_write(const char *text, size_t len);

/* Fills the upper or lower half of a character's place, or both; not in text mode. */
#define SCREEN_UPPER 1u
#define SCREEN_LOWER 2u
void screen_put_blocks(unsigned int row, unsigned int column, unsigned int halves);

/* Draws what differs from what is there, `limit` characters at most. Returns whether there is more.
 */
bool screen_draw(unsigned int limit);

#endif
