#include "vmm/worst.h"

#include "arch/x86/time.h"

#define SHOWN 6

struct worst *worst_step(struct worst_table *table, const char *name)
{
    for (unsigned int i = EXIT_KINDS; i < ARRAY_SIZE(table->entries); i++)
        if (!table->entries[i].what || table->entries[i].what == name)
            return &table->entries[i];
    return NULL;
}

bool worst_note(struct worst *worst, const struct worst *found, uint64_t bound)
{
    bool report = found->cycles > bound && !worst->reported;

    if (!worst->what || found->cycles > worst->cycles) {
        bool reported = worst->reported;

        *worst = *found;
        worst->reported = reported;
    }
    worst->reported |= report;
    return report;
}

/* The longest of those that come after `last`: shorter, or as long and further on in the table. */
static const struct worst *next_longest(const struct worst_table *table, const struct worst *last)
{
    const struct worst *found = NULL;

    for (unsigned int i = 0; i < ARRAY_SIZE(table->entries); i++) {
        const struct worst *w = &table->entries[i];
        bool comes = !last || w->cycles < last->cycles || (w->cycles == last->cycles && w > last);

        if (w->what && comes && (!found || w->cycles > found->cycles))
            found = w;
    }
    return found;
}

void worst_print(const struct worst_table *table, unsigned int cpu, uint64_t bound, emit_fn *emit)
{
    const struct worst *w = next_longest(table, NULL);

    for (unsigned int i = 0; w && i < SHOWN; i++, w = next_longest(table, w)) {
        const char *mark = w->cycles > bound ? " TOO LONG" : "";

        if (w->vm)
            emit_line(emit, "CPU %u: exit %-10s %10llu cycles %10llu ns%s, %s (start %llu) at %llx",
                      cpu, w->what, LLU(w->cycles), LLU(tsc_span_to_ns(w->cycles)), mark, w->vm,
                      LLU(w->serial), LLU(w->rip));
        else
            emit_line(emit, "CPU %u: step %-10s %10llu cycles %10llu ns%s", cpu, w->what,
                      LLU(w->cycles), LLU(tsc_span_to_ns(w->cycles)), mark);
    }
}
