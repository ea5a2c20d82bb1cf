/* The compiled plan and its profile as text. */
#include "exec/exec_impl.h"

#include "base/strbuf.h"

/* "ConvBNReLU_3: Conv 'conv1' + Relu 'relu1'", without a name where nodes outside of the groups run
 * together, or "value 'x'" for a change of layout. */
static void describe(ed_strbuf *text, const ed_exec *x, const ed_step *s)
{
    const ed_graph *g = x->graph;
    if (!s->node) {
        ed_strbuf_printf(text, "value '%s'", g->values[x->buffers[s->in[0]].value].name);
        return;
    }
    if (s->taken > 1 && s->node->group != ED_NONE)
        ed_strbuf_printf(text, "%s: ", g->groups[s->node->group].name);
    for (uint32_t k = 0; k < s->taken; k++)
        ed_strbuf_printf(text, "%s%s", k ? " + " : "", ed_node_label(g, x->order[s->position + k]));
}

static void print_step(ed_strbuf *text, const ed_exec *x, size_t i)
{
    const ed_step *s = &x->steps[i];
    char shape[128];
    ed_strbuf_printf(text, "%4zu  ", i);
    describe(text, x, s);
    ed_strbuf_printf(text, "  [%s]", s->name);
    const char *sign = "  ";
    for (uint32_t k = 0; k < s->n_in; k++) {
        if (s->in[k] == ED_NONE || x->buffers[s->in[k]].home == ED_HOME_CONSTANT)
            continue;
        ed_strbuf_printf(text, "%s%s", sign, ed_layout_name(x->buffers[s->in[k]].layout));
        sign = ", ";
    }
    for (uint32_t k = 0; k < s->n_out; k++)
        if (s->out[k] != ED_NONE)
            ed_strbuf_printf(
                text, " -> %s %s", ed_layout_name(x->buffers[s->out[k]].layout),
                ed_shape_format(shape, sizeof shape, &x->buffers[s->out[k]].tensor.shape));
    if (s->inplace)
        ed_strbuf_printf(text, "  in place");
    if (s->refused)
        ed_strbuf_printf(text, "  (refused: %s)", s->refused);
    ed_strbuf_printf(text, "\n");
}

static int write_text(ed_strbuf *text, FILE *file)
{
    int rc = text->failed ? ED_ENOMEM : ED_OK;
    if (rc == ED_OK && fputs(ed_strbuf_text(text), file) < 0)
        rc = ed_error_set(ED_EIO, "the executor's plan could not be written");
    ed_strbuf_free(text);
    return rc;
}

int ed_exec_print(const ed_exec *exec, FILE *file)
{
    ed_strbuf text = { 0 };
    ed_exec_stats stats = ed_exec_get_stats(exec);
    for (size_t i = 0; i < exec->n_steps; i++)
        print_step(&text, exec, i);
    ed_strbuf_printf(
        &text,
        "%zu steps, %zu of them changes of layout; %zu bytes of values in %zu buffers, "
        "%zu of scratch, %zu of packed weights\n",
        stats.steps, stats.reorders, exec->memory_bytes, exec->n_buffers, exec->scratch_bytes,
        stats.weight_bytes);
    return write_text(&text, file);
}

static int by_seconds(const void *pa, const void *pb)
{
    const ed_step *a = *(const ed_step *const *)pa, *b = *(const ed_step *const *)pb;
    if (a->seconds != b->seconds)
        return a->seconds < b->seconds ? 1 : -1;
    return a < b ? -1 : 1;
}

int ed_exec_print_profile(const ed_exec *exec, FILE *file)
{
    ed_strbuf text = { 0 };
    double total = 0;
    const ed_step **list = ed_malloc(exec->n_steps * sizeof(ed_step *));
    if (!list)
        return ED_ENOMEM;
    for (size_t i = 0; i < exec->n_steps; i++) {
        list[i] = &exec->steps[i];
        total += list[i]->seconds;
    }
    qsort(list, exec->n_steps, sizeof(ed_step *), by_seconds);
    ed_strbuf_printf(&text, "%.6f s in %zu runs\n", total, exec->runs);
    for (size_t i = 0; i < exec->n_steps; i++) {
        ed_strbuf_printf(&text, "%10.6f s %5.1f %%  ", list[i]->seconds,
                         total > 0 ? 100 * list[i]->seconds / total : 0.0);
        print_step(&text, exec, (size_t)(list[i] - exec->steps));
    }
    ed_free(list);
    return write_text(&text, file);
}
