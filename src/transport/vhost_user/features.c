/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the two sides agree on: features, protocol features, status, configuration space; and what is known of
 * front-ends that do it their own way. Where it sits: transport/vhost_user.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "spec/virtio.h"
#include "transport/vhost_user/session.h"

static uint64_t bit(unsigned n)
{
    return UINT64_C(1) << n;
}

/* Bits of GET_FEATURES that are vhost's and not the device's. */
static uint64_t vhost_bits(void)
{
    return bit(VIRTIO_F_LOG_ALL) | bit(VIRTIO_F_PROTOCOL_FEATURES);
}

struct vio_features vu_device_features(const struct vu_session *s)
{
    return vio_features_of(s->features & ~vhost_bits());
}

/* ------------------------------------------------------------------ protocol features */

/*
 * What is known of front-ends: a bit that is not needed is not offered, whoever asks. QEMU, the most common, takes any
 * bit below its own highest without speaking it: 14 and 17.
 */
static const struct {
    unsigned bit;
    const char *why;
} withheld[] = {
    { VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS, "QEMU acknowledges it and sends no VRING_KICK; offered by choice only" },
    { VHOST_USER_PROTOCOL_F_RARP, "for network devices" },
    { VHOST_USER_PROTOCOL_F_MTU, "for network devices" },
};

uint64_t vu_offered_protocol(const struct vu_session *s)
{
    const struct vio_device_type *type = vio_device_type(s->dev);
    const struct vio_vu_params *p = &s->vu->p;
    uint64_t bits = vu_protocol_spoken();

    for (size_t i = 0; i < sizeof(withheld) / sizeof(withheld[0]); i++)
        bits &= ~bit(withheld[i].bit);
    if (p->inband)
        bits |= bit(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS);
    if (p->net_rarp != NULL)
        bits |= bit(VHOST_USER_PROTOCOL_F_RARP);
    if (p->net_mtu != NULL)
        bits |= bit(VHOST_USER_PROTOCOL_F_MTU);
    /* QEMU before 8.0 gives up on a back-end that has CONFIG for a device that it keeps the configuration of itself. */
    if (type->config_size == 0 || (type->id == VIRTIO_ID_NET && !p->net_config))
        bits &= ~bit(VHOST_USER_PROTOCOL_F_CONFIG);
    if (type->no_inflight)
        bits &= ~(bit(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) | bit(VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT));
    return bits;
}

int vu_get_protocol_features(struct vu_session *s, struct vu_msg *m)
{
    vu_reply_u64(s, m, vu_offered_protocol(s));
    return VU_LATER;
}

int vu_set_protocol_features(struct vu_session *s, struct vu_msg *m)
{
    const uint64_t needs = bit(VHOST_USER_PROTOCOL_F_BACKEND_REQ) | bit(VHOST_USER_PROTOCOL_F_REPLY_ACK);
    uint64_t bits, extra;
    char names[256];

    memcpy(&bits, m->payload, sizeof(bits));
    extra = bits & ~vu_offered_protocol(s);
    if (extra != 0)
        return vu_refuse(s, -EPROTO, "it has %s, which was not offered", vu_protocol_text(extra, names, sizeof(names)));
    if ((bits >> VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS & 1) != 0 && (bits & needs) != needs) {
        vu_over(s, "SET_PROTOCOL_FEATURES has INBAND_NOTIFICATIONS without BACKEND_REQ and REPLY_ACK, which it needs");
        return VU_LATER;
    }
    if ((bits >> VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS & 1) != 0 && s->inband_fd < 0) {
        s->inband_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (s->inband_fd < 0)
            return vu_refuse(s, -errno, "no eventfd: %s", strerror(errno));
        s->vu->p.watch(s->vu->p.ctx, s->vu, s->inband_fd, POLLIN);
    }
    if ((!s->protocol_set || s->protocol != bits) && vu_may_chat(s->vu))
        vio_log(s->log, VIO_LOG_INFO, s->name, "protocol features: %s", vu_protocol_text(bits, names, sizeof(names)));
    s->protocol = bits;
    s->protocol_set = true;
    return 0;
}

/* ------------------------------------------------------------------ features */

int vu_get_features(struct vu_session *s, struct vu_msg *m)
{
    vu_reply_u64(s, m, vio_device_offered(s->dev).w[0] | vhost_bits());
    return VU_LATER;
}

static void set_log(struct vu_session *s, bool on)
{
    struct vio_memory *memory = vio_device_memory(s->dev);

    /* A request remembers where it may write when it is taken: none is in flight when logging begins. */
    vio_device_memory_begin(s->dev, on);
    vio_memory_log_enable(memory, on);
    vio_device_memory_end(s->dev);
    s->log_on = on;
    vio_log(s->log, VIO_LOG_INFO, s->name, "dirty log %s", on ? "on" : "off");
}

static void set_iommu(struct vu_session *s, bool on)
{
    struct vio_memory *memory = vio_device_memory(s->dev);

    if (vio_memory_iotlb_enabled(memory) == on)
        return;
    vio_device_memory_begin(s->dev, true);
    vio_memory_iotlb_enable(memory, on);
    vio_device_memory_end(s->dev);
}

/* The driver's choice where it is another one, or where the device needs a reset and nobody else can say so. */
static int choose(struct vu_session *s, struct vio_features features)
{
    struct vio_features now = vio_device_negotiated(s->dev);
    uint8_t status = vio_device_status(s->dev);
    bool same = now.w[0] == features.w[0] && now.w[1] == features.w[1];
    bool broken = !s->status_seen && (status & VIRTIO_STATUS_NEEDS_RESET);
    int err;

    if ((status & VIRTIO_STATUS_FEATURES_OK) && same && !broken)
        return 0;
    if (vu_any_running(s))
        return vu_refuse(s, -EBUSY, "it changes more than VHOST_F_LOG_ALL (bit 26) while queues are started");
    if (status & (VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_NEEDS_RESET))
        vu_reset_device(s);
    err = vio_device_set_features(s->dev, features);
    if (err != 0)
        return vu_refuse(s, err, "the device does not take these features: %s", strerror(-err));
    return 0;
}

int vu_set_features(struct vu_session *s, struct vu_msg *m)
{
    uint64_t bits, extra;
    struct vio_features features;
    char names[256];
    int err;

    memcpy(&bits, m->payload, sizeof(bits));
    features = vio_features_of(bits & ~vhost_bits());
    extra = features.w[0] & ~vio_device_offered(s->dev).w[0];
    if (extra != 0)
        return vu_refuse(s, -EPROTO, "it has %s, which was not offered (virtio 1.4, 2.2.1)",
                         vio_features_text(vio_device_type(s->dev)->id, vio_features_of(extra), names, sizeof(names)));
    err = choose(s, features);
    if (err != 0)
        return err;
    if (((bits & bit(VIRTIO_F_LOG_ALL)) != 0) != s->log_on)
        set_log(s, !s->log_on);
    set_iommu(s, (bits & bit(VIRTIO_F_ACCESS_PLATFORM)) != 0);
    s->features = bits;
    s->features_set = true;
    return bits & bit(VIRTIO_F_PROTOCOL_FEATURES) ? 0 : vu_vring_enable_all(s);
}

/* ------------------------------------------------------------------ owner, status, reset */

int vu_set_owner(struct vu_session *s, struct vu_msg *m)
{
    (void)m;
    s->owned = true;
    return 0;
}

static void disable_all(struct vu_session *s)
{
    for (uint16_t i = 0; i < s->queues; i++) {
        /* Disabling cannot fail; were it to, the queue would go on as before. */
        if (vio_device_queue_enable(s->dev, i, false) == 0)
            s->vring[i].enabled = false;
    }
}

int vu_reset_owner(struct vu_session *s, struct vu_msg *m)
{
    (void)m;
    disable_all(s);
    return 0;
}

int vu_get_queue_num(struct vu_session *s, struct vu_msg *m)
{
    /* For a network device this has always meant pairs, though the document says queues (DPDK, QEMU). */
    vu_reply_u64(s, m, vio_device_type(s->dev)->id == VIRTIO_ID_NET ? s->queues / 2 : s->queues);
    return VU_LATER;
}

void vu_reset_device(struct vu_session *s)
{
    for (uint16_t i = 0; i < s->queues; i++) {
        vu_vring_stop(s, i, false);
        s->vring[i].started = false;
        s->vring[i].base_old = true;
        s->vring[i].miss_due = s->vring[i].err_inband = false;
    }
    vio_device_reset(s->dev);
}

/* The driver is another one from here on: features and in-flight region come again. */
static void begin_anew(struct vu_session *s)
{
    vu_reset_device(s);
    vu_inflight_end(s);
    s->features_set = false;
}

int vu_reset_device_msg(struct vu_session *s, struct vu_msg *m)
{
    (void)m;
    begin_anew(s);
    disable_all(s);
    return 0;
}

int vu_infer_status(struct vu_session *s)
{
    const uint8_t steps[] = {
        VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER,
        VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK,
        VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK,
    };

    if (s->status_seen)
        return 0;
    for (unsigned i = 0; i < sizeof(steps); i++) {
        if ((vio_device_status(s->dev) & steps[i]) == steps[i])
            continue;
        if (vio_device_set_status(s->dev, steps[i]) != 0 || (vio_device_status(s->dev) & steps[i]) != steps[i])
            return vu_refuse(s, VU_BROKEN, "the device does not go on with the features of SET_FEATURES");
    }
    return 0;
}

int vu_set_status(struct vu_session *s, struct vu_msg *m)
{
    uint64_t value;
    uint8_t now = vio_device_status(s->dev), want;
    int err;

    memcpy(&value, m->payload, sizeof(value));
    if (value > UINT8_MAX)
        return vu_refuse(s, -EINVAL, "the status field has 8 bits, not 0x%" PRIx64, value);
    want = (uint8_t)value;
    s->status_seen = true;
    if (want == 0) {
        begin_anew(s);
        return 0;
    }
    /* QEMU (7.2 to 10.2 at least) sets FEATURES_OK first and tells of ACKNOWLEDGE and DRIVER with DRIVER_OK. */
    if (want & VIRTIO_STATUS_FEATURES_OK)
        want |= VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
    err = vio_device_set_status(s->dev, want);
    if (err != 0)
        return vu_refuse(s, VU_BROKEN, "status 0x%02x after 0x%02x is against the driver's rules (virtio 1.4, 2.1.1)", want,
                         now);
    return 0;
}

int vu_get_status(struct vu_session *s, struct vu_msg *m)
{
    vu_reply_u64(s, m, vio_device_status(s->dev));
    return VU_LATER;
}

/* ------------------------------------------------------------------ configuration space */

int vu_get_config(struct vu_session *s, struct vu_msg *m)
{
    struct vhost_user_config *config = (void *)m->payload;
    int err = vio_device_config_read(s->dev, config->offset, m->payload + sizeof(*config), config->size);

    if (err != 0)
        return vu_refuse(s, err, "bytes %" PRIu32 " to %" PRIu64 " are not in the configuration space of %" PRIu32 " bytes",
                         config->offset, (uint64_t)config->offset + config->size, vio_device_type(s->dev)->config_size);
    vu_reply(s, m, m->payload, (uint32_t)sizeof(*config) + config->size, -1);
    return VU_LATER;
}

/* A migration repeats all fields: those that the driver cannot write must be what they are here already. */
static int migrate_config(struct vu_session *s, uint32_t offset, const uint8_t *bytes, uint32_t size)
{
    uint8_t now[VIO_DEVICE_CONFIG_MAX];
    int err = vio_device_config_read(s->dev, offset, now, size);

    for (uint32_t i = 0; err == 0 && i < size; i++) {
        if (now[i] != bytes[i])
            err = vio_device_config_write(s->dev, offset + i, &bytes[i], 1);
        if (err != 0)
            return vu_refuse(s, err, "byte %" PRIu32 " of the configuration is 0x%02x here and 0x%02x there, and cannot be "
                             "written: is the source's device the same as this one?", offset + i, now[i], bytes[i]);
    }
    return err;
}

int vu_set_config(struct vu_session *s, struct vu_msg *m)
{
    const struct vhost_user_config *config = (const void *)m->payload;
    const uint8_t *bytes = m->payload + sizeof(*config);
    int err;

    if (config->flags > VHOST_USER_CONFIG_MIGRATION)
        return vu_refuse(s, -EINVAL, "its flags are 0x%" PRIx32 " instead of 0 or 1", config->flags);
    if (config->flags == VHOST_USER_CONFIG_MIGRATION)
        err = migrate_config(s, config->offset, bytes, config->size);
    else
        err = vio_device_config_write(s->dev, config->offset, bytes, config->size);
    if (err == 0)
        return 0;
    if (config->flags == VHOST_USER_CONFIG_MIGRATION && s->why[0] != '\0')
        return VU_BROKEN;
    /* The driver wrote where it may not: its fault, not the front-end's, so the session goes on. */
    return vu_refuse(s, VU_BROKEN, "bytes %" PRIu32 " to %" PRIu64 " of the configuration space %s", config->offset,
                     (uint64_t)config->offset + config->size,
                     err == -EACCES ? "cannot be written by the driver (now)" : "are not there");
}

/* ------------------------------------------------------------------ network devices */

int vu_send_rarp(struct vu_session *s, struct vu_msg *m)
{
    int err = s->vu->p.net_rarp(s->vu->p.ctx, s->vu, m->payload);

    return err == 0 ? 0 : vu_refuse(s, VU_BROKEN, "the address was not announced: %s", strerror(-err));
}

int vu_net_set_mtu(struct vu_session *s, struct vu_msg *m)
{
    uint64_t mtu;
    int err;

    memcpy(&mtu, m->payload, sizeof(mtu));
    if (mtu < 68 || mtu > UINT16_MAX)
        return vu_refuse(s, VU_BROKEN, "an MTU of %" PRIu64 " is outside 68 to 65535 (virtio 1.4, 5.1.4)", mtu);
    err = s->vu->p.net_mtu(s->vu->p.ctx, s->vu, (uint16_t)mtu);
    return err == 0 ? 0 : vu_refuse(s, VU_BROKEN, "the MTU cannot be %" PRIu64 ": %s", mtu, strerror(-err));
}
