/* Numpy broadcasting: the output as rows of elements, along which each input repeats or advances.
 */
#include "ops/broadcast.h"

#include "base/parallel.h"

#include <string.h>

enum { GRAIN = 4096 };

typedef struct broadcast_job {
    ed_run_fn run;
    int n_in, rank; /* rank: after merging neighbours that step alike; at least 1 */
    char *y;
    const char *in[ED_RUN_MAX_IN];
    size_t y_size, in_size[ED_RUN_MAX_IN]; /* of an element */
    int64_t dim[ED_MAX_RANK], step[ED_RUN_MAX_IN][ED_MAX_RANK];
} broadcast_job;

/* Elements between neighbours along each output dimension; 0 where the input repeats. */
static void steps_of(int64_t *step, const ed_shape *in, const ed_shape *out)
{
    int64_t stride = 1;
    for (int i = out->rank - 1; i >= 0; i--) {
        int k = i - (out->rank - in->rank);
        int64_t dim = k < 0 ? 1 : in->dim[k];
        step[i] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
}

/* True when dimension i, of size n, runs on from dimension r of the job in all inputs. */
static bool runs_on(const broadcast_job *job, int r, int i, int64_t n)
{
    for (int k = 0; k < job->n_in; k++)
        if (job->step[k][r] != n * job->step[k][i])
            return false;
    return true;
}

/* Drop dimensions of 1 and merge a dimension into the one before it where all inputs run on. The
 * steps are compacted in place. */
static void collapse(broadcast_job *job, const ed_shape *out)
{
    int r = 0;
    for (int i = 0; i < out->rank; i++) {
        int64_t n = out->dim[i];
        if (n == 1)
            continue;
        if (r && runs_on(job, r - 1, i, n)) {
            r--;
            n *= job->dim[r];
        }
        job->dim[r] = n;
        for (int k = 0; k < job->n_in; k++)
            job->step[k][r] = job->step[k][i];
        r++;
    }
    if (!r) { /* one element */
        job->dim[0] = 1;
        for (int k = 0; k < job->n_in; k++)
            job->step[k][0] = 1;
        r = 1;
    }
    job->rank = r;
}

static void broadcast_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const broadcast_job *job = ctx;
    const int last = job->rank - 1;
    (void)thread;

    while (begin < end) {
        int64_t row = begin / job->dim[last], column = begin % job->dim[last];
        int64_t n = job->dim[last] - column < end - begin ? job->dim[last] - column : end - begin;
        const void *in[ED_RUN_MAX_IN];
        int64_t step[ED_RUN_MAX_IN];
        for (int k = 0; k < job->n_in; k++) {
            int64_t at = column * job->step[k][last], rest = row;
            for (int i = last - 1; i >= 0; i--) {
                at += rest % job->dim[i] * job->step[k][i];
                rest /= job->dim[i];
            }
            in[k] = job->in[k] + (size_t)at * job->in_size[k];
            step[k] = job->step[k][last];
        }
        job->run(job->y + (size_t)begin * job->y_size, in, step, n);
        begin += n;
    }
}

void ed_broadcast(ed_run_fn run, ed_tensor *y, const ed_tensor *const *in, int n_in)
{
    broadcast_job job = { .run = run, .n_in = n_in, .y = y->data };
    job.y_size = ed_dtype_bits(y->dtype) / 8;
    for (int k = 0; k < n_in; k++) {
        job.in[k] = in[k]->data;
        job.in_size[k] = ed_dtype_bits(in[k]->dtype) / 8;
        steps_of(job.step[k], &in[k]->shape, &y->shape);
    }
    collapse(&job, &y->shape);
    ed_parallel_for(y->numel, GRAIN, broadcast_range, &job);
}

/* ---- copies, by the size of an element ---- */
#define DEFINE_COPY(name, type)                                                                    \
    static void name(void *py, const void *const *in, const int64_t *step, int64_t n)              \
    {                                                                                              \
        type *y = py;                                                                              \
        const type *x = in[0];                                                                     \
        if (step[0])                                                                               \
            memcpy(y, x, (size_t)n * sizeof *y);                                                   \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++)                                                        \
                y[i] = *x;                                                                         \
    }
DEFINE_COPY(copy_8, uint8_t)
DEFINE_COPY(copy_16, uint16_t)
DEFINE_COPY(copy_32, uint32_t)
DEFINE_COPY(copy_64, uint64_t)

void ed_broadcast_copy(ed_tensor *y, const ed_tensor *x)
{
    unsigned bits = ed_dtype_bits(y->dtype);
    ed_run_fn run = bits == 8 ? copy_8 : bits == 16 ? copy_16 : bits == 32 ? copy_32 : copy_64;
    ed_broadcast(run, y, &x, 1);
}

/* ---- what the rows share ---- */
unsigned ed_run_dtypes(const ed_run_fn runs[ED_DTYPE_COUNT])
{
    unsigned dtypes = 0;
    for (unsigned d = 0; d < ED_DTYPE_COUNT; d++)
        dtypes |= runs[d] ? 1u << d : 0u;
    return dtypes;
}

int ed_check_divisor(const ed_call *c, const ed_tensor *b)
{
    if (b->dtype == ED_F32 || !c->out[0]->numel)
        return ED_OK;
    for (int64_t i = 0; i < b->numel; i++)
        ED_FAIL_IF(ed_tensor_get_i64(b, i) == 0, ED_EINVAL,
                   "element %lld of its integer divisor is 0; divide by another number",
                   (long long)i);
    return ED_OK;
}
