/* Random numbers: splitmix64 (Steele, Lea, Flood, 2014). The state is a counter, so that any number
 * of a sequence, and sequences by the thousand, cost nothing to begin. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

typedef struct ed_random {
    uint64_t state; /* begins as the seed, any number */
} ed_random;

static inline uint64_t ed_random_next(ed_random *r)
{
    uint64_t z = r->state += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

/* The seed of sequence `index` among those of `seed`: mixed twice, so that the sequences of two
 * neighbours are no parts of one another. */
static inline uint64_t ed_random_seed(uint64_t seed, uint64_t index)
{
    ed_random r = { seed };
    r.state = ed_random_next(&r) ^ index;
    return ed_random_next(&r);
}

/* 0 to n - 1, n >= 1. The high half of a product (Lemire, 2019), by halves, as C has no 128 bits;
 * the bias is below n / 2^64. */
static inline uint64_t ed_random_below(ed_random *r, uint64_t n)
{
    uint64_t x = ed_random_next(r), x0 = x & 0xffffffff, x1 = x >> 32;
    uint64_t n0 = n & 0xffffffff, n1 = n >> 32;
    uint64_t middle = x1 * n0 + ((x0 * n0) >> 32), other = x0 * n1 + (middle & 0xffffffff);
    return x1 * n1 + (middle >> 32) + (other >> 32);
}

#endif
