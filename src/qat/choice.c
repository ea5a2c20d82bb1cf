/* See choice.h. */
#include "qat/choice.h"

#include "base/strbuf.h"

#include <string.h>

int ed_choice_find(size_t *out, const ed_qat_choice *(*at)(size_t), const char *option,
                   const char *name)
{
    ed_strbuf names = { 0 };
    *out = 0;
    if (!name)
        return ED_OK;
    for (size_t i = 0; at(i); i++) {
        if (strcmp(at(i)->name, name) == 0) {
            *out = i;
            ed_strbuf_free(&names);
            return ED_OK;
        }
        ed_strbuf_printf(&names, "%s%s", i ? ", " : "", at(i)->name);
    }
    ed_error_set(ED_EINVAL, "%s: '%s' is not known; choose one of %s", option, name,
                 ed_strbuf_text(&names));
    ed_strbuf_free(&names);
    return ED_EINVAL;
}
