/*
 * Run an ONNX model on raw input files, for conformance tests that compare with another runtime.
 *
 *   ed_run_model [-r] [-t] MODEL PREFIX [FILE:d0,d1,... one per graph input]
 *   ed_run_model [-r] [-t] -b < LIST
 *
 * Output i goes to PREFIX<i>.bin, one line "<type> <d0>,<d1>,..." each to standard output. -r:
 * reference kernels only. -t: after the conversions and fusions. Exit status 1 and one sentence on
 * standard error when the library refuses.
 *
 * -b: many models in one process, each line of LIST the operands of one, without blanks in names.
 * A line follows each one's outputs: "ok", "missing <operator>" where a node's operator is not in
 * the library's list, or "failed <sentence>". The exit status is 0.
 */
#include "ed/ed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_VALUES = 16 };

/* "file:2,3,8" -> its path (in place) and shape. A scalar is "file:". */
static int parse_input(char *text, ed_shape *shape)
{
    char *at = strrchr(text, ':');

    if (!at)
        return ED_EINVAL;
    *at++ = '\0';
    shape->rank = 0;
    while (*at && shape->rank < ED_MAX_RANK) {
        shape->dim[shape->rank++] = strtoll(at, &at, 10);
        at += *at == ',';
    }
    return *at ? ED_EINVAL : ED_OK;
}

static int read_tensor(ed_tensor **out, const char *path, ed_dtype dtype, const ed_shape *shape)
{
    int rc = ed_tensor_new(out, dtype, shape);
    FILE *file = rc == ED_OK ? fopen(path, "rb") : NULL;

    if (rc != ED_OK)
        return rc;
    if (!file)
        return ED_EIO;
    if (fread((*out)->data, 1, (*out)->nbytes, file) != (*out)->nbytes || fgetc(file) != EOF)
        rc = ED_ESHAPE;
    fclose(file);
    return rc;
}

static int write_output(const ed_tensor *tensor, const char *prefix, size_t i)
{
    char path[4096];
    FILE *file;
    size_t written;

    snprintf(path, sizeof path, "%s%zu.bin", prefix, i);
    file = fopen(path, "wb");
    if (!file)
        return ED_EIO;
    written = fwrite(tensor->data, 1, tensor->nbytes, file);
    if (fclose(file) != 0 || written != tensor->nbytes)
        return ED_EIO;
    printf("%s ", ed_dtype_name(tensor->dtype));
    for (int d = 0; d < tensor->shape.rank; d++)
        printf("%s%lld", d ? "," : "", (long long)tensor->shape.dim[d]);
    printf("\n");
    return ED_OK;
}

typedef struct mode {
    bool reference, transform;
} mode;

/* The first operator of the graph that no row of the library runs; ED_EUNSUPPORTED, else ED_OK. */
static int find_missing(char *name, size_t size, const ed_graph *graph)
{
    ed_operator_info *list;
    size_t n;
    int rc = ed_graph_operators(&list, &n, graph);

    for (size_t i = 0; rc == ED_OK && i < n; i++) {
        if (list[i].runs)
            continue;
        snprintf(name, size, "%s%s%s", list[i].domain, *list[i].domain ? "::" : "", list[i].type);
        rc = ED_EUNSUPPORTED;
    }
    free(list);
    return rc;
}

/* A conversion may remove an operator that is missing, and refuses one that it does not know. */
static int read_model(ed_graph **graph, const char *path, mode m, char *missing, size_t size)
{
    int rc = ed_onnx_read(graph, path);
    int transformed = rc == ED_OK && m.transform ? ed_transform(*graph, NULL) : ED_OK;
    if (rc == ED_OK)
        rc = find_missing(missing, size, *graph);
    return rc == ED_OK ? transformed : rc;
}

/* `missing` gets the name of an operator that the library does not list, else "". */
static int run(char **operands, size_t n_files, mode m, char *missing, size_t size)
{
    char **files = operands + 2;
    ed_graph *graph = NULL;
    ed_exec *exec = NULL;
    ed_exec_options options = { .reference = m.reference };
    ed_shape shapes[MAX_VALUES];
    ed_tensor *inputs[MAX_VALUES] = { NULL };
    const ed_tensor *outputs[MAX_VALUES] = { NULL };

    *missing = '\0';
    int rc = read_model(&graph, operands[0], m, missing, size);
    if (rc == ED_OK && (n_files != ed_graph_input_count(graph) || n_files > MAX_VALUES ||
                        ed_graph_output_count(graph) > MAX_VALUES))
        rc = ED_EINVAL;
    for (size_t i = 0; rc == ED_OK && i < n_files; i++) {
        rc = parse_input(files[i], &shapes[i]);
        if (rc == ED_OK)
            rc = read_tensor(&inputs[i], files[i], ed_graph_input(graph, i).dtype, &shapes[i]);
    }
    if (rc == ED_OK)
        rc = ed_exec_new(&exec, graph, shapes, &options);
    if (rc == ED_OK)
        rc = ed_exec_run(exec, (const ed_tensor *const *)inputs, outputs);
    for (size_t i = 0; rc == ED_OK && i < ed_graph_output_count(graph); i++)
        rc = write_output(outputs[i], operands[1], i);
    ed_exec_free(exec);
    for (size_t i = 0; i < MAX_VALUES; i++)
        ed_tensor_free(inputs[i]);
    ed_graph_free(graph);
    return rc;
}

static void run_list(mode m)
{
    char line[16384], missing[256];

    while (fgets(line, sizeof line, stdin)) {
        char *operands[MAX_VALUES + 2], *rest = NULL;
        size_t n = 0;
        for (char *word = strtok_r(line, " \n", &rest); word && n < MAX_VALUES + 2;
             word = strtok_r(NULL, " \n", &rest))
            operands[n++] = word;
        if (n < 2) {
            printf("failed not \"MODEL PREFIX [FILE:d0,d1,...]...\"\n");
            continue;
        }
        int rc = run(operands, n - 2, m, missing, sizeof missing);
        if (rc == ED_OK)
            printf("ok\n");
        else if (*missing)
            printf("missing %s\n", missing);
        else
            printf("failed %s: %s\n", ed_error_name(rc), ed_error_last());
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    mode m = { false, false };
    bool list = false;
    char missing[256];
    int c, rc;

    while ((c = getopt(argc, argv, "rtb")) != -1) {
        m.reference = m.reference || c == 'r';
        m.transform = m.transform || c == 't';
        list = list || c == 'b';
        if (c == '?')
            break;
    }
    if (list && c == -1 && argc == optind) {
        run_list(m);
        return 0;
    }
    if (list || c == '?' || argc - optind < 2 || argc - optind > MAX_VALUES + 2) {
        fprintf(stderr, "usage: ed_run_model [-r] [-t] MODEL PREFIX [FILE:d0,d1,...]...\n"
                        "       ed_run_model [-r] [-t] -b < LIST\n");
        return 2;
    }
    rc = run(argv + optind, (size_t)(argc - optind) - 2, m, missing, sizeof missing);
    if (rc != ED_OK && *missing)
        fprintf(stderr, "%s: there is no operator %s\n", ed_error_name(rc), missing);
    else if (rc != ED_OK)
        fprintf(stderr, "%s: %s\n", ed_error_name(rc), ed_error_last());
    return rc == ED_OK ? 0 : 1;
}
