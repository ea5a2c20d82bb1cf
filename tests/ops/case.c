/* Case lines: text to struct, struct to a graph of one node. */
#include "case.h"

#include "base/file.h"
#include "tensor/dtype.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ---- parsing ---- */
static int bad(const op_case *c, const char *what, const char *word)
{
    return ed_error_set(ED_EFORMAT, "line %d: %s '%s'", c->number, what, word);
}

static int copy(char *to, size_t size, const char *from, size_t length)
{
    ED_FAIL_IF(length >= size, ED_EFORMAT, "'%.40s...' is too long for a case", from);
    memcpy(to, from, length);
    to[length] = '\0';
    return ED_OK;
}

/* "x=f32[2,3]:normal" */
static int parse_input(op_case *c, const char *word)
{
    if (c->n_in == CASE_MAX_IN)
        return bad(c, "too many inputs at", word);
    case_input *in = &c->in[c->n_in++];
    *in = (case_input){ .omitted = strcmp(word, "_") == 0 };
    if (in->omitted)
        return ED_OK;
    const char *type = strchr(word, '='), *open = strchr(word, '[');
    char name[16];
    if (!type || !open || open < type)
        return bad(c, "not an input:", word);
    ED_TRY(copy(name, sizeof name, type + 1, (size_t)(open - type - 1)));
    in->dtype = ed_dtype_find(name);
    if (in->dtype == ED_DTYPE_NONE)
        return bad(c, "no such type in", word);
    const char *p = open + 1;
    while (*p != ']') {
        char *end = NULL;
        if (in->shape.rank == ED_MAX_RANK)
            return bad(c, "too many dimensions in", word);
        in->shape.dim[in->shape.rank++] = strtoll(p, &end, 10);
        if (end == p)
            return bad(c, "not a shape in", word);
        p = *end == ',' ? end + 1 : end;
    }
    return copy(in->generator, sizeof in->generator, p[1] == ':' ? p + 2 : "", strlen(p + 1));
}

static int parse_attr(op_case *c, const char *word)
{
    const char *equals = strchr(word, '=');
    if (!equals || c->n_attrs == CASE_MAX_ATTRS)
        return bad(c, "not an attribute, or one too many:", word);
    case_attr *a = &c->attrs[c->n_attrs++];
    ED_TRY(copy(a->name, sizeof a->name, word, (size_t)(equals - word)));
    return copy(a->value, sizeof a->value, equals + 1, strlen(equals + 1));
}

/* " => code: sentence" is cut off the text. */
static int parse_failure(op_case *c, char *text)
{
    char *arrow = strstr(text, " => ");
    if (!arrow)
        return ED_OK;
    *arrow = '\0';
    char *colon = strchr(arrow + 4, ':');
    if (!colon)
        return bad(c, "no code in", arrow + 4);
    ED_TRY(copy(c->code, sizeof c->code, arrow + 4, (size_t)(colon - arrow - 4)));
    colon += 1 + (colon[1] == ' ');
    return copy(c->sentence, sizeof c->sentence, colon, strlen(colon));
}

static int parse_op(op_case *c, const char *word)
{
    const char *colons = strstr(word, "::");
    if (colons)
        ED_TRY(copy(c->domain, sizeof c->domain, word, (size_t)(colons - word)));
    word = colons ? colons + 2 : word;
    return copy(c->op, sizeof c->op, word, strlen(word));
}

/* The whole line; *opsets points at its list "7,13". */
static int parse_line(op_case *c, char *text, char **opsets)
{
    char *rest = NULL;
    bool attributes = false;
    c->n_out = 1;
    *opsets = NULL;
    ED_TRY(parse_failure(c, text));
    char *word = strtok_r(text, " \t", &rest);
    ED_TRY(parse_op(c, word));
    while ((word = strtok_r(NULL, " \t", &rest))) {
        if (strcmp(word, "|") == 0)
            attributes = true;
        else if (attributes)
            ED_TRY(parse_attr(c, word));
        else if (strncmp(word, "opset=", 6) == 0)
            *opsets = word + 6;
        else if (strncmp(word, "outputs=", 8) == 0)
            c->n_out = (uint32_t)atoi(word + 8);
        else if (strncmp(word, "output=", 7) == 0)
            c->output = (uint32_t)atoi(word + 7);
        else if (strcmp(word, "constant") == 0)
            c->constant = true;
        else if (strcmp(word, "fixed") == 0)
            c->fixed = true;
        else if (strcmp(word, "dynamic") == 0)
            c->dynamic = true;
        else if (strcmp(word, "exact") == 0)
            c->match = MATCH_EXACT;
        else if (strcmp(word, "close") == 0)
            c->match = MATCH_CLOSE;
        else if (strcmp(word, "fastnan") == 0)
            c->fastnan = true;
        else if (strcmp(word, "nograd") == 0)
            c->nograd = true;
        else
            ED_TRY(parse_input(c, word));
    }
    return *opsets ? ED_OK : bad(c, "no opset in", c->line);
}

static int add_line(op_case **cases, size_t *count, size_t *capacity, char *line, int number)
{
    op_case c = { .number = number };
    char *opsets = NULL;
    ED_TRY(copy(c.line, sizeof c.line, line, strlen(line)));
    ED_TRY(parse_line(&c, line, &opsets));
    while (*opsets) {
        c.opset = strtoll(opsets, &opsets, 10);
        opsets += *opsets == ',';
        ED_TRY(ed_grow(cases, capacity, *count + 1, sizeof **cases));
        (*cases)[(*count)++] = c;
    }
    return ED_OK;
}

int case_read(op_case **cases, size_t *count, const char *path)
{
    int rc = ED_OK, number = 0;
    size_t size = 0, capacity = 0;
    char *text = NULL, *end = NULL;
    *cases = NULL;
    *count = 0;

    ED_TRY(ed_file_read((void **)&text, &size, path));
    text = ed_realloc(text, size + 1, 1);
    if (!text)
        return ED_ENOMEM;
    text[size] = '\0';
    for (char *line = text; line && *line; line = end) {
        end = strchr(line, '\n');
        if (end)
            *end++ = '\0';
        number++;
        while (isspace((unsigned char)*line))
            line++;
        size_t length = strlen(line);
        while (length && isspace((unsigned char)line[length - 1]))
            line[--length] = '\0';
        if (*line && *line != '#')
            ED_GOTO(add_line(cases, count, &capacity, line, number));
    }
done:
    ed_free(text);
    return rc;
}

/* ---- building ---- */
/* "[1.0,2.5]": floats have a point. */
static int set_floats(ed_graph *g, ed_id node, const case_attr *a)
{
    float v[2 * ED_MAX_RANK];
    size_t n = 0;
    const char *p = a->value + 1;
    while (*p && *p != ']' && n < ED_LENGTH(v)) {
        char *end = NULL;
        v[n++] = strtof(p, &end);
        p = *end == ',' ? end + 1 : end;
    }
    return ed_node_set_attr(
        g, node, &(ed_attr){ .name = a->name, .type = ED_ATTR_FLOATS, .count = n, .floats = v });
}

static int set_list(ed_graph *g, ed_id node, const case_attr *a)
{
    if (strchr(a->value, '.'))
        return set_floats(g, node, a);
    int64_t v[2 * ED_MAX_RANK + 8];
    size_t n = 0;
    const char *p = a->value + 1;
    while (*p && *p != ']' && n < ED_LENGTH(v)) {
        char *end = NULL;
        v[n++] = strtoll(p, &end, 10);
        p = *end == ',' ? end + 1 : end;
    }
    return ed_node_set_ints(g, node, a->name, v, n);
}

/* "i64[1]:{3}" is a tensor. */
static int set_tensor(ed_graph *g, ed_id node, const case_attr *a)
{
    op_case text = { .line = "attribute" };
    char word[CASE_TEXT + 8];
    ed_tensor *tensor = NULL;
    snprintf(word, sizeof word, "value=%s", a->value);
    ED_TRY(parse_input(&text, word));
    ED_TRY(case_generate(&tensor, &text, 0));
    return ed_node_set_attr(
        g, node, &(ed_attr){ .name = a->name, .type = ED_ATTR_TENSOR, .tensor = tensor });
}

static int set_attr(ed_graph *g, ed_id node, const case_attr *a)
{
    const char *v = a->value;
    char *end = NULL;
    if (*v == '[')
        return set_list(g, node, a);
    if (strstr(v, "]:"))
        return set_tensor(g, node, a);
    long long integer = strtoll(v, &end, 10);
    if (*v && !*end)
        return ed_node_set_int(g, node, a->name, integer);
    float number = strtof(v, &end);
    if (!*end)
        return ed_node_set_float(g, node, a->name, number);
    return ed_node_set_attr(
        g, node, &(ed_attr){ .name = a->name, .type = ED_ATTR_STRING, .s = { v, strlen(v) } });
}

int case_convolve(ed_graph *g, ed_id *id, const ed_shape *shape)
{
    ed_shape kernel = { shape->rank, { shape->dim[1], shape->dim[1], 1, 1, 1 } };
    ed_tensor *identity = NULL;
    ed_id in[2] = { *id, ED_NONE }, out = ED_NONE, node = ED_NONE;
    ED_TRY(ed_tensor_new(&identity, ED_F32, &kernel));
    for (int64_t i = 0; i < shape->dim[1]; i++)
        ((float *)identity->data)[i * shape->dim[1] + i] = 1.0f;
    ED_TRY(ed_graph_add_constant_take(g, &in[1], "identity", identity));
    ED_TRY(ed_graph_add_fresh_value(g, &out, "convolved"));
    ED_TRY(ed_graph_add_node(g, &node, "Conv", "before", in, 2, &out, 1));
    *id = out;
    return ED_OK;
}

bool case_is_image(const op_case *c, const ed_tensor *t)
{
    return t->dtype == ED_F32 && t->shape.rank >= 3 && t->shape.rank <= 5 && t->numel > 0 &&
           t->shape.dim[1] <= 64 && (c->opset >= 7 || *c->domain) && !strstr(c->line, "special");
}

static int add_input(ed_graph *g, ed_id *id, const op_case *c, uint32_t i, const ed_tensor *data,
                     case_form form)
{
    char name[16];
    snprintf(name, sizeof name, "in%u", i);
    ED_TRY(ed_graph_add_value(g, id, name));
    bool fixed = i > 0 && (c->fixed || (!c->dynamic && c->in[i].dtype != ED_F32));
    if (i >= form.first_constant || fixed || c->constant) {
        ed_tensor *clone = NULL;
        ED_TRY(ed_tensor_clone(&clone, data));
        return ed_graph_set_constant_take(g, *id, clone);
    }
    g->values[*id].dtype = c->in[i].dtype;
    g->values[*id].shape = c->in[i].shape;
    ED_TRY(ed_graph_add_input(g, *id));
    return form.convolved && case_is_image(c, data) ? case_convolve(g, id, &data->shape) : ED_OK;
}

static int add_node(ed_graph *g, const op_case *c, const ed_id *in)
{
    ed_id out[CASE_MAX_OUT], node = ED_NONE;
    for (uint32_t i = 0; i < c->n_out; i++) {
        char name[16];
        snprintf(name, sizeof name, "out%u", i);
        ED_TRY(ed_graph_add_value(g, &out[i], name));
    }
    ED_TRY(ed_graph_add_node(g, &node, c->op, "node", in, c->n_in, out, c->n_out));
    if (*c->domain) {
        g->nodes[node].domain = ed_arena_strdup(g->arena, c->domain);
        if (!g->nodes[node].domain)
            return ED_ENOMEM;
    }
    for (uint32_t i = 0; i < c->n_attrs; i++)
        ED_TRY(set_attr(g, node, &c->attrs[i]));
    return ed_graph_add_output(g, out[c->output]);
}

static int fill_graph(ed_graph *g, ed_tensor **data, const op_case *c, case_form form)
{
    ed_id in[CASE_MAX_IN];
    ED_TRY(ed_graph_set_opset(g, "", *c->domain ? 17 : c->opset));
    if (*c->domain)
        ED_TRY(ed_graph_set_opset(g, c->domain, c->opset));
    for (uint32_t i = 0; i < c->n_in; i++) {
        in[i] = ED_NONE;
        if (c->in[i].omitted)
            continue;
        ED_TRY(case_generate(&data[i], c, i));
        ED_TRY(add_input(g, &in[i], c, i, data[i], form));
    }
    return add_node(g, c, in);
}

void case_free_data(ed_tensor **data)
{
    for (int i = 0; i < CASE_MAX_IN; i++) {
        ed_tensor_free(data[i]);
        data[i] = NULL;
    }
}

static void round_numbers(ed_tensor *t)
{
    float *x = t && t->dtype == ED_F32 ? t->data : NULL;
    for (int64_t i = 0; x && i < t->numel; i++)
        x[i] = ed_bf16_to_f32(ed_f32_to_bf16(x[i]));
}

void case_round(ed_graph *g, ed_tensor **data)
{
    for (uint32_t i = 0; i < CASE_MAX_IN; i++)
        round_numbers(data[i]);
    for (size_t v = 0; v < g->n_values; v++)
        round_numbers(g->values[v].constant);
}

int case_build(ed_graph **g, ed_tensor **data, const op_case *c, case_form form)
{
    memset(data, 0, CASE_MAX_IN * sizeof *data);
    ED_TRY(ed_graph_new(g, "case"));
    int rc = fill_graph(*g, data, c, form);
    if (rc != ED_OK) {
        case_free_data(data);
        ed_graph_free(*g);
        *g = NULL;
    }
    return rc;
}
