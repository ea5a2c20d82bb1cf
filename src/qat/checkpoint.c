/* Entries of a checkpoint by name. */
#include "qat/checkpoint.h"

#include "base/mem.h"
#include "qat/checkpoint_impl.h"

#include <string.h>

int ed_checkpoint_new(ed_checkpoint **out)
{
    *out = ed_calloc(1, sizeof **out);
    return *out ? ED_OK : ED_ENOMEM;
}

static void release(ed_checkpoint_entry *e)
{
    ed_tensor_free(e->tensor);
    ed_free(e->text);
    e->tensor = NULL;
    e->text = NULL;
}

void ed_checkpoint_free(ed_checkpoint *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++) {
        release(&c->entries[i]);
        ed_free(c->entries[i].name);
    }
    ed_strmap_clear(&c->index);
    ed_free(c->entries);
    ed_free(c);
}

static const ed_checkpoint_entry *find(const ed_checkpoint *c, const char *name)
{
    uint32_t i;
    return ed_strmap_get(&c->index, name, &i) ? &c->entries[i] : NULL;
}

/* A new entry without contents. */
static int add_entry(ed_checkpoint *c, const char *name)
{
    ED_FAIL_IF(!name[0], ED_EINVAL, "something in a checkpoint has no name");
    ED_FAIL_IF(c->count >= UINT32_MAX, ED_EINVAL, "too many things for a checkpoint");
    ED_TRY(ed_grow(&c->entries, &c->capacity, c->count + 1, sizeof *c->entries));
    char *copy = ed_strdup(name);
    if (!copy)
        return ED_ENOMEM;
    int rc = ed_strmap_put(&c->index, copy, (uint32_t)c->count);
    if (rc != ED_OK) {
        ed_free(copy);
        return rc;
    }
    c->entries[c->count++] = (ed_checkpoint_entry){ .name = copy };
    return ED_OK;
}

int ed_checkpoint_put_take(ed_checkpoint *c, const char *name, ed_tensor *tensor, char *text)
{
    ed_checkpoint_entry given = { .tensor = tensor, .text = text };
    uint32_t i = 0;
    int rc = ed_strmap_get(&c->index, name, NULL) ? ED_OK : add_entry(c, name);
    if (rc != ED_OK) {
        release(&given);
        return rc;
    }
    ed_strmap_get(&c->index, name, &i);
    release(&c->entries[i]);
    c->entries[i].tensor = tensor;
    c->entries[i].text = text;
    return ED_OK;
}

int ed_checkpoint_set(ed_checkpoint *c, const char *name, ed_dtype dtype, const ed_shape *shape,
                      const void *data)
{
    ed_tensor *tensor;
    ED_FAIL_IF(!ed_checkpoint_holds(dtype), ED_EUNSUPPORTED,
               "'%s' is %s, which a checkpoint does not hold; convert it to float32 or an integer",
               name, ed_dtype_name(dtype));
    ED_TRY(ed_tensor_from(&tensor, dtype, shape, data));
    return ed_checkpoint_put_take(c, name, tensor, NULL);
}

int ed_checkpoint_set_text(ed_checkpoint *c, const char *name, const char *text)
{
    char *copy = ed_strdup(text);
    return copy ? ed_checkpoint_put_take(c, name, NULL, copy) : ED_ENOMEM;
}

const ed_tensor *ed_checkpoint_get(const ed_checkpoint *c, const char *name)
{
    const ed_checkpoint_entry *e = find(c, name);
    return e ? e->tensor : NULL;
}

const char *ed_checkpoint_text(const ed_checkpoint *c, const char *name)
{
    const ed_checkpoint_entry *e = find(c, name);
    return e ? e->text : NULL;
}
