/*
 * Any bytes as a model: reading refuses them with a sentence or gives a valid graph; a valid graph
 * stays one through the transforms (or they refuse it), prints, and what is written of it can be
 * read again.
 */
#include "fuzz.h"

#include "ed/ed.h"

#include <string.h>
#include <unistd.h>

size_t fuzz_accepted;

enum { MAX_SIZE = 64 * 1024 };

static void print(const ed_graph *graph)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    FUZZ_ASSERT(file);
    FUZZ_ASSERT(ed_graph_print(graph, file) == ED_OK);
    fclose(file);
    free(text);
}

/* On a file system in memory: a file for each of some thousand inputs a second. */
static void write_and_read(const ed_graph *graph)
{
    char path[64];
    ed_graph *again = NULL;
    snprintf(path, sizeof path, "%s/fuzz_onnx-%d.onnx",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : ".", (int)getpid());
    if (ed_onnx_write(graph, path, NULL) == ED_OK)
        FUZZ_ASSERT(ed_onnx_read(&again, path) == ED_OK);
    unlink(path);
    ed_graph_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ed_graph *graph = NULL;
    if (size > MAX_SIZE)
        return 0;
    if (ed_onnx_read_memory(&graph, data, size, "fuzz.onnx") != ED_OK) {
        FUZZ_ASSERT(!graph && ed_error_last()[0]);
        return 0;
    }
    FUZZ_ASSERT(ed_graph_verify(graph) == ED_OK);
    print(graph);
    write_and_read(graph);
    if (ed_transform(graph, NULL) == ED_OK) {
        FUZZ_ASSERT(ed_graph_verify(graph) == ED_OK);
        print(graph);
        write_and_read(graph);
        fuzz_accepted++;
    }
    ed_graph_free(graph);
    return 0;
}
