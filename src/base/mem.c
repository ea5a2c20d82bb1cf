/* Allocation with a failure counter for tests, and the arena (a list of blocks). */
#include "base/mem.h"

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static atomic_long alloc_count;
static atomic_long fail_first, fail_last;

static void fail_between(long first, long last)
{
    atomic_store(&alloc_count, 0);
    atomic_store(&fail_first, first);
    atomic_store(&fail_last, last);
}

void ed_alloc_fail_at(long n)
{
    fail_between(n, LONG_MAX);
}

void ed_alloc_fail_once(long n)
{
    fail_between(n, n);
}

long ed_alloc_count(void)
{
    return atomic_load(&alloc_count);
}

static bool must_fail(void)
{
    long count = atomic_fetch_add(&alloc_count, 1) + 1;
    long first = atomic_load(&fail_first);
    return first > 0 && count >= first && count <= atomic_load(&fail_last);
}

static void *checked(void *p, size_t size)
{
    if (!p)
        ed_error_set(ED_ENOMEM, "out of memory: %zu bytes were asked for; use a smaller batch",
                     size);
    return p;
}

void *ed_malloc(size_t size)
{
    return checked(must_fail() ? NULL : malloc(size ? size : 1), size);
}

void *ed_calloc(size_t count, size_t size)
{
    size_t total = 0;
    bool fits = ed_mul_size(count, size, &total);
    return checked(!fits || must_fail() ? NULL : calloc(total ? total : 1, 1), total);
}

void *ed_realloc(void *old, size_t count, size_t size)
{
    size_t total = 0;
    bool fits = ed_mul_size(count, size, &total);
    return checked(!fits || must_fail() ? NULL : realloc(old, total ? total : 1), total);
}

void *ed_aligned_alloc(size_t size)
{
    void *p = NULL;
    if (must_fail() || posix_memalign(&p, 64, size ? size : 1) != 0)
        p = NULL;
    return checked(p, size);
}

void ed_free(void *p)
{
    free(p);
}

char *ed_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = ed_malloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

static char *format_with(void *(*alloc)(void *, size_t), void *ctx, const char *format,
                         va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = n < 0 ? NULL : alloc(ctx, (size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, format, args);
    return text;
}

static void *alloc_heap(void *ctx, size_t size)
{
    (void)ctx;
    return ed_malloc(size);
}

char *ed_asprintf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = format_with(alloc_heap, NULL, format, args);
    va_end(args);
    return text;
}

int ed_grow(void *array, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity)
        return ED_OK;
    size_t wanted = *capacity < 8 ? 8 : *capacity;
    while (wanted < need)
        wanted += wanted / 2;
    void *old = NULL;
    memcpy(&old, array, sizeof old);
    void *grown = ed_realloc(old, wanted, size);
    if (!grown)
        return ED_ENOMEM;
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return ED_OK;
}

enum { BLOCK_SIZE = 64 * 1024 };

typedef struct block {
    struct block *next;
    size_t used, size;
    max_align_t data[];
} block;

struct ed_arena {
    block *blocks;
};

ed_arena *ed_arena_new(void)
{
    return ed_calloc(1, sizeof(ed_arena));
}

void *ed_arena_alloc(ed_arena *arena, size_t count, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    size_t need = 0;
    if (!ed_mul_size(count, size, &need) || !ed_add_size(need, align - 1, &need))
        return checked(NULL, SIZE_MAX);
    need = need / align * align;
    block *b = arena->blocks;
    if (!b || b->size - b->used < need) {
        size_t capacity = need > BLOCK_SIZE ? need : BLOCK_SIZE;
        b = ed_calloc(1, sizeof *b + capacity);
        if (!b)
            return NULL;
        b->size = capacity;
        b->next = arena->blocks;
        arena->blocks = b;
    }
    void *p = (char *)b->data + b->used;
    b->used += need;
    return p;
}

void *ed_arena_memdup(ed_arena *arena, const void *data, size_t size)
{
    void *copy = ed_arena_alloc(arena, size, 1);
    return copy && size ? memcpy(copy, data, size) : copy;
}

char *ed_arena_strdup(ed_arena *arena, const char *text)
{
    return ed_arena_memdup(arena, text, strlen(text) + 1);
}

static void *alloc_arena(void *ctx, size_t size)
{
    return ed_arena_alloc(ctx, size, 1);
}

char *ed_arena_printf(ed_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = format_with(alloc_arena, arena, format, args);
    va_end(args);
    return text;
}

void ed_arena_free(ed_arena *arena)
{
    if (!arena)
        return;
    for (block *b = arena->blocks; b;) {
        block *next = b->next;
        ed_free(b);
        b = next;
    }
    ed_free(arena);
}
