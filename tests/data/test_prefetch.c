/* prefetch.c with a source that counts: order, ragged end, errors, rewinding, closing at any time.
 */
#include "data/prefetch.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

typedef struct counter {
    int64_t first[ED_PREFETCH_SLOTS]; /* what each slot was filled with */
    int64_t fail_at;                  /* the batch that begins there fails; -1: none */
    useconds_t pause;
} counter;

static int count_fill(void *ctx, int slot, int64_t first, int64_t count)
{
    counter *c = ctx;
    (void)count;
    if (c->pause)
        usleep(c->pause);
    c->first[slot] = first;
    return first == c->fail_at ? ed_error_set(ED_EIO, "sample %d is broken", (int)first) : ED_OK;
}

static void expect(ed_prefetch *p, const counter *c, int64_t first, int64_t size)
{
    int slot;
    int64_t count;
    assert_int_equal(ed_prefetch_next(p, &slot, &count), ED_OK);
    assert_int_equal(count, size);
    if (size)
        assert_int_equal(c->first[slot], first);
}

static void batches_come_in_order_with_a_ragged_end(void **state)
{
    (void)state;
    counter c = { .fail_at = -1 };
    ed_prefetch *p;
    assert_int_equal(ed_prefetch_new(&p, 10, 4, count_fill, &c), ED_OK);
    expect(p, &c, 0, 4);
    expect(p, &c, 4, 4);
    expect(p, &c, 8, 2);
    expect(p, &c, 0, 0);
    expect(p, &c, 0, 0); /* stays at the end */
    ed_prefetch_free(p);
}

static void a_held_slot_is_left_alone(void **state)
{
    (void)state;
    counter c = { .fail_at = -1 };
    ed_prefetch *p;
    int slot;
    int64_t count;
    assert_int_equal(ed_prefetch_new(&p, 100, 1, count_fill, &c), ED_OK);
    for (int64_t i = 0; i < 100; i++) {
        assert_int_equal(ed_prefetch_next(p, &slot, &count), ED_OK);
        if (i % 10 == 0)
            usleep(500); /* time enough to overwrite it */
        assert_int_equal(c.first[slot], i);
    }
    ed_prefetch_free(p);
}

static void rewinding_at_any_place(void **state)
{
    (void)state;
    for (int pause = 0; pause < 2; pause++) {
        counter c = { .fail_at = -1, .pause = pause ? 300 : 0 };
        ed_prefetch *p;
        assert_int_equal(ed_prefetch_new(&p, 10, 3, count_fill, &c), ED_OK);
        ed_prefetch_rewind(p);
        for (int64_t used = 0; used <= 5; used++) {
            for (int64_t i = 0; i < used; i++)
                expect(p, &c, i * 3, i < 3 ? 3 : i == 3 ? 1 : 0);
            ed_prefetch_rewind(p);
        }
        ed_prefetch_rewind(p);
        expect(p, &c, 0, 3);
        ed_prefetch_free(p);
    }
}

static void an_error_comes_in_its_place_and_stays(void **state)
{
    (void)state;
    counter c = { .fail_at = 6 };
    ed_prefetch *p;
    int slot;
    int64_t count;
    assert_int_equal(ed_prefetch_new(&p, 10, 3, count_fill, &c), ED_OK);
    for (int pass = 0; pass < 2; pass++) {
        expect(p, &c, 0, 3);
        expect(p, &c, 3, 3);
        for (int again = 0; again < 2; again++) {
            ed_error_set(ED_EINVAL, "another sentence");
            assert_int_equal(ed_prefetch_next(p, &slot, &count), ED_EIO);
            assert_string_equal(ed_error_last(), "sample 6 is broken");
            assert_int_equal(count, 0);
        }
        ed_prefetch_rewind(p);
    }
    ed_prefetch_free(p);
}

static void freeing_at_any_time(void **state)
{
    (void)state;
    for (int used = 0; used < 6; used++) {
        counter c = { .fail_at = -1, .pause = 200 };
        ed_prefetch *p;
        assert_int_equal(ed_prefetch_new(&p, 10, 3, count_fill, &c), ED_OK);
        for (int64_t i = 0; i < used; i++)
            expect(p, &c, i * 3, i < 3 ? 3 : i == 3 ? 1 : 0);
        ed_prefetch_free(p);
    }
    ed_prefetch_free(NULL);
}

static void a_failed_allocation(void **state)
{
    (void)state;
    counter c = { .fail_at = -1 };
    ed_prefetch *p;
    ed_alloc_fail_at(1);
    assert_int_equal(ed_prefetch_new(&p, 10, 3, count_fill, &c), ED_ENOMEM);
    ed_alloc_fail_at(0);
    assert_null(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_come_in_order_with_a_ragged_end),
        cmocka_unit_test(a_held_slot_is_left_alone),
        cmocka_unit_test(rewinding_at_any_place),
        cmocka_unit_test(an_error_comes_in_its_place_and_stays),
        cmocka_unit_test(freeing_at_any_time),
        cmocka_unit_test(a_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
