/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the messages of vhost-user, row by row (QEMU's docs/interop/vhost-user.rst); see table.h. Order: by number.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "spec/virtio.h"
#include "transport/vhost_user/session.h"

#define EXACT(n) .length_kind = VU_LENGTH_EXACT, .length = (n)
#define PADDED(n, padded) .length_kind = VU_LENGTH_EITHER, .length = (n), .length_padded = (padded)
#define ALWAYS .protocol_bit = VU_BIT_NONE, .virtio_bit = VU_BIT_NONE
#define WITH(feature) .protocol_bit = VHOST_USER_PROTOCOL_F_##feature, .virtio_bit = VU_BIT_NONE
#define STATE EXACT(sizeof(struct vhost_user_vring_state)), .index = VU_INDEX_U32
#define INFLIGHT PADDED(20, sizeof(struct vhost_user_inflight))
#define REPLIES(refused, text) .reply = VU_REPLY_OWN, .refusal = (refused), .reply_text = (text)

const struct vu_message vu_messages[] = {
    { .id = VHOST_USER_GET_FEATURES, .name = "GET_FEATURES", EXACT(0), ALWAYS, REPLIES(VU_REFUSE_CLOSE, "u64"),
      .does = "feature bits 0 to 63 that the device offers, with bits 26 (dirty log) and 30 (protocol features)",
      .handle = vu_get_features },
    { .id = VHOST_USER_SET_FEATURES, .name = "SET_FEATURES", EXACT(8), ALWAYS,
      .does = "the driver's choice. Bit 26 turns the dirty log on and off, also while queues run; other bits change only "
              "while all queues are stopped. Without bit 30 all queues become enabled",
      .handle = vu_set_features },
    { .id = VHOST_USER_SET_OWNER, .name = "SET_OWNER", EXACT(0), ALWAYS,
      .does = "the session begins", .handle = vu_set_owner },
    { .id = VHOST_USER_RESET_OWNER, .name = "RESET_OWNER", EXACT(0), ALWAYS,
      .does = "disables all queues, as the document recommends for this deprecated message", .handle = vu_reset_owner },
    { .id = VHOST_USER_SET_MEM_TABLE, .name = "SET_MEM_TABLE", .length_kind = VU_LENGTH_REGIONS, .fds = VU_FDS_REGIONS,
      ALWAYS, .when = VU_WHEN_OWNED,
      .does = "replaces the table of memory regions. Regions that stay are not mapped anew; queues that run are parked, "
              "and drained where a region goes",
      .handle = vu_set_mem_table },
    { .id = VHOST_USER_SET_LOG_BASE, .name = "SET_LOG_BASE", EXACT(sizeof(struct vhost_user_log)), .fds = VU_FDS_ONE,
      WITH(LOG_SHMFD), .when = VU_WHEN_OWNED, REPLIES(VU_REFUSE_CLOSE, "u64 0"),
      .does = "the dirty log's memory: one bit for each 4096 bytes of guest-physical memory", .handle = vu_set_log_base },
    { .id = VHOST_USER_SET_LOG_FD, .name = "SET_LOG_FD", EXACT(0), .fds = VU_FDS_ONE, ALWAYS, .when = VU_WHEN_OWNED,
      .does = "an eventfd that a back-end may signal when it has logged: vio never does, and closes it",
      .handle = vu_set_log_fd },
    { .id = VHOST_USER_SET_VRING_NUM, .name = "SET_VRING_NUM", STATE, ALWAYS,
      .when = VU_WHEN_OWNED | VU_WHEN_QUEUE_STOPPED, .does = "size of the queue", .handle = vu_set_vring_num },
    { .id = VHOST_USER_SET_VRING_ADDR, .name = "SET_VRING_ADDR", EXACT(sizeof(struct vhost_user_vring_addr)),
      .index = VU_INDEX_U32, ALWAYS, .when = VU_WHEN_OWNED,
      .does = "addresses of the three areas, and whether writes to the device area are logged. On a queue that runs it "
              "takes effect between two requests",
      .handle = vu_set_vring_addr },
    { .id = VHOST_USER_SET_VRING_BASE, .name = "SET_VRING_BASE", STATE, ALWAYS,
      .when = VU_WHEN_OWNED | VU_WHEN_QUEUE_STOPPED,
      .does = "position where the queue starts: split, the next available index; packed, both positions with their wrap "
              "counters",
      .handle = vu_set_vring_base },
    { .id = VHOST_USER_GET_VRING_BASE, .name = "GET_VRING_BASE", STATE, ALWAYS, .when = VU_WHEN_OWNED,
      REPLIES(VU_REFUSE_CLOSE, "vring state"),
      .does = "stops the queue and tells its position. Requests in flight are finished first; with "
              "GET_VRING_BASE_INFLIGHT and an in-flight region those that the backend can give back stay recorded there",
      .handle = vu_get_vring_base },
    { .id = VHOST_USER_SET_VRING_KICK, .name = "SET_VRING_KICK", EXACT(8), .fds = VU_FDS_UNLESS_FLAG,
      .index = VU_INDEX_U64, ALWAYS, .when = VU_WHEN_OWNED,
      .does = "the eventfd (or pipe) of available buffer notifications; without one the queue is polled. Starts the queue",
      .handle = vu_set_vring_kick },
    { .id = VHOST_USER_SET_VRING_CALL, .name = "SET_VRING_CALL", EXACT(8), .fds = VU_FDS_UNLESS_FLAG,
      .index = VU_INDEX_U64, ALWAYS, .when = VU_WHEN_OWNED,
      .does = "the eventfd (or pipe, or UNIX stream socket) of used buffer notifications; also while the queue runs",
      .handle = vu_set_vring_call },
    { .id = VHOST_USER_SET_VRING_ERR, .name = "SET_VRING_ERR", EXACT(8), .fds = VU_FDS_UNLESS_FLAG,
      .index = VU_INDEX_U64, ALWAYS, .when = VU_WHEN_OWNED,
      .does = "the eventfd (or pipe, or UNIX stream socket) that is signalled when the queue breaks", .handle = vu_set_vring_err },
    { .id = VHOST_USER_GET_PROTOCOL_FEATURES, .name = "GET_PROTOCOL_FEATURES", EXACT(0), ALWAYS,
      REPLIES(VU_REFUSE_CLOSE, "u64"), .does = "the protocol features below that this device needs or can use",
      .handle = vu_get_protocol_features },
    { .id = VHOST_USER_SET_PROTOCOL_FEATURES, .name = "SET_PROTOCOL_FEATURES", EXACT(8), ALWAYS,
      .when = VU_WHEN_ALL_STOPPED,
      .does = "those that the front-end speaks. INBAND_NOTIFICATIONS without BACKEND_REQ and REPLY_ACK ends the connection",
      .handle = vu_set_protocol_features },
    { .id = VHOST_USER_GET_QUEUE_NUM, .name = "GET_QUEUE_NUM", EXACT(0), WITH(MQ), REPLIES(VU_REFUSE_CLOSE, "u64"),
      .does = "how many queues the device has; for a network device how many pairs", .handle = vu_get_queue_num },
    { .id = VHOST_USER_SET_VRING_ENABLE, .name = "SET_VRING_ENABLE", STATE, .protocol_bit = VU_BIT_NONE,
      .virtio_bit = VU_BIT_ANY_PROTOCOL, .when = VU_WHEN_OWNED,
      .does = "a queue that is disabled takes nothing; requests in flight end", .handle = vu_set_vring_enable },
    { .id = VHOST_USER_SEND_RARP, .name = "SEND_RARP", EXACT(8), WITH(RARP),
      .does = "announce the guest's address on the network (network devices)", .handle = vu_send_rarp },
    { .id = VHOST_USER_NET_SET_MTU, .name = "NET_SET_MTU", EXACT(8), WITH(MTU),
      .does = "the host's MTU (network devices)", .handle = vu_net_set_mtu },
    { .id = VHOST_USER_SET_BACKEND_REQ_FD, .name = "SET_BACKEND_REQ_FD", EXACT(0), .fds = VU_FDS_ONE, WITH(BACKEND_REQ),
      .does = "a socket for the requests of the second table", .handle = vu_set_backend_req_fd },
    { .id = VHOST_USER_IOTLB_MSG, .name = "IOTLB_MSG", PADDED(26, sizeof(struct vhost_user_iotlb)),
      .protocol_bit = VU_BIT_NONE, .virtio_bit = VIRTIO_F_ACCESS_PLATFORM, .when = VU_WHEN_OWNED, REPLIES(VU_REFUSE_U64, "u64"),
      .does = "a translation is there (2), or ends (3); queues are parked meanwhile, and drained where one ends",
      .handle = vu_iotlb_msg },
    { .id = VHOST_USER_GET_CONFIG, .name = "GET_CONFIG", .length_kind = VU_LENGTH_CONFIG, WITH(CONFIG),
      REPLIES(VU_REFUSE_EMPTY, "config"), .does = "bytes of the configuration space", .handle = vu_get_config },
    { .id = VHOST_USER_SET_CONFIG, .name = "SET_CONFIG", .length_kind = VU_LENGTH_CONFIG, WITH(CONFIG),
      .does = "the driver writes (flags 0), or a migration does (1): the latter may repeat fields that it cannot write, "
              "as long as they are what they are here",
      .handle = vu_set_config },
    { .id = VHOST_USER_GET_INFLIGHT_FD, .name = "GET_INFLIGHT_FD", INFLIGHT, WITH(INFLIGHT_SHMFD),
      .when = VU_WHEN_ALL_STOPPED, REPLIES(VU_REFUSE_ZEROES, "inflight, and the memory"),
      .does = "makes the region in which requests in flight are recorded: zeroed, and sealed against shrinking",
      .handle = vu_get_inflight_fd },
    { .id = VHOST_USER_SET_INFLIGHT_FD, .name = "SET_INFLIGHT_FD", INFLIGHT, .fds = VU_FDS_ONE, WITH(INFLIGHT_SHMFD),
      .when = VU_WHEN_ALL_STOPPED,
      .does = "gives it back: what it records is checked against each queue when that starts, and done first",
      .handle = vu_set_inflight_fd },
    { .id = VHOST_USER_RESET_DEVICE, .name = "RESET_DEVICE", EXACT(0), WITH(RESET_DEVICE), .when = VU_WHEN_OWNED,
      .does = "stops and disables all queues and resets the device", .handle = vu_reset_device_msg },
    { .id = VHOST_USER_VRING_KICK, .name = "VRING_KICK", STATE, WITH(INBAND_NOTIFICATIONS), .when = VU_WHEN_OWNED,
      .does = "an available buffer notification; starts the queue", .handle = vu_vring_kick },
    { .id = VHOST_USER_GET_MAX_MEM_SLOTS, .name = "GET_MAX_MEM_SLOTS", EXACT(0), WITH(CONFIGURE_MEM_SLOTS),
      REPLIES(VU_REFUSE_CLOSE, "u64"), .does = "1024", .handle = vu_get_max_mem_slots },
    { .id = VHOST_USER_ADD_MEM_REG, .name = "ADD_MEM_REG", EXACT(sizeof(struct vhost_user_mem_reg)), .fds = VU_FDS_ONE,
      WITH(CONFIGURE_MEM_SLOTS), .when = VU_WHEN_OWNED, .does = "one more region; none may overlap",
      .handle = vu_add_mem_reg },
    { .id = VHOST_USER_REM_MEM_REG, .name = "REM_MEM_REG", EXACT(sizeof(struct vhost_user_mem_reg)),
      .fds = VU_FDS_ONE_UNUSED, WITH(CONFIGURE_MEM_SLOTS), .when = VU_WHEN_OWNED,
      .does = "the region of that guest address, user address and size goes; queues that lie in it wait until their "
              "memory is back",
      .handle = vu_rem_mem_reg },
    { .id = VHOST_USER_SET_STATUS, .name = "SET_STATUS", EXACT(8), WITH(STATUS),
      .does = "the device status field; 0 resets", .handle = vu_set_status },
    { .id = VHOST_USER_GET_STATUS, .name = "GET_STATUS", EXACT(0), WITH(STATUS), REPLIES(VU_REFUSE_CLOSE, "u64"),
      .does = "the device status field", .handle = vu_get_status },
    { .id = VHOST_USER_SET_DEVICE_STATE_FD, .name = "SET_DEVICE_STATE_FD",
      EXACT(sizeof(struct vhost_user_state_transfer)), .fds = VU_FDS_ONE, WITH(DEVICE_STATE),
      .when = VU_WHEN_ALL_STOPPED, REPLIES(VU_REFUSE_U64, "u64, bit 8 set"),
      .does = "saves (0) or loads (1) the device's state through a pipe", .handle = vu_set_device_state_fd },
    { .id = VHOST_USER_CHECK_DEVICE_STATE, .name = "CHECK_DEVICE_STATE", EXACT(0), WITH(DEVICE_STATE),
      REPLIES(VU_REFUSE_U64, "u64"), .does = "whether that went well; the reply waits for the end of the state",
      .handle = vu_check_device_state },
};
const unsigned vu_nr_messages = sizeof(vu_messages) / sizeof(vu_messages[0]);

const struct vu_request vu_requests[] = {
    { VHOST_USER_BACKEND_IOTLB_MSG, "BACKEND_IOTLB_MSG", sizeof(struct vhost_user_iotlb), VHOST_USER_PROTOCOL_F_BACKEND_REQ,
      "a translation is missing (type 1)" },
    { VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, "BACKEND_CONFIG_CHANGE_MSG", 0, VHOST_USER_PROTOCOL_F_CONFIG,
      "the configuration has changed, or the device needs a reset" },
    { VHOST_USER_BACKEND_VRING_CALL, "BACKEND_VRING_CALL", sizeof(struct vhost_user_vring_state),
      VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS, "a used buffer notification, for a queue without SET_VRING_CALL" },
    { VHOST_USER_BACKEND_VRING_ERR, "BACKEND_VRING_ERR", sizeof(struct vhost_user_vring_state),
      VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS, "a queue broke, and has no SET_VRING_ERR" },
};
const unsigned vu_nr_requests = sizeof(vu_requests) / sizeof(vu_requests[0]);

/* The document's names of what vio does not speak, so that the log can name it. */
static const struct {
    uint32_t id;
    const char *name;
} unspoken[] = {
    { VHOST_USER_SET_VRING_ENDIAN, "SET_VRING_ENDIAN" },
    { VHOST_USER_CREATE_CRYPTO_SESSION, "CREATE_CRYPTO_SESSION" },
    { VHOST_USER_CLOSE_CRYPTO_SESSION, "CLOSE_CRYPTO_SESSION" },
    { VHOST_USER_POSTCOPY_ADVISE, "POSTCOPY_ADVISE" },
    { VHOST_USER_POSTCOPY_LISTEN, "POSTCOPY_LISTEN" },
    { VHOST_USER_POSTCOPY_END, "POSTCOPY_END" },
    { VHOST_USER_GPU_SET_SOCKET, "GPU_SET_SOCKET" },
    { VHOST_USER_GET_SHARED_OBJECT, "GET_SHARED_OBJECT" },
    { VHOST_USER_GET_SHMEM_CONFIG, "GET_SHMEM_CONFIG" },
};

static const char *const protocol_names[] = {
    [VHOST_USER_PROTOCOL_F_MQ] = "MQ",
    [VHOST_USER_PROTOCOL_F_LOG_SHMFD] = "LOG_SHMFD",
    [VHOST_USER_PROTOCOL_F_RARP] = "RARP",
    [VHOST_USER_PROTOCOL_F_REPLY_ACK] = "REPLY_ACK",
    [VHOST_USER_PROTOCOL_F_MTU] = "MTU",
    [VHOST_USER_PROTOCOL_F_BACKEND_REQ] = "BACKEND_REQ",
    [VHOST_USER_PROTOCOL_F_CROSS_ENDIAN] = "CROSS_ENDIAN",
    [VHOST_USER_PROTOCOL_F_CRYPTO_SESSION] = "CRYPTO_SESSION",
    [VHOST_USER_PROTOCOL_F_PAGEFAULT] = "PAGEFAULT",
    [VHOST_USER_PROTOCOL_F_CONFIG] = "CONFIG",
    [VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD] = "BACKEND_SEND_FD",
    [VHOST_USER_PROTOCOL_F_HOST_NOTIFIER] = "HOST_NOTIFIER",
    [VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD] = "INFLIGHT_SHMFD",
    [VHOST_USER_PROTOCOL_F_RESET_DEVICE] = "RESET_DEVICE",
    [VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS] = "INBAND_NOTIFICATIONS",
    [VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS] = "CONFIGURE_MEM_SLOTS",
    [VHOST_USER_PROTOCOL_F_STATUS] = "STATUS",
    [VHOST_USER_PROTOCOL_F_XEN_MMAP] = "XEN_MMAP",
    [VHOST_USER_PROTOCOL_F_SHARED_OBJECT] = "SHARED_OBJECT",
    [VHOST_USER_PROTOCOL_F_DEVICE_STATE] = "DEVICE_STATE",
    [VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT] = "GET_VRING_BASE_INFLIGHT",
    [VHOST_USER_PROTOCOL_F_GPA_ADDRESSES] = "GPA_ADDRESSES",
    [VHOST_USER_PROTOCOL_F_SHMEM] = "SHMEM",
};
enum { NR_PROTOCOL_NAMES = sizeof(protocol_names) / sizeof(protocol_names[0]) };

const struct vu_message *vu_message_find(uint32_t id)
{
    for (unsigned i = 0; i < vu_nr_messages; i++) {
        if (vu_messages[i].id == id)
            return &vu_messages[i];
    }
    return NULL;
}

const struct vu_request *vu_request_find(uint32_t id)
{
    for (unsigned i = 0; i < vu_nr_requests; i++) {
        if (vu_requests[i].id == id)
            return &vu_requests[i];
    }
    return NULL;
}

const char *vu_message_name(uint32_t id, char *text, size_t size)
{
    const struct vu_message *row = vu_message_find(id);

    if (row != NULL)
        return row->name;
    for (size_t i = 0; i < sizeof(unspoken) / sizeof(unspoken[0]); i++) {
        if (unspoken[i].id == id)
            return unspoken[i].name;
    }
    snprintf(text, size, "message %" PRIu32, id);
    return text;
}

const char *vu_protocol_name(unsigned bit)
{
    return bit < NR_PROTOCOL_NAMES ? protocol_names[bit] : NULL;
}

const char *vu_protocol_text(uint64_t bits, char *text, size_t size)
{
    size_t at = 0;

    snprintf(text, size, "none");
    for (unsigned bit = 0; bit < 64; bit++) {
        const char *name = vu_protocol_name(bit);
        int n;

        if ((bits >> bit & 1) == 0 || at >= size)
            continue;
        if (name != NULL)
            n = snprintf(text + at, size - at, "%s%s", at > 0 ? ", " : "", name);
        else
            n = snprintf(text + at, size - at, "%sbit %u", at > 0 ? ", " : "", bit);
        at += n > 0 ? (size_t)n : 0;
    }
    return text;
}

static uint64_t bit(unsigned n)
{
    return UINT64_C(1) << n;
}

uint64_t vu_protocol_spoken(void)
{
    return bit(VHOST_USER_PROTOCOL_F_MQ) | bit(VHOST_USER_PROTOCOL_F_LOG_SHMFD) | bit(VHOST_USER_PROTOCOL_F_RARP) |
           bit(VHOST_USER_PROTOCOL_F_REPLY_ACK) | bit(VHOST_USER_PROTOCOL_F_MTU) |
           bit(VHOST_USER_PROTOCOL_F_BACKEND_REQ) | bit(VHOST_USER_PROTOCOL_F_CONFIG) |
           bit(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) | bit(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |
           bit(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS) | bit(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
           bit(VHOST_USER_PROTOCOL_F_STATUS) | bit(VHOST_USER_PROTOCOL_F_DEVICE_STATE) |
           bit(VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT) | bit(VHOST_USER_PROTOCOL_F_GPA_ADDRESSES);
}

/* ------------------------------------------------------------------ checks */

static uint32_t u32_at(const void *payload, size_t offset)
{
    uint32_t v;

    memcpy(&v, (const uint8_t *)payload + offset, sizeof(v));
    return v;
}

static int check_length(const struct vu_message *row, const void *payload, uint32_t size, char *why, size_t why_size)
{
    const uint32_t head = row->length_kind == VU_LENGTH_CONFIG ? sizeof(struct vhost_user_config) : 8;
    const uint32_t all = (uint32_t)sizeof(struct vhost_user_mem_table);
    uint32_t count;

    switch (row->length_kind) {
    case VU_LENGTH_EXACT:
        if (size == row->length)
            return 0;
        snprintf(why, why_size, "its payload has %" PRIu32 " bytes instead of %u", size, row->length);
        return -EPROTO;
    case VU_LENGTH_EITHER:
        if (size == row->length || size == row->length_padded)
            return 0;
        snprintf(why, why_size, "its payload has %" PRIu32 " bytes instead of %u, or %u with padding", size, row->length,
                 row->length_padded);
        return -EPROTO;
    case VU_LENGTH_REGIONS:
        count = size >= head ? u32_at(payload, 0) : 0;
        /* Or fewer than there is room for: QEMU sends those that there are, others a whole array (User Mode Linux one of 2). */
        if (size >= head && size <= all && count <= (size - head) / sizeof(struct vhost_user_region) &&
            (size - head) % sizeof(struct vhost_user_region) == 0)
            return 0;
        if (count > VHOST_USER_TABLE_REGIONS)
            snprintf(why, why_size, "it has %" PRIu32 " regions, more than the 8 of one table (CONFIGURE_MEM_SLOTS has "
                     "room for %d)", count, VU_SLOTS);
        else
            snprintf(why, why_size, "its payload has %" PRIu32 " bytes, which is not 8 and 32 for each of %" PRIu32
                     " regions, with or without room for more, up to 8", size, count);
        return -EPROTO;
    case VU_LENGTH_CONFIG:
        count = size >= head ? u32_at(payload, 4) : 0;
        if (size >= head && count <= VIO_DEVICE_CONFIG_MAX && size == head + count)
            return 0;
        snprintf(why, why_size, "its payload has %" PRIu32 " bytes, which is not 12 and the %" PRIu32 " that it counts",
                 size, count);
        return -EPROTO;
    }
    return -EPROTO;
}

static int check_fds(const struct vu_message *row, const void *payload, unsigned nr_fds, char *why, size_t why_size)
{
    unsigned want = 0;

    switch (row->fds) {
    case VU_FDS_NONE:
        break;
    case VU_FDS_ONE:
        want = 1;
        break;
    case VU_FDS_ONE_UNUSED:
        want = nr_fds == 1;
        break;
    case VU_FDS_REGIONS:
        want = u32_at(payload, 0);
        if (nr_fds < want) {
            snprintf(why, why_size, "%u memory regions came with %u descriptors, so part of the guest's memory is private: "
                     "in QEMU, add share=on to the guest's memory backend (memory-backend-memfd or "
                     "memory-backend-file) and name it in -machine memory-backend=ID or -numa node,memdev=ID", want,
                     nr_fds);
            return -EPROTO;
        }
        break;
    case VU_FDS_UNLESS_FLAG:
        want = (u32_at(payload, 0) & VHOST_USER_VRING_NOFD) == 0;
        break;
    }
    if (nr_fds == want)
        return 0;
    snprintf(why, why_size, "%u descriptor%s came with it instead of %u%s", nr_fds, nr_fds == 1 ? "" : "s", want,
             row->fds == VU_FDS_UNLESS_FLAG ? " (bit 8 of the payload says whether there is one)" : "");
    return -EPROTO;
}

int vu_message_check(const struct vu_message *row, const void *payload, uint32_t size, unsigned nr_fds, char *why,
                     size_t why_size)
{
    int err = check_length(row, payload, size, why, why_size);

    return err != 0 ? err : check_fds(row, payload, nr_fds, why, why_size);
}

uint32_t vu_message_queue(const struct vu_message *row, const void *payload)
{
    uint32_t v = row->index == VU_INDEX_NONE ? 0 : u32_at(payload, 0);

    return row->index == VU_INDEX_U64 ? v & VHOST_USER_VRING_IDX_MASK : v;
}
