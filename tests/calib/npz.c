/* A zip of stored members, walked by their local headers (PKWARE APPNOTE 4.3.7, zip64 4.5.3), each
 * a NumPy array (NEP 1, version 1.0). */
#include "npz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t number(const char *p, int bytes)
{
    uint64_t x = 0;
    for (int i = bytes; i-- > 0;)
        x = x << 8 | (unsigned char)p[i];
    return x;
}

int npz_open(npz *file, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return -1;
    fseek(f, 0, SEEK_END);
    file->size = (size_t)ftell(f);
    rewind(f);
    file->data = malloc(file->size + 1);
    size_t got = file->data ? fread(file->data, 1, file->size, f) : 0;
    fclose(f);
    if (!file->data || got != file->size)
        return -1;
    file->data[got] = 0;
    return 0;
}

/* "{'descr': '<f4', 'fortran_order': False, 'shape': (40, 16, 8, 8), }" */
static int parse_header(npz_array *a, const char *header)
{
    const char *descr = strstr(header, "'descr': '"), *shape = strstr(header, "'shape': (");
    if (!descr || !shape || !strstr(header, "'fortran_order': False"))
        return -1;
    snprintf(a->descr, sizeof a->descr, "%.3s", descr + 10);
    a->rank = 0;
    a->numel = 1;
    char *end;
    for (const char *p = shape + 10; a->rank < 8; p = end + strspn(end, ", ")) {
        long long d = strtoll(p, &end, 10);
        if (end == p)
            break;
        a->dim[a->rank++] = d;
        a->numel *= d;
    }
    return 0;
}

int npz_find(npz_array *a, const npz *file, const char *name)
{
    char member[128];
    snprintf(member, sizeof member, "%s.npy", name);
    for (const char *p = file->data;
         p + 30 < file->data + file->size && number(p, 4) == 0x04034b50;) {
        uint64_t size = number(p + 18, 4), n = number(p + 26, 2), extra = number(p + 28, 2);
        if (size == 0xffffffff && number(p + 30 + n, 2) == 1)
            size = number(p + 30 + n + 12, 8);
        const char *npy = p + 30 + n + extra;
        if (n == strlen(member) && memcmp(p + 30, member, n) == 0) {
            if (number(p + 8, 2) != 0 || memcmp(npy, "\x93NUMPY\x01", 7) != 0)
                return -1;
            a->data = npy + 10 + number(npy + 8, 2);
            return parse_header(a, npy + 10);
        }
        p = npy + size;
    }
    return -1;
}
