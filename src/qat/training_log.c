/* The CSV file of a run: a line for every step, one for every epoch. */
#include "qat/trainer.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static int fail(const ed_trainer *t)
{
    return ed_error_set(ED_EIO, "%s: cannot be written: %s", t->settings.opts.log, strerror(errno));
}

int ed_log_open(ed_trainer *t)
{
    const ed_qat_options *o = &t->settings.opts;
    if (!o->log)
        return ED_OK;
    t->log = fopen(o->log, o->resume ? "a" : "w");
    if (!t->log)
        return fail(t);
    bool empty = fseek(t->log, 0, SEEK_END) != 0 || ftell(t->log) <= 0;
    if (empty && fputs("kind,epoch,step,loss,accuracy,val_loss,val_accuracy,learning_rate,"
                       "images_per_second\n",
                       t->log) < 0)
        return fail(t);
    return ED_OK;
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

int ed_log_close(ed_trainer *t)
{
    FILE *file = t->log;
    t->log = NULL;
    return file && fclose(file) != 0 ? fail(t) : ED_OK;
}
