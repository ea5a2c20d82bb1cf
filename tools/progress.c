/*
 * Progress of a long job on standard error: a bar with rate and time left on a terminal, a line
 * every ten seconds elsewhere.
 */
#include "common.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BAR = 30 };
static const double redraw = 0.1, line_every = 10.0; /* seconds */

static struct {
    bool quiet, terminal, drawn;
    double start, last;
    int64_t before; /* `done` of the last call: going back means that another job began */
    int64_t first;  /* `done` of the first one */
} state;

void progress_init(bool quiet)
{
    const char *term = getenv("TERM");
    state.quiet = quiet;
    state.terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

void progress_clear(void)
{
    if (state.drawn)
        fputs("\r\033[K", stderr);
    state.drawn = false;
}

/* `tail` stands for the rate where it is given. */
static void draw(const char *what, int64_t done, int64_t total, double rate, const char *tail)
{
    int filled = total > 0 ? (int)((double)done / (double)total * BAR) : 0;
    char own[32];
    if (!tail)
        snprintf(own, sizeof own, "%.0f/s", rate);
    tail = tail ? tail : own;
    if (total <= 0) {
        fprintf(stderr, "\r\033[K%lld %s  %s", (long long)done, what, tail);
    } else {
        long left = rate > 0 ? (long)((double)(total - done) / rate + 0.5) : 0;
        fprintf(stderr, "\r\033[K[%.*s%*s] %lld/%lld %s  %s  %ld:%02ld left", filled,
                "##############################", BAR - filled, "", (long long)done,
                (long long)total, what, tail, left / 60, left % 60);
    }
    fflush(stderr);
    state.drawn = true;
}

void progress_tell(const char *what, int64_t done, int64_t total, const char *tail)
{
    if (state.quiet)
        return;
    double now = tool_seconds();
    if (state.start == 0 || done < state.before) {
        state.start = state.last = now;
        state.first = done;
    }
    state.before = done;
    double seconds = now - state.start;
    double rate = seconds > 0 ? (double)(done - state.first) / seconds : 0;
    if (done == total) {
        progress_clear();
        state.start = 0;
    } else if (now - state.last >= (state.terminal ? redraw : line_every)) {
        state.last = now;
        if (state.terminal)
            draw(what, done, total, rate, tail);
        else if (tail)
            tool_note("%lld of %lld %s: %s", (long long)done, (long long)total, what, tail);
        else
            tool_note("%lld of %lld %s, %.0f/s", (long long)done, (long long)total, what, rate);
    }
}

int tool_progress(void *ctx, const char *what, int64_t done, int64_t total)
{
    (void)ctx;
    if (tool_interrupted() != ED_OK)
        return 1;
    progress_tell(what, done, total, NULL);
    return 0;
}
