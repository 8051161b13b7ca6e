/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/registry.h. */
#include "cli/registry.h"

#include <assert.h>
#include <string.h>

const struct device_kind *const device_kinds[] = { &device_kind_blk, &device_kind_net, NULL };
const struct spec_type *const device_spec_types[] = { &device_kind_blk.spec, &device_kind_net.spec, NULL };

const struct device_kind *device_kind_find(const char *name)
{
    for (const struct device_kind *const *k = device_kinds; *k != NULL; k++)
        if (strcmp((*k)->spec.name, name) == 0)
            return *k;
    return NULL;
}

const struct device_kind *device_kind_of(const struct spec *spec)
{
    const struct device_kind *kind = device_kind_find(spec->type->name);

    assert(kind != NULL);
    return kind;
}
