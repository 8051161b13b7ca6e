/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the configuration space of each device type by field (virtio 1.4, 5), for people: names, widths, meanings.
 * Where it sits: cli/; a table and its reader. Threads: any. Trust: the bytes are a device's; they are only shown.
 */
#ifndef VIO_CLI_CONFIG_FIELDS_H
#define VIO_CLI_CONFIG_FIELDS_H

#include <jansson.h>
#include <vio/features.h>

enum { CONFIG_BYTES_MAX = 256 };

struct config_type {
    uint16_t id;
    const char *name;    /* as `vio serve` calls it: "blk" */
    const char *says;    /* "a block device" */
    const char *clause;  /* "virtio 1.4, 5.2" */
    uint16_t bytes;      /* of its configuration; 0: it has none */
};

/* NULL: not a type that the table has. */
const struct config_type *config_type_of(uint32_t id);
const struct config_type *config_type_named(const char *name);
/* In order, from 0; NULL: the end. */
const struct config_type *config_type_at(unsigned i);

/*
 * The fields that lie within the first `len` bytes, in order, as an array of {name, value, says?, valid}; valid is
 * false where the feature that gives a field its meaning is not among those offered.
 */
json_t *config_fields_json(uint32_t id, const uint8_t *bytes, size_t len, struct vio_features offered);

#endif
