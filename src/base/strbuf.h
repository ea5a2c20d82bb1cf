/* A growing string. After a failed allocation it stays empty and `failed` is set. */
#ifndef BASE_STRBUF_H
#define BASE_STRBUF_H

#include "base/error.h"

typedef struct ed_strbuf {
    char *data; /* NUL-terminated once something was added; NULL before */
    size_t length, capacity;
    bool failed;
} ed_strbuf; /* a zeroed struct is an empty string */

void ed_strbuf_printf(ed_strbuf *buf, const char *format, ...) ED_PRINTF(2, 3);
/* The text, never NULL; it belongs to the buffer. */
const char *ed_strbuf_text(const ed_strbuf *buf);
void ed_strbuf_free(ed_strbuf *buf);

#endif
