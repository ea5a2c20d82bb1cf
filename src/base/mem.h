/* Memory: an allocator that tests can make fail, an arena, checked size arithmetic. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/error.h"

#include <stdlib.h>

/* All return NULL and set ED_ENOMEM's sentence on failure; ed_free(NULL) is allowed. */
ED_PLUGIN void *ed_malloc(size_t size);
ED_PLUGIN void *ed_calloc(size_t count, size_t size);
ED_PLUGIN void *ed_realloc(void *old, size_t count, size_t size);
void *ed_aligned_alloc(size_t size); /* 64 bytes; contents undefined; release with ed_free() */
ED_PLUGIN char *ed_strdup(const char *text);
ED_PLUGIN char *ed_asprintf(const char *format, ...) ED_PRINTF(1, 2);
ED_PLUGIN void ed_free(void *p);

/* Tests: the n-th allocation from now (1 is the next) and all later ones fail; 0 switches it off.
 */
void ed_alloc_fail_at(long n);
/* Tests: the n-th allocation from now fails, later ones do not: a failure that nobody looks at
 * shows. */
void ed_alloc_fail_once(long n);
/* Tests: number of allocations made since the last of these two calls. */
long ed_alloc_count(void);

/* Grow *array (elements of `size` bytes) so that it holds at least `need`; doubles. ED_ENOMEM. */
ED_PLUGIN int ed_grow(void *array, size_t *capacity, size_t need, size_t size);

/* Sizes from files: false when the result does not fit. */
static inline bool ed_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool ed_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}
static inline bool ed_mul_i64(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* Many small things with one life. Memory is zeroed and aligned for any type. */
typedef struct ed_arena ed_arena;
ed_arena *ed_arena_new(void);
void *ed_arena_alloc(ed_arena *arena, size_t count, size_t size);
char *ed_arena_strdup(ed_arena *arena, const char *text);
void *ed_arena_memdup(ed_arena *arena, const void *data, size_t size);
char *ed_arena_printf(ed_arena *arena, const char *format, ...) ED_PRINTF(2, 3);
void ed_arena_free(ed_arena *arena);

#endif
