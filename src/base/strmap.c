/* Open addressing with linear probing; at most three quarters full. */
#include "base/strmap.h"

#include "base/mem.h"

#include <string.h>

uint64_t ed_hash(uint64_t seed, const void *data, size_t size)
{
    const unsigned char *p = data;
    const uint64_t k = 0x9E3779B97F4A7C15U;
    uint64_t h = (seed ^ size) * k + 0x632BE59BD9B4E019U;
    for (; size >= 8; size -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = (h ^ word) * k;
        h ^= h >> 29;
    }
    for (; size; size--, p++)
        h = (h ^ *p) * k;
    h ^= h >> 32;
    h *= k;
    return h ^ (h >> 29);
}

static struct ed_strmap_slot *find(const ed_strmap *map, const char *key)
{
    size_t mask = map->capacity - 1;
    size_t i = ed_hash(0, key, strlen(key)) & mask;
    while (map->slots[i].key && strcmp(map->slots[i].key, key) != 0)
        i = (i + 1) & mask;
    return &map->slots[i];
}

static int rehash(ed_strmap *map, size_t capacity)
{
    ed_strmap bigger = { ed_calloc(capacity, sizeof *map->slots), capacity, map->count };
    if (!bigger.slots)
        return ED_ENOMEM;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->slots[i].key)
            *find(&bigger, map->slots[i].key) = map->slots[i];
    ed_free(map->slots);
    *map = bigger;
    return ED_OK;
}

int ed_strmap_put(ed_strmap *map, const char *key, uint32_t value)
{
    if ((map->count + 1) * 4 > map->capacity * 3)
        ED_TRY(rehash(map, map->capacity ? map->capacity * 2 : 16));
    struct ed_strmap_slot *slot = find(map, key);
    if (!slot->key) {
        slot->key = key;
        map->count++;
    }
    slot->value = value;
    return ED_OK;
}

bool ed_strmap_get(const ed_strmap *map, const char *key, uint32_t *value)
{
    if (!map->capacity)
        return false;
    const struct ed_strmap_slot *slot = find(map, key);
    if (slot->key && value)
        *value = slot->value;
    return slot->key != NULL;
}

void ed_strmap_clear(ed_strmap *map)
{
    ed_free(map->slots);
    *map = (ed_strmap){ 0 };
}
