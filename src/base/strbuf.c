/* A growing string. */
#include "base/strbuf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

void ed_strbuf_printf(ed_strbuf *buf, const char *format, ...)
{
    if (buf->failed)
        return;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || ed_grow(&buf->data, &buf->capacity, buf->length + (size_t)n + 1, 1) != ED_OK) {
        buf->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(buf->data + buf->length, (size_t)n + 1, format, args);
    va_end(args);
    buf->length += (size_t)n;
}

const char *ed_strbuf_text(const ed_strbuf *buf)
{
    return buf->data ? buf->data : "";
}

void ed_strbuf_free(ed_strbuf *buf)
{
    ed_free(buf->data);
    *buf = (ed_strbuf){ 0 };
}
