/* The text form, printing (see ed_graph_parse() in ed/graph.h). */
#include "graph/graph.h"

#include "tensor/dtype.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { MAX_LISTED = 32 }; /* longer constants are printed by their hash */

static bool is_plain_name(const char *name)
{
    const char *p = name;
    if (!*p || strcmp(name, "_") == 0)
        return false;
    for (; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("_./:-", *p))
            return false;
    return name[strlen(name) - 1] != ':';
}

static void print_quoted(const char *text, size_t size, FILE *f)
{
    fputc('"', f);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            fprintf(f, "\\%c", c);
        else if (c < 32 || c == 127)
            fprintf(f, "\\x%02x", c);
        else
            fputc(c, f);
    }
    fputc('"', f);
}

static void print_name(const char *name, FILE *f)
{
    if (is_plain_name(name))
        fputs(name, f);
    else
        print_quoted(name, strlen(name), f);
}

/* The rank is known. */
static void print_shape(const ed_graph *g, const ed_shape *shape, FILE *f)
{
    fputc('[', f);
    for (int i = 0; i < shape->rank; i++) {
        int64_t d = shape->dim[i];
        if (i)
            fputs(", ", f);
        if (d >= 0)
            fprintf(f, "%" PRId64, d);
        else if (d == ED_DIM_UNKNOWN)
            fputc('?', f);
        else
            print_name(g->symbols[-2 - d], f);
    }
    fputc(']', f);
}

static void print_type(const ed_graph *g, ed_dtype dtype, const ed_shape *shape, FILE *f)
{
    fputs(ed_dtype_brief(dtype), f);
    if (shape->rank >= 0)
        print_shape(g, shape, f);
}

const char *ed_graph_shape_format(char *buf, size_t size, const ed_graph *g, const ed_shape *shape)
{
    FILE *f = shape->rank < 0 ? NULL : fmemopen(buf, size, "w");
    if (!f)
        return ed_shape_format(buf, size, shape);
    print_shape(g, shape, f);
    fclose(f);
    buf[size - 1] = 0; /* what is too long is cut */
    return buf;
}

static void print_number(double x, FILE *f)
{
    char text[40];
    snprintf(text, sizeof text, "%.9g", x);
    fputs(text, f);
    if (!strpbrk(text, ".en")) /* a float must look like one: also not inf or nan */
        fputs(".0", f);
}

static void print_tensor(const ed_tensor *t, FILE *f)
{
    bool is_float =
        t->dtype == ED_F32 || t->dtype == ED_F64 || t->dtype == ED_F16 || t->dtype == ED_BF16;
    if (t->numel > MAX_LISTED || t->dtype == ED_STRING) {
        fprintf(f, "hash(%016" PRIx64 ")", ed_hash(0, t->data, t->nbytes));
        return;
    }
    fputc('{', f);
    for (int64_t i = 0; i < t->numel; i++) {
        if (i)
            fputs(", ", f);
        if (is_float)
            print_number(ed_tensor_get_f64(t, i), f);
        else
            fprintf(f, "%" PRId64, ed_tensor_get_i64(t, i));
    }
    fputc('}', f);
}

static void print_attr_value(const ed_attr *a, FILE *f)
{
    if (a->type == ED_ATTR_INT)
        fprintf(f, "%" PRId64, a->i);
    else if (a->type == ED_ATTR_FLOAT)
        print_number((double)a->f, f);
    else if (a->type == ED_ATTR_STRING)
        print_quoted(a->s.data, a->s.size, f);
    else if (a->type == ED_ATTR_TENSOR)
        print_tensor(a->tensor, f);
    else if (a->type == ED_ATTR_RAW)
        fprintf(f, "raw(%zu)", a->s.size);
    else {
        fputc('[', f);
        for (size_t i = 0; i < a->count; i++) {
            if (i)
                fputs(", ", f);
            if (a->type == ED_ATTR_INTS)
                fprintf(f, "%" PRId64, a->ints[i]);
            else if (a->type == ED_ATTR_FLOATS)
                print_number((double)a->floats[i], f);
            else
                print_quoted(a->strings[i].data, a->strings[i].size, f);
        }
        fputc(']', f);
    }
}

static void print_ids(const ed_graph *g, const ed_id *ids, uint32_t n, FILE *f)
{
    for (uint32_t i = 0; i < n; i++) {
        if (i)
            fputs(", ", f);
        if (ids[i] == ED_NONE)
            fputc('_', f);
        else
            print_name(g->values[ids[i]].name, f);
    }
}

static void print_node(const ed_graph *g, const ed_node *n, FILE *f)
{
    print_ids(g, n->out, n->n_out, f);
    fputs(" = ", f);
    if (n->name[0]) {
        print_name(n->name, f);
        fputs(": ", f);
    }
    if (n->domain[0])
        fprintf(f, "%s::", n->domain);
    fprintf(f, "%s(", n->op_type);
    print_ids(g, n->in, n->n_in, f);
    fputc(')', f);
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        fprintf(f, "%s%s=", i ? ", " : " {", n->attrs[i].name);
        print_attr_value(&n->attrs[i], f);
    }
    if (n->n_attrs)
        fputc('}', f);
    if (n->group != ED_NONE)
        fprintf(f, " @%s", g->groups[n->group].name);
    if (n->n_out && n->out[0] != ED_NONE && g->values[n->out[0]].shape.rank >= 0) {
        fputs("  # ", f);
        print_type(g, g->values[n->out[0]].dtype, &g->values[n->out[0]].shape, f);
    }
    fputc('\n', f);
}

int ed_graph_print(const ed_graph *g, FILE *f)
{
    ed_id *order;
    size_t n;
    ED_TRY(ed_graph_topological(g, &order, &n));
    fputs("graph ", f);
    print_name(g->name, f);
    fprintf(f, " opset %" PRId64 "\n", ed_graph_opset(g, ""));
    for (size_t i = 0; i < g->n_inputs; i++) {
        const ed_value *v = &g->values[g->inputs[i]];
        fputs("input ", f);
        print_name(v->name, f);
        fputs(": ", f);
        print_type(g, v->dtype, &v->shape, f);
        fputc('\n', f);
    }
    for (size_t i = 0; i < g->n_values; i++) {
        const ed_value *v = &g->values[i];
        if (!v->constant)
            continue;
        fputs("const ", f);
        print_name(v->name, f);
        fputs(": ", f);
        print_type(g, v->dtype, &v->shape, f);
        fputs(" = ", f);
        print_tensor(v->constant, f);
        fputc('\n', f);
    }
    for (size_t i = 0; i < n; i++)
        print_node(g, &g->nodes[order[i]], f);
    ed_free(order);
    fputs("output ", f);
    print_ids(g, g->outputs, (uint32_t)g->n_outputs, f);
    fputc('\n', f);
    ED_FAIL_IF(ferror(f), ED_EIO, "cannot print the graph '%s'", g->name);
    return ED_OK;
}
