/* Shared by the tests of training: small quantized graphs, data that can be learned. */
#ifndef TESTS_QAT_TOY_H
#define TESTS_QAT_TOY_H

#include "calib/samples.h"

#include "ed/qat.h"

enum { TOY_FEATURES = 6, TOY_CLASSES = 3 };

/* x [N, 6] -> 16 -> 3, Relu between: Gemm with biases. */
extern const char toy_mlp[];

/* Parse, transform, quantize: activations with the scale given, weights with absmax / 127. */
ed_graph *toy_quantized(const char *text, float activation_scale);
/* n samples of three noisy directions, with their labels, to `path` as x and labels. */
void toy_write(const char *path, int64_t n, uint32_t seed);
ed_dataset *toy_open(const char *path, const ed_graph *graph, int64_t batch);

/* Bytes of all initializers in the order of the values: equal for equal models. */
uint64_t toy_hash(const ed_graph *graph);

#endif
