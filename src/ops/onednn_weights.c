/* Weights that change between runs: a copy in the library's format at the head of the scratch
 * memory, filled before (or, for gradients of weights, read after) each run. */
#include "ops/fast.h"

enum { ALIGN = 64 };

int ed_repack_new(ed_repack *out, ed_kernel_plan *p, const ed_prim *prim)
{
    size_t inner = ed_prim_scratch(prim);
    *out = (ed_repack){ 0 };
    ED_TRY(ed_prim_packer_new(&out->packer, prim));
    if (out->packer) {
        size_t packing = ed_prim_scratch(out->packer);
        out->bytes = (ed_prim_packed_bytes(prim) + ALIGN - 1) / ALIGN * ALIGN;
        inner = inner > packing ? inner : packing;
    }
    p->scratch = out->bytes + inner;
    return ED_OK;
}

void *ed_repack_scratch(const ed_repack *r, void *scratch)
{
    return (char *)scratch + r->bytes;
}

int ed_repack_in(const void **packed, const ed_repack *r, const ed_tensor *weights, void *scratch)
{
    const void *data[ED_ARG_COUNT] = { [ED_ARG_SRC] = weights->data, [ED_ARG_DST] = scratch };
    *packed = r->packer ? scratch : weights->data;
    return r->packer ? ed_prim_run(r->packer, data, ed_repack_scratch(r, scratch)) : ED_OK;
}

void *ed_repack_target(const ed_repack *r, ed_tensor *weights, void *scratch)
{
    return r->packer ? scratch : weights->data;
}

int ed_repack_out(const ed_repack *r, ed_tensor *weights, void *scratch)
{
    const void *data[ED_ARG_COUNT] = { [ED_ARG_SRC] = scratch, [ED_ARG_DST] = weights->data };
    return r->packer ? ed_prim_run(r->packer, data, ed_repack_scratch(r, scratch)) : ED_OK;
}
