/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/switches.h. A process has few, so a list will do. */
#include "cli/switches.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct one_switch {
    struct one_switch *next;
    char *name;
    char *uplink_of; /* NULL: no uplink */
    struct vio_net_switch *sw;
};

struct switches {
    const struct vio_log *log;
    struct one_switch *first;
};

int switches_create(const struct vio_log *log, struct switches **out)
{
    struct switches *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return -ENOMEM;
    s->log = log;
    *out = s;
    return 0;
}

static void free_one(struct one_switch *one)
{
    vio_net_switch_release(one->sw);
    free(one->uplink_of);
    free(one->name);
    free(one);
}

void switches_destroy(struct switches *s)
{
    if (s == NULL)
        return;
    for (struct one_switch *one = s->first, *next; one != NULL; one = next) {
        next = one->next;
        free_one(one);
    }
    free(s);
}

static struct one_switch *find(const struct switches *s, const char *name)
{
    for (struct one_switch *one = s->first; one != NULL; one = one->next)
        if (strcmp(one->name, name) == 0)
            return one;
    return NULL;
}

int switches_find(struct switches *s, const char *name, struct vio_net_switch **out)
{
    struct one_switch *one = find(s, name);
    int err = -ENOMEM;

    if (one == NULL) {
        one = calloc(1, sizeof(*one));
        if (one == NULL)
            return -ENOMEM;
        one->name = strdup(name);
        if (one->name != NULL)
            err = vio_net_switch_create(s->log, &one->sw);
        if (err < 0) {
            free_one(one);
            return err;
        }
        one->next = s->first;
        s->first = one;
    }
    *out = one->sw;
    return 0;
}

const char *switches_uplink_of(const struct switches *s, const char *name)
{
    const struct one_switch *one = find(s, name);

    return one != NULL ? one->uplink_of : NULL;
}

int switches_set_uplink(struct switches *s, const char *name, const char *device, struct vio_net_backend *uplink)
{
    struct one_switch *one = find(s, name);
    char *by;
    int err;

    if (one == NULL)
        return -ENOENT;
    by = strdup(device);
    if (by == NULL)
        return -ENOMEM;
    err = vio_net_switch_uplink(one->sw, uplink);
    if (err < 0) {
        free(by);
        return err;
    }
    one->uplink_of = by;
    return 0;
}
