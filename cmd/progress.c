/* progress - one line that is painted over on a terminal; one line a file elsewhere. */
#include "cmd/transfer.h"
#include <stdio.h>
#include <time.h>

#define PAINT_EVERY_MS 200
#define RATE_SMOOTHING 0.25

uint64_t progress_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / MS_NS;
}

/* Bytes that have moved, with what is under way. */
static uint64_t moved(const struct transfer_set *set)
{
    uint64_t n = set->ended_bytes;
    for (const struct transfer *t = set->first; t && t->step != TRANSFER_BEGIN; t = t->next) /* they begin in order */
        n += t->step < TRANSFER_DONE ? t->moved_bytes : 0;
    for (unsigned i = 0; i < set->parallel; i++)
        if (set->slots[i].running && set->slots[i].transfer->step < TRANSFER_DONE)
            n += set->slots[i].call.http.file_bytes + set->slots[i].call.http.sent_bytes;
    return n;
}

static void paint_line(struct transfer_set *set, uint64_t bytes)
{
    char done[HUMAN_MAX], total[HUMAN_MAX], rate[HUMAN_MAX], eta[HUMAN_MAX] = "-";
    uint64_t all = MAX_OF(set->total_bytes, bytes);
    if (set->rate > 1)
        human_seconds((uint64_t)((double)(all - bytes) / set->rate + 0.5), eta);
    fprintf(stderr, "\r%3.0f %%  %s of %s  %s/s  ETA %s", all ? 100.0 * (double)bytes / (double)all : 100.0,
            human_bytes(bytes, done), human_bytes(all, total), human_bytes((uint64_t)set->rate, rate), eta);
    if (set->count > 1)
        fprintf(stderr, "  %u of %u files", set->ended, set->count);
    fputs("\033[K", stderr);
    fflush(stderr);
}

static void sum_up(struct transfer_set *set, uint64_t now_ms)
{
    char total[HUMAN_MAX], rate[HUMAN_MAX], kept[HUMAN_MAX];
    unsigned files = set->ended - MIN_OF(set->ended, set->failed);
    uint64_t ms = MAX_OF(now_ms - set->started_ms, 1u);
    uint64_t fresh = set->done_bytes - MIN_OF(set->done_bytes, set->resumed_bytes);
    if (set->tty)
        fputs("\r\033[K", stderr);
    if (files)
        fprintf(stderr, "%u file%s, %s in %.1f s (%s/s), verified", files, files == 1 ? "" : "s",
                human_bytes(set->done_bytes, total), (double)ms / 1000, human_bytes(fresh * 1000 / ms, rate));
    if (files && set->resumed_bytes)
        fprintf(stderr, "; %s were there from before", human_bytes(set->resumed_bytes, kept));
    if (set->failed)
        fprintf(stderr, "%s%u failed", files ? "; " : "", set->failed);
    fputc('\n', stderr);
}

void progress_paint(struct transfer_set *set, uint64_t now_ms, bool last)
{
    if (set->quiet)
        return;
    if (last && set->ended == set->count)
        sum_up(set, now_ms);
    if (!set->tty || last || now_ms - set->painted_ms < PAINT_EVERY_MS)
        return;
    uint64_t bytes = moved(set);
    if (set->painted_ms && bytes >= set->painted_bytes) {
        double now_rate = (double)(bytes - set->painted_bytes) * 1000 / (double)(now_ms - set->painted_ms);
        set->rate = set->rate > 0 ? set->rate + RATE_SMOOTHING * (now_rate - set->rate) : now_rate;
    }
    set->painted_ms = now_ms;
    set->painted_bytes = bytes;
    paint_line(set, bytes);
}

void progress_file(struct transfer *t)
{
    char size[HUMAN_MAX];
    if (t->set->quiet || t->set->tty)
        return;
    fprintf(stderr, "%s  %s\n", t->path, human_bytes(t->size, size));
}
