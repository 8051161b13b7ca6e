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

struct switches;

/* One counter: "net" or "backend", a name of letters, digits and '_', and its value. */
typedef void counter_line(void *ctx, const char *group, const char *name, uint64_t value);

struct device_kind {
    struct spec_type spec;

    /* Rules between the keys that the grammar does not know. -EINVAL with the sentence. May be NULL. */
    int (*check)(const struct spec *spec, char *why, size_t why_size);
    /*
     * Makes the device of a finished spec. base: name, log, host are set; a type adds its own. switches: those of
     * the process. -errno with the sentence in why.
     */
    int (*create)(const struct spec *spec, const struct vio_device_params *base, struct switches *switches,
                  struct vio_device **out, char *why, size_t why_size);
    unsigned (*queues)(const struct spec *spec);
    /*
     * What this device has in common with others, by name: all that name the same are served by one thread. NULL: it
     * stands alone. May be NULL.
     */
    const char *(*shares)(const struct spec *spec);
    /* SIGHUP: looks at the backend again. May be NULL. */
    int (*refresh)(struct vio_device *dev);
    /* The type's own counters, beside those of its queues. May be NULL. */
    void (*counters)(struct vio_device *dev, counter_line *line, void *ctx);

    /* Whether the front-end is shown the configuration space although it keeps one itself. NULL: as the type is. */
    bool (*shows_config)(const struct spec *spec);
    /* Only network devices have these; NULL elsewhere. */
    int (*rarp)(struct vio_device *dev, const uint8_t mac[6]);
    int (*set_mtu)(struct vio_device *dev, uint16_t mtu);
    void (*set_link)(struct vio_device *dev, bool up);
    bool (*link)(const struct vio_device *dev);
    /* What crosses goes into `file` from now on; NULL: no more. -errno with the sentence. */
    int (*capture)(struct vio_device *dev, const char *file, char *why, size_t why_size);

    /* QEMU's conventions: the type's name there, its optional features, its options (ends with a NULL name). */
    const char *program_type;
    const char *const *program_features;
    const struct program_option *program_options;

    /* `vio xml`: QEMU's device and its properties (",num-queues=4"). */
    const char *qemu_device;
    void (*qemu_properties)(const struct spec *spec, FILE *to);
    /* The option between -chardev and -device, "netdev", and its properties; NULL: the device takes the chardev. */
    const char *qemu_between;
    void (*qemu_between_properties)(const struct spec *spec, FILE *to);
    /* libvirt's element for the device; whether it has one where the front-end listens (connect=on). */
    void (*libvirt)(const struct spec *spec, const char *path, FILE *to);
    bool libvirt_listens;
};

extern const struct device_kind device_kind_blk;
extern const struct device_kind device_kind_net;

/* The types, NULL-terminated; and the same as spec_parse() wants them. */
extern const struct device_kind *const device_kinds[];
extern const struct spec_type *const device_spec_types[];

const struct device_kind *device_kind_find(const char *name); /* NULL: no such type */
const struct device_kind *device_kind_of(const struct spec *spec);

/*
 * The keys that every type has: what its rings may be, its name, its threads, and where its front-end is
 * (cli/spec_common.c).
 */
extern const struct spec_group spec_group_ring;
/* Puts those of the rings into base. */
void spec_ring_features(const struct spec *spec, struct vio_device_params *base);
extern const struct spec_group spec_group_serving;
extern const struct spec_group spec_group_transport;

#endif
