/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/probe.h. */
#include "cli/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <vio/device.h>
#include <vio/drv_blk.h>
#include <vio/vhost_user_driver.h>

#include "cli/drivers.h"
#include "cli/target.h"
#include "spec/blk.h"
#include "spec/net.h"
#include "spec/vhost_user.h"
#include "spec/virtio.h"
#include "transport/vhost_user/table.h"

/* ------------------------------------------------------------------ the configuration, and what it says of the type */

/* Lengths that configurations have: of the types, and of a block device before two of its fields came. */
static const uint16_t lengths[] = { 3, 8, 12, 16, 20, 28, 36, 40, 44, 56, 60, 72, 96, 136 };

struct seen {
    const struct probe_params *params;
    struct vio_vud_params vud;
    struct vio_transport *t; /* NULL: not connected */
    struct vio_features offered;
    uint64_t protocol;
    uint8_t config[CONFIG_BYTES_MAX];
    uint32_t config_len; /* 0: none was shown */
};

static int connect_to(struct seen *seen, char *why, size_t why_size)
{
    char said[VIO_DRV_WHY] = "";
    int error = vio_vud_create(&seen->vud, &seen->t, said);

    if (error == -ETIMEDOUT)
        snprintf(why, why_size, "%s: no answer in %u ms: another front-end is connected, or it is not a vhost-user socket",
                 seen->params->target, seen->params->timeout_ms);
    else if (error)
        target_failed(seen->params->target, seen->vud.path, said, error, why, why_size);
    return error;
}

static void hang_up(struct seen *seen)
{
    if (seen->t != NULL)
        seen->t->ops->destroy(seen->t);
    seen->t = NULL;
}

/*
 * A device does not say how long its configuration is, but refuses what lies past its end; some hang up then, and are
 * called again.
 */
static int read_config(struct seen *seen, uint32_t at_most, char *why, size_t why_size)
{
    uint8_t bytes[CONFIG_BYTES_MAX];

    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]) && lengths[i] <= at_most; i++) {
        if (seen->t->ops->config_read(seen->t, 0, bytes, lengths[i]) != 0)
            break;
        memcpy(seen->config, bytes, lengths[i]);
        seen->config_len = lengths[i];
    }
    if (vio_vud_connected(seen->t))
        return 0;
    hang_up(seen);
    return connect_to(seen, why, why_size);
}

static uint32_t le32_at(const struct seen *seen, unsigned offset)
{
    const uint8_t *b = seen->config + offset;

    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static bool looks_like_fs(const struct seen *seen)
{
    return seen->config_len >= 40 && seen->config_len <= 44 && seen->config[0] > ' ' && seen->config[0] < 0x7f &&
           le32_at(seen, 36) >= 1 && le32_at(seen, 36) <= 1024;
}

static bool looks_like_scsi(const struct seen *seen)
{
    return seen->config_len >= 36 && le32_at(seen, 20) == 96 && le32_at(seen, 24) == 32;
}

static bool looks_like_blk(const struct seen *seen)
{
    uint32_t block = seen->config_len >= 24 ? le32_at(seen, 20) : 0;

    return seen->config_len >= 56 &&
           (!vio_features_has(seen->offered, VIRTIO_BLK_F_BLK_SIZE) || (block >= 512 && (block & (block - 1)) == 0));
}

/* vhost-user does not say which type a device is of: what it offers does, mostly. */
static const struct config_type *guess(const struct seen *seen)
{
    uint64_t own = seen->offered.w[0] & 0xffffff; /* the bits that types have their own meaning for */
    uint64_t net_protocol = VIO_FEATURE(VHOST_USER_PROTOCOL_F_MTU) | VIO_FEATURE(VHOST_USER_PROTOCOL_F_RARP);

    if ((seen->protocol & net_protocol) != 0 || own >> VIRTIO_NET_F_MRG_RXBUF & 1)
        return config_type_named("net");
    if (looks_like_scsi(seen) && own >> 4 == 0)
        return config_type_named("scsi");
    if (looks_like_fs(seen) && own >> 1 == 0)
        return config_type_named("fs");
    if (looks_like_blk(seen) && own >> 18 == 0)
        return config_type_named("blk");
    if (seen->config_len == 8 && own >> 3 == 0)
        return config_type_named("vsock");
    if (seen->config_len == 0 && own == 0)
        return config_type_named("rng");
    return NULL;
}

/* ------------------------------------------------------------------ one question that needs a queue */

/*
 * The serial number of a disk (GET_ID; virtio 1.4, 5.2.6): its driver runs for one request, and ends. The transport goes with
 * the driver. 0; -errno with the sentence in why.
 */
static int read_serial(struct seen *seen, struct vio_arena *arena, char id[VIO_DRV_BLK_ID_BYTES + 1], char *why)
{
    static const struct vio_drv_blk_params one = { .queues = 1, .queue_size = 16, .depth = 1 };
    struct vio_drv_blk_driver driver;
    struct vio_drvdev *d = NULL;
    struct vio_bus *bus;
    int error = vio_bus_create(vio_arena_platform(arena), &bus);

    if (error)
        return error;
    vio_drv_blk_driver(&driver, &one);
    error = vio_bus_add(bus, seen->t, VIRTIO_ID_BLOCK, &driver.driver, &d);
    seen->t = NULL;
    if (!error && vio_drv_blk_of(d) == NULL)
        error = -EIO;
    if (!error)
        error = vio_drv_blk_id(vio_drv_blk_of(d), id, (uint64_t)seen->params->timeout_ms * 1000000);
    if (error == -ENOTSUP)
        snprintf(why, VIO_DRV_WHY, "the device has none (GET_ID was answered UNSUPP)");
    else if (error)
        snprintf(why, VIO_DRV_WHY, "%s", d != NULL && vio_drvdev_why(d)[0] != '\0' ? vio_drvdev_why(d) : strerror(-error));
    vio_bus_destroy(bus);
    return error;
}

/* ------------------------------------------------------------------ the answer */

static json_t *features_json(uint32_t type, const struct vio_transport *t, struct vio_features offered)
{
    struct vio_features taken = vio_driver_takes(drivers_find(type), t);
    json_t *list = json_array();

    for (unsigned bit = 0; bit < VIO_FEATURE_BITS; bit++) {
        const char *name = bit == VIRTIO_F_LOG_ALL ? "LOG_ALL" : vio_feature_name((uint16_t)type, bit); /* vhost's own */

        if (vio_features_has(offered, bit))
            json_array_append_new(list, json_pack("{s:i, s:s?, s:b}", "bit", (int)bit, "name", name, "taken",
                                                  vio_features_has(taken, bit)));
    }
    return list;
}

static json_t *protocol_json(uint64_t bits)
{
    json_t *list = json_array();

    for (unsigned bit = 0; bit < 64; bit++) {
        const char *name = vu_protocol_name(bit);

        if (bits >> bit & 1)
            json_array_append_new(list, name != NULL ? json_string(name) : json_sprintf("bit %u", bit));
    }
    return list;
}

static void add_config(json_t *answer, const struct seen *seen, const struct config_type *type)
{
    uint32_t len = seen->config_len;

    if (len == 0) {
        json_object_set_new(answer, "config", json_null());
        return;
    }
    if (type != NULL && type->bytes < len)
        len = type->bytes;
    json_object_set_new(answer, "config",
                        json_pack("{s:I, s:o}", "bytes", (json_int_t)seen->config_len, "fields",
                                  type != NULL ? config_fields_json(type->id, seen->config, len, seen->offered)
                                               : json_array()));
}

/* A device's text may be anything: what is not UTF-8 is left out with a word on it. */
static void add_serial(json_t *answer, struct seen *seen, struct vio_arena *arena)
{
    char id[VIO_DRV_BLK_ID_BYTES + 1] = "", why[VIO_DRV_WHY] = "";
    json_t *text;

    if (read_serial(seen, arena, id, why) != 0) {
        json_object_set_new(answer, "serial_error", json_string(why));
        return;
    }
    text = json_string(id);
    json_object_set_new(answer, "serial", text != NULL ? text : json_string("(not UTF-8)"));
}

static json_t *describe(const struct seen *seen, const struct config_type *type)
{
    const struct vio_transport *t = seen->t;
    uint32_t id = type != NULL ? type->id : 0;
    json_t *answer = json_pack("{s:s, s:s, s:o, s:b, s:o, s:o, s:i, s:I}", "target", seen->params->target, "transport",
                               t->ops->name, "type",
                               type != NULL ? json_pack("{s:i, s:s, s:s, s:s}", "id", type->id, "name", type->name, "says",
                                                        type->says, "clause", type->clause)
                                            : json_null(),
                               "type_guessed", seen->params->type == NULL && type != NULL, "features",
                               features_json(id, t, seen->offered), "protocol_features",
                               protocol_json(vio_vud_protocol_offered(seen->t)), "queues", t->queues_max, "memory_slots",
                               (json_int_t)vio_vud_slots_max(seen->t));

    if (answer != NULL)
        add_config(answer, seen, type);
    return answer;
}

static json_t *probe(struct seen *seen, struct vio_arena *arena, char *why, size_t why_size)
{
    const struct probe_params *params = seen->params;
    uint32_t at_most = params->type != NULL ? params->type->bytes : CONFIG_BYTES_MAX;
    const struct config_type *type;
    json_t *answer;

    if (connect_to(seen, why, why_size) != 0)
        return NULL;
    seen->protocol = vio_vud_protocol_offered(seen->t);
    if (seen->t->ops->features(seen->t, &seen->offered) != 0) {
        snprintf(why, why_size, "%s: %s", params->target, vio_vud_why(seen->t));
        return NULL;
    }
    if (read_config(seen, at_most, why, why_size) != 0)
        return NULL;
    type = params->type != NULL ? params->type : guess(seen);
    answer = describe(seen, type);
    if (answer == NULL)
        snprintf(why, why_size, "%s: no memory", params->target);
    else if (type != NULL && type->id == VIRTIO_ID_BLOCK && !params->no_io)
        add_serial(answer, seen, arena);
    return answer;
}

json_t *probe_target(const struct probe_params *params, char *why, size_t why_size)
{
    struct seen seen = { .params = params, .vud = { .fd = -1, .timeout_ms = params->timeout_ms } };
    struct vio_arena_params memory = { .size = 1 << 20, .small_pages = true };
    struct vio_arena *arena;
    json_t *answer;
    int error = target_vhost_user(params->target, &seen.vud.path, why, why_size);

    if (error)
        return NULL;
    error = vio_arena_create(&memory, &arena);
    if (error) {
        snprintf(why, why_size, "%s: no memory to share: %s", params->target, strerror(-error));
        return NULL;
    }
    seen.vud.arena = arena;
    answer = probe(&seen, arena, why, why_size);
    hang_up(&seen);
    vio_arena_destroy(arena);
    return answer;
}
