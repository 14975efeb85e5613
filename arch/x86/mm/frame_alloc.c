/* Guests' RAM: two bitmaps, a bit for each 2 MiB of physical address space: which frames the
 * allocator has, and which of them are free. */

#include "arch/x86/mm/frame_alloc.h"

#include "lib/error.h"
#include "lib/log.h"
#include "lib/spinlock.h"
#include "lib/string.h"

#define WORD_BITS  64u
#define GIB_FRAMES (PAGE_SIZE_1G / FRAME_SIZE)
/* Below 4 GiB lies the memory that 32-bit devices reach: kept for those who need it. */
#define LOW_FRAMES (4 * GIB / FRAME_SIZE)

static_assert(GIB_FRAMES % WORD_BITS == 0, "an aligned GiB is whole words of the bitmap");

/* Consecutive frames. */
struct stretch {
    size_t first;
    size_t count;
};

/* Guards the bitmap of free frames and its count; all else is constant after frame_init(). */
static struct spinlock frames_lock = SPINLOCK(LOCK_FRAMES, "guest frames");

static struct {
    uint64_t *owned;
    uint64_t *free;
    size_t frames; /* that the bitmaps cover, a multiple of WORD_BITS */
    uint64_t owned_count;
    uint64_t free_count;
} frames;

/* What one frame_alloc has gathered so far. */
struct gathering {
    struct frame_run *runs;
    unsigned int max_runs;
    unsigned int count;
    size_t missing; /* frames */
};

INIT static struct stretch whole_frames(const struct memory_range *r)
{
    uint64_t limit = MIN(r->base + r->size, FRAME_PA_MAX);
    uint64_t first = r->base / FRAME_SIZE + (r->base % FRAME_SIZE != 0);
    uint64_t end = limit / FRAME_SIZE;

    if (r->type != MEM_USABLE || end <= first)
        return (struct stretch){0, 0};
    return (struct stretch){first, end - first};
}

INIT static size_t frames_covered(const struct memory_map *usable)
{
    size_t n = 0;

    for (unsigned int i = 0; i < usable->count; i++) {
        struct stretch s = whole_frames(&usable->r[i]);
        n = MAX(n, s.first + s.count);
    }
    return ALIGN_UP(n, WORD_BITS);
}

INIT size_t frame_bitmap_bytes(const struct memory_map *usable)
{
    return 2 * (frames_covered(usable) / WORD_BITS) * sizeof(uint64_t);
}

/* Of the word that `frame` is in: the bits of the frames from it on and before `end`. */
static uint64_t word_mask(size_t frame, size_t end)
{
    size_t left = end - ALIGN_DOWN(frame, WORD_BITS);

    return UINT64_MAX << frame % WORD_BITS & (left < WORD_BITS ? BIT64(left) - 1 : UINT64_MAX);
}

static size_t next_word(size_t frame)
{
    return ALIGN_DOWN(frame, WORD_BITS) + WORD_BITS;
}

static void set(uint64_t *bitmap, struct stretch s, bool on)
{
    size_t end = s.first + s.count;

    for (size_t i = s.first; i < end; i = next_word(i)) {
        uint64_t mask = word_mask(i, end);
        uint64_t *word = &bitmap[i / WORD_BITS];

        *word = on ? *word | mask : *word & ~mask;
    }
}

INIT static void say_what_is_too_high(const struct memory_map *usable)
{
    uint64_t bytes = 0;

    for (unsigned int i = 0; i < usable->count; i++) {
        const struct memory_range *r = &usable->r[i];
        if (r->type == MEM_USABLE && r->base + r->size > FRAME_PA_MAX)
            bytes += r->base + r->size - MAX(r->base, FRAME_PA_MAX);
    }
    if (bytes > 0)
        log_warn("memory: %llu MiB above %llu TiB are left alone", LLU(bytes / MIB),
                 LLU(FRAME_PA_MAX / (1024 * GIB)));
}

INIT int frame_init(const struct memory_map *usable, void *storage, size_t storage_bytes)
{
    size_t bytes = frame_bitmap_bytes(usable);

    if (storage_bytes < bytes || !IS_ALIGNED((uintptr_t)storage, sizeof(uint64_t)))
        return -BH_EINVAL;
    memset(&frames, 0, sizeof(frames));
    say_what_is_too_high(usable);
    if (bytes == 0)
        return 0;
    memset(storage, 0, bytes);
    frames.frames = frames_covered(usable);
    frames.owned = storage;
    frames.free = frames.owned + frames.frames / WORD_BITS;
    for (unsigned int i = 0; i < usable->count; i++) {
        struct stretch s = whole_frames(&usable->r[i]);

        set(frames.owned, s, true);
        set(frames.free, s, true);
        frames.owned_count += s.count;
    }
    frames.free_count = frames.owned_count;
    return 0;
}

/* First frame at or after `from` and below `end` that is free (or that is not); `end` if none. */
static size_t next(size_t from, size_t end, bool is_free)
{
    while (from < end) {
        uint64_t word = frames.free[from / WORD_BITS];
        uint64_t hits = (is_free ? word : ~word) & (UINT64_MAX << from % WORD_BITS);

        if (hits != 0)
            return MIN(ALIGN_DOWN(from, WORD_BITS) + (size_t)__builtin_ctzll(hits), end);
        from = next_word(from);
    }
    return end;
}

/* Adds frames to what was gathered. Returns false when there is no room for one more run. */
static bool gather(struct gathering *g, struct stretch s)
{
    uint64_t base = s.first * FRAME_SIZE;
    struct frame_run *last = g->count > 0 ? &g->runs[g->count - 1] : NULL;

    if (last != NULL && last->base + last->size == base)
        last->size += s.count * FRAME_SIZE;
    else if (g->count < g->max_runs)
        g->runs[g->count++] = (struct frame_run){base, s.count * FRAME_SIZE};
    else
        return false;
    set(frames.free, s, false);
    frames.free_count -= s.count;
    g->missing -= s.count;
    return true;
}

/* Takes as many whole, aligned GiBs as are missing from the frames of [from, end). */
static bool gather_gibs(struct gathering *g, size_t from, size_t end)
{
    size_t at = ALIGN_UP(next(from, end, true), GIB_FRAMES);

    while (g->missing >= GIB_FRAMES && at + GIB_FRAMES <= end) {
        size_t used = next(at, at + GIB_FRAMES, false);

        if (used == at + GIB_FRAMES) {
            if (!gather(g, (struct stretch){at, GIB_FRAMES}))
                return false;
            at = used;
        } else {
            at = ALIGN_UP(next(used, end, true), GIB_FRAMES);
        }
    }
    return true;
}

/* The free frames from `at` on, cut where whole aligned GiBs begin or end, so that what stands
 * before and behind those is seen as a place of its own. */
static struct stretch free_piece(size_t at, size_t end)
{
    size_t stop = next(at, end, false);
    size_t gibs = ALIGN_UP(at, GIB_FRAMES);
    size_t gibs_end = ALIGN_DOWN(stop, GIB_FRAMES);

    if (gibs < gibs_end)
        stop = at < gibs ? gibs : gibs_end;
    return (struct stretch){at, stop - at};
}

/* The smallest free piece in [from, end) that holds `wanted` frames; when none does, the largest
 * one. Empty when nothing is free. */
static struct stretch best_piece(size_t from, size_t end, size_t wanted)
{
    struct stretch best = {0, 0};

    for (size_t at = next(from, end, true); at < end; at = next(at, end, true)) {
        struct stretch s = free_piece(at, end);
        bool fits_better = s.count >= wanted && (best.count < wanted || s.count < best.count);
        bool is_larger = best.count < wanted && s.count > best.count;

        if (fits_better || is_larger)
            best = s;
        at += s.count;
    }
    return best;
}

/* Cuts a stretch down to `wanted` frames, at the end that leaves more aligned GiBs whole. */
static struct stretch trim(struct stretch s, size_t wanted)
{
    size_t end = s.first + s.count;
    bool keep_front = s.first % GIB_FRAMES != 0 || end % GIB_FRAMES == 0;

    if (s.count <= wanted)
        return s;
    return (struct stretch){keep_front ? s.first : end - wanted, wanted};
}

/* Takes what is missing from the frames of [from, end), in few pieces. */
static bool gather_pieces(struct gathering *g, size_t from, size_t end)
{
    while (g->missing > 0) {
        struct stretch s = best_piece(from, end, g->missing);

        if (s.count == 0)
            break;
        if (!gather(g, trim(s, g->missing)))
            return false;
    }
    return true;
}

static void release(struct stretch s)
{
    set(frames.free, s, true);
    frames.free_count += s.count;
}

/* With the lock held. */
static int alloc_runs(struct gathering *g)
{
    size_t low = MIN((size_t)LOW_FRAMES, frames.frames);

    if (g->missing > frames.free_count)
        return -BH_ENOMEM;
    bool fits = gather_gibs(g, low, frames.frames) && gather_pieces(g, low, frames.frames) &&
                gather_gibs(g, 0, low) && gather_pieces(g, 0, low);
    if (fits && g->missing == 0)
        return 0;
    for (unsigned int i = 0; i < g->count; i++)
        release((struct stretch){g->runs[i].base / FRAME_SIZE, g->runs[i].size / FRAME_SIZE});
    return -BH_ENOMEM;
}

int frame_alloc(uint64_t size, struct frame_run *runs, unsigned int max_runs, unsigned int *count)
{
    struct gathering g = {.runs = runs, .max_runs = max_runs, .missing = size / FRAME_SIZE};

    *count = 0;
    if (size == 0 || !IS_ALIGNED(size, FRAME_SIZE))
        return -BH_EINVAL;
    spin_acquire(&frames_lock);
    int err = alloc_runs(&g);
    spin_release(&frames_lock);
    *count = err ? 0 : g.count;
    return err;
}

static bool are_allocated(struct stretch s)
{
    if (s.count == 0 || s.first >= frames.frames || s.count > frames.frames - s.first)
        return false;
    for (size_t i = s.first, end = s.first + s.count; i < end; i = next_word(i))
        if (word_mask(i, end) & (~frames.owned[i / WORD_BITS] | frames.free[i / WORD_BITS]))
            return false;
    return true;
}

int frame_free(uint64_t base, uint64_t size)
{
    struct stretch s = {base / FRAME_SIZE, size / FRAME_SIZE};

    spin_acquire(&frames_lock);
    bool valid = IS_ALIGNED(base | size, FRAME_SIZE) && are_allocated(s);
    if (valid)
        release(s);
    spin_release(&frames_lock);
    if (!valid) {
        log_error("frames: freed 0x%llx bytes at 0x%llx that are not allocated", LLU(size),
                  LLU(base));
        return -BH_EINVAL;
    }
    return 0;
}

uint64_t frame_free_bytes(void)
{
    return __atomic_load_n(&frames.free_count, __ATOMIC_RELAXED) * FRAME_SIZE;
}

uint64_t frame_total_bytes(void)
{
    return frames.owned_count * FRAME_SIZE;
}
