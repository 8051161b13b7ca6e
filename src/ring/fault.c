/* SPDX-License-Identifier: MIT */
/* Purpose: names, clauses and sentences for enum vio_fault. Freestanding. */
#include <vio/fault.h>

static const struct {
    const char *name, *clause, *text;
} faults[VIO_FAULT_COUNT_] = {
    [VIO_FAULT_NONE] = { "none", "virtio 1.4, 2.6", "no fault" },
    [VIO_FAULT_AVAIL_IDX] = { "avail-idx", "virtio 1.4, 2.7.13.3",
                              "the available index is ahead by more buffers than the queue holds" },
    [VIO_FAULT_AVAIL_HEAD] = { "avail-head", "virtio 1.4, 2.7.6",
                               "the available ring names a descriptor past the descriptor table" },
    [VIO_FAULT_HEAD_IN_FLIGHT] = { "head-in-flight", "virtio 1.4, 2.7.13.1",
                                   "a descriptor was made available again before it was used" },
    [VIO_FAULT_DESC_NEXT] = { "desc-next", "virtio 1.4, 2.7.5", "next points past the descriptor table" },
    [VIO_FAULT_CHAIN_LOOP] = { "chain-loop", "virtio 1.4, 2.7.5.2",
                               "the descriptor chain loops or is longer than the queue" },
    [VIO_FAULT_CHAIN_BYTES] = { "chain-bytes", "virtio 1.4, 2.7.5.2", "the descriptor chain has more than 2^32 bytes" },
    [VIO_FAULT_CHAIN_ORDER] = { "chain-order", "virtio 1.4, 2.7.4.2",
                                "a device-readable descriptor follows a device-writable one" },
    [VIO_FAULT_CHAIN_SEGMENTS] = { "chain-segments", "virtio 1.4, 2.7.5.2",
                                   "the chain falls into more pieces of memory than vio keeps for one" },
    [VIO_FAULT_DESC_ZERO_LEN] = { "desc-zero-len", "virtio 1.4, 2.7.5", "a descriptor of no bytes" },
    [VIO_FAULT_DESC_ADDR] = { "desc-addr", "virtio 1.4, 2.7.5", "a descriptor's bytes are not in the driver's memory" },
    [VIO_FAULT_DESC_ACCESS] = { "desc-access", "virtio 1.4, 6.1",
                                "the IOMMU mapping does not allow what the descriptor asks for" },
    [VIO_FAULT_INDIRECT_UNNEGOTIATED] = { "indirect-unnegotiated", "virtio 1.4, 2.7.5.3.1",
                                          "an indirect descriptor without INDIRECT_DESC" },
    [VIO_FAULT_INDIRECT_NESTED] = { "indirect-nested", "virtio 1.4, 2.7.5.3.1",
                                    "an indirect descriptor inside an indirect table" },
    [VIO_FAULT_INDIRECT_NEXT] = { "indirect-next", "virtio 1.4, 2.7.5.3.1", "INDIRECT and NEXT in one descriptor" },
    [VIO_FAULT_INDIRECT_LEN] = { "indirect-len", "virtio 1.4, 2.7.5.3",
                                 "an indirect table whose length is 0 or no multiple of 16" },
    [VIO_FAULT_PACKED_MIXED] = { "packed-mixed", "virtio 1.4, 2.8.19",
                                 "an indirect descriptor linked to others in one list" },
    [VIO_FAULT_PACKED_WRAP] = { "packed-wrap", "virtio 1.4, 2.8.6",
                                "a list whose later descriptors do not carry the driver's wrap counter" },
    [VIO_FAULT_PACKED_OVERRUN] = { "packed-overrun", "virtio 1.4, 2.8.16",
                                   "descriptors made available again before they were used" },
    [VIO_FAULT_NOTIFY_DATA] = { "notify-data", "virtio 1.4, 2.9",
                                "notification data that names another queue or a position past the ring" },
    [VIO_FAULT_REQ_SHORT] = { "request-short", "virtio 1.4, 5.2.6, 5.1.9.5", "the request's header is not all there" },
    [VIO_FAULT_REQ_NO_STATUS] = { "request-no-status", "virtio 1.4, 5.2.6, 5.1.9.5",
                                  "no device-writable byte for the status" },
    [VIO_FAULT_USED_IDX] = { "used-idx", "virtio 1.4, 2.7.8", "more buffers used than were made available" },
    [VIO_FAULT_USED_ID] = { "used-id", "virtio 1.4, 2.7.8", "a used buffer with an id past the queue" },
    [VIO_FAULT_USED_NOT_IN_FLIGHT] = { "used-not-in-flight", "virtio 1.4, 2.7.8",
                                       "a used buffer that was not made available" },
    [VIO_FAULT_USED_LEN] = { "used-len", "virtio 1.4, 2.7.8.2",
                             "a used length beyond the device-writable part of the buffer" },
    [VIO_FAULT_USED_ORDER] = { "used-order", "virtio 1.4, 2.7.9", "IN_ORDER, but used out of order" },
    [VIO_FAULT_QUEUE_SIZE] = { "queue-size", "virtio 1.4, 2.7",
                               "a queue size that is 0, above 32768 or (split) no power of two" },
    [VIO_FAULT_QUEUE_ALIGN] = { "queue-align", "virtio 1.4, 2.7.1", "a part of the queue is not aligned" },
    [VIO_FAULT_QUEUE_ADDR] = { "queue-addr", "virtio 1.4, 2.7",
                               "a part of the queue is not in the driver's memory in one piece" },
    [VIO_FAULT_INFLIGHT] = { "inflight", "vhost-user, in-flight I/O tracking",
                             "the in-flight record contradicts the ring" },
    [VIO_FAULT_RING_STATE] = { "ring-state", "vhost-user, VHOST_USER_SET_VRING_BASE",
                               "the saved ring indices contradict each other or the ring" },
    [VIO_FAULT_USED_FRAME] = { "used-frame", "virtio 1.4, 5.1.9.4.1",
                               "a received frame of more buffers than the device was given" },
};

static enum vio_fault known(enum vio_fault fault)
{
    return (unsigned)fault < VIO_FAULT_COUNT_ && faults[fault].name != NULL ? fault : VIO_FAULT_NONE;
}

const char *vio_fault_name(enum vio_fault fault)
{
    return faults[known(fault)].name;
}

const char *vio_fault_clause(enum vio_fault fault)
{
    return faults[known(fault)].clause;
}

const char *vio_fault_text(enum vio_fault fault)
{
    return faults[known(fault)].text;
}
