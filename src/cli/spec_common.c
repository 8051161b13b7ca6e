/* SPDX-License-Identifier: MIT */
/* Purpose: the keys that all types of device have; what they mean is in cli/endpoint.c. Where it sits: cli/. */
#include "cli/registry.h"
#include "cli/worker.h"
#include "spec/virtio.h"

enum { SOCKET_PATH_MAX = 107 }; /* what sockaddr_un holds, with its zero byte */

static const char *const poll_words[] = {
    [WORKER_POLL_OFF] = "off", [WORKER_POLL_ON] = "on", [WORKER_POLL_AUTO] = "auto", NULL,
};

static const struct spec_key ring_keys[] = {
    { .name = "packed", .form = SPEC_FLAG, .value = "on|off", .fallback = "on",
      .help = "offer packed virtqueues; QEMU takes them with packed=on" },
    { .name = "in-order", .form = SPEC_FLAG, .value = "on|off", .fallback = "off",
      .help = "offer use in order: requests that finish early are held back" },
    { .name = "indirect", .form = SPEC_FLAG, .value = "on|off", .fallback = "on", .help = "offer indirect descriptors" },
    { .name = "event-idx", .form = SPEC_FLAG, .value = "on|off", .fallback = "on",
      .help = "offer notification suppression by index" },
};

static const struct spec_key serving_keys[] = {
    { .name = "name", .form = SPEC_TEXT, .value = "NAME", .max = 64, .fallback_says = "the type and a number: blk0",
      .help = "what the log calls the device; with systemd, which of the sockets is its own" },
    { .name = "threads", .form = SPEC_NUMBER, .value = "N", .min = 1, .max = 64, .fallback = "1",
      .help = "worker threads that its queues are spread over; see also --threads" },
    { .name = "poll", .form = SPEC_WORD, .value = "MODE", .words = poll_words, .fallback = "auto",
      .help = "off: a worker sleeps when there is nothing to do; on: it never does, and uses a whole processor; "
              "auto: it polls while work arrives, and sleeps when that stops" },
};

static const struct spec_key transport_keys[] = {
    { .name = "vhost-user", .form = SPEC_PATH, .value = "PATH", .max = SOCKET_PATH_MAX,
      .help = "the UNIX socket of the front-end (QEMU); vio makes it and listens. The word systemd instead of a path: "
              "a socket that systemd hands over (LISTEN_FDS)" },
    { .name = "connect", .form = SPEC_FLAG, .value = "on|off", .fallback = "off",
      .help = "the front-end listens at PATH and vio connects, again when it was lost" },
    { .name = "fd", .form = SPEC_NUMBER, .value = "N", .min = 3, .max = 1048575,
      .help = "instead of PATH: a descriptor that vio was started with, a listening or a connected socket" },
    { .name = "iommu", .form = SPEC_FLAG, .value = "on|off", .fallback = "off",
      .help = "offer ACCESS_PLATFORM: the front-end translates addresses (QEMU: a vIOMMU and iommu_platform=on,ats=on)" },
    { .name = "inband", .form = SPEC_FLAG, .value = "on|off", .fallback = "off",
      .help = "offer notifications by message. Never with QEMU, which accepts them and does not send them" },
};

const struct spec_group spec_group_ring = {
    .title = "rings", .keys = ring_keys, .nr = sizeof(ring_keys) / sizeof(ring_keys[0]),
};
const struct spec_group spec_group_serving = {
    .title = "serving", .keys = serving_keys, .nr = sizeof(serving_keys) / sizeof(serving_keys[0]),
};
const struct spec_group spec_group_transport = {
    .title = "transport", .keys = transport_keys, .nr = sizeof(transport_keys) / sizeof(transport_keys[0]),
};

void spec_ring_features(const struct spec *spec, struct vio_device_params *base)
{
    if (!spec_flag(spec, "packed"))
        vio_features_set(&base->ring_mask, VIRTIO_F_RING_PACKED);
    if (!spec_flag(spec, "indirect"))
        vio_features_set(&base->ring_mask, VIRTIO_F_INDIRECT_DESC);
    if (!spec_flag(spec, "event-idx"))
        vio_features_set(&base->ring_mask, VIRTIO_F_EVENT_IDX);
    if (spec_flag(spec, "in-order"))
        vio_features_set(&base->ring_add, VIRTIO_F_IN_ORDER);
}
