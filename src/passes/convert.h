/* What the files of conversions give to the table in conversions.c. */
#ifndef PASSES_CONVERT_H
#define PASSES_CONVERT_H

#include "passes/build.h"

/* attention_split.c */
bool ed_packed_projection_fits(const ed_graph *g, const ed_match *m);
int ed_packed_projection_split(ed_graph *g, const ed_match *m);
/* attention_scale.c */
bool ed_attention_scale_fits(const ed_graph *g, const ed_match *m);
int ed_attention_scale_move(ed_graph *g, const ed_match *m);
/* The Softmax that follows the scores of a MatMul (through scale, mask and reshapes), ED_NONE. */
ed_id ed_attention_softmax(const ed_graph *g, ed_id scores);
/* attention_expand.c */
const char *ed_ms_attention_reject(const ed_graph *g, const ed_match *m);
int ed_ms_attention_expand(ed_graph *g, const ed_match *m);
const char *ed_ms_multi_head_reject(const ed_graph *g, const ed_match *m);
int ed_ms_multi_head_expand(ed_graph *g, const ed_match *m);
/* attention_onnx.c */
const char *ed_onnx_attention_reject(const ed_graph *g, const ed_match *m);
int ed_onnx_attention_expand(ed_graph *g, const ed_match *m);
/* head.c */
bool ed_linear_head_fits(const ed_graph *g, const ed_match *m);
int ed_linear_head_convert(ed_graph *g, const ed_match *m);
/* layer_norm.c */
bool ed_decomposed_norm_fits(const ed_graph *g, const ed_match *m);
int ed_decomposed_norm_join(ed_graph *g, const ed_match *m);
/* moves.c */
bool ed_transposes_fit(const ed_graph *g, const ed_match *m);
int ed_transposes_merge(ed_graph *g, const ed_match *m);
bool ed_idle_move_fits(const ed_graph *g, const ed_match *m);
int ed_idle_move_remove(ed_graph *g, const ed_match *m);
bool ed_reshapes_fit(const ed_graph *g, const ed_match *m);
int ed_reshapes_merge(ed_graph *g, const ed_match *m);
bool ed_folded_transpose_fits(const ed_graph *g, const ed_match *m);
int ed_folded_transpose_unfold(ed_graph *g, const ed_match *m);
/* split_before.c */
bool ed_late_split_fits(const ed_graph *g, const ed_match *m);
int ed_late_split_move(ed_graph *g, const ed_match *m);

#endif
