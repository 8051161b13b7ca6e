/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/target.h. */
#include "cli/target.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <vio/vhost_user_driver.h>

#include "spec/blk.h"
#include "spec/net.h"
#include "spec/vhost_user.h"
#include "spec/virtio.h"

/* ------------------------------------------------------------------ what is written */

static const struct {
    const char *prefix, *as;
} kinds[] = {
    [TARGET_VHOST_USER] = { "vhost-user:", "vhost-user:PATH" },
};

static int check_socket(const char *path, char *why)
{
    size_t room = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

    if (strlen(path) <= room)
        return 0;
    snprintf(why, TARGET_WHY, "'%s': a socket's path has at most %zu bytes", path, room);
    return -EINVAL;
}

int target_parse(struct target *target, const char *text, char *why)
{
    const char *colon = strchr(text, ':'), *slash = strchr(text, '/');
    bool path = slash != NULL && (colon == NULL || slash < colon);
    unsigned kind = 0, nr = sizeof(kinds) / sizeof(kinds[0]);

    while (!path && kind < nr && strncmp(text, kinds[kind].prefix, strlen(kinds[kind].prefix)) != 0)
        kind++;
    if (kind == nr) {
        snprintf(why, TARGET_WHY, "'%s' is no TARGET: it is written vhost-user:PATH", text);
        return -EINVAL;
    }
    target->text = text;
    target->kind = (enum target_kind)kind;
    target->where = path ? text : text + strlen(kinds[kind].prefix);
    if (*target->where == '\0') {
        snprintf(why, TARGET_WHY, "'%s' names no socket: %s", text, kinds[kind].as);
        return -EINVAL;
    }
    return check_socket(target->where, why);
}

/* ------------------------------------------------------------------ opened and closed */

/* `said` of the transport, or the error, behind the target's name where it is not in it. */
static int failed(const struct target *target, const char *said, int error, char *why)
{
    if (said[0] == '\0')
        said = strerror(-error);
    if (strncmp(said, target->where, strlen(target->where)) == 0)
        snprintf(why, TARGET_WHY, "%s", said);
    else
        snprintf(why, TARGET_WHY, "%s: %s", target->text, said);
    return error;
}

static int open_vhost_user(struct target *target, char *why)
{
    struct vio_vud_params params = { .path = target->where, .fd = -1, .timeout_ms = target->timeout_ms,
                                     .type = target->type, .arena = target->arena, .queue_size_max = target->queue_size_max };
    char said[VIO_DRV_WHY] = "";
    int error = vio_vud_create(&params, &target->t, said);

    if (error == -ETIMEDOUT)
        snprintf(why, TARGET_WHY, "%s: no answer in %u ms: another front-end is connected, or it is not a vhost-user socket",
                 target->text, target->timeout_ms);
    else if (error)
        failed(target, said, error, why);
    return error;
}

int target_open(struct target *target, char *why)
{
    return open_vhost_user(target, why);
}

void target_close(struct target *target)
{
    if (target->t != NULL)
        target->t->ops->destroy(target->t);
    target->t = NULL;
}

int target_socket(const struct target *target)
{
    return target->kind == TARGET_VHOST_USER && target->t != NULL ? vio_vud_fd(target->t) : -1;
}

/* ------------------------------------------------------------------ what can be seen of it */

/* Lengths that configurations have: of the types, and of a block device before two of its fields came. */
static const uint16_t lengths[] = { 3, 8, 12, 16, 20, 28, 36, 40, 44, 56, 60, 72, 96, 136 };

/* Most do not say how long the configuration is, but refuse what lies past its end. */
static int read_config(struct target *target, uint32_t at_most, char *why)
{
    uint8_t bytes[CONFIG_BYTES_MAX];

    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]) && lengths[i] <= at_most; i++) {
        if (target->t->ops->config_read(target->t, 0, bytes, lengths[i]) != 0)
            break;
        memcpy(target->config, bytes, lengths[i]);
        target->config_len = lengths[i];
    }
    if (target->kind != TARGET_VHOST_USER || vio_vud_connected(target->t))
        return 0;
    target_close(target); /* some hang up then, and are called again */
    return target_open(target, why);
}

int target_look(struct target *target, uint32_t at_most, char *why)
{
    int error = target->t->ops->features(target->t, &target->offered);

    target->config_len = 0;
    if (error)
        return failed(target, target->t->ops->why(target->t), error, why);
    return read_config(target, at_most, why);
}

static uint32_t le32_at(const struct target *target, unsigned offset)
{
    const uint8_t *b = target->config + offset;

    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static bool looks_like_fs(const struct target *target)
{
    return target->config_len >= 40 && target->config_len <= 44 && target->config[0] > ' ' && target->config[0] < 0x7f &&
           le32_at(target, 36) >= 1 && le32_at(target, 36) <= 1024;
}

static bool looks_like_scsi(const struct target *target)
{
    return target->config_len >= 36 && le32_at(target, 20) == 96 && le32_at(target, 24) == 32;
}

static bool looks_like_blk(const struct target *target)
{
    uint32_t block = target->config_len >= 24 ? le32_at(target, 20) : 0;

    return target->config_len >= 56 &&
           (!vio_features_has(target->offered, VIRTIO_BLK_F_BLK_SIZE) || (block >= 512 && (block & (block - 1)) == 0));
}

/* vhost-user does not say which type a device is of: what it offers does, mostly. */
static const struct config_type *guess(const struct target *target)
{
    uint64_t own = target->offered.w[0] & 0xffffff; /* the bits that types have their own meaning for */
    uint64_t net_protocol = VIO_FEATURE(VHOST_USER_PROTOCOL_F_MTU) | VIO_FEATURE(VHOST_USER_PROTOCOL_F_RARP);

    if ((vio_vud_protocol_offered(target->t) & net_protocol) != 0 || own >> VIRTIO_NET_F_MRG_RXBUF & 1)
        return config_type_named("net");
    if (looks_like_scsi(target) && own >> 4 == 0)
        return config_type_named("scsi");
    if (looks_like_fs(target) && own >> 1 == 0)
        return config_type_named("fs");
    if (looks_like_blk(target) && own >> 18 == 0)
        return config_type_named("blk");
    if (target->config_len == 8 && own >> 3 == 0)
        return config_type_named("vsock");
    if (target->config_len == 0 && own == 0)
        return config_type_named("rng");
    return NULL;
}

const struct config_type *target_type(const struct target *target, bool *guessed)
{
    const struct config_type *type;

    *guessed = false;
    if (target->t->type != 0)
        return config_type_of(target->t->type);
    type = guess(target);
    *guessed = type != NULL;
    return type;
}
