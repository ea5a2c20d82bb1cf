/*
 * Run an ONNX model on raw input files, for conformance tests that compare with another runtime.
 *
 *   ed_run_model [-r] [-t] MODEL PREFIX [FILE:d0,d1,... one per graph input]
 *
 * Output i goes to PREFIX<i>.bin, one line "<type> <d0>,<d1>,..." each to standard output. -r:
 * reference kernels only. -t: after the conversions and fusions. Exit status 1 and one sentence on
 * standard error when the library refuses.
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

static int run(const char *model, const char *prefix, char **files, size_t n_files, bool reference,
               bool transform)
{
    int rc = ED_OK;
    ed_graph *graph = NULL;
    ed_exec *exec = NULL;
    ed_exec_options options = { .reference = reference };
    ed_shape shapes[MAX_VALUES];
    ed_tensor *inputs[MAX_VALUES] = { NULL };
    const ed_tensor *outputs[MAX_VALUES] = { NULL };

    rc = ed_onnx_read(&graph, model);
    if (rc == ED_OK && transform)
        rc = ed_transform(graph, NULL);
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
        rc = write_output(outputs[i], prefix, i);
    ed_exec_free(exec);
    for (size_t i = 0; i < MAX_VALUES; i++)
        ed_tensor_free(inputs[i]);
    ed_graph_free(graph);
    return rc;
}

int main(int argc, char **argv)
{
    bool reference = false, transform = false;
    int c, rc;

    while ((c = getopt(argc, argv, "rt")) != -1) {
        reference = reference || c == 'r';
        transform = transform || c == 't';
    }
    if (c == '?' || argc - optind < 2) {
        fprintf(stderr, "usage: ed_run_model [-r] [-t] MODEL PREFIX [FILE:d0,d1,...]...\n");
        return 2;
    }
    rc = run(argv[optind], argv[optind + 1], argv + optind + 2, (size_t)(argc - optind) - 2,
             reference, transform);
    if (rc != ED_OK)
        fprintf(stderr, "%s: %s\n", ed_error_name(rc), ed_error_last());
    return rc == ED_OK ? 0 : 1;
}
