/* The last error's sentence per thread, and messages. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SENTENCE_SIZE = sizeof(ed_error_kept) };

static _Thread_local char sentence[SENTENCE_SIZE];
static ed_log_fn log_fn;
static void *log_ctx;

const char *ed_error_last(void)
{
    return sentence;
}

const char *ed_error_name(int code)
{
    static const char *const names[] = { "ok",         "invalid",  "memory",      "io",
                                         "not-found",  "format",   "unsupported", "shape",
                                         "non-finite", "mismatch", "interrupted", "internal" };
    return code <= 0 && -code < (int)ED_LENGTH(names) ? names[-code] : "unknown";
}

int ed_error_set(int code, const char *format, ...)
{
    char text[SENTENCE_SIZE]; /* an argument may point into the old sentence */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(sentence, text, sizeof sentence);
    return code;
}

int ed_error_context(int code, const char *format, ...)
{
    char text[2 * SENTENCE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, SENTENCE_SIZE, format, args);
    va_end(args);
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, ": %s", sentence);
    text[SENTENCE_SIZE - 1] = 0; /* a longer one is cut */
    memcpy(sentence, text, sizeof sentence);
    return code;
}

ed_error_kept ed_error_keep(void)
{
    ed_error_kept kept;
    memcpy(kept.sentence, sentence, sizeof sentence);
    return kept;
}

void ed_error_put_back(const ed_error_kept *kept)
{
    memcpy(sentence, kept->sentence, sizeof sentence);
}

void ed_log_set(ed_log_fn fn, void *ctx)
{
    log_fn = fn;
    log_ctx = ctx;
}

void ed_log(ed_log_level level, const char *format, ...)
{
    if (!log_fn)
        return;
    char text[SENTENCE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_fn(log_ctx, level, text);
}

const char *ed_version(void)
{
    return ED_VERSION;
}
