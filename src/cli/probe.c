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
#include "spec/virtio.h"
#include "transport/vhost_user/table.h"

/* ------------------------------------------------------------------ one question that needs a queue */

/*
 * The serial number of a disk (GET_ID; virtio 1.4, 5.2.6): its driver runs for one request, and ends. The transport goes with
 * the driver. 0; -errno with the sentence in why.
 */
static int read_serial(struct target *target, char id[VIO_DRV_BLK_ID_BYTES + 1], char *why)
{
    static const struct vio_drv_blk_params one = { .queues = 1, .queue_size = 16, .depth = 1 };
    struct vio_drv_blk_driver driver;
    struct vio_drvdev *d = NULL;
    struct vio_bus *bus;
    int error = vio_bus_create(target->t->platform, &bus);

    if (error)
        return error;
    vio_drv_blk_driver(&driver, &one);
    error = vio_bus_add(bus, target->t, target->t->type != 0 ? 0 : VIRTIO_ID_BLOCK, &driver.driver, &d);
    target->t = NULL;
    if (!error && vio_drv_blk_of(d) == NULL)
        error = -EIO;
    if (!error)
        error = vio_drv_blk_id(vio_drv_blk_of(d), id, (uint64_t)target->timeout_ms * 1000000);
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

static void add_config(json_t *answer, const struct target *target, const struct config_type *type)
{
    uint32_t len = target->config_len;

    if (len == 0) {
        json_object_set_new(answer, "config", json_null());
        return;
    }
    if (type != NULL && type->bytes < len)
        len = type->bytes;
    json_object_set_new(answer, "config",
                        json_pack("{s:I, s:o}", "bytes", (json_int_t)target->config_len, "fields",
                                  type != NULL ? config_fields_json(type->id, target->config, len, target->offered)
                                               : json_array()));
}

/* A device's text may be anything: what is not UTF-8 is left out with a word on it. */
static void add_serial(json_t *answer, struct target *target)
{
    char id[VIO_DRV_BLK_ID_BYTES + 1] = "", why[VIO_DRV_WHY] = "";
    json_t *text;

    if (read_serial(target, id, why) != 0) {
        json_object_set_new(answer, "serial_error", json_string(why));
        return;
    }
    text = json_string(id);
    json_object_set_new(answer, "serial", text != NULL ? text : json_string("(not UTF-8)"));
}

/* What only vhost-user has. */
static void add_vhost_user(json_t *answer, struct vio_transport *t)
{
    json_object_set_new(answer, "protocol_features", protocol_json(vio_vud_protocol_offered(t)));
    json_object_set_new(answer, "memory_slots", json_integer((json_int_t)vio_vud_slots_max(t)));
}

/* Where the transport does not say how many there are (legacy interfaces), the first that does not exist does. */
static int queues_of(struct vio_transport *t)
{
    uint16_t n = t->queues_max, size = 0;

    while (t->queues_max == 0 && n < VIO_DRV_QUEUES_MAX && t->ops->queue_max(t, n, &size) == 0 && size > 0)
        n++;
    return n;
}

static json_t *describe(const struct target *target, const struct config_type *type, bool guessed)
{
    struct vio_transport *t = target->t;
    json_t *answer = json_pack("{s:s, s:s, s:o, s:b, s:o, s:i}", "target", target->text, "transport", t->ops->name, "type",
                               type != NULL ? json_pack("{s:i, s:s, s:s, s:s}", "id", type->id, "name", type->name, "says",
                                                        type->says, "clause", type->clause)
                                            : json_null(),
                               "type_guessed", guessed, "features",
                               features_json(type != NULL ? type->id : 0, t, target->offered), "queues", queues_of(t));

    if (answer != NULL && target->kind == TARGET_VHOST_USER)
        add_vhost_user(answer, t);
    if (answer != NULL)
        add_config(answer, target, type);
    return answer;
}

static json_t *probe(const struct probe_params *params, struct target *target, char *why)
{
    const struct config_type *type = params->type;
    bool guessed = false;
    json_t *answer;

    if (target_open(target, why) != 0)
        return NULL;
    if (type != NULL && target->t->type != 0 && target->t->type != type->id) {
        snprintf(why, TARGET_WHY, "%s is no %s: its type is %u", params->target, type->name, target->t->type);
        return NULL;
    }
    if (type == NULL && target->t->type != 0)
        type = config_type_of(target->t->type);
    if (target_look(target, type != NULL ? type->bytes : CONFIG_BYTES_MAX, why) != 0)
        return NULL;
    if (type == NULL)
        type = target_type(target, &guessed);
    answer = describe(target, type, guessed);
    if (answer == NULL)
        snprintf(why, TARGET_WHY, "%s: no memory", params->target);
    else if (type != NULL && type->id == VIRTIO_ID_BLOCK && !params->no_io)
        add_serial(answer, target);
    return answer;
}

json_t *probe_target(const struct probe_params *params, char *why)
{
    struct target target = { .timeout_ms = params->timeout_ms, .memory = { .size = 1 << 20, .small_pages = true } };
    json_t *answer;

    if (target_parse(&target, params->target, why) != 0)
        return NULL;
    answer = probe(params, &target, why);
    target_close(&target);
    target_free_memory(&target);
    return answer;
}
