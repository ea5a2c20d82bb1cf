/* The text form, reading (see ed_graph_parse() in ed/graph.h). */
#include "graph/graph.h"
#include "graph/lexer.h"

#include "base/random.h"
#include "tensor/dtype.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LIST = 64 };

typedef struct parser {
    ed_lexer lex;
    ed_graph *g;
} parser;

static int parse_type(parser *p, ed_dtype *dtype, ed_shape *shape)
{
    char word[16];
    size_t n = 0;
    ed_lex_skip(&p->lex);
    while (isalnum((unsigned char)p->lex.p[n]) && n + 1 < sizeof word) {
        word[n] = p->lex.p[n];
        n++;
    }
    word[n] = 0;
    *dtype = ed_dtype_find(word);
    if (*dtype == ED_DTYPE_NONE)
        return ed_lex_fail(&p->lex, "'%s' is no element type; try f32 or i64", word);
    p->lex.p += n;
    *shape = ED_SHAPE_UNKNOWN;
    if (!ed_lex_take(&p->lex, '['))
        return ED_OK;
    shape->rank = 0;
    while (!ed_lex_take(&p->lex, ']')) {
        if (shape->rank == ED_MAX_RANK)
            return ed_lex_fail(&p->lex, "a shape has at most %d dimensions", ED_MAX_RANK);
        int64_t *dim = &shape->dim[shape->rank++];
        double f;
        bool is_float;
        const char *name;
        if (ed_lex_take(&p->lex, '?')) {
            *dim = ED_DIM_UNKNOWN;
        } else if (isdigit((unsigned char)*p->lex.p)) {
            ED_TRY(ed_lex_number(&p->lex, &f, dim, &is_float));
        } else {
            ED_TRY(ed_lex_name(&p->lex, &name, NULL));
            *dim = ed_graph_symbol(p->g, name);
        }
        if (!ed_lex_take(&p->lex, ',') && *p->lex.p != ']')
            return ed_lex_fail(&p->lex, "expected ',' or ']'");
    }
    return ED_OK;
}

/* Standard normal numbers: Box-Muller. */
static double random_normal(ed_random *random)
{
    double u[2];
    for (int k = 0; k < 2; k++)
        u[k] = ((double)(ed_random_next(random) >> 11) + 0.5) * 0x1p-53;
    return sqrt(-2.0 * log(u[0])) * cos(6.283185307179586 * u[1]);
}

static int parse_call_number(parser *p, double *x)
{
    int64_t i;
    bool is_float;
    ED_TRY(ed_lex_expect(&p->lex, '('));
    ED_TRY(ed_lex_number(&p->lex, x, &i, &is_float));
    return ed_lex_expect(&p->lex, ')');
}

static int fill_numbers(parser *p, double *x, int64_t numel)
{
    double number;
    bool is_float;
    int64_t i = 0, k = 0;
    if (ed_lex_take_word(&p->lex, "random")) {
        ED_TRY(parse_call_number(p, &number));
        ed_random random = { (uint64_t)number };
        for (; k < numel; k++)
            x[k] = random_normal(&random);
    } else if (ed_lex_take_word(&p->lex, "fill")) {
        ED_TRY(parse_call_number(p, &number));
        for (; k < numel; k++)
            x[k] = number;
    } else {
        ED_TRY(ed_lex_expect(&p->lex, '{'));
        while (!ed_lex_take(&p->lex, '}')) {
            if (k == numel)
                return ed_lex_fail(&p->lex, "more than the shape's %lld elements",
                                   (long long)numel);
            ED_TRY(ed_lex_number(&p->lex, &x[k], &i, &is_float));
            k++;
            ed_lex_take(&p->lex, ',');
        }
        if (k != numel)
            return ed_lex_fail(&p->lex, "%lld elements, the shape wants %lld", (long long)k,
                               (long long)numel);
    }
    return ED_OK;
}

static int parse_tensor(parser *p, ed_tensor **out, ed_dtype dtype, const ed_shape *shape)
{
    ed_tensor *numbers;
    *out = NULL;
    ED_TRY(ed_tensor_new(&numbers, ED_F64, shape));
    int rc = fill_numbers(p, numbers->data, numbers->numel);
    if (rc == ED_OK)
        rc = ed_tensor_cast(out, numbers, dtype);
    ed_tensor_free(numbers);
    return rc;
}

static int parse_declaration(parser *p, bool constant)
{
    const char *name;
    bool colon = false;
    ed_dtype dtype;
    ed_shape shape;
    ed_id id;
    ED_TRY(ed_lex_name(&p->lex, &name, &colon));
    if (!colon)
        ED_TRY(ed_lex_expect(&p->lex, ':'));
    ED_TRY(parse_type(p, &dtype, &shape));
    ED_TRY(ed_graph_add_value(p->g, &id, name));
    p->g->values[id].dtype = dtype;
    p->g->values[id].shape = shape;
    if (!constant)
        return ed_graph_add_input(p->g, id);
    ED_TRY(ed_lex_expect(&p->lex, '='));
    ed_tensor *tensor;
    ED_TRY(parse_tensor(p, &tensor, dtype, &shape));
    return ed_graph_set_constant_take(p->g, id, tensor);
}

static int value_of(parser *p, const char *name, ed_id *id)
{
    if (strcmp(name, "_") == 0) {
        *id = ED_NONE;
        return ED_OK;
    }
    *id = ed_graph_find_value(p->g, name);
    return *id == ED_NONE ? ed_graph_add_value(p->g, id, name) : ED_OK;
}

/* Names up to the closing character, which is taken. */
static int parse_values(parser *p, ed_id *ids, size_t *n, char end)
{
    *n = 0;
    while (!ed_lex_take(&p->lex, end)) {
        const char *name;
        if (*n == MAX_LIST)
            return ed_lex_fail(&p->lex, "more than %d values", MAX_LIST);
        ED_TRY(ed_lex_name(&p->lex, &name, NULL));
        ED_TRY(value_of(p, name, &ids[(*n)++]));
        ed_lex_take(&p->lex, ',');
    }
    return ED_OK;
}

static int parse_list(parser *p, ed_attr *a)
{
    static _Thread_local int64_t ints[MAX_LIST];
    static _Thread_local float floats[MAX_LIST];
    bool any_float = false;
    size_t n = 0;
    while (!ed_lex_take(&p->lex, ']')) {
        double f;
        bool is_float;
        if (n == MAX_LIST)
            return ed_lex_fail(&p->lex, "more than %d elements", MAX_LIST);
        ED_TRY(ed_lex_number(&p->lex, &f, &ints[n], &is_float));
        floats[n++] = (float)f;
        any_float = any_float || is_float;
        ed_lex_take(&p->lex, ',');
    }
    a->type = any_float ? ED_ATTR_FLOATS : ED_ATTR_INTS;
    a->ints = any_float ? NULL : ints;
    a->floats = any_float ? floats : NULL;
    a->count = n;
    return ED_OK;
}

static int parse_attrs(parser *p, ed_id node)
{
    while (!ed_lex_take(&p->lex, '}')) {
        ed_attr a = { 0 };
        double f;
        bool is_float;
        ED_TRY(ed_lex_name(&p->lex, &a.name, NULL));
        ED_TRY(ed_lex_expect(&p->lex, '='));
        if (ed_lex_take(&p->lex, '[')) {
            ED_TRY(parse_list(p, &a));
        } else if (*p->lex.p == '"') {
            a.type = ED_ATTR_STRING;
            ED_TRY(ed_lex_string(&p->lex, &a.s.data, &a.s.size));
        } else {
            ED_TRY(ed_lex_number(&p->lex, &f, &a.i, &is_float));
            a.type = is_float ? ED_ATTR_FLOAT : ED_ATTR_INT;
            a.f = is_float ? (float)f : 0.0F;
            a.i = is_float ? 0 : a.i;
        }
        ED_TRY(ed_node_set_attr(p->g, node, &a));
        ed_lex_take(&p->lex, ',');
    }
    return ED_OK;
}

/* "@ConvBNReLU_3": the group's kind is the name without the number. */
static int join_group(parser *p, ed_id node)
{
    const char *name;
    ED_TRY(ed_lex_name(&p->lex, &name, NULL));
    for (size_t i = 0; i < p->g->n_groups; i++) {
        ed_group *group = &p->g->groups[i];
        if (strcmp(group->name, name) != 0)
            continue;
        ed_id *nodes = ed_arena_alloc(p->g->arena, group->n_nodes + 1, sizeof *nodes);
        if (!nodes)
            return ED_ENOMEM;
        memcpy(nodes, group->nodes, group->n_nodes * sizeof *nodes);
        nodes[group->n_nodes++] = node;
        group->nodes = nodes;
        p->g->nodes[node].group = (ed_id)i;
        return ED_OK;
    }
    const char *underscore = strrchr(name, '_');
    char *kind = ed_arena_strdup(p->g->arena, name);
    if (!kind)
        return ED_ENOMEM;
    if (underscore)
        kind[underscore - name] = 0;
    ed_id group;
    ED_TRY(ed_graph_add_group(p->g, &group, kind, &node, 1));
    p->g->groups[group].name = ed_arena_strdup(p->g->arena, name);
    return p->g->groups[group].name ? ED_OK : ED_ENOMEM;
}

static int parse_node(parser *p)
{
    ed_id in[MAX_LIST], out[MAX_LIST], id;
    size_t n_in, n_out;
    const char *op, *name = "", *colons;
    bool labels = false;
    ED_TRY(parse_values(p, out, &n_out, '='));
    ED_TRY(ed_lex_name(&p->lex, &op, &labels));
    if (labels) {
        name = op;
        ED_TRY(ed_lex_name(&p->lex, &op, NULL));
    }
    ED_TRY(ed_lex_expect(&p->lex, '('));
    ED_TRY(parse_values(p, in, &n_in, ')'));
    const char *domain = "";
    if ((colons = strstr(op, "::")) != NULL) {
        char *copy = ed_arena_strdup(p->g->arena, op);
        if (!copy)
            return ED_ENOMEM;
        copy[colons - op] = 0;
        domain = copy;
        op = colons + 2;
    }
    ED_TRY(ed_graph_add_node(p->g, &id, op, name, in, n_in, out, n_out));
    p->g->nodes[id].domain = domain;
    if (ed_lex_take(&p->lex, '{'))
        ED_TRY(parse_attrs(p, id));
    return ed_lex_take(&p->lex, '@') ? join_group(p, id) : ED_OK;
}

static int parse_output(parser *p)
{
    while (!ed_lex_at_end_of_line(&p->lex)) {
        const char *name;
        ED_TRY(ed_lex_name(&p->lex, &name, NULL));
        ed_id id = ed_graph_find_value(p->g, name);
        if (id == ED_NONE)
            return ed_lex_fail(&p->lex, "the output '%s' is not defined", name);
        ED_TRY(ed_graph_add_output(p->g, id));
        ed_lex_take(&p->lex, ',');
    }
    return ED_OK;
}

static int parse_header(parser *p)
{
    const char *name;
    double f;
    int64_t opset = 17;
    bool is_float;
    if (!ed_lex_next_line(&p->lex) || !ed_lex_take_word(&p->lex, "graph"))
        return ed_lex_fail(&p->lex, "expected 'graph <name> opset <number>'");
    ED_TRY(ed_lex_name(&p->lex, &name, NULL));
    if (ed_lex_take_word(&p->lex, "opset"))
        ED_TRY(ed_lex_number(&p->lex, &f, &opset, &is_float));
    p->g->name = ed_arena_strdup(p->g->arena, name);
    if (!p->g->name)
        return ED_ENOMEM;
    ED_TRY(ed_graph_set_opset(p->g, "ed", 1));
    return ed_graph_set_opset(p->g, "", opset);
}

static int parse_graph(parser *p)
{
    ED_TRY(parse_header(p));
    do {
        if (!ed_lex_at_end_of_line(&p->lex))
            return ed_lex_fail(&p->lex, "the rest of the line is not understood");
        if (!ed_lex_next_line(&p->lex))
            break;
        if (ed_lex_take_word(&p->lex, "input"))
            ED_TRY(parse_declaration(p, false));
        else if (ed_lex_take_word(&p->lex, "const"))
            ED_TRY(parse_declaration(p, true));
        else if (ed_lex_take_word(&p->lex, "output"))
            ED_TRY(parse_output(p));
        else
            ED_TRY(parse_node(p));
    } while (true);
    return ed_graph_verify(p->g);
}

int ed_graph_parse(ed_graph **out, const char *text)
{
    ED_TRY(ed_graph_new(out, ""));
    parser p = { { text, text, 1, (*out)->arena }, *out };
    int rc = parse_graph(&p);
    if (rc != ED_OK) {
        ed_graph_free(*out);
        *out = NULL;
    }
    return rc;
}
