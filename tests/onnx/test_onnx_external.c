/* External data: written and read again, and locations that must be refused. */
#include "model_bytes.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static Onnx__StringStringEntryProto entries[3], *entry_list[3];

/* Make w external with these strings; NULL leaves an entry out. */
static void set_external(model_bytes *m, const char *location, const char *begin,
                         const char *length)
{
    const char *keys[] = { "location", "offset", "length" },
               *values[] = { location, begin, length };
    Onnx__TensorProto *t = &m->initializers[0];
    t->has_raw_data = 0;
    t->has_data_location = 1;
    t->data_location = 1;
    t->external_data = entry_list;
    t->n_external_data = 0;
    for (size_t i = 0; i < 3; i++) {
        if (!values[i])
            continue;
        Onnx__StringStringEntryProto *e = &entries[t->n_external_data];
        onnx__string_string_entry_proto__init(e);
        e->key = (char *)keys[i];
        e->value = (char *)values[i];
        entry_list[t->n_external_data++] = e;
    }
}

static int read_in(const char *folder, model_bytes *m, ed_graph **g)
{
    const char *path = path_in(folder, "model.onnx");
    model_bytes_pack(m);
    write_bytes(path, m->bytes, m->size);
    return ed_onnx_read(g, path);
}

static void test_reading(void **state)
{
    (void)state;
    model_bytes m;
    ed_graph *g;
    const char *folder = make_folder();
    model_bytes_init(&m);
    char data[64 + sizeof m.w] = { 0 };
    memcpy(data + 64, m.w, sizeof m.w);
    write_bytes(path_in(folder, "w.bin"), data, sizeof data);
    const char *lengths[] = { "48", NULL };
    for (size_t i = 0; i < 2; i++) {
        set_external(&m, "w.bin", "64", lengths[i]);
        assert_ok(read_in(folder, &m, &g));
        const ed_tensor *w = g->values[ed_graph_find_value(g, "w")].constant;
        assert_memory_equal(w->data, m.w, sizeof m.w);
        ed_graph_free(g);
    }
    remove_folder(folder);
    model_bytes_free(&m);
}

static void test_refused(void **state)
{
    (void)state;
    model_bytes m;
    ed_graph *g;
    const char *folder = make_folder();
    char absolute[PATH_MAX];
    model_bytes_init(&m);
    write_bytes(path_in(folder, "w.bin"), m.w, sizeof m.w);
    write_bytes("outside_of_folder.bin", m.w, sizeof m.w);
    assert_non_null(realpath(path_in(folder, "w.bin"), absolute));
    assert_int_equal(symlink("../outside_of_folder.bin", path_in(folder, "link.bin")), 0);
    assert_int_equal(mkfifo(path_in(folder, "pipe.bin"), 0600), 0);
    const struct {
        const char *location, *begin, *length;
        int code;
        const char *sentence;
    } rows[] = {
        { NULL, NULL, NULL, ED_EFORMAT, "no location is given" },
        { "", NULL, NULL, ED_EFORMAT, "must be a path relative" },
        { absolute, NULL, NULL, ED_EFORMAT, "must be a path relative to the model's folder" },
        { "../outside_of_folder.bin", NULL, NULL, ED_EFORMAT, "leads out of the model's folder" },
        { "link.bin", NULL, NULL, ED_EFORMAT, "leads out of the model's folder" },
        { ".", NULL, NULL, ED_EFORMAT, "leads out of the model's folder" },
        { "pipe.bin", NULL, NULL, ED_EIO, "not a regular file" },
        { "none.bin", NULL, NULL, ED_ENOTFOUND, "cannot open its external data 'none.bin'" },
        { "w.bin", "4", NULL, ED_EFORMAT, "bytes 4 to 52 of 'w.bin', which has only 48" },
        { "w.bin", "9223372036854775807", NULL, ED_EFORMAT, "which has only 48" },
        { "w.bin", "99999999999999999999", NULL, ED_EFORMAT, "not a number of bytes" },
        { "w.bin", "-1", NULL, ED_EFORMAT, "the external data's offset is '-1'" },
        { "w.bin", "x", NULL, ED_EFORMAT, "not a number of bytes" },
        { "w.bin", "0", "47", ED_EFORMAT, "has 47 bytes, but its shape needs 48" },
    };
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        set_external(&m, rows[i].location, rows[i].begin, rows[i].length);
        int rc = read_in(folder, &m, &g);
        assert_fails(rc, rows[i].code, rows[i].sentence);
        assert_non_null(strstr(ed_error_last(), "the initializer 'w'"));
    }
    int64_t dims[] = { (int64_t)1 << 40, 1 }; /* 4 TB: refused before any memory is asked for */
    m.initializers[0].dims = dims;
    set_external(&m, "w.bin", NULL, NULL);
    int rc = read_in(folder, &m, &g);
    assert_fails(rc, ED_EFORMAT, "which has only 48");
    remove_folder(folder);
    unlink("outside_of_folder.bin");
    model_bytes_free(&m);
}

static void test_writing(void **state)
{
    (void)state;
    ed_graph *g, *back;
    const char *folder = make_folder(), *path = path_in(folder, "m.onnx");
    assert_ok(ed_graph_parse(&g, "graph t opset 17\n"
                                 "input x: f32[N, 20]\n"
                                 "const small: f32[20] = random(1)\n"
                                 "const large: f32[20, 30] = random(2)\n"
                                 "const page: f32[30, 1000] = random(3)\n"
                                 "a = Add(x, small)\n"
                                 "b = MatMul(a, large)\n"
                                 "y = MatMul(b, page)\n"
                                 "output y\n"));
    assert_ok(ed_onnx_write(g, path, &(ed_onnx_write_options){ .external_data = true }));
    Onnx__ModelProto *m = unpack_file(path);
    assert_int_equal(find_initializer(m, "small")->data_location, 0);
    assert_int_equal(find_initializer(m, "large")->data_location, 1);
    assert_int_equal(find_initializer(m, "large")->has_raw_data, 0);
    assert_string_equal(find_initializer(m, "page")->external_data[0]->value, "m.onnx.data");
    assert_int_equal(atol(find_initializer(m, "page")->external_data[1]->value) % 4096, 0);
    onnx__model_proto__free_unpacked(m, NULL);
    assert_ok(ed_onnx_read(&back, path));
    const char *names[] = { "small", "large", "page" };
    for (size_t i = 0; i < 3; i++) {
        const ed_tensor *a = g->values[ed_graph_find_value(g, names[i])].constant;
        const ed_tensor *b = back->values[ed_graph_find_value(back, names[i])].constant;
        assert_int_equal(a->nbytes, b->nbytes);
        assert_memory_equal(a->data, b->data, a->nbytes);
    }
    ed_graph_free(back);
    assert_int_equal(truncate(path_in(folder, "m.onnx.data"), 5000), 0);
    int rc = ed_onnx_read(&back, path);
    assert_fails(rc, ED_EFORMAT, "the file is truncated or belongs to another model");
    ed_graph_free(g);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
