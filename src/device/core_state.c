/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a device as bytes, and back: for migration and snapshots.
 * Where it sits: device/core. Threads: the control thread, while no queue runs.
 * Layout, little-endian: header, then records { tag 2, flags 2, size 4, bytes } up to VIO_STATE_END. A record is
 * never longer than what is left. Trust: foreign bytes; all is read and checked before anything is changed.
 */
#include "device/core_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "spec/virtio.h"

enum {
    STATE_VERSION = 1,
    STATE_TYPE_TAGS = 0x8000, /* from here on: the device type's own */
    STATE_GROW = 1024,
};

enum state_tag { STATE_END = 0, STATE_STATUS = 1, STATE_FEATURES = 2, STATE_CONFIG = 3, STATE_QUEUE = 4 };

enum { STATE_MUST_KNOW = 1 }; /* record flag: whoever does not know the tag must refuse */

enum { QUEUE_READY = 1, QUEUE_RAN = 2, QUEUE_LOG_USED = 4, QUEUE_AVAIL_WRAP = 8, QUEUE_USED_WRAP = 16, QUEUE_USED_KNOWN = 32 };

struct state_header {
    uint8_t magic[8];
    vio_le32 version;
    vio_le32 device_id;
};

struct state_record {
    vio_le16 tag;
    vio_le16 flags;
    vio_le32 size;
};

struct state_queue {
    vio_le16 index;
    vio_le16 flags;
    vio_le32 size;
    vio_le64 desc, driver, device, log_addr;
    vio_le16 avail_idx, used_idx;
    vio_le32 reserved;
};
_Static_assert(sizeof(struct state_header) == 16 && sizeof(struct state_record) == 8, "no holes");
_Static_assert(sizeof(struct state_queue) == 48, "no holes");

static const uint8_t state_magic[8] = { 'V', 'I', 'O', 's', 't', 'a', 't', 'e' };

struct vio_state {
    /* saving */
    uint8_t *bytes;
    size_t size, room;
    /* loading */
    const uint8_t *from;
    size_t left;
};

/* ------------------------------------------------------------------ save */

static int put_bytes(struct vio_state *s, const void *bytes, size_t size)
{
    if (size > s->room - s->size) {
        size_t room = s->room + size + STATE_GROW;
        uint8_t *grown = realloc(s->bytes, room);

        if (grown == NULL)
            return -ENOMEM;
        s->bytes = grown;
        s->room = room;
    }
    if (size > 0)
        memcpy(s->bytes + s->size, bytes, size);
    s->size += size;
    return 0;
}

static int put_record(struct vio_state *s, unsigned tag, unsigned flags, const void *bytes, uint32_t size)
{
    struct state_record r = {
        .tag = vio_le16_of((uint16_t)tag),
        .flags = vio_le16_of((uint16_t)flags),
        .size = vio_le32_of(size),
    };
    int ret = put_bytes(s, &r, sizeof(r));

    return ret < 0 ? ret : put_bytes(s, bytes, size);
}

int vio_state_put(struct vio_state *state, uint16_t tag, const void *bytes, uint32_t size)
{
    if (tag >= STATE_TYPE_TAGS)
        return -EINVAL;
    return put_record(state, STATE_TYPE_TAGS + (unsigned)tag, 0, bytes, size);
}

static int put_queue(struct vio_state *s, const struct core_queue *q)
{
    const struct vio_queue_cfg *cfg = &q->cfg;
    unsigned flags = (cfg->ready ? QUEUE_READY : 0u) | (q->wanted || q->paused ? QUEUE_RAN : 0u) |
                     (cfg->log_used ? QUEUE_LOG_USED : 0u) | (cfg->state.avail_wrap ? QUEUE_AVAIL_WRAP : 0u) |
                     (cfg->state.used_wrap ? QUEUE_USED_WRAP : 0u) | (cfg->state.used_known ? QUEUE_USED_KNOWN : 0u);
    struct state_queue r = {
        .index = vio_le16_of(q->index),
        .flags = vio_le16_of((uint16_t)flags),
        .size = vio_le32_of(cfg->size),
        .desc = vio_le64_of(cfg->desc),
        .driver = vio_le64_of(cfg->driver),
        .device = vio_le64_of(cfg->device),
        .log_addr = vio_le64_of(cfg->log_addr),
        .avail_idx = vio_le16_of(cfg->state.avail_idx),
        .used_idx = vio_le16_of(cfg->state.used_idx),
    };

    return put_record(s, STATE_QUEUE, STATE_MUST_KNOW, &r, sizeof(r));
}

static int put_core(struct vio_device *dev, struct vio_state *s)
{
    struct state_header header = {
        .version = vio_le32_of(STATE_VERSION),
        .device_id = vio_le32_of(dev->type->id),
    };
    vio_le64 features[VIO_FEATURE_WORDS] = { vio_le64_of(dev->chosen.w[0]), vio_le64_of(dev->chosen.w[1]) };
    int ret;

    memcpy(header.magic, state_magic, sizeof(state_magic));
    ret = put_bytes(s, &header, sizeof(header));
    if (ret == 0)
        ret = put_record(s, STATE_STATUS, STATE_MUST_KNOW, &dev->status, 1);
    if (ret == 0)
        ret = put_record(s, STATE_FEATURES, STATE_MUST_KNOW, features, sizeof(features));
    if (ret == 0)
        ret = put_record(s, STATE_CONFIG, STATE_MUST_KNOW, dev->config, dev->type->config_size);
    for (uint16_t i = 0; ret == 0 && i < dev->queues; i++)
        ret = put_queue(s, &dev->queue[i]);
    return ret;
}

static bool any_live(const struct vio_device *dev)
{
    for (uint16_t i = 0; i < dev->queues; i++)
        if (core_queue_live(&dev->queue[i]))
            return true;
    return false;
}

int vio_device_save(struct vio_device *dev, uint8_t **bytes, size_t *size)
{
    struct vio_state s = { 0 };
    int ret;

    if (any_live(dev))
        return -EBUSY;
    ret = put_core(dev, &s);
    if (ret == 0 && dev->type->save != NULL)
        ret = dev->type->save(dev->self, &s);
    if (ret == 0)
        ret = put_record(&s, STATE_END, STATE_MUST_KNOW, NULL, 0);
    if (ret < 0) {
        free(s.bytes);
        return ret;
    }
    *bytes = s.bytes;
    *size = s.size;
    return 0;
}

/* ------------------------------------------------------------------ load */

/* What a stream says, checked, before any of it is applied. */
struct loaded {
    bool has_status, has_features, ended;
    uint8_t status;
    struct vio_features features;
    const uint8_t *config;
    uint32_t config_size;
    uint8_t seen[VIO_DEVICE_QUEUES_MAX];
};

static int refuse(struct vio_device *dev, const char *why)
{
    vio_log_peer(dev->log, &dev->limit, dev->name, "saved state refused: %s", why);
    return -EINVAL;
}

/* The next record of a stream; false: its sizes do not fit what is left. */
static bool next_record(const uint8_t **from, size_t *left, struct state_record *r, const uint8_t **bytes)
{
    if (*left < sizeof(*r))
        return false;
    memcpy(r, *from, sizeof(*r));
    if (vio_cpu(r->size) > *left - sizeof(*r))
        return false;
    *bytes = *from + sizeof(*r);
    *from += sizeof(*r) + vio_cpu(r->size);
    *left -= sizeof(*r) + vio_cpu(r->size);
    return true;
}

int vio_state_get(struct vio_state *state, uint16_t tag, void *bytes, uint32_t size)
{
    const uint8_t *from = state->from, *at;
    size_t left = state->left;
    struct state_record r;

    while (next_record(&from, &left, &r, &at) && vio_cpu(r.tag) != STATE_END) {
        if (tag >= STATE_TYPE_TAGS || vio_cpu(r.tag) != STATE_TYPE_TAGS + (unsigned)tag)
            continue;
        if (vio_cpu(r.size) != size)
            return -EINVAL;
        memcpy(bytes, at, size);
        return 0;
    }
    return -ENOENT;
}

/* A queue's record: what it may hold is checked here, what only a start can judge (addresses, indices) there. */
static const char *check_queue(const struct vio_device *dev, const uint8_t *bytes, uint32_t size, struct loaded *l)
{
    struct state_queue r;

    if (size != sizeof(r))
        return "a queue's record has the wrong size";
    memcpy(&r, bytes, sizeof(r));
    if (vio_cpu(r.index) >= dev->queues)
        return "it has more queues than this device";
    if (l->seen[vio_cpu(r.index)]++ > 0)
        return "it has a queue twice";
    if (vio_cpu(r.size) > dev->type->queue_size_max)
        return "a queue is larger than this device takes";
    return NULL;
}

static const char *check_record(const struct vio_device *dev, const struct state_record *r, const uint8_t *bytes,
                                struct loaded *l)
{
    uint32_t size = vio_cpu(r->size);
    vio_le64 words[VIO_FEATURE_WORDS];

    switch (vio_cpu(r->tag)) {
    case STATE_STATUS:
        if (size != 1 || l->has_status)
            return "the status record is wrong";
        l->has_status = true;
        l->status = bytes[0];
        return NULL;
    case STATE_FEATURES:
        if (size != sizeof(words) || l->has_features)
            return "the features record is wrong";
        memcpy(words, bytes, sizeof(words));
        l->has_features = true;
        l->features = (struct vio_features){ { vio_cpu(words[0]), vio_cpu(words[1]) } };
        return NULL;
    case STATE_CONFIG:
        if (size != dev->type->config_size || l->config != NULL)
            return "the configuration has another size";
        l->config = bytes;
        l->config_size = size;
        return NULL;
    case STATE_QUEUE:
        return check_queue(dev, bytes, size, l);
    default:
        if (vio_cpu(r->tag) < STATE_TYPE_TAGS && (vio_cpu(r->flags) & STATE_MUST_KNOW))
            return "it has a record that this version must understand and does not";
        return NULL; /* the type's own, or one that may be skipped */
    }
}

static int check_stream(struct vio_device *dev, const uint8_t *from, size_t left, struct loaded *l)
{
    struct state_record r;
    const uint8_t *bytes;
    const char *why = NULL;

    while (why == NULL && !l->ended) {
        if (!next_record(&from, &left, &r, &bytes))
            why = "it ends in the middle of a record";
        else if (vio_cpu(r.tag) == STATE_END)
            l->ended = true;
        else
            why = check_record(dev, &r, bytes, l);
    }
    if (why == NULL && left > 0)
        why = "bytes follow its end";
    if (why == NULL && (!l->has_status || !l->has_features || l->config == NULL))
        why = "it lacks status, features or configuration";
    return why == NULL ? 0 : refuse(dev, why);
}

static int check_header(struct vio_device *dev, const uint8_t *bytes, size_t size)
{
    struct state_header h;

    if (size < sizeof(h))
        return refuse(dev, "it is shorter than its header");
    memcpy(&h, bytes, sizeof(h));
    if (memcmp(h.magic, state_magic, sizeof(state_magic)) != 0)
        return refuse(dev, "it does not begin like one");
    if (vio_cpu(h.version) != STATE_VERSION)
        return refuse(dev, "it is of another version");
    if (vio_cpu(h.device_id) != dev->type->id)
        return refuse(dev, "it is of another type of device");
    return 0;
}

static void load_queue(struct vio_device *dev, const uint8_t *bytes)
{
    struct core_queue *q;
    struct state_queue r;
    unsigned flags;

    memcpy(&r, bytes, sizeof(r));
    q = &dev->queue[vio_cpu(r.index)];
    flags = vio_cpu(r.flags);
    q->cfg = (struct vio_queue_cfg){
        .size = (uint16_t)vio_cpu(r.size),
        .ready = (flags & QUEUE_READY) != 0,
        .desc = vio_cpu(r.desc),
        .driver = vio_cpu(r.driver),
        .device = vio_cpu(r.device),
        .log_used = (flags & QUEUE_LOG_USED) != 0,
        .log_addr = vio_cpu(r.log_addr),
        .state = {
            .avail_idx = vio_cpu(r.avail_idx),
            .used_idx = vio_cpu(r.used_idx),
            .avail_wrap = (flags & QUEUE_AVAIL_WRAP) != 0,
            .used_wrap = (flags & QUEUE_USED_WRAP) != 0,
            .used_known = (flags & QUEUE_USED_KNOWN) != 0,
        },
    };
    q->paused = (flags & QUEUE_RAN) != 0;
}

/* Features, status and queues, into a device in its reset state: in the order in which a driver would set them. */
static int load_core(struct vio_device *dev, const struct loaded *l, const uint8_t *from, size_t left)
{
    struct state_record r;
    const uint8_t *bytes;
    uint8_t steps = l->status & (uint8_t)~VIRTIO_STATUS_NEEDS_RESET;
    int ret;

    dev->chosen = l->features;
    if (l->status & VIRTIO_STATUS_FEATURES_OK)
        ret = vio_device_set_status(dev, steps & (uint8_t)~(VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FAILED));
    else
        ret = vio_features_none(vio_features_minus(l->features, vio_device_offered(dev))) ? 0 : -EPROTO;
    if (ret == 0 && steps != 0)
        ret = vio_device_set_status(dev, steps);
    if (ret < 0 || (dev->status & ~VIRTIO_STATUS_NEEDS_RESET) != steps)
        return refuse(dev, "its status and features are none that this device can have");
    /* Last, so that DRIVER_OK above finds no queue to start: vio_device_resume() does. */
    while (next_record(&from, &left, &r, &bytes) && vio_cpu(r.tag) != STATE_END)
        if (vio_cpu(r.tag) == STATE_QUEUE)
            load_queue(dev, bytes);
    return 0;
}

/*
 * What the driver wrote comes back. What only the device writes stays as it is here: if that is not what the driver
 * saw where it was saved, it is told that the configuration changed.
 */
static void load_config(struct vio_device *dev, const struct loaded *l)
{
    bool differs = false;

    for (uint32_t i = 0; i < l->config_size; i++) {
        if (l->config[i] == dev->config[i])
            continue;
        if (vio_device_config_write(dev, i, &l->config[i], 1) != 0)
            differs = true;
    }
    if (!differs)
        return;
    dev->generation++;
    vio_log(dev->log, VIO_LOG_INFO, dev->name, "the configuration is not the one that was saved: the driver is told");
    if ((dev->status & VIRTIO_STATUS_DRIVER_OK) && dev->transport != NULL && dev->transport->config_changed != NULL)
        dev->transport->config_changed(dev->transport_ctx);
}

int vio_device_load(struct vio_device *dev, const uint8_t *bytes, size_t size)
{
    const size_t head = sizeof(struct state_header);
    struct loaded l = { 0 };
    struct vio_state s;
    int ret;

    if (any_live(dev))
        return -EBUSY;
    ret = check_header(dev, bytes, size);
    if (ret == 0)
        ret = check_stream(dev, bytes + head, size - head, &l);
    if (ret < 0)
        return ret;
    if (dev->status == 0)
        ret = load_core(dev, &l, bytes + head, size - head);
    else if (l.features.w[0] != dev->chosen.w[0] || l.features.w[1] != dev->chosen.w[1])
        ret = refuse(dev, "its features are not the negotiated ones");
    if (ret == 0) {
        /* The type first: what it puts back into the configuration is no difference to tell the driver of. */
        s = (struct vio_state){ .from = bytes + head, .left = size - head };
        ret = dev->type->load != NULL ? dev->type->load(dev->self, &s) : 0;
    }
    if (ret == 0)
        load_config(dev, &l);
    if (ret < 0) {
        vio_device_reset(dev);
        return -EINVAL;
    }
    /* Last, for it tells the transport. */
    if (l.status & VIRTIO_STATUS_NEEDS_RESET)
        core_needs_reset(dev, 0, VIO_FAULT_NONE);
    return 0;
}
