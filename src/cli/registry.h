/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the one table of device types. A new type is a file of its own (as cli/spec_blk.c) and one line here.
 * Where it sits: cli/. Threads: the control thread.
 */
#ifndef VIO_CLI_REGISTRY_H
#define VIO_CLI_REGISTRY_H

#include <stdio.h>
#include <vio/device.h>

#include "cli/spec.h"

/* An option of `vio backend TYPE` (QEMU's back-end program conventions) and the key of the SPEC that it stands for. */
struct program_option {
    const char *name;  /* "blk-file" */
    const char *key;   /* "file" */
    const char *value; /* how the help names its value; NULL: a flag, which sets the key to "on" */
    const char *help;
};

struct device_kind {
    struct spec_type spec;

    /*
     * Makes the device of a finished spec. base: name, log, host are set; a type adds its own. -errno with the
     * sentence in why.
     */
    int (*create)(const struct spec *spec, const struct vio_device_params *base, struct vio_device **out, char *why,
                  size_t why_size);
    unsigned (*queues)(const struct spec *spec);
    /* SIGHUP: looks at the backend again. May be NULL. */
    int (*refresh)(struct vio_device *dev);

    /* QEMU's conventions: the type's name there, its optional features, its options (ends with a NULL name). */
    const char *program_type;
    const char *const *program_features;
    const struct program_option *program_options;

    /* `vio xml`: QEMU's device, its properties (",num-queues=4"), and libvirt's element around `source`. */
    const char *qemu_device;
    void (*qemu_properties)(const struct spec *spec, FILE *to);
    void (*libvirt)(const struct spec *spec, const char *path, FILE *to);
};

extern const struct device_kind device_kind_blk;

/* The types, NULL-terminated; and the same as spec_parse() wants them. */
extern const struct device_kind *const device_kinds[];
extern const struct spec_type *const device_spec_types[];

const struct device_kind *device_kind_find(const char *name); /* NULL: no such type */
const struct device_kind *device_kind_of(const struct spec *spec);

/* The keys that every type has: its name, its threads, and where its front-end is (cli/spec_common.c). */
extern const struct spec_group spec_group_serving;
extern const struct spec_group spec_group_transport;

#endif
