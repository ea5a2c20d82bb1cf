/**
 * @file ed/backend.h
 * @brief Devices: which there are, and which one "auto" means.
 *
 * The CUDA backend is a library of its own, libed-cuda.so, opened when a GPU is first asked for: in
 * the folder that the environment's ED_BACKEND_DIR names, beside libed, or where the system keeps
 * libraries. Everything else works without it, and without a driver.
 */
#ifndef ED_BACKEND_H
#define ED_BACKEND_H

#include "ed/error.h"

ED_BEGIN_DECL

/** A device that kernels can run on. */
typedef struct ed_device_row {
    char name[16];              /**< as in ed_exec_options: "cpu", "cuda:0" */
    char description[256];      /**< product, compute capability, versions; or threads */
    size_t memory, free_memory; /**< bytes; 0 for the CPU */
} ed_device_row;

/**
 * List the devices; the CPU is the first. *out is released with free().
 * @param[out] why  why there is no GPU in the list, or one is left out: a sentence that is valid
 *                  until this thread's next error; NULL when nothing is
 * @return ED_OK or ED_ENOMEM
 */
ED_API int ed_devices(ed_device_row **out, size_t *count, const char **why);

/** ED_OK when kernels can run on the device of that name; else ED_ENOTFOUND or ED_EUNSUPPORTED with
 * a sentence that says why not. */
ED_API int ed_device_check(const char *name);

/** Precision i of kernels on a GPU, by name; NULL at the end. The first is the default. */
ED_API const char *ed_precision_at(size_t i);

ED_END_DECL

#endif
