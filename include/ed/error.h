/**
 * @file ed/error.h
 * @brief Status codes, the last error's sentence, messages, and progress.
 *
 * Every function that can fail returns ED_OK (0) or one of the negative codes below. The
 * sentence behind a code is kept per thread and names the file, node or dataset, what was
 * found, what was expected and what to do.
 */
#ifndef ED_ERROR_H
#define ED_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define ED_BEGIN_DECL extern "C" {
#define ED_END_DECL   }
#else
#define ED_BEGIN_DECL
#define ED_END_DECL
#endif

#if defined(__GNUC__)
#define ED_API                __attribute__((visibility("default")))
#define ED_PRINTF(text, args) __attribute__((format(printf, text, args)))
#else
#define ED_API
#define ED_PRINTF(text, args)
#endif

ED_BEGIN_DECL

/** Status codes. */
enum {
    ED_OK = 0,
    ED_EINVAL = -1,       /**< an argument or option is out of range */
    ED_ENOMEM = -2,       /**< memory ran out */
    ED_EIO = -3,          /**< a file could not be read or written */
    ED_ENOTFOUND = -4,    /**< no such file, name, dataset or table row */
    ED_EFORMAT = -5,      /**< a file does not hold what its format promises */
    ED_EUNSUPPORTED = -6, /**< well-formed, but not something this library runs */
    ED_ESHAPE = -7,       /**< shapes or types do not fit each other */
    ED_ENONFINITE = -8,   /**< NaN or infinity where numbers were expected */
    ED_EMISMATCH = -9,    /**< a file made for another model or data set */
    ED_EINTR = -10,       /**< stopped on request */
    ED_EINTERNAL = -11    /**< a broken invariant: a defect of this library */
};

/** The sentence of this thread's last error; never NULL, valid until the thread's next error. */
ED_API const char *ed_error_last(void);

/** Short name of a code, e.g. "format"; never NULL. */
ED_API const char *ed_error_name(int code);

/** Levels of messages. */
typedef enum ed_log_level { ED_LOG_WARNING, ED_LOG_INFO, ED_LOG_DEBUG } ed_log_level;

/** Receives messages; `text` has no newline. */
typedef void (*ed_log_fn)(void *ctx, ed_log_level level, const char *text);

/** Send messages to `fn` (NULL: drop them, the default). Set once, before other threads run. */
ED_API void ed_log_set(ed_log_fn fn, void *ctx);

/**
 * Told how far a long job is: `done` of `total` units ("images", ...; total 0: not known).
 * @return 0 to go on; anything else stops the job with ED_EINTR.
 */
typedef int (*ed_progress_fn)(void *ctx, const char *what, int64_t done, int64_t total);

/** Remove the half-written temporary files of this process. Only async-signal-safe calls: for a
 * signal handler that ends the process. */
ED_API void ed_atomic_abort_all(void);

/** Library version, "major.minor.patch". */
ED_API const char *ed_version(void);

/** Number of threads for kernels; 0 means one per core. @return ED_OK or ED_EINVAL */
ED_API int ed_threads_set(int threads);
/** Number of threads kernels use now, at least 1. */
ED_API int ed_threads_get(void);

ED_END_DECL

#endif
