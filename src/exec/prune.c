/*
 * Stage 3b: steps whose results no step reads go away: a Transpose that the kernel behind it looked
 * through, and what only such steps read.
 */
#include "exec/exec_impl.h"

static bool is_wanted(const ed_exec *x, const ed_step *s, const uint32_t *reads)
{
    for (uint32_t k = 0; k < s->n_out; k++)
        if (s->out[k] != ED_NONE &&
            (reads[s->out[k]] || (s->node && x->kept[x->buffers[s->out[k]].value])))
            return true;
    return false;
}

static void drop(ed_step *s, uint32_t *reads)
{
    for (uint32_t k = 0; k < s->n_in; k++)
        if (s->in[k] != ED_NONE)
            reads[s->in[k]]--;
    if (s->kernel && s->kernel->free && s->state)
        s->kernel->free(s->state);
    ed_prim_free(s->reorder);
    s->n_out = 0;
}

int ed_exec_prune(ed_exec *x)
{
    uint32_t *reads = ed_calloc(x->n_buffers, sizeof *reads);
    size_t kept = 0;
    if (!reads)
        return ED_ENOMEM;
    for (size_t i = 0; i < x->n_steps; i++)
        for (uint32_t k = 0; k < x->steps[i].n_in; k++)
            if (x->steps[i].in[k] != ED_NONE)
                reads[x->steps[i].in[k]]++;
    for (size_t i = 0; i < x->graph->n_outputs; i++)
        reads[x->outputs[i]]++;
    for (size_t i = x->n_steps; i-- > 0;)
        if (!is_wanted(x, &x->steps[i], reads))
            drop(&x->steps[i], reads);
    for (size_t i = 0; i < x->n_steps; i++)
        if (x->steps[i].n_out)
            x->steps[kept++] = x->steps[i];
    x->n_steps = kept;
    ed_free(reads);
    return ED_OK;
}
