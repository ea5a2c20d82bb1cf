/* See h5write.h. */
#include "h5write.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

hid_t h5_create(const char *path)
{
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file >= 0);
    return file;
}

void h5_close(hid_t file)
{
    assert_int_equal(H5Fget_obj_count(file, H5F_OBJ_ALL), 1);
    assert_true(H5Fclose(file) >= 0);
}

void h5_dataset(hid_t file, const h5_spec *spec)
{
    hid_t space = H5Screate_simple(spec->rank, spec->dims, NULL);
    hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    if (spec->chunk) {
        hsize_t chunk[8];
        memcpy(chunk, spec->dims, sizeof chunk);
        chunk[0] = spec->chunk;
        assert_true(H5Pset_chunk(plist, spec->rank, chunk) >= 0);
        assert_true(H5Pset_deflate(plist, 4) >= 0);
    }
    hid_t set = H5Dcreate2(file, spec->name, spec->stored, space, H5P_DEFAULT, plist, H5P_DEFAULT);
    assert_true(set >= 0);
    if (spec->data)
        assert_true(H5Dwrite(set, spec->memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, spec->data) >= 0);
    H5Dclose(set);
    H5Pclose(plist);
    H5Sclose(space);
}

static void write_attr(hid_t file, const char *object_name, const char *name, hid_t type,
                       hid_t space, const void *data)
{
    hid_t object = H5Oopen(file, object_name, H5P_DEFAULT);
    hid_t attr = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(attr >= 0);
    assert_true(H5Awrite(attr, type, data) >= 0);
    H5Aclose(attr);
    H5Oclose(object);
    H5Sclose(space);
}

void h5_numbers(hid_t file, const char *dataset, const char *name, size_t count,
                const double *numbers)
{
    hsize_t dim = count;
    hid_t space = count ? H5Screate_simple(1, &dim, NULL) : H5Screate(H5S_SCALAR);
    write_attr(file, dataset, name, H5T_NATIVE_DOUBLE, space, numbers);
}

void h5_text(hid_t file, const char *dataset, const char *name, const char *text, size_t size,
             H5T_str_t pad)
{
    char buf[64];
    memset(buf, pad == H5T_STR_SPACEPAD ? ' ' : 0, sizeof buf);
    memcpy(buf, text, strlen(text));
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, size ? size : H5T_VARIABLE);
    H5Tset_strpad(type, pad);
    write_attr(file, dataset, name, type, H5Screate(H5S_SCALAR),
               size ? (const void *)buf : (const void *)&text);
    H5Tclose(type);
}

hid_t h5_half(void)
{
    hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    assert_true(H5Tset_fields(type, 15, 10, 5, 0, 10) >= 0);
    assert_true(H5Tset_size(type, 2) >= 0);
    assert_true(H5Tset_ebias(type, 15) >= 0);
    return type;
}

ed_graph *graph_of(const char *inputs)
{
    ed_graph *graph = NULL;
    char text[512];
    snprintf(text, sizeof text,
             "graph fed opset 17\n%sconst k: f32[1] = {1}\nk2 = Relu(k)\noutput k2\n", inputs);
    if (ed_graph_parse(&graph, text) != ED_OK)
        fail_msg("%s", ed_error_last());
    return graph;
}
