/*
 * Matrix products by cuBLASLt, which thinks in columns: a row-major y [m][n] is its n x m matrix,
 * so y = x w is computed as y' = w' x' with the operands in the other order and nothing transposed.
 */
#include "gemm.h"

struct ed_cuda_product {
    ed_cuda_gemm gemm;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algo;
};

static cublasStatus_t layout(cublasLtMatrixLayout_t *out, const ed_cuda_gemm *g, int64_t rows,
                             int64_t cols, int64_t ld, int64_t step)
{
    cudaDataType_t type = g->bf16 ? CUDA_R_16BF : CUDA_R_32F;
    cublasStatus_t s = cublasLtMatrixLayoutCreate(out, type, (uint64_t)rows, (uint64_t)cols, ld);
    if (s == CUBLAS_STATUS_SUCCESS && g->batch > 1) {
        int32_t batch = (int32_t)g->batch;
        s = cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
                                             sizeof batch);
        if (s == CUBLAS_STATUS_SUCCESS)
            s = cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                 &step, sizeof step);
    }
    return s;
}

static cublasStatus_t set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t name,
                          const void *value, size_t size)
{
    return cublasLtMatmulDescSetAttribute(desc, name, value, size);
}

static cublasStatus_t describe(ed_cuda_product *p)
{
    const ed_cuda_gemm *g = &p->gemm;
    cublasOperation_t op_w = g->trans_w ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t op_x = g->trans_x ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasComputeType_t compute =
        g->bf16 || g->fp32 ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_32F_FAST_TF32;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    if (g->relu)
        epilogue = g->bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
    else if (g->gelu_tanh)
        epilogue = g->bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    else if (g->bias)
        epilogue = CUBLASLT_EPILOGUE_BIAS;
    cublasStatus_t s = cublasLtMatmulDescCreate(&p->desc, compute, CUDA_R_32F);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = set(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &op_w, sizeof op_w);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = set(p->desc, CUBLASLT_MATMUL_DESC_TRANSB, &op_x, sizeof op_x);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = set(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = g->trans_w ? layout(&p->w, g, g->k, g->n, g->ld_w, g->step_w)
                       : layout(&p->w, g, g->n, g->k, g->ld_w, g->step_w);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = g->trans_x ? layout(&p->x, g, g->m, g->k, g->ld_x, g->step_x)
                       : layout(&p->x, g, g->k, g->m, g->ld_x, g->step_x);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = layout(&p->y, g, g->n, g->m, g->n, g->step_y);
    return s;
}

/* The largest power of two up to 256 that all products of a batch are aligned to. */
static uint32_t alignment(const ed_cuda_gemm *g, int64_t step)
{
    uint64_t bytes = (uint64_t)step * (g->bf16 ? 2 : 4);
    uint32_t a = 256;
    while (g->batch > 1 && a > 1 && bytes % a)
        a /= 2;
    return a;
}

static cublasStatus_t choose(ed_cuda_product *p, cublasLtHandle_t handle, int *found)
{
    const ed_cuda_gemm *g = &p->gemm;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t result;
    uint64_t workspace = ED_CUDA_WORKSPACE;
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        uint32_t value;
    } aligned[] = {
        { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(g, g->step_w) },
        { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(g, g->step_x) },
        { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(g, g->step_y) },
        { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(g, g->step_y) },
    };
    *found = 0;
    cublasStatus_t s = cublasLtMatmulPreferenceCreate(&preference);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulPreferenceSetAttribute(
            preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    for (size_t i = 0; i < ED_LENGTH(aligned) && s == CUBLAS_STATUS_SUCCESS; i++)
        s = cublasLtMatmulPreferenceSetAttribute(preference, aligned[i].name, &aligned[i].value,
                                                 sizeof aligned[i].value);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulAlgoGetHeuristic(handle, p->desc, p->w, p->x, p->y, p->y, preference, 1,
                                           &result, found);
    if (preference)
        cublasLtMatmulPreferenceDestroy(preference);
    if (s == CUBLAS_STATUS_SUCCESS && *found > 0)
        p->algo = result.algo;
    return s;
}

int ed_cuda_product_new(ed_cuda_product **out, ed_cuda *device, const ed_cuda_gemm *g)
{
    cublasLtHandle_t handle;
    int found = 0;
    *out = NULL;
    ED_TRY(ed_cuda_cublaslt(&handle, device));
    ed_cuda_product *p = ed_calloc(1, sizeof *p);
    if (!p)
        return ED_ENOMEM;
    p->gemm = *g;
    cublasStatus_t s = describe(p);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = choose(p, handle, &found);
    if (s == CUBLAS_STATUS_SUCCESS && found > 0) {
        *out = p;
        return ED_OK;
    }
    ed_cuda_product_free(p); /* not supported is an answer, not an error */
    return ED_OK;
}

int ed_cuda_product_run(const ed_cuda_product *p, ed_cuda *device, const void *x, const void *w,
                        const void *bias, const void *c, void *y)
{
    const ed_cuda_gemm *g = &p->gemm;
    cublasLtHandle_t handle;
    ED_TRY(ed_cuda_cublaslt(&handle, device));
    if (g->bias) /* a device has one thread, so the descriptor is nobody else's meanwhile */
        ED_TRY(ed_cuda_cublas_status(
            set(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias), "the bias"));
    return ed_cuda_cublas_status(
        cublasLtMatmul(handle, p->desc, &g->alpha, w, p->w, x, p->x, &g->beta, c ? c : y, p->y, y,
                       p->y, &p->algo, device->workspace, ED_CUDA_WORKSPACE, device->stream),
        "the matrix product");
}

void ed_cuda_product_free(ed_cuda_product *p)
{
    if (!p)
        return;
    cublasLtMatrixLayout_t layouts[] = { p->w, p->x, p->y };
    for (size_t i = 0; i < ED_LENGTH(layouts); i++)
        if (layouts[i])
            cublasLtMatrixLayoutDestroy(layouts[i]);
    if (p->desc)
        cublasLtMatmulDescDestroy(p->desc);
    ed_free(p);
}
