/*
 * ed-run: a model on tensors from files, its outputs to files.
 */
#include "common.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char description[] =
    "Run an ONNX model once. Every input comes from a file, .npy or .pb (a serialized "
    "TensorProto), "
    "and gives the run its shape. For each output its type, shape, smallest and largest value are "
    "printed; --output-dir writes them. The model runs as it is in the file; --transform applies "
    "conversions and fusions first, as the other commands do.";

static const char *const examples[] = {
    "ed-run model.onnx --input x=x.npy --output-dir out",
    "write out/<output>.npy",
    "ed-run model.onnx --input ids=ids.npy --input mask=mask.npy --profile",
    "two inputs; where the time goes",
    "ed-run model.onnx -i input_0.pb --format pb -o out",
    "files of ONNX's test data",
    NULL,
};

static const char *check(const settings *s)
{
    if (!s->operands.count)
        return "no model: give MODEL.onnx";
    if (s->format && !s->output_dir)
        return "--format has no effect without --output-dir";
    return NULL;
}

static const command run_command = {
    .name = "ed-run",
    .id = CMD_RUN,
    .operands = "MODEL.onnx",
    .max_operands = 1,
    .summary = "run an ONNX model on tensors from files",
    .description = description,
    .examples = examples,
    .check = check,
};

typedef struct job {
    const settings *s;
    const char *model;
    ed_graph *graph;
    ed_exec *exec;
    size_t n_in, n_out;
    ed_tensor **inputs;
    const ed_tensor **outputs;
    char **files; /* per output, where it was written; NULL */
} job;

/* ---- inputs ---- */

/* "NAME=FILE" or, of a model with one input, "FILE". Names may hold a `='. */
static int find_input(const job *j, const char *text, size_t *index, const char **file)
{
    for (size_t i = 0; i < j->n_in; i++) {
        const char *name = ed_graph_input(j->graph, i).name;
        size_t n = strlen(name);
        if (!strncmp(text, name, n) && text[n] == '=' && text[n + 1]) {
            *index = i;
            *file = text + n + 1;
            return ED_OK;
        }
    }
    if (j->n_in == 1 && !strchr(text, '=')) {
        *index = 0;
        *file = text;
        return ED_OK;
    }
    char names[512] = "";
    for (size_t i = 0; i < j->n_in; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                 ed_graph_input(j->graph, i).name);
    }
    return tool_fail(ED_ENOTFOUND, "--input %s: it begins with no input's name and `='; %s has: %s",
                     text, j->model, *names ? names : "none");
}

static int read_inputs(job *j)
{
    const text_list *list = &j->s->inputs;
    for (size_t i = 0; i < list->count; i++) {
        size_t k = 0;
        const char *file = NULL;
        TRY(find_input(j, list->items[i], &k, &file));
        ed_value_info info = ed_graph_input(j->graph, k);
        if (j->inputs[k])
            return tool_fail(ED_EINVAL, "input '%s' is given twice; leave one --input out",
                             info.name);
        TRY(tool_tensor_read(&j->inputs[k], file));
        if (j->inputs[k]->dtype != info.dtype)
            return tool_fail(ED_ESHAPE, "%s: it is %s, but input '%s' is %s", file,
                             ed_dtype_name(j->inputs[k]->dtype), info.name,
                             ed_dtype_name(info.dtype));
    }
    for (size_t k = 0; k < j->n_in; k++)
        if (!j->inputs[k])
            return tool_fail(ED_ENOTFOUND, "input '%s' has no tensor; give --input %s=FILE",
                             ed_graph_input(j->graph, k).name, ed_graph_input(j->graph, k).name);
    return ED_OK;
}

/* ---- outputs ---- */

/* "FOLDER/NAME.npy", characters that are bad in file names as `_'. */
static char *output_path(const job *j, size_t i)
{
    char *path = NULL, *name = strdup(ed_graph_output(j->graph, i).name);
    for (char *c = name; c && *c; c++)
        if (*c == '/' || *c == '\\' || *c == ':' || (unsigned char)*c < 33)
            *c = '_';
    if (!name || asprintf(&path, "%s/%s.%s", j->s->output_dir, *name ? name : "output",
                          j->s->format ? j->s->format : "npy") < 0)
        path = NULL;
    free(name);
    return path;
}

static int write_outputs(job *j)
{
    const char *folder = j->s->output_dir;
    if (!folder)
        return ED_OK;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return tool_fail(ED_EIO, "%s: cannot make the folder: %s", folder, strerror(errno));
    for (size_t i = 0; i < j->n_out; i++) {
        j->files[i] = output_path(j, i);
        if (!j->files[i])
            return tool_fail(ED_ENOMEM, "memory ran out");
        for (size_t k = 0; k < i; k++)
            if (!strcmp(j->files[k], j->files[i]))
                return tool_fail(ED_EINVAL, "%s: two outputs have this file name", j->files[i]);
        TRY(tool_tensor_write(j->outputs[i], ed_graph_output(j->graph, i).name, j->files[i]));
    }
    return ED_OK;
}

/* ---- the report ---- */

typedef struct extent {
    double min, max;
    int64_t nonfinite;
    bool any;
} extent;

static extent extent_of(const ed_tensor *t)
{
    extent e = { 0 };
    for (int64_t i = 0; i < t->numel; i++) {
        double x = ed_tensor_get_f64(t, i);
        if (!isfinite(x)) {
            e.nonfinite++;
            continue;
        }
        e.min = !e.any || x < e.min ? x : e.min;
        e.max = !e.any || x > e.max ? x : e.max;
        e.any = true;
    }
    return e;
}

static int print_table(const job *j)
{
    table *t = table_new("lllrr");
    static const char *const titles[] = { "output", "type", "shape", "min", "max" };
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        table_cell(t, "%s", titles[i]);
    for (size_t i = 0; i < j->n_out; i++) {
        char shape[128];
        extent e = extent_of(j->outputs[i]);
        table_cell(t, "%s", ed_graph_output(j->graph, i).name);
        table_cell(t, "%s", ed_dtype_name(j->outputs[i]->dtype));
        table_cell(t, "%s", ed_shape_format(shape, sizeof shape, &j->outputs[i]->shape));
        table_cell(t, e.any ? "%.6g" : "-", e.min);
        table_cell(t, e.any ? "%.6g" : "-", e.max);
        if (e.nonfinite)
            tool_warn("output '%s' holds %lld NaN or infinite values",
                      ed_graph_output(j->graph, i).name, (long long)e.nonfinite);
    }
    TRY(table_print(t, stdout));
    for (size_t i = 0; i < j->n_out && j->files[i]; i++)
        printf("wrote %s\n", j->files[i]);
    return ED_OK;
}

static json_t *output_json(const job *j, size_t i)
{
    const ed_tensor *t = j->outputs[i];
    extent e = extent_of(t);
    json_t *shape = json_array();
    for (int d = 0; d < t->shape.rank; d++)
        json_array_append_new(shape, json_integer(t->shape.dim[d]));
    return json_pack("{ss ss so so so sI ss?}", "name", ed_graph_output(j->graph, i).name, "type",
                     ed_dtype_name(t->dtype), "shape", shape, "min",
                     e.any ? json_real(e.min) : json_null(), "max",
                     e.any ? json_real(e.max) : json_null(), "nonfinite", (json_int_t)e.nonfinite,
                     "file", j->files[i]);
}

static int print_json(const job *j, double seconds)
{
    json_t *outputs = json_array();
    for (size_t i = 0; i < j->n_out; i++)
        json_array_append_new(outputs, output_json(j, i));
    json_t *root =
        json_pack("{ss sf so}", "model", j->model, "seconds", seconds, "outputs", outputs);
    if (!root)
        return tool_fail(ED_ENOMEM, "memory ran out, or a name is not UTF-8; leave out --json");
    int rc = json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    putchar('\n');
    return rc == 0 ? ED_OK : tool_fail(ED_EIO, "cannot write the JSON object to standard output");
}

/* ---- the run ---- */

static int compile(job *j)
{
    ed_exec_options options = { .reference = j->s->reference,
                                .precision = j->s->precision,
                                .autotune = j->s->autotune,
                                .profile = j->s->profile };
    TRY(tool_device(&options.device, j->s->device));
    ed_shape *shapes = calloc(j->n_in + 1, sizeof *shapes);
    if (!shapes)
        return tool_fail(ED_ENOMEM, "memory ran out");
    for (size_t i = 0; i < j->n_in; i++)
        shapes[i] = j->inputs[i]->shape;
    int rc = ed_exec_new(&j->exec, j->graph, shapes, &options);
    free(shapes);
    return rc;
}

static int allocate(job *j)
{
    j->n_in = ed_graph_input_count(j->graph);
    j->n_out = ed_graph_output_count(j->graph);
    j->inputs = calloc(j->n_in + 1, sizeof(ed_tensor *));
    j->outputs = calloc(j->n_out + 1, sizeof(ed_tensor *));
    j->files = calloc(j->n_out + 1, sizeof(char *));
    return j->inputs && j->outputs && j->files ? ED_OK : tool_fail(ED_ENOMEM, "memory ran out");
}

static int run(job *j)
{
    j->model = j->s->operands.items[0];
    TRY(ed_onnx_read(&j->graph, j->model));
    TRY(allocate(j));
    TRY(read_inputs(j));
    if (j->s->transform)
        TRY(ed_transform(j->graph, NULL));
    TRY(compile(j));
    double start = tool_seconds();
    TRY(ed_exec_run(j->exec, (const ed_tensor *const *)j->inputs, j->outputs));
    double seconds = tool_seconds() - start;
    TRY(tool_interrupted());
    TRY(write_outputs(j));
    if (j->s->json)
        TRY(print_json(j, seconds));
    else if (!j->s->quiet)
        TRY(print_table(j));
    return j->s->profile ? ed_exec_print_profile(j->exec, j->s->json ? stderr : stdout) : ED_OK;
}

int main(int argc, char **argv)
{
    settings s;
    tool_begin(argv);
    options_parse(&s, &run_command, argc, argv);
    job j = { .s = &s };
    int rc = tool_start(&run_command, &s);
    if (rc == ED_OK)
        rc = run(&j);
    int status = tool_finish(rc);
    ed_exec_free(j.exec);
    tool_free_tensors(j.inputs, j.n_in);
    for (size_t i = 0; j.files && i < j.n_out; i++)
        free(j.files[i]);
    free(j.files);
    free(j.outputs);
    ed_graph_free(j.graph);
    settings_free(&s);
    return status;
}
