/* ed_roundtrip [--external] [--float] in.onnx out.onnx: read a model and write it, for the tests
 * that compare both in ONNX Runtime. */
#include "ed/onnx.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    ed_onnx_write_options opts = { ED_WEIGHTS_INT8, false };
    ed_graph *graph = NULL;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--external") == 0)
            opts.external_data = true;
        else if (strcmp(argv[i], "--float") == 0)
            opts.weights = ED_WEIGHTS_FLOAT;
        else
            argc = 0;
    }
    if (argc - i != 2) {
        fprintf(stderr, "usage: ed_roundtrip [--external] [--float] in.onnx out.onnx\n");
        return 2;
    }
    int rc = ed_onnx_read(&graph, argv[i]);
    if (rc == ED_OK)
        rc = ed_onnx_write(graph, argv[i + 1], &opts);
    if (rc != ED_OK)
        fprintf(stderr, "ed_roundtrip: %s\n", ed_error_last());
    ed_graph_free(graph);
    return rc == ED_OK ? 0 : 1;
}
