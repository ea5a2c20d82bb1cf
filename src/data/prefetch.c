/*
 * One producer, one consumer, a ring of two slots under one mutex.
 *
 * Slots number `taken`..`filled` (counted since the start of the pass, modulo 2) are ready. A
 * rewind starts a new pass; a batch that was being filled meanwhile belongs to the old one and is
 * dropped.
 */
#include "data/prefetch.h"

#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct prefetch_slot {
    int64_t count;
    int rc;
    char sentence[1024]; /* error sentences are kept per thread: carried over to the consumer's */
} prefetch_slot;

struct ed_prefetch {
    ed_prefetch_fn fill;
    void *ctx;
    int64_t total, batch;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* under the mutex */
    prefetch_slot slots[ED_PREFETCH_SLOTS];
    int64_t position; /* first sample of the next batch to fill */
    uint64_t filled, taken, pass;
    bool ended, held, stop;
};

static void fill_slot(ed_prefetch *p, prefetch_slot *slot, int index, int64_t first, int64_t count)
{
    slot->count = count;
    slot->rc = p->fill(p->ctx, index, first, count);
    if (slot->rc != ED_OK)
        snprintf(slot->sentence, sizeof slot->sentence, "%s", ed_error_last());
}

static void *produce(void *arg)
{
    ed_prefetch *p = arg;
    pthread_mutex_lock(&p->mutex);
    for (;;) {
        while (!p->stop && (p->ended || p->filled - p->taken == ED_PREFETCH_SLOTS))
            pthread_cond_wait(&p->changed, &p->mutex);
        if (p->stop)
            break;
        int index = (int)(p->filled % ED_PREFETCH_SLOTS);
        int64_t first = p->position, left = p->total - first;
        int64_t count = left < p->batch ? left : p->batch;
        uint64_t pass = p->pass;
        pthread_mutex_unlock(&p->mutex);
        fill_slot(p, &p->slots[index], index, first, count);
        pthread_mutex_lock(&p->mutex);
        if (pass != p->pass)
            continue;
        p->position += count;
        p->filled++;
        p->ended = p->position == p->total || p->slots[index].rc != ED_OK;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

/* Signals go to the program's own threads, which know what to do with them. */
static int start_thread(ed_prefetch *p)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&p->thread, NULL, produce, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    ED_FAIL_IF(error, ED_ENOMEM, "the thread that reads data cannot be started: %s",
               strerror(error));
    return ED_OK;
}

int ed_prefetch_new(ed_prefetch **out, int64_t total, int64_t batch, ed_prefetch_fn fill, void *ctx)
{
    *out = NULL;
    ed_prefetch *p = ed_calloc(1, sizeof *p);
    if (!p)
        return ED_ENOMEM;
    p->fill = fill;
    p->ctx = ctx;
    p->total = total;
    p->batch = batch;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->changed, NULL);
    int rc = start_thread(p);
    if (rc != ED_OK) {
        pthread_cond_destroy(&p->changed);
        pthread_mutex_destroy(&p->mutex);
        ed_free(p);
        return rc;
    }
    *out = p;
    return ED_OK;
}

static void release_held(ed_prefetch *p)
{
    if (p->held) {
        p->taken++;
        p->held = false;
        pthread_cond_broadcast(&p->changed);
    }
}

int ed_prefetch_next(ed_prefetch *p, int *slot, int64_t *count)
{
    int rc = ED_OK;
    *slot = 0;
    *count = 0;
    pthread_mutex_lock(&p->mutex);
    release_held(p);
    while (p->filled == p->taken && !p->ended)
        pthread_cond_wait(&p->changed, &p->mutex);
    if (p->filled != p->taken) {
        int index = (int)(p->taken % ED_PREFETCH_SLOTS);
        rc = p->slots[index].rc;
        if (rc != ED_OK) {
            ed_error_set(rc, "%s", p->slots[index].sentence);
        } else {
            p->held = true;
            *slot = index;
            *count = p->slots[index].count;
        }
    }
    pthread_mutex_unlock(&p->mutex);
    return rc;
}

void ed_prefetch_rewind(ed_prefetch *p)
{
    pthread_mutex_lock(&p->mutex);
    if (p->taken > 0 || p->held) { /* else nothing was used: the batches at hand are the first */
        p->position = 0;
        p->filled = p->taken = 0;
        p->held = p->ended = false;
        p->pass++;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->mutex);
}

void ed_prefetch_free(ed_prefetch *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
    pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->mutex);
    ed_free(p);
}
