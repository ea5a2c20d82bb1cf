/* A map from strings to 32-bit numbers (ids). Keys are borrowed: they outlive the map. */
#ifndef BASE_STRMAP_H
#define BASE_STRMAP_H

#include "base/error.h"

typedef struct ed_strmap {
    struct ed_strmap_slot {
        const char *key; /* NULL: free */
        uint32_t value;
    } * slots;
    size_t capacity, count;
} ed_strmap; /* a zeroed struct is an empty map */

/* Set key to value, replacing an older one. ED_ENOMEM. */
int ed_strmap_put(ed_strmap *map, const char *key, uint32_t value);
/* True and *value when the key is there; value may be NULL. */
bool ed_strmap_get(const ed_strmap *map, const char *key, uint32_t *value);
void ed_strmap_clear(ed_strmap *map);

/* A 64-bit hash of bytes, chained through `seed` (start with 0). For provenance, not for security.
 */
uint64_t ed_hash(uint64_t seed, const void *data, size_t size);

#endif
