/* See checkpoint_sample.h. */
#include "checkpoint_sample.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

ed_checkpoint *new_good(void)
{
    ed_checkpoint *c;
    assert_int_equal(ed_checkpoint_new(&c), ED_OK);
    return c;
}

void write_good(const ed_checkpoint *c)
{
    if (ed_checkpoint_write(c, PATH) != ED_OK)
        fail_msg("%s", ed_error_last());
}

ed_checkpoint *read_good(const char *path)
{
    ed_checkpoint *c;
    char *note;
    if (ed_checkpoint_read(&c, path, &note) != ED_OK)
        fail_msg("%s", ed_error_last());
    assert_null(note);
    return c;
}

void remove_files(void)
{
    unlink(PATH);
    unlink(PREVIOUS);
}

void write_number(int number)
{
    ed_checkpoint *c = new_good();
    float numbers[100];
    char text[32];
    for (int i = 0; i < 100; i++)
        numbers[i] = (float)(number * 1000 + i);
    snprintf(text, sizeof text, "number %d", number);
    assert_int_equal(ed_checkpoint_set(c, "a/w", ED_F32, &ED_SHAPE(100), numbers), ED_OK);
    assert_int_equal(ed_checkpoint_set_text(c, "info", text), ED_OK);
    write_good(c);
    ed_checkpoint_free(c);
}

void expect_number(const ed_checkpoint *c, int number)
{
    char text[32];
    snprintf(text, sizeof text, "number %d", number);
    assert_string_equal(ed_checkpoint_text(c, "info"), text);
    const ed_tensor *t = ed_checkpoint_get(c, "a/w");
    assert_int_equal(t->numel, 100);
    assert_true(((float *)t->data)[99] == (float)(number * 1000 + 99));
}

void put_bytes(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

void expect_refused(int code, const char *sentence)
{
    ed_checkpoint *c;
    char *note;
    assert_int_equal(ed_checkpoint_read(&c, PATH, &note), code);
    assert_null(c);
    assert_null(note);
    if (!strstr(ed_error_last(), PATH ": ") || !strstr(ed_error_last(), sentence))
        fail_msg("%s", ed_error_last());
}
