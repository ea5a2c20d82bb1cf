/* Errors inside the library: set the thread's sentence, pass a code on. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "ed/error.h"

/* Called by libed-cuda.so, which is built and installed with this library; no part of the API. */
#define ED_PLUGIN ED_API

/* Store the sentence of an error; returns `code`, so that `return ed_error_set(...)` reads well. */
ED_PLUGIN int ed_error_set(int code, const char *format, ...) ED_PRINTF(2, 3);
/* Put "<context>: " before the present sentence; returns `code`. */
ED_PLUGIN int ed_error_context(int code, const char *format, ...) ED_PRINTF(2, 3);
/* The sentence as it is, and in its place again: around the release of things, whose failures would
 * hide what went wrong. */
typedef struct ed_error_kept {
    char sentence[1024];
} ed_error_kept;
ed_error_kept ed_error_keep(void);
void ed_error_put_back(const ed_error_kept *kept);
/* Send a message to the user's log function; the arguments are not formatted when nobody listens.
 */
ED_PLUGIN void ed_log(ed_log_level level, const char *format, ...) ED_PRINTF(2, 3);

#define ED_TRY(expr)                                                                               \
    do {                                                                                           \
        int ed_try_rc_ = (expr);                                                                   \
        if (ed_try_rc_ != ED_OK)                                                                   \
            return ed_try_rc_;                                                                     \
    } while (0)

/* As ED_TRY, for functions that release things at the label `done` and return `rc`. */
#define ED_GOTO(expr)                                                                              \
    do {                                                                                           \
        rc = (expr);                                                                               \
        if (rc != ED_OK)                                                                           \
            goto done;                                                                             \
    } while (0)

#define ED_FAIL_IF(cond, code, ...)                                                                \
    do {                                                                                           \
        if (cond)                                                                                  \
            return ed_error_set((code), __VA_ARGS__), (code);                                      \
    } while (0)

#define ED_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#endif
