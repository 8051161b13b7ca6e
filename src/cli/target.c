/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/target.h. */
#include "cli/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <vio/vfio.h>
#include <vio/vhost_kernel.h>
#include <vio/vhost_user_driver.h>

#include "spec/blk.h"
#include "spec/net.h"
#include "spec/vhost_user.h"
#include "spec/virtio.h"

/* ------------------------------------------------------------------ what is written */

static const struct {
    const char *prefix, *names, *as;
} kinds[] = {
    [TARGET_VHOST_USER] = { "vhost-user:", "socket", "vhost-user:PATH" },
    [TARGET_PCI] = { "pci:", "function", "pci:DDDD:BB:DD.F" },
    [TARGET_VHOST] = { "vhost:", "node", "vhost:NODE,tap=NAME, or cid=N, or wwpn=NAA" },
};

static int wrong(const struct target *target, const char *word, const char *says, char *why)
{
    snprintf(why, TARGET_WHY, "'%s': %s%s%s", target->text, word, says[0] != '\0' && word[0] != '\0' ? ": " : "", says);
    return -EINVAL;
}

static bool number(const char *text, uint64_t max, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 0);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *out <= max;
}

/* The value behind "name="; NULL: it is another key. */
static const char *value_of(const char *key, const char *name)
{
    size_t n = strlen(name);

    return strncmp(key, name, n) == 0 && key[n] == '=' ? key + n + 1 : NULL;
}

static bool take_text(const char *key, const char *name, const char **to)
{
    const char *value = value_of(key, name);

    if (value != NULL)
        *to = value;
    return value != NULL && value[0] != '\0';
}

static int take_vhost_key(struct target *target, const char *key, char *why)
{
    const char *value;
    uint64_t n;

    if (take_text(key, "tap", &target->tap) || take_text(key, "address", &target->address) ||
        take_text(key, "wwpn", &target->wwpn))
        return 0;
    value = value_of(key, "cid");
    if (value != NULL) /* 3 and more; the transport says what else */
        return number(value, UINT64_MAX, &target->cid) && target->cid != 0 ? 0 : wrong(target, key, "a number is wanted", why);
    value = value_of(key, "tpgt");
    if (value == NULL)
        return wrong(target, key, "there are tap, address, cid, wwpn and tpgt", why);
    if (!number(value, UINT16_MAX, &n))
        return wrong(target, key, "a number is wanted", why);
    target->tpgt = (uint16_t)n;
    return 0;
}

static int take_key(struct target *target, const char *key, char *why)
{
    if (target->kind == TARGET_VHOST)
        return take_vhost_key(target, key, why);
    target->legacy = strcmp(key, "legacy") == 0;
    return target->legacy ? 0 : wrong(target, key, "there is legacy", why);
}

/* "WHERE,KEY=VALUE,...": cut in place. */
static int take_keys(struct target *target, char *why)
{
    char *at = strchr(target->where, ',');
    int error = 0;

    while (error == 0 && at != NULL) {
        char *next = strchr(at + 1, ',');

        *at = '\0';
        if (next != NULL)
            *next = '\0';
        error = take_key(target, at + 1, why);
        at = next;
    }
    return error;
}

/* What vhost in the kernel is for, by what was said of it; else by the name that its node has. */
static int type_of_vhost(struct target *target, char *why)
{
    int given = (target->tap != NULL) + (target->cid != 0) + (target->wwpn != NULL);
    const char *node = strrchr(target->where, '/');

    node = node != NULL ? node + 1 : target->where;
    if (given > 1)
        return wrong(target, "", "one of tap, cid and wwpn", why);
    if (target->tap != NULL || (given == 0 && strcmp(node, "vhost-net") == 0))
        target->type = VIRTIO_ID_NET;
    else if (target->cid != 0)
        target->type = VIRTIO_ID_VSOCK;
    else if (target->wwpn != NULL)
        target->type = VIRTIO_ID_SCSI;
    else
        return wrong(target, "", "a network wants tap=NAME, a socket device cid=N, a SCSI host wwpn=NAA", why);
    return 0;
}

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
    const char *colon = strchr(text, ':'), *slash = strchr(text, '/'), *where;
    bool path = slash != NULL && (colon == NULL || slash < colon);
    unsigned kind = 0, nr = sizeof(kinds) / sizeof(kinds[0]);
    int error;

    while (!path && kind < nr && strncmp(text, kinds[kind].prefix, strlen(kinds[kind].prefix)) != 0)
        kind++;
    if (kind == nr) {
        snprintf(why, TARGET_WHY, "'%s' is no TARGET: it is written %s", text, TARGET_SYNTAX);
        return -EINVAL;
    }
    target->text = text;
    target->kind = (enum target_kind)kind;
    where = path ? text : text + strlen(kinds[kind].prefix);
    if (*where == '\0' || *where == ',') {
        snprintf(why, TARGET_WHY, "'%s' names no %s: %s", text, kinds[kind].names, kinds[kind].as);
        return -EINVAL;
    }
    error = target->kind == TARGET_VHOST_USER ? check_socket(where, why) : 0;
    if (error)
        return error;
    if (strlen(where) >= sizeof(target->where)) {
        snprintf(why, TARGET_WHY, "a TARGET is too long: at most %zu bytes", sizeof(target->where) - 1);
        return -EINVAL;
    }
    memset(target->where, 0, sizeof(target->where));
    memcpy(target->where, where, strlen(where));
    if (target->kind != TARGET_VHOST_USER)
        error = take_keys(target, why);
    return !error && target->kind == TARGET_VHOST ? type_of_vhost(target, why) : error;
}

/* ------------------------------------------------------------------ opened and closed */

/* `said` of the transport, or the error, behind the target's name where it is not in it. */
static int failed(const struct target *target, const char *said, int error, char *why)
{
    if (said[0] == '\0')
        said = strerror(-error);
    if (strstr(said, target->where) != NULL)
        snprintf(why, TARGET_WHY, "%s", said);
    else
        snprintf(why, TARGET_WHY, "%s: %s", target->text, said);
    return error;
}

static int open_vhost_user(struct target *target, char *why)
{
    struct vio_vud_params params = { .path = target->where, .fd = -1, .timeout_ms = target->timeout_ms,
                                     .type = target->type, .arena = target->arena,
                                     .queue_size_max = target->queue_size_max };
    char said[VIO_DRV_WHY] = "";
    int error = vio_vud_create(&params, &target->t, said);

    if (error == -ETIMEDOUT)
        snprintf(why, TARGET_WHY, "%s: no answer in %u ms: another front-end is connected, or it is not a vhost-user socket",
                 target->text, target->timeout_ms);
    else if (error)
        failed(target, said, error, why);
    return error;
}

static int make_memory(struct target *target, char *why)
{
    int error = vio_arena_create(&target->memory, &target->arena);

    if (error == -ENOMEM && target->memory.physical)
        snprintf(why, TARGET_WHY, "%s: no IOMMU stands before the device, which wants memory in huge pages: not %llu bytes of them "
                                  "are free (vm.nr_hugepages)", target->text, (unsigned long long)target->memory.size);
    else if (error == -EPERM && target->memory.physical)
        snprintf(why, TARGET_WHY, "%s: no IOMMU stands before the device: physical addresses are only shown to CAP_SYS_ADMIN",
                 target->text);
    else if (error)
        snprintf(why, TARGET_WHY, "%s: no %llu bytes of memory to share: %s", target->text,
                 (unsigned long long)target->memory.size, strerror(-error));
    return error;
}

/* A device that no IOMMU stands before says so, and then gets memory by physical addresses. */
static int open_pci(struct target *target, char *why)
{
    char said[VIO_DRV_WHY] = "";

    for (;;) {
        struct vio_vfio_params params = { .address = target->where, .arena = target->arena, .legacy = target->legacy };
        int error = vio_vfio_create(&params, &target->t, said);

        if (error == 0)
            return 0;
        if (error != -EADDRNOTAVAIL || target->memory.physical)
            return failed(target, said, error, why);
        target_free_memory(target);
        target->memory.physical = true;
        target->memory.small_pages = false;
        error = make_memory(target, why);
        if (error)
            return error;
    }
}

static int open_vhost(struct target *target, char *why)
{
    struct vio_vhost_kernel_params params = {
        .type = target->type, .node = target->where, .arena = target->arena, .queues = target->queues, .tap = target->tap,
        .tap_address = target->address, .cid = target->cid, .wwpn = target->wwpn, .tpgt = target->tpgt,
    };
    char said[VIO_DRV_WHY] = "";
    int error = vio_vhost_kernel_create(&params, &target->t, said);

    return error ? failed(target, said, error, why) : 0;
}

int target_open(struct target *target, char *why)
{
    int error = target->arena == NULL ? make_memory(target, why) : 0;

    if (error)
        return error;
    switch (target->kind) {
    case TARGET_PCI: return open_pci(target, why);
    case TARGET_VHOST: return open_vhost(target, why);
    default: return open_vhost_user(target, why);
    }
}

void target_free_memory(struct target *target)
{
    vio_arena_destroy(target->arena);
    target->arena = NULL;
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

/* A back-end does not say how long the configuration is, but refuses what lies past its end. */
static int read_by_lengths(struct target *target, uint32_t at_most, char *why)
{
    uint8_t bytes[CONFIG_BYTES_MAX];

    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]) && lengths[i] <= at_most; i++) {
        if (target->t->ops->config_read(target->t, 0, bytes, lengths[i]) != 0)
            break;
        memcpy(target->config, bytes, lengths[i]);
        target->config_len = lengths[i];
    }
    if (vio_vud_connected(target->t))
        return 0;
    target_close(target); /* some hang up then, and are called again */
    return target_open(target, why);
}

/* Other transports know its end: up to it, in pieces as large as the smallest that all fields are made of. */
static void read_to_the_end(struct target *target, uint32_t at_most)
{
    for (uint32_t piece = 4; piece > 0; piece /= 2)
        while (target->config_len + piece <= at_most &&
               target->t->ops->config_read(target->t, target->config_len, target->config + target->config_len, piece) == 0)
            target->config_len += piece;
}

int target_look(struct target *target, uint32_t at_most, char *why)
{
    int error = target->t->ops->features(target->t, &target->offered);

    target->config_len = 0;
    if (error)
        return failed(target, target->t->ops->why(target->t), error, why);
    if (target->kind == TARGET_VHOST_USER)
        return read_by_lengths(target, at_most, why);
    read_to_the_end(target, at_most);
    return 0;
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
