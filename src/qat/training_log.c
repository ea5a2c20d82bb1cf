/*
 * The CSV file of a run: a line for every step, one for every epoch.
 *
 * It is flushed before each checkpoint, so it holds all lines up to where a run goes on. What a
 * stopped run wrote beyond that is cut off: those steps are done again.
 */
#include "qat/trainer.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER                                                                                     \
    "kind,epoch,step,loss,accuracy,val_loss,val_accuracy,learning_rate,images_per_second\n"

static int fail(const ed_trainer *t)
{
    return ed_error_set(ED_EIO, "%s: cannot be written: %s", t->settings.opts.log, strerror(errno));
}

/* Is it a whole line from before the place where the run goes on? */
static bool is_before(const char *line, const ed_position *at)
{
    char kind[8];
    long long epoch, step;
    if (!strchr(line, '\n') || sscanf(line, "%7[a-z],%lld,%lld", kind, &epoch, &step) != 3)
        return false;
    return strcmp(kind, "epoch") == 0 ? epoch < at->epoch : step <= at->step;
}

/* Cut off what is done again; an empty file stays one. */
static int go_back(ed_trainer *t)
{
    char *line = NULL;
    size_t size = 0;
    off_t end = 0;
    ssize_t n = getline(&line, &size, t->log);
    bool ours = n <= 0 || strncmp(line, HEADER, (size_t)n) == 0;
    if (n > 0 && strcmp(line, HEADER) == 0)
        do {
            end += n;
            n = getline(&line, &size, t->log);
        } while (n > 0 && is_before(line, &t->at));
    free(line);
    ED_FAIL_IF(!ours, ED_EFORMAT,
               "%s: it is no log of training, and lines would be cut off; choose another name",
               t->settings.opts.log);
    bool good = !ferror(t->log) && fseek(t->log, 0, SEEK_END) == 0 &&
                ftruncate(fileno(t->log), end) == 0 && fseek(t->log, 0, SEEK_END) == 0;
    return good ? ED_OK : fail(t);
}

int ed_log_open(ed_trainer *t)
{
    const ed_qat_options *o = &t->settings.opts;
    struct stat st;
    if (!o->log)
        return ED_OK;
    t->log = fopen(o->log, o->resume ? "a+" : "w");
    if (!t->log)
        return fail(t);
    if (o->resume && fstat(fileno(t->log), &st) == 0 && S_ISREG(st.st_mode)) {
        rewind(t->log);
        ED_TRY(go_back(t));
    }
    if (ftell(t->log) <= 0) /* -1: a pipe */
        fputs(HEADER, t->log);
    return ed_log_flush(t);
}

/* ",value", or an empty field when it is not known. */
static void put(FILE *file, double value, bool known)
{
    if (known && !isnan(value))
        fprintf(file, ",%.9g", value);
    else
        fputc(',', file);
}

int ed_log_add(ed_trainer *t, const ed_qat_report *r)
{
    if (!t->log)
        return ED_OK;
    fprintf(t->log, "%s,%lld,%lld", r->epoch_end ? "epoch" : "step", (long long)r->epoch,
            (long long)r->step);
    put(t->log, r->loss, true);
    put(t->log, r->accuracy, r->accuracy >= 0);
    put(t->log, r->val_loss, true);
    put(t->log, r->val_accuracy, r->val_accuracy >= 0);
    put(t->log, r->learning_rate, true);
    put(t->log, r->images_per_second, true);
    fputc('\n', t->log);
    if (r->epoch_end)
        fflush(t->log);
    return ferror(t->log) ? fail(t) : ED_OK;
}

int ed_log_flush(const ed_trainer *t)
{
    return t->log && fflush(t->log) != 0 ? fail(t) : ED_OK;
}

int ed_log_close(ed_trainer *t)
{
    FILE *file = t->log;
    t->log = NULL;
    return file && fclose(file) != 0 ? fail(t) : ED_OK;
}
