/*
 * ed-inspect: what a model consists of, what of it does not run, and where the rest would.
 */
#include "common.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char description[] =
    "Print a model's opsets, inputs, outputs and operators. Operators without a kernel are all "
    "named. If there are none, the model is transformed and compiled for a batch of one, and the "
    "steps follow: the nodes that run together, the kernel that takes them, layouts, and why a "
    "better kernel refused.";

static const char *const examples[] = {
    "ed-inspect model.onnx",
    "what is in it, what is missing, what runs where",
    "ed-inspect model.onnx --json | jq '.operators[] | select(.runs | not)'",
    "the operators that do not run",
    NULL,
};

static const char *check(const settings *s)
{
    return s->operands.count || s->devices ? NULL : "no model: give MODEL.onnx, or --devices";
}

static const command inspect_command = {
    .name = "ed-inspect",
    .id = CMD_INSPECT,
    .operands = "MODEL.onnx",
    .max_operands = 1,
    .summary = "what an ONNX model consists of and where it would run",
    .description = description,
    .examples = examples,
    .check = check,
};

typedef struct job {
    const settings *s;
    ed_graph *graph;
    ed_operator_info *operators;
    size_t operator_count;
    char *steps;     /* as ed_exec_print() tells them, or NULL */
    const char *why; /* why there are none */
} job;

static const char *domain_name(const char *domain)
{
    return *domain ? domain : "ai.onnx";
}

/* ---- devices ---- */

static int list_devices(const settings *s)
{
    ed_device_row *rows;
    size_t count;
    const char *why;
    TRY(ed_devices(&rows, &count, &why));
    json_t *list = s->json ? json_array() : NULL;
    for (size_t i = 0; i < count; i++) {
        const ed_device_row *r = &rows[i];
        if (list)
            json_array_append_new(list, json_pack("{ss ss sI sI}", "name", r->name, "description",
                                                  r->description, "memory", (json_int_t)r->memory,
                                                  "free_memory", (json_int_t)r->free_memory));
        else if (r->memory)
            printf("%s  %s, %.1f of %.1f GiB free\n", r->name, r->description,
                   (double)r->free_memory / (1 << 30), (double)r->memory / (1 << 30));
        else
            printf("%s  %s\n", r->name, r->description);
    }
    if (why)
        tool_note("%s", why);
    free(rows);
    if (!s->json)
        return ED_OK;
    json_t *root = json_pack("{so so*}", "devices", list, "why", why ? json_string(why) : NULL);
    if (!root)
        return tool_fail(ED_ENOMEM, "memory ran out");
    json_dumpf(root, stdout, JSON_INDENT(2));
    json_decref(root);
    putchar('\n');
    return ED_OK;
}

/* ---- what would run where ---- */

static bool all_run(const job *j)
{
    for (size_t i = 0; i < j->operator_count; i++)
        if (!j->operators[i].runs)
            return false;
    return true;
}

static int compile(job *j, ed_graph *graph)
{
    const char *device;
    ed_shape *shapes;
    ed_exec *exec = NULL;
    size_t size = 0;
    TRY(tool_device(&device, j->s->device));
    TRY(tool_input_shapes(&shapes, graph, 1));
    const ed_exec_options options = { .device = device,
                                      .precision = j->s->precision,
                                      .autotune = j->s->autotune };
    int rc = ed_transform(graph, NULL);
    if (rc == ED_OK)
        rc = ed_exec_new(&exec, graph, shapes, &options);
    FILE *text = rc == ED_OK ? open_memstream(&j->steps, &size) : NULL;
    if (text) {
        rc = ed_exec_print(exec, text);
        fclose(text);
    } else if (rc == ED_OK) {
        rc = tool_fail(ED_ENOMEM, "memory ran out");
    }
    ed_exec_free(exec);
    free(shapes);
    return rc;
}

/* A model that does not compile is told about, too: that is no failure of the inspection. */
static int find_steps(job *j)
{
    ed_graph *copy;
    if (!all_run(j)) {
        j->why = "operators are missing";
        return ED_OK;
    }
    TRY(ed_graph_clone(&copy, j->graph));
    if (compile(j, copy) != ED_OK)
        j->why = tool_sentence();
    ed_graph_free(copy);
    return tool_interrupted();
}

/* ---- tables ---- */

static int print_values(const job *j, bool outputs)
{
    size_t n = outputs ? ed_graph_output_count(j->graph) : ed_graph_input_count(j->graph);
    table *t = table_new("lll");
    table_cell(t, outputs ? "output" : "input");
    table_cell(t, "type");
    table_cell(t, "shape");
    for (size_t i = 0; i < n; i++) {
        char shape[128];
        ed_value_info info = outputs ? ed_graph_output(j->graph, i) : ed_graph_input(j->graph, i);
        table_cell(t, "%s", info.name);
        table_cell(t, "%s", ed_dtype_name(info.dtype));
        table_cell(t, "%s", ed_graph_shape_format(shape, sizeof shape, j->graph, &info.shape));
    }
    TRY(table_print(t, stdout));
    putchar('\n');
    return ED_OK;
}

static bool domain_is_new(const job *j, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (!strcmp(j->operators[k].domain, j->operators[i].domain))
            return false;
    return true;
}

static int print_operators(const job *j)
{
    table *t = table_new("lrl");
    table_cell(t, "operator");
    table_cell(t, "nodes");
    table_cell(t, "runs");
    for (size_t i = 0; i < j->operator_count; i++) {
        const ed_operator_info *o = &j->operators[i];
        table_cell(t, "%s%s%s", o->domain, *o->domain ? "::" : "", o->type);
        table_cell(t, "%zu", o->count);
        table_cell(t, o->runs ? "yes" : "no, first at %s", o->first);
    }
    return table_print(t, stdout);
}

static int print_tables(const job *j)
{
    printf("%s: %zu nodes", j->s->operands.items[0], ed_graph_node_count(j->graph, NULL));
    for (size_t i = 0; i < j->operator_count; i++)
        if (domain_is_new(j, i))
            printf(", opset %s %lld", domain_name(j->operators[i].domain),
                   (long long)j->operators[i].opset);
    printf("\n\n");
    TRY(print_values(j, false));
    TRY(print_values(j, true));
    TRY(print_operators(j));
    if (j->s->quiet)
        return ED_OK;
    if (j->steps)
        printf("\n%s", j->steps);
    else
        printf("\nit cannot run: %s\n", j->why);
    return ED_OK;
}

/* ---- JSON ---- */

static json_t *values_json(const job *j, bool outputs)
{
    size_t n = outputs ? ed_graph_output_count(j->graph) : ed_graph_input_count(j->graph);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        ed_value_info info = outputs ? ed_graph_output(j->graph, i) : ed_graph_input(j->graph, i);
        json_t *shape = info.shape.rank < 0 ? json_null() : json_array();
        for (int d = 0; d < info.shape.rank; d++)
            json_array_append_new(shape, info.shape.dim[d] < 0 ? json_null()
                                                               : json_integer(info.shape.dim[d]));
        json_array_append_new(list, json_pack("{ss ss so}", "name", info.name, "type",
                                              ed_dtype_name(info.dtype), "shape", shape));
    }
    return list;
}

static json_t *operators_json(const job *j)
{
    json_t *list = json_array();
    for (size_t i = 0; i < j->operator_count; i++) {
        const ed_operator_info *o = &j->operators[i];
        json_array_append_new(list, json_pack("{ss ss sI sI sb ss}", "type", o->type, "domain",
                                              domain_name(o->domain), "opset", (json_int_t)o->opset,
                                              "nodes", (json_int_t)o->count, "runs", o->runs,
                                              "first", o->first));
    }
    return list;
}

static json_t *steps_json(const job *j)
{
    json_t *list = json_array();
    char *rest = NULL;
    for (char *line = j->steps ? strtok_r(j->steps, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest))
        json_array_append_new(list, json_string(line));
    return list;
}

static int print_json(const job *j)
{
    json_t *root = json_pack("{ss sI so so so so ss?}", "model", j->s->operands.items[0], "nodes",
                             (json_int_t)ed_graph_node_count(j->graph, NULL), "inputs",
                             values_json(j, false), "outputs", values_json(j, true), "operators",
                             operators_json(j), "steps", steps_json(j), "cannot_run", j->why);
    if (!root)
        return tool_fail(ED_ENOMEM, "memory ran out, or a name is not UTF-8; leave out --json");
    int rc = json_dumpf(root, stdout, JSON_INDENT(2));
    json_decref(root);
    putchar('\n');
    return rc == 0 ? ED_OK : tool_fail(ED_EIO, "cannot write the JSON object to standard output");
}

static int inspect(job *j)
{
    if (j->s->devices)
        return list_devices(j->s);
    TRY(ed_onnx_read(&j->graph, j->s->operands.items[0]));
    TRY(ed_graph_operators(&j->operators, &j->operator_count, j->graph));
    TRY(find_steps(j));
    return j->s->json ? print_json(j) : print_tables(j);
}

int main(int argc, char **argv)
{
    settings s;
    tool_begin(argv);
    options_parse(&s, &inspect_command, argc, argv);
    job j = { .s = &s };
    int rc = tool_start(&inspect_command, &s);
    if (rc == ED_OK)
        rc = inspect(&j);
    int status = tool_finish(rc);
    free(j.steps);
    free(j.operators);
    ed_graph_free(j.graph);
    settings_free(&s);
    return status;
}
